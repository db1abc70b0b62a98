"""Zoneout and variational dropout around any cell, and matrices in other forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from support_cells import SHIPPED
from unrolled import cells
from unrolled.cells import Cell, CellError, Form, linear, tanh, variational_dropout, zoneout
from unrolled.cells.stored import from_json, to_json
from unrolled.nn import Recurrent

INPUTS, H, T, B = 3, 6, 5, 4


def double(cell: Any, **sizes: Any) -> Recurrent:
    return Recurrent(cell, INPUTS, H, dtype=torch.float64, **sizes)


def made(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def with_weights_of(other: Recurrent, cell: Any) -> Recurrent:
    module = double(cell)
    module.load_state_dict(other.state_dict())
    return module


def test_zoneout_keeps_units_as_they_were():
    plain = double(cells.LSTM)
    x, state = made(1, B, INPUTS), (made(1, B, H), made(1, B, H))
    zoned = with_weights_of(plain, zoneout(cells.LSTM, hidden=0.5, cell=0.5))
    _, after = plain(x, state)
    _, found = zoned(x, state)
    for kept, new, old in zip(found, after, state, strict=True):
        is_old, is_new = kept == old, kept == new
        assert (is_old | is_new).all()
        assert is_old.any()
        assert is_new.any()


def test_outside_of_training_zoneout_is_the_mean_of_both():
    plain = double(cells.GRU)
    zoned = with_weights_of(plain, zoneout(cells.GRU, hidden=0.25)).eval()
    x, h = made(1, B, INPUTS), made(1, B, H)
    _, (new,) = plain(x, h)
    _, (found,) = zoned(x, h)
    torch.testing.assert_close(found, 0.25 * h + 0.75 * new)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_zoneout_at_its_ends(rate):
    plain, x, h = double(cells.GRU), made(T, B, INPUTS), made(1, B, H)
    _, (found,) = with_weights_of(plain, zoneout(cells.GRU, hidden=rate))(x, h)
    torch.testing.assert_close(found, plain(x, h)[1][0] if rate == 0 else h, rtol=0, atol=0)


def test_variational_dropout_is_one_mask_for_all_steps():
    """A GRU's matrices read h after the mask, and its state goes on without it."""
    plain, x, h = double(cells.GRU), made(T, 1, INPUTS), made(1, 1, H)
    dropped = with_weights_of(plain, variational_dropout(cells.GRU, hidden=0.5))
    output, _ = dropped(x, h)
    scaled = double(cells.GRU)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0]) for _ in range(H)]).double()
    for mask in masks:
        scaled.load_state_dict(plain.state_dict())
        scaled.get_parameter("weight_hh_l0").data *= mask  # its columns
        if torch.allclose(scaled(x, h)[0], output):
            return
    raise AssertionError("no mask gives these outputs")


def test_outside_of_training_variational_dropout_is_nothing():
    plain, x = double(cells.GRU), made(T, B, INPUTS)
    dropped = with_weights_of(plain, variational_dropout(cells.GRU, hidden=0.3, x=0.1)).eval()
    torch.testing.assert_close(dropped(x), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize("cell", SHIPPED)
def test_they_go_with_any_cell(cell):
    description = cell().description
    rates = {state.name: 0.1 for state in description.states}
    both = variational_dropout(zoneout(cell, **rates), **{description.input.name: 0.2})
    assert from_json(to_json(both)) == both
    sizes = {f"{s}_size": 2 for s in both.sizes if s not in ("input", "hidden")}
    constants = {c.name: made(B, 2) for c in both.constants}
    output, _ = double(both, **sizes)(made(T, B, INPUTS), **constants)
    assert output.isfinite().all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: zoneout(cells.GRU, cell=0.1), "GRU has no state named cell. It has hidden"),
        (lambda: zoneout(cells.GRU, hidden=1.5), "hidden: the rate should be a probability"),
        (lambda: variational_dropout(cells.GRU, y=0.1), "multiplies nothing named y"),
        (lambda: variational_dropout(cells.MinGRU, hidden=0.1), "multiplies nothing named hidden"),
        (lambda: variational_dropout(cells.GRU, x=1.0), "a rate of 1 leaves nothing"),
    ],
)
def test_what_does_not_go_is_named(make, words):
    with pytest.raises(CellError, match=words):
        make()


class Masked(Cell):
    def step(self, x, h):
        return tanh(linear(x) + linear(h, form=Form(masked=True)))


class AntisymmetricBlocks(Cell):
    def step(self, x, h):
        return linear(x) + linear(h, bias=False, form=Form(blocks=2, antisymmetric=True))


def test_each_block_is_antisymmetric():
    module = double(AntisymmetricBlocks)
    first, second = module.get_parameter("weight_hh_l0").detach().split(H // 2)
    whole = torch.block_diag(first - first.T, second - second.T)
    h = made(1, 1, H)
    expected = module.get_parameter("bias_ih_l0") + h[0] @ whole.T
    torch.testing.assert_close(module(torch.zeros(1, 1, INPUTS).double(), h)[0][0], expected)


def test_a_mask_is_the_users_and_travels_with_the_weights():
    module, x = double(Masked), made(T, B, INPUTS)
    module.get_buffer("mask_weight_hh_l0").copy_(torch.eye(H).logical_not())
    dense = double(Masked)
    dense.load_state_dict(module.state_dict())
    torch.testing.assert_close(dense(x), module(x), rtol=0, atol=0)
    weight = module.get_parameter("weight_hh_l0")
    (gradient,) = torch.autograd.grad(module(x)[0].sum(), [weight])
    assert not gradient.diagonal().any()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (cells.SLSTM(heads=4), "in 4 blocks, and 6 numbers are no multiple"),
        (
            type(
                "Wide",
                (Cell,),
                {"step": lambda self, x, h: tanh(linear(x, form=Form(antisymmetric=True)) + h)},
            )(),
            "is antisymmetric, and 6 by 3 is no square",
        ),
    ],
)
def test_a_form_that_the_sizes_dont_have_is_refused(cell, words):
    with pytest.raises(ValueError, match=words):
        double(cell)

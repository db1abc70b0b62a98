"""``recompute_every`` of described cells: the same results from less memory."""

from __future__ import annotations

import pytest
import torch

from support_described import double, every_cell, given, results
from unrolled import cells
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

ROWS, STEPS = 5, 12


def assert_same_bits_whatever_is_kept(module, what, every, lengths=None):
    x, hx, constants = what
    expected = results(module, "native", x, hx, constants, lengths)
    for steps in every:
        module.recompute_every = steps
        found = results(module, "native", x, hx, constants, lengths)
        assert [torch.equal(f, e) for f, e in zip(found, expected, strict=True)] == [True] * len(
            expected
        )


@pytest.mark.parametrize("lengths", [None, [7, 0, 12, 11, 1]], ids=["dense", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True])
@every_cell
def test_the_same_bits_whatever_is_kept(cell, bidirectional, lengths):
    module = double(cell, bidirectional=bidirectional)
    what = given(module, ROWS, STEPS)
    assert_same_bits_whatever_is_kept(module, what, (1, 5, 12, 1000), lengths)


def test_the_same_bits_in_layers_with_dropout():
    module = double(cells.PeepholeLSTM, num_layers=3, dropout=0.5)
    assert_same_bits_whatever_is_kept(module, given(module, ROWS, STEPS), (1, 5))


def test_the_same_bits_without_given_states():
    module = double(cells.SLSTM)
    assert_same_bits_whatever_is_kept(module, given(module, ROWS, STEPS, states=False), (1, 5))


def test_the_same_bits_where_sums_are_long():
    """Beyond some thousand terms the weights' gradients are summed in parts."""
    module = double(cells.EALSTM)
    assert_same_bits_whatever_is_kept(module, given(module, 3, 3000), (77,))


def test_the_same_bits_where_only_some_gradients_are_wanted():
    module, x = double(cells.MGU), torch.randn(STEPS, ROWS, 3, dtype=torch.float64)
    for parameter in list(module.parameters())[1:]:
        parameter.requires_grad_(False)
    weight = next(module.parameters())
    found: list[torch.Tensor] = []
    for every in (None, 5):
        module.recompute_every = every
        found += torch.autograd.grad(module(x)[0].square().sum(), weight)
    assert torch.equal(found[0], found[1])


def test_a_second_derivative_is_the_same():
    module = double(cells.GRUResetBefore)
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    found: list[torch.Tensor] = []
    for every in (None, 4):
        module.recompute_every = every
        (gradient,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
        found += torch.autograd.grad(gradient.square().sum(), x)
    assert torch.equal(found[0], found[1])


def test_a_weight_that_was_changed_in_place_is_refused():
    module, x = double(cells.JANET, recompute_every=4), torch.randn(9, 2, 3, dtype=torch.float64)
    loss = module(x)[0].sum()
    with torch.no_grad():
        next(module.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()

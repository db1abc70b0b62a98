"""``Recurrent``: any cell over sequences, in whatever form they come."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import pytest
import torch
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from support_cells import Everything
from unrolled import cells
from unrolled.cells import Cell, linear, mask, noise, tanh, weight
from unrolled.nn import Recurrent, which_backend

T, B, INPUTS, H = 6, 4, 3, 5
LENGTHS = [3, 6, 0, 5]


def double(cell, **options):
    return Recurrent(cell, INPUTS, H, dtype=torch.float64, **options)


def made(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(
    params=[{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}], ids=str
)
def module(request):
    return double(cells.EALSTM, static_size=2, **request.param)


def in_its_layout(module, x):
    return x.transpose(0, 1) if module.batch_first else x


def test_rows_of_other_lengths_are_as_each_by_itself(module):
    x, static = made(T, B, INPUTS), made(B, 2)
    hx = [made(module.num_layers * (1 + module.bidirectional), B, H) for _ in range(2)]
    output, last = module(in_its_layout(module, x), hx, LENGTHS, static=static)
    output = in_its_layout(module, output)
    for row, length in enumerate(LENGTHS):
        state = [s[:, row] for s in hx]
        assert not output[length:, row].any()
        if length == 0:
            alone = state
        else:
            expected, alone = module(x[:length, row], state, static=static[row])
            torch.testing.assert_close(output[:length, row], expected)
        for found, wanted in zip(last, alone, strict=True):
            torch.testing.assert_close(found[:, row], wanted)


def test_a_packed_sequence_is_as_its_lengths(module):
    x, static, lengths = in_its_layout(module, made(T, 3, INPUTS)), made(3, 2), [4, 6, 1]
    packed = pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted=False)
    output, last = module(packed, static=static)
    padded, _ = pad_packed_sequence(output, module.batch_first)
    expected, states = module(x, lengths=lengths, static=static)
    torch.testing.assert_close(padded, expected)
    torch.testing.assert_close(last, states)


def test_a_state_is_carried_from_call_to_call():
    module, x = double(cells.PeepholeLSTM), made(T, B, INPUTS)
    whole, last = module(x)
    first, state = module(x[:2])
    second, end = module(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=0)
    torch.testing.assert_close(end, last, rtol=0, atol=0)


def test_a_cell_with_one_state_takes_it_bare():
    module, x, h = double(cells.MGU), made(T, B, INPUTS), made(1, B, H)
    torch.testing.assert_close(module(x, h), module(x, (h,)))


def test_derivatives_of_any_order_are_right():
    module = Recurrent(Everything, 3, 4, dtype=torch.float64, static_size=3).eval()
    names, values = zip(*module.named_parameters(), strict=True)

    def run(x, static, *parameters):
        known = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(module, known, (x,), {"static": static})[0]

    given = [made(2, 2, 3), made(2, 3), *[v.detach() for v in values]]
    given = [g.requires_grad_() for g in given]
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


class Noisy(Cell):
    def step(self, x, h):
        per_step, per_row = noise(1.0), mask(0.5, each="sequence", resting=0.25)
        return 0 * tanh(linear(x, h)) + per_step * 0.01 + per_row


def test_random_numbers_are_drawn_at_every_step_or_once_a_row():
    module = double(Noisy)
    output, _ = module(made(400, B, INPUTS))
    masks = output.detach().round()
    assert (masks == masks[0]).all()
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    draws = (output - masks).detach() / 0.01
    assert draws.std() == pytest.approx(1.0, rel=0.1)
    assert abs(torch.corrcoef(draws.flatten(1).T)[0, 1]) < 0.3


def test_the_same_seed_draws_the_same():
    module, x = double(Noisy, num_layers=2, dropout=0.5), made(T, B, INPUTS)
    torch.manual_seed(7)
    first = module(x)
    torch.manual_seed(7)
    torch.testing.assert_close(module(x), first, rtol=0, atol=0)


def test_outside_of_training_nothing_is_drawn():
    module = double(Noisy, num_layers=2, dropout=0.5).eval()
    output, _ = module(made(T, B, INPUTS))
    assert (output == 0.25).all()


def test_weights_begin_as_the_cell_says():
    class Begun(Cell):
        def step(self, x, h):
            gain = weight(initial=3.0)
            return tanh(linear(x, h)) * gain

    module = double(Begun, num_layers=2)
    assert (module.gain_l1 == 3.0).all()
    assert module.weight_hh_l0.abs().max() <= 1 / H**0.5
    assert module.weight_hh_l0.std() > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_the_same(copied):
    module, x = double(cells.LayerNormLSTM, bidirectional=True), made(T, B, INPUTS)
    torch.testing.assert_close(copied(module)(x), module(x), rtol=0, atol=0)


def test_a_description_is_enough():
    module = double(cells.GRUResetBefore().description)
    assert repr(module) == f"Recurrent(GRUResetBefore, {INPUTS}, {H})"


def test_a_module_shows_its_arguments():
    module = Recurrent(
        cells.ProjectedLSTM, 3, 5, 2, batch_first=True, dropout=0.1, bidirectional=True, proj_size=2
    )
    assert repr(module) == (
        "Recurrent(ProjectedLSTM, 3, 5, num_layers=2, batch_first=True, bidirectional=True, "
        "dropout=0.1, proj_size=2)"
    )


def test_weights_may_be_computed_swapped_and_pruned():
    module, x = double(cells.PeepholeLSTM), made(T, B, INPUTS)
    expected = module(x)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    prune.identity(module, "weight_ih_l0")
    torch.testing.assert_close(module(x), expected)
    zero = {"peephole_output_l0": torch.zeros(H, dtype=torch.float64)}
    swapped, _ = torch.func.functional_call(module, zero, (x,))
    assert not torch.equal(swapped, expected[0])


def test_a_transform_maps_over_it_with_random_numbers_of_its_own():
    module, x = double(Noisy), made(1, T, B, INPUTS).expand(3, -1, -1, -1)
    found = torch.func.vmap(lambda one: module(one)[0], randomness="different")(x)
    assert not torch.equal(found[0], found[1])


def test_a_symbolic_trace_has_it_as_one_node():
    model = torch.nn.Sequential(double(cells.GRU))
    nodes = [node.op for node in torch.fx.symbolic_trace(model).graph.nodes]
    assert nodes == ["placeholder", "call_module", "output"]


@pytest.mark.parametrize(
    ("cell", "backend", "dtype", "words"),
    [
        (cells.GRU, "auto", torch.float64, "native"),
        (cells.GRU, "reference", torch.float64, "reference: it is forced"),
        (cells.GRU, "torch", torch.float64, "reference: torch has no kernel of a cell that is wri"),
        (cells.GRU, "auto", torch.bfloat16, "native"),
        (cells.GRU, "auto", torch.half, "reference: the core computes in float32 and float64"),
    ],
)
def test_which_backend_knows_it(cell, backend, dtype, words):
    module = double(cell).to(dtype)
    with unrolled.backend(backend):
        assert which_backend(module, made(T, B, INPUTS).to(dtype)).startswith(words)


def test_compiled_it_computes_the_same():
    module, x = double(cells.GRUResetBefore), made(3, B, INPUTS)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(module, backend="eager")(x), module(x))


def test_it_trains():
    module, x = double(cells.JANET), made(30, 16, INPUTS)
    goal = torch.tanh(x[..., 0]).cumsum(0) / 10
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (module(x)[0].mean(-1) - goal).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


CALLS = [
    (lambda m: m([1.0]), TypeError, r"input should be a tensor \[T, B, 3\], got list"),
    (lambda m: m(made(T, B, 2)), RuntimeError, r"input should have shape \[T, B, 3\]"),
    (lambda m: m(made(0, B, INPUTS)), RuntimeError, "sequence length to be larger than 0"),
    (
        lambda m: m(made(T, B, INPUTS), made(1, B, H)),
        ValueError,
        "tuple with 2 states .hidden, cell",
    ),
    (
        lambda m: m(made(T, B, INPUTS), (made(1, B, H), made(1, B, 2))),
        RuntimeError,
        r"the state cell should have shape \[1, 4, 5\], got \[1, 4, 2\]",
    ),
    (lambda m: m(made(T, B, INPUTS)), TypeError, r"needs static, a tensor \[4, 2\]"),
    (lambda m: m(made(T, B, INPUTS), static=made(B, 3)), RuntimeError, "static should have"),
    (lambda m: m(made(T, B, INPUTS), extra=made(B, 3)), TypeError, "no constant named extra"),
    (
        lambda m: m(made(T, B, INPUTS), lengths=[7] * B, static=made(B, 2)),
        ValueError,
        "between 0 and",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_a_wrong_call_says_what_was_expected(call, error, words):
    with pytest.raises(error, match=words):
        call(double(cells.EALSTM, static_size=2))


NO_CELL: Any = torch.nn.GRU


class AsWide(Cell):
    sizes: ClassVar = {"c": "input"}

    def step(self, x, h, c):
        return tanh(linear(x, h)), c + x


class TakesLengths(Cell):
    def step(self, x, h, *, lengths):
        return tanh(linear(x, h) + linear(lengths))


class TakesSelf(Cell):
    def step(this, x, h, *, self):
        return tanh(linear(x, h) + linear(self))


MADE = [
    (lambda: Recurrent(TakesSelf, 3, 4, self_size=2), ValueError, "a constant named self"),
    (lambda: Recurrent(TakesLengths, 3, 4, lengths_size=2), ValueError, "a constant named lengths"),
    (lambda: Recurrent(AsWide, 3, 4, 2), ValueError, "c has input_size numbers, 3, and the layer"),
    (lambda: Recurrent(NO_CELL, 3, 4), TypeError, "a class of one, or a description, got"),
    (lambda: Recurrent(cells.GRU, 3, 0), ValueError, "hidden_size should be a whole number"),
    (lambda: Recurrent(cells.GRU, 3, 4, 0), ValueError, "num_layers should be"),
    (lambda: Recurrent(cells.GRU, 3, 4, dropout=2), ValueError, "a probability, from 0 to 1"),
    (lambda: Recurrent(cells.ProjectedLSTM, 3, 4), TypeError, "needs proj_size"),
    (lambda: Recurrent(cells.GRU, 3, 4, proj_size=2), TypeError, "GRU has no proj_size"),
]


@pytest.mark.parametrize(("make", "error", "words"), MADE)
def test_wrong_arguments_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()

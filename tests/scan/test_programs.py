"""Described cells on the compiled core, beside the same equations in plain torch."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import unrolled
from support_cells import Drawn, Unlearned
from support_described import assert_as_by_equations, double, every_cell, given, named, results
from unrolled import cells
from unrolled.cells import Cell, linear, maximum, minimum, noise, tanh
from unrolled.cells.description import Line, Sum
from unrolled.cells.given import NotLinkedError
from unrolled.cells.operations import OPERATIONS
from unrolled.cells.options import described
from unrolled.cells.program import link
from unrolled.cells.staging import REDUCTIONS
from unrolled.nn import Recurrent
from unrolled.scan import native
from unrolled.scan.equations import TORCHS

_core = pytest.importorskip("unrolled._core", reason="built without a compiler")


@every_cell
@pytest.mark.parametrize(("hidden", "rows"), [(1, 2), (6, 1), (36, 15), (64, 3)])
def test_a_cell_runs_as_by_its_equations(cell, hidden, rows):
    hidden = 3 * hidden if named(cell) == "SLSTM" else hidden
    module = double(cell, hidden=hidden)
    assert_as_by_equations(module, *given(module, rows, 5))


@every_cell
def test_rows_of_other_lengths_in_layers_of_two_directions(cell):
    options: dict[str, Any] = {} if named(cell) in ("Shift", "Bare") else {"num_layers": 2}
    module = double(cell, bidirectional=True, **options)
    assert_as_by_equations(module, *given(module, 4, 6), lengths=[3, 6, 0, 5])


@every_cell
def test_without_states_it_begins_with_zeros(cell):
    module = double(cell).eval()
    x, _, constants = given(module, 3, 4, states=False)
    assert_as_by_equations(module, x, None, constants)


@every_cell
def test_keeping_nothing_changes_no_bit(cell):
    module = double(cell, hidden=9).eval()
    x, hx, constants = given(module, 13, 7)
    with_graph = module(x, hx, **constants)
    with torch.no_grad():
        without = module(x, hx, **constants)
    torch.testing.assert_close(without, with_graph, rtol=0, atol=0)


@every_cell
def test_a_row_by_itself_has_the_bits_that_it_has_in_a_batch(cell):
    module = double(cell, hidden=18).eval()
    x, hx, constants = given(module, 14, 5)
    whole, _ = module(x, hx, **constants)
    for row in (0, 7, 13):
        here = slice(row, row + 1)
        states = [s[:, here] for s in hx]
        alone, _ = module(x[:, here], states, **{n: c[here] for n, c in constants.items()})
        assert torch.equal(alone, whole[:, here])


def test_threads_change_no_bit():
    module = double(cells.LayerNormLSTM, hidden=40)
    what = given(module, 37, 30)
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            found.append(results(module, "native", *what))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(itertools.starmap(torch.equal, zip(found[0], others, strict=True)))


KERNELS = [
    (unrolled.LSTM, cells.LSTM, {}, {}),
    (unrolled.GRU, cells.GRU, {}, {}),
    (unrolled.RNN, cells.RNN, {}, {}),
    (unrolled.RNN, cells.RNN(nonlinearity="relu"), {"nonlinearity": "relu"}, {}),
    (unrolled.LSTM, cells.ProjectedLSTM, {"proj_size": 7}, {"proj_size": 7}),
    (unrolled.LSTM, cells.LSTM(bias=False), {"bias": False}, {}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("inputs", "hidden", "rows"), [(1, 32, 1), (5, 20, 33), (16, 64, 16)])
@pytest.mark.parametrize(("kernel", "cell", "options", "sizes"), KERNELS, ids=str)
def test_the_hand_written_kernels_have_the_bits_of_their_equations(
    kernel, cell, options, sizes, inputs, hidden, rows, dtype
):
    by_hand = kernel(inputs, hidden, dtype=dtype, **options)
    module = Recurrent(cell, inputs, hidden, dtype=dtype, **sizes)
    module.load_state_dict(by_hand.state_dict())
    x = torch.randn(9, rows, inputs, dtype=dtype, requires_grad=True)
    found = []
    for one in (by_hand, module):
        output, last = one(x)
        weights = dict(sorted(one.named_parameters()))
        last = last if isinstance(last, tuple) else (last,)
        loss = (output * torch.arange(rows)[:, None]).sum() + sum((s * s).sum() for s in last)
        found.append([output, *last, *torch.autograd.grad(loss, [x, *weights.values()])])
    assert all(itertools.starmap(torch.equal, zip(*found, strict=True)))


def test_sums_over_more_slots_than_are_added_up_at_once():
    module = double(cells.PeepholeLSTM)
    assert_as_by_equations(module, *given(module, 16, 600))


def test_numbers_drawn_at_every_step_are_the_same_again_for_a_second_derivative():
    module = double(cells.LeakyRNN(noise=0.5), hidden=3)
    x, hx, constants = given(module, 2, 3)

    def run(x, *hx):
        torch.manual_seed(3)
        return module(x, hx, **constants)[0]

    assert torch.autograd.gradgradcheck(run, (x, *hx))


def test_a_weight_without_influence_has_no_gradient():
    module = double(Unlearned)
    module(torch.randn(4, 2, 3, dtype=torch.float64))[0].sum().backward()
    assert module.weight_gate_l0.grad is None


def test_cells_that_differ_by_the_sign_of_a_zero_are_two():
    class Zeros(Cell):
        def step(self, x, h):
            return 1 / (linear(x, h) ** 2 * 0.0)

    positive = described(Zeros)
    negative = replace(positive, lines=tuple(map(turned, positive.lines)))
    assert positive != negative
    x = torch.ones(1, 1, 3)
    found = [Recurrent(cell, 3, 4)(x)[0] for cell in (positive, negative)]
    assert torch.equal(found[0], -found[1])


def test_a_cell_may_read_both_zeros():
    class Both(Cell):
        def step(self, x, h):
            a = linear(x, h) ** 2
            return minimum(1 / (a * 0.0), 2.0) + maximum(1 / (a * -0.0), -3.0)

    module = Recurrent(Both, 3, 4)
    assert (module(torch.ones(1, 1, 3))[0] == -1).all()


def turned(line):
    """The line with the other zero."""
    if isinstance(line, Sum):
        return line
    operands = tuple(-o if o == 0.0 else o for o in line.operands)
    return replace(line, operands=operands)


def test_saved_tensors_may_come_back_in_another_layout():
    module = double(cells.LSTM)
    what = given(module, 2, 4)
    expected = results(module, "native", *what)

    def turned_round(tensor):
        return tensor.t().contiguous().t() if tensor.dim() == 2 else tensor

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, turned_round):
        found = results(module, "native", *what)
    assert all(itertools.starmap(torch.equal, zip(found, expected, strict=True)))


@pytest.mark.parametrize("cell", [Drawn, cells.zoneout(cells.LSTM, cell=0.2)], ids=named)
@pytest.mark.parametrize("is_training", [True, False])
def test_a_second_derivative_of_a_cell_that_draws(cell, is_training):
    module = double(cell, hidden=3).train(is_training)
    x, hx, constants = given(module, 2, 3)

    def run(x, *hx):
        torch.manual_seed(3)
        return module(x, hx, **constants)[0]

    assert torch.autograd.gradgradcheck(run, (x, *hx))


def test_a_batch_without_rows():
    module = double(cells.LeakyRNN(noise=0.1))
    output, last = module(torch.zeros(3, 0, 3, dtype=torch.float64))
    assert output.shape == (3, 0, 6)
    assert [s.shape for s in last] == [(1, 0, 6)] * 2


def test_an_input_of_no_numbers_unit_by_unit_runs_by_equations():
    class Read(Cell):
        def step(self, x, h):
            a = tanh(x)
            return tanh(linear(a, h))

    module = Recurrent(Read, 0, 4)
    assert module(torch.zeros(2, 1, 0))[0].shape == (2, 1, 4)


def test_rows_times_a_size_beyond_all_memory_are_refused():
    whole: Any = ([(5, 0, 1), (7, 0, 2**31)], [(1, [], [], [(0, 1, True)], [])], 0, [2**31])
    back: Any = ([], [], 0, [])
    program = _core.Program([1], [], [1], [], [], whole, whole, back, 0, 0, [-1], [], [])
    rows = 2**16
    core, room = _core.ProgramF64(0, "whole", program), torch.zeros(rows, dtype=torch.float64)
    layout, memory = native.Steps(1, rows).stretch(0, 1, reverse=False)[0], native.memory(room)
    place = (*memory, 0, rows, 1)
    with pytest.raises(ValueError, match="memory"):
        core.forward(layout, ([], [place], [], [(0, 0)]), (place, []), [memory], 1)


def test_an_input_of_no_numbers():
    module = double(cells.GRU, inputs=0)
    assert_as_by_equations(module, *given(module, 3, 4))


class Halved(Cell):
    def step(self, x, h):
        size = 1 + h * h
        made = size * 0.5
        return tanh(linear(x, h) + made)


class Shared(Cell):
    def step(self, x, h):
        return tanh(linear(x, h) + noise(0.1))


@pytest.mark.parametrize(
    ("operation", "numbers"),
    [
        (name, numbers)
        for name, operation in OPERATIONS.items()
        for numbers in itertools.product((False, True), repeat=operation.arity)
        if operation.arity > 1 and not all(numbers) and (name != "power" or numbers[1])
    ],
)
def test_a_number_may_stand_in_any_place(operation, numbers):
    operands = tuple(0.5 if is_number else "size" for is_number in numbers)
    cell = described(Halved)
    made = Line("made", "hidden", operation, operands)
    lines = [made if line.name == "made" else line for line in cell.lines]
    module = double(replace(cell, lines=tuple(lines)))
    assert_as_by_equations(module, *given(module, 2, 3))


def test_what_the_core_cannot_run_runs_by_equations():
    description = described(Shared)
    (line,) = description.sums
    twice = line.products * 2
    object.__setattr__(line, "products", twice)  # the same rows of a weight in two products
    with pytest.raises(NotLinkedError, match="two places"):
        link(description, {"input": 3, "hidden": 4, "one": 1}, draws=False)
    module = double(description)
    x = torch.randn(3, 2, 3, dtype=torch.float64)
    with unrolled.backend("reference"):
        expected = module(x)
    torch.testing.assert_close(module.eval()(x)[0], module.eval()(x)[0])
    assert expected[0].shape == (3, 2, 6)
    with unrolled.backend("native"), pytest.raises(RuntimeError, match="two places"):
        module(x)


# --- instructions ---------------------------------------------------------------------------------

CORES = range(len(native.isas()))
OPERANDS = [0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 1e-40, 1e30, -1e30, float("inf"), -float("inf")]
OPERANDS += [float("nan")]


def sigmoid_back(d, s):
    return d * s * (1 - s)


OTHERS = (*REDUCTIONS, "detach")
"""Operations that are no instructions."""

MEANING: dict[str, Any] = {
    **{name: function for name, function in TORCHS.items() if name not in OTHERS},
    "copy": lambda a: a,
    "multiply_add": lambda a, b, c: a * b + c,
    "subtract_product": lambda a, b, c: c - a * b,
    "multiply_add_product": lambda a, b, c, d: a * b + c * d,
    "multiply_tanh": lambda a, b: a * torch.tanh(b),
    "sigmoid_back": sigmoid_back,
    "sigmoid_back_product": lambda a, b, c: sigmoid_back(a * c, b),
    "sigmoid_back_difference": lambda a, b, c, d: sigmoid_back(a * (c - d), b),
    "tanh_back": lambda a, b: a * (1 - b * b),
    "tanh_back_product": lambda a, b, c: a * c * (1 - b * b),
    "tanh_back_difference": lambda a, b, c: (a - b) * (1 - c * c),
    "tanh_back_add": lambda a, b, c: a * (1 - b * b) + c,
    "multiply_add_sigmoid": lambda a, b, c: torch.sigmoid(a * b + c),
    "multiply_add_tanh": lambda a, b, c: torch.tanh(a * b + c),
    "blend": lambda a, b, c: c + a * (b - c),
}


def instruct(core, name, *operands):
    kind = _core.instruct_f32 if operands[0].dtype == torch.float32 else _core.instruct_f64
    y = torch.full_like(operands[0], 7.0)
    kind(core, name, [native.memory(o) for o in operands], native.memory(y))
    return y


def test_the_core_knows_these_instructions():
    known = {"copy", *MEANING}
    assert {name for name, _ in _core.instructions()} == known
    vocabulary = set(cells.operations.OPERATIONS).difference(OTHERS)
    assert vocabulary <= known


@pytest.mark.parametrize("core", CORES, ids=native.isas())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "arity"), _core.instructions())
def test_an_instruction_gives_what_torch_gives(name, arity, dtype, core):
    """At its limits too. Where one rounding is saved, infinity less infinity is the same."""
    grids = torch.meshgrid(*[torch.tensor(OPERANDS, dtype=dtype)] * arity, indexing="ij")
    operands = [grid.flatten() for grid in grids]
    operands = [torch.cat([o, torch.randn(77, dtype=dtype)]) for o in operands]
    found, expected = instruct(core, name, *operands), MEANING[name](*operands)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    if arity > 2:  # of what is nearly taken away again, the rounding is left
        tolerance *= 100
        large = torch.stack(operands).abs().amax(0) > 1e20
        found, expected = found[~large], expected[~large]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_batch_sizes_may_change_before_a_second_derivative():
    module = double(cells.MGU)
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor([3, 2, 2])
    output = module(PackedSequence(x, sizes))[0].data
    sizes.fill_(1)
    (first,) = torch.autograd.grad(output.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    again = module(PackedSequence(x, torch.tensor([3, 2, 2])))[0].data
    (first,) = torch.autograd.grad(again.sin().sum(), x, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad(first.sum(), x)[0])

"""A stream of cells that are written down says, row by row, what the module says of all rows."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_cells import SHIPPED, SPECIAL
from support_stream import NUMBERS, rows, through
from unrolled import cells
from unrolled.cells import Cell, Form, linear, mask, noise, tanh
from unrolled.cells.description import Sum
from unrolled.cells.operations import OPERATIONS
from unrolled.cells.options import described
from unrolled.cells.program import link
from unrolled.cells.program_step import link_step
from unrolled.deploy import stepping
from unrolled.deploy.numpy_cells import NUMPYS
from unrolled.scan import native
from unrolled.scan.equations import TORCHS

both = pytest.mark.usefixtures("stepper")
needs_the_core = pytest.mark.skipif(not native.is_built(), reason="the bits are the core's")


class Dale(Cell):
    """Signs and a mask stand beside what is learned."""

    def step(self, x, h):
        form = Form(excitatory=0.5, masked=True)
        return tanh(linear(x) + linear(h, bias=False, form=form))


class Masked(Cell):
    """Random numbers that a matrix multiplies, which at rest are numbers."""

    def step(self, x, h):
        shifted, plain = 0.5 + noise(0.1), mask(0.8)
        return tanh(linear(x, h) + linear(shifted) + linear(plain))


OPTIONAL = [
    cells.zoneout(cells.LSTM, hidden=0.1, cell=0.2),
    cells.variational_dropout(cells.GRU, x=0.3, hidden=0.2),
    cells.LeakyRNN(noise=0.3, excitatory=0.75),
    cells.SLSTM(heads=3),
    Dale,
    Masked,
]
OTHERS = {"proj": 2, "static": 4, "first": 3, "second": 3}
"""The sizes that cells have beside the input's and the hidden one."""


def named(cell: Any) -> str:
    return described(cell).name


every_cell = pytest.mark.parametrize("cell", [*SHIPPED, *OPTIONAL, *SPECIAL], ids=named)
each_number = pytest.mark.parametrize("number", NUMBERS)
some_cells = pytest.mark.parametrize(
    "cell",
    [cells.LSTM, cells.GRUResetBefore, cells.LayerNormLSTM, cells.SLSTM(heads=3), cells.EALSTM],
    ids=named,
)


def module(cell, hidden=6, number="float32", inputs=3, **options) -> unrolled.Recurrent:
    """One in eval mode, with other weights than those that it begins with."""
    options |= {f"{s}_size": OTHERS[s] for s in described(cell).sizes if s in OTHERS}
    made = unrolled.Recurrent(cell, inputs, hidden, dtype=NUMBERS[number], **options).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5 / hidden**0.5)
        for name, values in made.named_buffers():
            if name.startswith("mask_"):
                values.copy_(torch.rand_like(values) < 0.7)
    return made


def constants(model: unrolled.Recurrent, batch: int, seed: int = 2) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    return {
        c.name: numbers.normal(size=(batch, model.units[c.size])).astype(dtype)
        for c in model.cell.constants
    }


def whole(model, x, given=None, hx=None):
    """What the module says of the whole sequence, and its states."""
    of_all = {name: torch.from_numpy(values) for name, values in (given or {}).items()}
    with torch.no_grad():
        output, last = model(torch.from_numpy(x), hx, **of_all)
    return output.numpy(), [state.numpy() for state in last]


def assert_same_bits(model, number, batch, steps=8):
    x, given = rows(steps, batch, 3, dtype=number), constants(model, batch)
    output, last = whole(model, x, given)
    stream = unrolled.Stream(model, batch, given)
    assert stream.backend.startswith("native")
    np.testing.assert_array_equal([stream.step(row) for row in x], output)
    for state, expected in zip(model.cell.states, last, strict=True):
        np.testing.assert_array_equal(stream.state[state.name], expected)


# --- the numbers ----------------------------------------------------------------------------------


@needs_the_core
@pytest.mark.parametrize("batch", [1, 3])
@each_number
@every_cell
def test_stepping_gives_the_bits_of_the_whole_sequence(cell, number, batch):
    assert_same_bits(module(cell, number=number), number, batch)


@needs_the_core
@pytest.mark.parametrize("batch", [1, 14])
@pytest.mark.parametrize("hidden", [3, 24, 96])
@each_number
@some_cells
def test_so_do_layers_of_any_width(cell, number, hidden, batch):
    model = module(cell, hidden, number, num_layers=2, dropout=0.5)
    assert_same_bits(model, number, batch)


@each_number
@every_cell
def test_the_readable_stepper_says_the_same(cell, number, monkeypatch):
    model = module(cell, number=number)
    x, given = rows(12, 3, 3, dtype=number), constants(model, 3)
    monkeypatch.setattr(stepping, "compiled", None)
    stream = unrolled.Stream(model, 3, given)
    assert stream.backend == "numpy"
    output, last = whole(model, x, given)
    tolerance = 2e-5 if number == "float32" else 1e-11
    # Of what grows from step to step the rounding does, too.
    close = {"rtol": tolerance, "atol": tolerance * max(1.0, np.abs(output).max())}
    stepped = stream.step_many(x)
    assert stepped.dtype == number
    np.testing.assert_allclose(stepped, output, **close)
    for state, expected in zip(model.cell.states, last, strict=True):
        largest = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(
            stream.state[state.name], expected, rtol=tolerance, atol=tolerance * largest
        )


SPECIAL_NUMBERS = [0.0, -0.0, 0.3, -0.7, 1.0, 2.5, -3.0, 50.0, -50.0, np.inf, -np.inf, np.nan]


@each_number
@pytest.mark.parametrize("operation", NUMPYS)
def test_an_operation_in_numpy_is_torchs(operation, number):
    arity = OPERATIONS[operation].arity
    grid = np.array(list(itertools.product(SPECIAL_NUMBERS, repeat=arity)), number).T
    if operation == "power":  # the exponent is a number
        grid = grid[:, np.isin(grid[1], [0.3, 1.0, 2.5, -3.0])]
    with np.errstate(all="ignore"):
        found = NUMPYS[operation](*grid)
    expected = TORCHS[operation](*map(torch.from_numpy, grid)).numpy()
    assert found.dtype == number
    tolerance = 1e-6 if number == "float32" else 1e-14
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@both
@some_cells
def test_rows_side_by_side_are_each_as_if_alone(cell):
    # In double precision: NumPy sums one row in another order than five, and what is normalised by
    # a small variance magnifies roundings.
    model = module(cell, number="float64")
    x, given = rows(6, 5, 3), constants(model, 5)
    together = unrolled.Stream(model, 5, given).step_many(x)
    for b in range(5):
        alone = unrolled.Stream(model, 1, {n: c[b] for n, c in given.items()})
        np.testing.assert_allclose(alone.step_many(x[:, b]), together[:, b], rtol=1e-9, atol=1e-9)


@needs_the_core
def test_a_stack_runs_them_beside_other_layers():
    stack = nn.Sequential(
        nn.Linear(3, 4),
        module(cells.PeepholeLSTM, inputs=4),
        nn.LayerNorm(6),
        nn.Tanh(),
        module(cells.MGU, 5, inputs=6),
        nn.Linear(5, 2),
    ).eval()
    x = rows(9, 2, 3, dtype=np.float32)
    stream = unrolled.Stream(stack, 2)
    expected = through(stack, torch.from_numpy(x))
    np.testing.assert_allclose(stream.step_many(x), expected, rtol=1e-5, atol=1e-6)
    assert list(stream.state) == ["1.hidden", "1.cell", "4.hidden", "steps"]
    assert repr(stream).startswith("Stream(Linear, PeepholeLSTM, LayerNorm, tanh, MGU, Linear: 3")


@needs_the_core
def test_the_lstm_that_is_written_down_steps_to_the_built_in_ones_bits():
    built_in = unrolled.LSTM(3, 32)
    model = unrolled.Recurrent(cells.LSTM, 3, 32).eval()
    model.load_state_dict(built_in.state_dict())
    x = rows(9, 4, 3, dtype=np.float32)
    ours, theirs = unrolled.Stream(model, 4), unrolled.Stream(built_in, 4)
    np.testing.assert_array_equal(ours.step_many(x), theirs.step_many(x))


@needs_the_core
def test_what_the_core_cannot_run_is_stepped_in_numpy():
    cell = described(cells.RNN)
    twice = [
        replace(line, products=line.products * 2) if isinstance(line, Sum) else line
        for line in cell.lines
    ]
    model = module(replace(cell, lines=tuple(twice)))
    x = rows(6, 2, 3, dtype=np.float32)
    stream = unrolled.Stream(model, 2)
    assert stream.backend == "numpy"
    np.testing.assert_allclose(stream.step_many(x), whole(model, x)[0], rtol=1e-5, atol=1e-6)


@every_cell
def test_a_step_is_the_modules_program(cell):
    """The same instructions and sums in the same places; only numbers may have others."""
    units = {"input": 3, "hidden": 6, "one": 1, **OTHERS}
    module_s, ours = link(described(cell), units, draws=False), link_step(described(cell), units)
    assert ours.weights == module_s.weights

    def read(handed):
        operands, stages, *rest = handed[5]
        values = handed[4]
        return [
            (kind, values[index] if kind == 0 else index, size) for kind, index, size in operands
        ], stages, rest  # fmt: skip

    assert repr(read(ours.handed)) == repr(read(module_s.handed))
    assert ours.handed[:4] == module_s.handed[:4]


# --- states ---------------------------------------------------------------------------------------


@both
def test_a_state_is_set_by_the_cells_names_and_goes_on_from_there():
    model = module(cells.PeepholeLSTM, num_layers=2)
    x = rows(6, 2, 3, dtype=np.float32)
    _, (h, c) = whole(model, x)
    stream = unrolled.Stream(model, 2)
    stream.state = {**stream.state, "hidden": h, "cell": c}
    further, _ = whole(model, x[:1], hx=(torch.from_numpy(h), torch.from_numpy(c)))
    np.testing.assert_allclose(stream.step(x[0]), further[0], rtol=1e-5, atol=1e-6)


@both
@some_cells
def test_a_row_that_is_reset_begins_anew_and_the_others_go_on(cell):
    model = module(cell)
    x, given = rows(7, 3, 3, dtype=np.float32), constants(model, 3)
    stream, other = (unrolled.Stream(model, 3, given) for _ in range(2))
    stream.step_many(x)
    other.step_many(x)
    stream.reset(1)
    y, others = stream.step(x[0]), other.step(x[0])
    np.testing.assert_array_equal(y[[0, 2]], others[[0, 2]])
    np.testing.assert_array_equal(y[1], unrolled.Stream(model, 3, given).step(x[0])[1])


class Steps(Cell):
    """Its state has the name of another thing in a stream's."""

    def step(self, x, steps):
        return tanh(linear(x, steps))


class Wide(Cell):
    """The mean of numbers that no weight has as many of."""

    def step(self, x, h):
        return tanh(linear(h) + cells.mean(x))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: module(cells.MGU, bidirectional=True), "bidirectional, and its reverse"),
        (lambda: module(cells.MGU, num_layers=2, dropout=0.5).train(), r"Call model\.eval\(\)"),
        (lambda: module(Masked).train(), r"Masked is in training mode, in which it draws random"),
        (lambda: module(Steps), "a state named steps, .* Give the state another name"),
        (lambda: module(Wide, inputs=70_000), "input_size: at most 65536 .* no weight has"),
        (lambda: module(cells.MGU, 1, num_layers=1001), "at most 1000 layers"),
    ],
)
def test_what_can_not_stream_is_refused_with_the_reason(make, words):
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream(make())


# --- what is the same at every step ---------------------------------------------------------------


@both
def test_constants_can_be_set_at_any_step():
    model = module(cells.EALSTM, num_layers=2)
    x = rows(8, 2, 3, dtype=np.float32)
    first, then = constants(model, 2), constants(model, 2, seed=3)
    stream = unrolled.Stream(model, 2, first)
    output, last = whole(model, x[:4], first)
    np.testing.assert_allclose(stream.step_many(x[:4]), output, rtol=1e-5, atol=1e-6)
    stream.constants = then
    output, _ = whole(model, x[4:], then, tuple(map(torch.from_numpy, last)))
    np.testing.assert_allclose(stream.step_many(x[4:]), output, rtol=1e-5, atol=1e-6)


@both
def test_a_row_is_reset_with_constants_of_its_own():
    model = module(cells.EALSTM)
    x, given = rows(5, 3, 3, dtype=np.float32), constants(model, 3)
    other = {name: values[1] + 1 for name, values in given.items()}
    stream = unrolled.Stream(model, 3, given)
    stream.step_many(x)
    stream.reset(1, constants=other)
    alone = unrolled.Stream(model, 1, other)
    np.testing.assert_allclose(stream.step(x[0])[1], alone.step(x[0, 1]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stream.constants["static"][[0, 2]], given["static"][[0, 2]])
    stream.reset()
    np.testing.assert_array_equal(stream.constants["static"][1], other["static"])


def test_each_module_of_a_stack_has_its_own():
    stack = nn.Sequential(module(cells.EALSTM), module(cells.EALSTM, inputs=6))
    given = {f"{place}.static": np.full((1, 4), place, "float32") for place in range(2)}
    stream = unrolled.Stream(stack, 1, given)
    x = rows(4, 1, 3, dtype=np.float32)
    expected = x
    for place, part in enumerate(stack):
        expected, _ = whole(part, expected, {"static": given[f"{place}.static"]})
    np.testing.assert_allclose(stream.step_many(x), expected, rtol=1e-5, atol=1e-6)


def test_constants_are_copies():
    stream = unrolled.Stream(module(cells.EALSTM), 1, {"static": np.zeros(4)})
    stream.constants["static"][...] = 7
    assert not stream.constants["static"].any()


@pytest.mark.parametrize(
    ("cell", "given", "words"),
    [
        (
            cells.EALSTM,
            None,
            r"reads static \[2, 4\], .*constants=\{'static'",
        ),
        (cells.EALSTM, {"static": np.zeros((1, 4))}, r"static should be \[2, 4\], got \[1, 4\]"),
        (cells.EALSTM, {"static": ["a"] * 2}, "static: real numbers were expected"),
        (cells.EALSTM, {"static": np.zeros((2, 4)), "area": 1}, "no constant area: it has static"),
        (cells.MGU, {"static": np.zeros((2, 4))}, "no constant static: it has none"),
        (cells.EALSTM, np.zeros((2, 4)), "constants should be a dict, got ndarray"),
    ],
)
def test_constants_that_are_not_the_models_are_refused(cell, given, words):
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream(module(cell), 2, given)


def test_constants_that_do_not_fit_leave_all_as_it_was():
    stream = unrolled.Stream(module(cells.EALSTM), 2, {"static": np.ones((2, 4))})
    stream.step(np.ones((2, 3)))
    before = stream.state
    with pytest.raises(unrolled.InputError, match=r"static should be \[1, 4\], got \[2, 4\]"):
        stream.reset(0, constants={"static": np.zeros((2, 4))})
    with pytest.raises(unrolled.InputError, match=r"reads static"):
        stream.constants = {}
    assert (stream.constants["static"] == 1).all()
    assert all(np.array_equal(before[name], stream.state[name]) for name in before)

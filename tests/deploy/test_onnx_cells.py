"""``export_onnx`` of ``Recurrent``: any cell in ONNX Runtime gives what it gives here, in eval."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import unrolled
from support_cells import UNITS
from support_nn import assert_close
from support_onnx import Exported
from support_onnx_cells import (
    CLOSE,
    INPUTS,
    SIZES,
    B,
    H,
    T,
    every_cell,
    every_number,
    every_shape,
    given_for,
    layers,
    module_of,
    near,
    run,
)
from unrolled import cells
from unrolled.cells import Cell, linear, mean, softplus, tanh, weight
from unrolled.cells.description import INPUT, Description, Line, Part, Quantity, Weight
from unrolled.cells.operations import UNIT_BY_UNIT
from unrolled.errors import InputError
from unrolled.nn import Recurrent


@pytest.fixture
def exported(tmp_path):
    return lambda model, **options: Exported(model, tmp_path / "model.onnx", **options)


# --- the numbers ----------------------------------------------------------------------------------


@every_cell
@every_number
@every_shape
def test_the_file_gives_our_numbers_for_any_batch_and_length(exported, cell, dtype, options):
    if any(s.size == INPUT for s in cell.states) and options:
        options = {"bidirectional": "bidirectional" in options}  # the layer above reads others
    module = module_of(cell, dtype=dtype, **options)
    file = exported(module)
    for batch, steps in SIZES:
        x, given = torch.randn(steps, batch, INPUTS, dtype=dtype), given_for(module, batch)
        given = {name: value.to(dtype) for name, value in given.items()}
        assert_close(file(x, **given), run(module, x, given), near(cell, dtype))


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [[4, 1, 5], [0, 4, 2], [0, 0, 0]])
def test_rows_end_at_their_own_length(exported, cell, bidirectional, lengths):
    module = module_of(cell, bidirectional=bidirectional)
    x, given, lengths = torch.randn(T, B, INPUTS), given_for(module), torch.tensor(lengths)
    found = exported(module)(x, lengths, **given)
    assert_close(found, run(module, x, given, lengths), near(cell))


@every_cell
def test_step_by_step_with_the_state_fed_back_is_the_whole(exported, cell):
    module = module_of(cell)
    file, x, given = exported(module), torch.randn(T, B, INPUTS), given_for(module)
    states = [f"{state.name}_0" for state in module.cell.states]
    fed, outputs = dict(given), []
    for step in x.split(1):
        output, *last = file(step, **fed)
        outputs.append(output)
        fed |= dict(zip(states, last, strict=True))
    assert_close([torch.cat(outputs), *last], list(run(module, x, given)), near(cell))


@pytest.mark.parametrize("cell", [cells.LSTM, cells.MGU, cells.SLSTM, cells.IndRNN])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_without_states_every_call_begins_from_zeros(exported, cell, bidirectional):
    module = module_of(cell, num_layers=2, bidirectional=bidirectional)
    file = exported(module, stateful=False)
    assert list(file.inputs) == ["input", "lengths"]
    assert list(file.outputs) == ["output"]
    x, lengths = torch.randn(T, B, INPUTS), torch.tensor([2, 0, 5])
    assert_close(file(x, lengths), run(module, x, {}, lengths)[:1])


@pytest.mark.parametrize("cell", [cells.LSTM, cells.EALSTM])
def test_a_batch_first_module_stays_so(exported, cell):
    module = module_of(cell, batch_first=True)
    file = exported(module)
    assert file.inputs["input"] == ["batch", "time", INPUTS]
    x, given = torch.randn(B, T, INPUTS), given_for(module)
    assert_close(file(x, **given), run(module, x, given))


def test_what_is_written_is_what_eval_computes(exported):
    cell = cells.variational_dropout(cells.LeakyRNN(noise=0.5), x=0.5, rate=0.5)
    module = module_of(cell, num_layers=2, dropout=0.5).train()
    x, given = torch.randn(T, B, INPUTS), given_for(module)
    assert_close(exported(module)(x, **given), run(module.eval(), x, given))


@pytest.mark.parametrize("cell", [cells.LSTM, cells.MGU])
def test_weights_are_what_they_are_in_use(exported, cell):
    module = module_of(cell)
    parametrizations.weight_norm(module, "weight_hh_l0")
    x, given = torch.randn(T, B, INPUTS), given_for(module)
    assert_close(exported(module)(x, **given), run(module, x, given))


def test_double_takes_and_gives_float64_around_a_network_in_float32(exported):
    module = module_of(cells.MGU)
    file = exported(module, double=True)
    x, given = torch.randn(T, B, INPUTS), given_for(module)
    output, last = file(x, **given)
    assert (output.dtype, last.dtype) == (torch.float64, torch.float32)
    assert_close([output.float(), last], list(run(module, x, given)))


LIMITS = [-math.inf, -800.0, -1.5, -1e-30, 0.0, 1e-30, 1.5, 40.0, 800.0, math.inf, math.nan]


@pytest.mark.parametrize("operation", UNIT_BY_UNIT)
@every_number
def test_every_operation_is_torchs_at_its_limits(exported, operation, dtype):
    """Of each limit beside each other; two of three operands are numbers or states."""
    arity = UNIT_BY_UNIT[operation].arity
    second = 3.0 if operation == "power" else "h"
    operands = (("x",), ("x", second), ("x", "h", 2.0))[arity - 1]
    lines = (Line("o", INPUT, operation, operands), Line("r", INPUT, "multiply", ("i", "w")))
    read, *states = (Quantity(name, INPUT) for name in "xhi")
    w = Weight("w", "vector", (Part("w", INPUT),))
    cell = Description("One", read, (), tuple(states), (w,), (), lines, ("o", "r"))
    module = Recurrent(cell, len(LIMITS), len(LIMITS), dtype=dtype)
    x = torch.tensor(LIMITS, dtype=dtype).expand(1, len(LIMITS), -1)
    given = {"h_0": x.transpose(1, 2).contiguous(), "i_0": torch.zeros_like(x)}
    found, expected = exported(module)(x, **given)[0], run(module, x, given)[0]
    close = CLOSE[dtype]
    torch.testing.assert_close(found, expected.to(dtype), rtol=close, atol=close, equal_nan=True)


def test_softplus_in_float64_keeps_its_last_digits(exported):
    class Soft(Cell):
        def step(self, x, h):
            return softplus(h) + weight("w") * mean(x)

    places = [-700.0, -40.0, -20.0, -1.5, -1e-9, 0.0, 1.5, 30.0, 800.0]
    module = Recurrent(Soft, 1, len(places), dtype=torch.float64)
    h = torch.tensor(places, dtype=torch.float64).expand(1, 1, -1)
    found = exported(module)(torch.zeros(1, 1, 1), h_0=h)[0]
    expected = nn.functional.softplus(h, threshold=40.0)
    torch.testing.assert_close(found, expected, rtol=4e-16, atol=0.0)


# --- what goes in and out -------------------------------------------------------------------------


def test_states_and_constants_have_the_cells_names(exported):
    file = exported(module_of(cells.EALSTM, num_layers=2, bidirectional=True))
    state = [4, "batch", H]
    assert file.inputs == {
        "input": ["time", "batch", INPUTS],
        "lengths": ["batch or 1"],
        "static": ["batch", UNITS["static"]],
        "hidden_0": state,
        "cell_0": state,
    }
    assert file.outputs == {
        "output": ["time", "batch", 2 * H],
        "hidden_n": state,
        "cell_n": state,
    }


def test_no_name_of_a_constant_is_in_the_way(exported):
    class Names(Cell):
        sizes = dict.fromkeys(("batch", "time", "shape", "zero", "by_time"), "static")

        def step(self, x, output, *, batch, time, shape, zero, by_time):
            return tanh(linear(x, output, batch, time, shape, zero, by_time))

    module = module_of(Names, batch_first=True)
    x, given = torch.randn(B, T, INPUTS), given_for(module)
    assert_close(exported(module)(x, **given), run(module, x, given))


@every_number
def test_a_stack_of_modules_is_one_graph(exported, dtype):
    first, second = module_of(cells.EALSTM), module_of(cells.GRU, inputs=7, bidirectional=True)
    stack = nn.Sequential(
        first, nn.LayerNorm(H), nn.Linear(H, 7), nn.Tanh(), second, nn.Linear(2 * H, 2)
    ).to(dtype)
    file = exported(stack)
    x, lengths = torch.randn(T, B, INPUTS, dtype=dtype), torch.tensor([5, 2, 3])
    given = given_for(first, prefix="0.", dtype=dtype)
    given |= given_for(second, prefix="4.", dtype=dtype)
    assert list(file.outputs) == ["output", "0.hidden_n", "0.cell_n", "4.hidden_n"]
    output, *last = file(x, lengths, **given)
    with torch.no_grad():
        below, *expected = run(first, x, given, lengths, "0.")
        above, *more = run(second, stack[1:4](below), given, lengths, "4.")
        wanted = stack[5](above)
    close = {torch.float32: 1e-5, torch.float64: 1e-8}[dtype]  # an epsilon is float32 in ONNX
    assert_close(last, [*expected, *more], close)
    real = torch.arange(T)[:, None] < lengths
    assert_close(output[real], wanted[real], close)


def test_it_stands_beside_torchs_and_our_own(exported):
    stack = nn.Sequential(unrolled.LSTM(INPUTS, 6), module_of(cells.MGU, inputs=6), nn.GRU(H, 2))
    assert [node.op_type for node in layers(exported(stack))] == ["LSTM", "Scan", "GRU"]


class Own(Recurrent):
    def forward(self, input, hx=None, lengths=None, **constants):
        return super().forward(input, hx, lengths, **constants)


class NamedOutput(Cell):
    sizes: ClassVar = {"output": "static"}

    def step(self, x, h, *, output):
        return tanh(linear(x, h, output))


def hooked():
    module = module_of(cells.MGU)
    module.register_forward_hook(lambda *_: None)
    return module


def double(*modules):
    return nn.Sequential(module_of(cells.MGU, dtype=torch.float64), *modules)


REFUSED = {
    "bfloat16": (
        lambda: module_of(cells.MGU, dtype=torch.bfloat16),
        r"Recurrent: weight_ih_l0 is torch.bfloat16, and torch.float32 was expected, or float64 in",
    ),
    "numbers of two kinds": (
        lambda: double(nn.Linear(H, 1)),
        r"'1' \(Linear\): weight is torch.float32, and torch.float64 was expected, which is what",
    ),
    "the standard's in float64": (
        lambda: double(unrolled.GRU(H, 2).double()),
        r"'1' \(GRU\): weight_ih_l0 is torch.float64, and torch.float32 was expected",
    ),
    "what is not in float64": (lambda: double(nn.ELU()), r"'1' \(ELU\): .* in float32 alone"),
    "a constant named as the output": (
        lambda: module_of(NamedOutput),
        "the graph would have output twice",
    ),
    "mixed layouts": (
        lambda: nn.Sequential(unrolled.LSTM(2, INPUTS), module_of(cells.MGU, batch_first=True)),
        "module '1' has batch_first=True, module '0' False",
    ),
    "widths": (
        lambda: nn.Sequential(module_of(cells.MGU, bidirectional=True), nn.Linear(H, 1)),
        r"\(Linear\): reads 4 numbers at each step, and what stands before it gives 8",
    ),
    "own forward": (lambda: Own(cells.MGU, INPUTS, H), "Own: has a forward of its own"),
    "hooks": (hooked, "Recurrent: has forward hooks"),
    "no numbers": (lambda: module_of(cells.MGU, device="meta"), "is on the device meta"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_said_is_refused_before_a_file_appears(tmp_path, what):
    make, words = REFUSED[what]
    with pytest.raises(InputError, match=words):
        unrolled.export_onnx(make(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_size_of_a_file_is_that_of_what_multiplies(tmp_path):
    """Of a matrix in blocks all of it, and not what is learned."""
    cell = cells.SLSTM(heads=1000)
    module = Recurrent(cell, 1, 20_000, device="meta")
    module = module.to_empty(device="cpu")
    with pytest.raises(InputError, match="6,400,640,000 bytes as float32"):
        unrolled.export_onnx(module, tmp_path / "model.onnx")

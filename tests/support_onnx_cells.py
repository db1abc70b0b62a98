"""Modules of cells, what they are given, and what they make of it, for their ONNX files."""

from __future__ import annotations

from typing import Any, ClassVar

import onnx
import pytest
import torch

import unrolled
from support_cells import SHIPPED, UNITS, Everything
from unrolled import cells
from unrolled.cells import Cell, Form, linear, mask, mean, noise, sigmoid, tanh, weight
from unrolled.cells.description import Line
from unrolled.cells.options import described
from unrolled.nn import Recurrent

INPUTS, H, T, B = UNITS["input"], UNITS["hidden"], 5, 3
SIZES = [(1, 1), (3, 4), (5, 11)]
"""Rows and steps of the batches that one file is run on."""


class Masked(Cell):
    """Matrices in all forms, in one."""

    def step(self, x, h, c):
        masked = linear(h, bias=False, form=Form(masked=True))
        signed = linear(c, bias=False, form=Form(excitatory=0.5, blocks=2))
        h = tanh(linear(x) + masked)
        return h + linear(h, bias=False, name="turned", form=Form(antisymmetric=True)), signed


class Outside(Cell):
    """States that become what hangs on no state: the input, a constant, random numbers."""

    sizes: ClassVar = {"read": "input", "kept": "static"}

    def step(self, x, h, read, kept, drawn, *, static):
        own = weight()
        scale = mean(own * own) + mean(static)
        return sigmoid(linear(x)) * h * scale + linear(read, kept, drawn), x, static, noise(0.5)


class Learned(Cell):
    """A state that is learned weights alone, once its mask is at rest."""

    def step(self, x, h, kept):
        own, drawn = weight(), mask(0.5, resting=1.0)
        return tanh(linear(x, h) + kept), drawn * own


DESCRIPTIONS = {cell.__name__: cell().description for cell in SHIPPED} | {
    "RNN-relu": cells.RNN(nonlinearity="relu").description,
    "LSTM-no-bias": cells.LSTM(bias=False).description,
    "SLSTM-heads": cells.SLSTM(heads=2).description,
    "LeakyRNN-signs-noise": cells.LeakyRNN(noise=0.1, excitatory=0.5).description,
    "zoneout": cells.zoneout(cells.LSTM, hidden=0.2, cell=0.3),
    "variational": cells.variational_dropout(cells.LSTM, x=0.2, hidden=0.3),
    "Everything": Everything().description,
    "Masked": Masked().description,
    "Outside": Outside().description,
    "Learned": Learned().description,
}
every_cell = pytest.mark.parametrize("cell", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
every_number = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
every_shape = pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}], ids=str
)
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""How near ONNX Runtime's numbers are to ours."""


def near(cell, dtype=torch.float32):
    """The same of a cell: one that divides by the deviation of four units makes much of rounding.

    Then torch's own float32 is as far from float64.
    """
    divides = any(isinstance(line, Line) and line.operation == "mean" for line in cell.lines)
    return CLOSE[dtype] * (20 if divides else 1)


def module_of(cell, inputs=INPUTS, **options):
    """A module whose masks hide something, in eval."""
    others = [size for size in described(cell).sizes if size not in ("input", "hidden")]
    sizes: dict[str, Any] = {f"{size}_size": UNITS[size] for size in others}
    module = Recurrent(cell, inputs, H, **sizes, **options)
    for name, buffer in module.named_buffers():
        if name.startswith("mask_"):
            buffer[::2, 1:] = 0
    return module.eval()


def given_for(module, batch=B, prefix="", **options):
    """Random states and constants by the names that the graph has for them.

    The states are above 0, where all cells are well-conditioned: the sLSTM divides by one.
    """
    depth = module.num_layers * (1 + module.bidirectional)
    found = {
        f"{prefix}{state.name}_0": 0.5
        + torch.rand(depth, batch, module.units[state.size], **options)
        for state in module.cell.states
    }
    for constant in module.cell.constants:
        found[f"{prefix}{constant.name}"] = torch.randn(
            batch, module.units[constant.size], **options
        )
    return found


@torch.no_grad()
def run(module, x, given, lengths=None, prefix=""):
    """The module's output and last states, flat, of what its graph is given: by the equations."""
    hx = [given[f"{prefix}{s.name}_0"] for s in module.cell.states] if given else None
    constants = {c.name: given[f"{prefix}{c.name}"] for c in module.cell.constants}
    with unrolled.backend("reference"):
        output, last = module(x, hx, lengths, **constants)
    return (output, *last)


def layers(file):
    """The recurrent nodes of a file."""
    return [n for n in file.model.graph.node if n.op_type in ("RNN", "LSTM", "GRU", "Scan")]


def attributes(node):
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}

"""The ranges of a cell's lines hold whatever the numbers, and gates are what saturates."""

from __future__ import annotations

import pytest
import torch

from support_cells import SHIPPED, SPECIAL, UNITS, known_for
from unrolled import cells
from unrolled.cells import Cell, exp, hard_sigmoid, hard_tanh, linear, sigmoid, tanh
from unrolled.cells.options import described
from unrolled.cells.ranges import ranges, saturating
from unrolled.scan import equations

GATE, TANH = (0.0, 1.0), (-1.0, 1.0)
GATES = {
    cells.RNN(): {"hidden": TANH},
    cells.RNN("relu"): {},
    cells.LSTM(): {"input": GATE, "forget": GATE, "candidate": TANH, "output": GATE},
    cells.GRU(): {"reset": GATE, "update": GATE, "candidate": TANH},
    cells.SLSTM(): {"candidate": TANH, "output": GATE},
    cells.LeakyRNN(): {},
}


@pytest.mark.parametrize("size", [0.3, 30.0], ids=["small", "large"])
@pytest.mark.parametrize("cell", [*SHIPPED, *SPECIAL], ids=lambda cell: cell.__name__)
def test_no_line_is_ever_outside_of_its_range(cell, size):
    description = described(cell)
    known = {name: size * value.detach() for name, value in known_for(description, 50).items()}
    for draw in description.draws:
        if draw.law == "bernoulli":
            known[draw.name] = (known[draw.name] > 0).double()
    values = equations.Step.of(description, known, UNITS).run(known)
    within = ranges(description)
    for line in description.lines:
        low, high = within.get(line.name, (-torch.inf, torch.inf))
        value = values[line.name][~values[line.name].isnan()]
        assert ((value >= low - 1e-12) & (value <= high + 1e-12)).all(), line


@pytest.mark.parametrize(("cell", "expected"), GATES.items(), ids=lambda value: str(value)[:12])
def test_gates_are_what_saturates(cell, expected):
    assert saturating(described(cell)) == expected


def test_what_is_cut_off_is_a_gate_and_what_is_mixed_is_none():
    class Kinds(Cell):
        def step(self, x, h):
            hard = hard_sigmoid(linear(x, h))
            signed = hard_tanh(linear(x))
            turned = 1 - sigmoid(linear(h))
            rest = 1 - hard
            product = hard * turned
            size = exp(linear(x))
            return tanh(linear(x) * size) * product * rest + signed

    assert saturating(described(Kinds)) == {"hard": GATE, "signed": TANH, "turned": GATE}

"""What a step keeps of a state is told by the equations, and is a derivative of autograd's."""

from __future__ import annotations

import pytest
import torch

from support_cells import SHIPPED, SPECIAL, UNITS, known_for
from unrolled import cells
from unrolled.cells import Cell, linear, sigmoid, tanh, where
from unrolled.cells.description import Sum
from unrolled.cells.options import described
from unrolled.cells.shares import Share, is_learned, kept_share
from unrolled.inspect.steps import of_share
from unrolled.scan import equations

STATES = [(cell, state.name) for cell in [*SHIPPED, *SPECIAL] for state in described(cell).states]


class Held(Cell):
    """All that can be done to a state without mixing it with itself."""

    def step(self, x, h):
        gate = sigmoid(linear(x))
        scaled = -(gate * h / (1 + gate)) + h
        return where(gate > 0.5, scaled - tanh(linear(x)), 2 * h) + gate


CARRIES = ("add", "subtract", "multiply", "divide", "negative", "where")
"""What takes a state on as it is."""


@pytest.mark.parametrize(
    ("cell", "name"), [*STATES, (Held, "h")], ids=lambda value: getattr(value, "__name__", value)
)
def test_it_is_the_derivative_with_sums_and_functions_held_fast(cell, name):
    description = described(cell)
    if (share := kept_share(description, name)) is None:
        return
    known = {key: value.detach() for key, value in known_for(description).items()}
    plain = equations.Step.of(description, known, UNITS).run(known)
    state = known[name].clone().requires_grad_()
    values = {**known, name: state}
    for line in description.lines:
        if isinstance(line, Sum) or line.operation not in CARRIES:
            values[line.name] = plain[line.name]
        else:
            values[line.name] = equations.computed(line, values)
    following = dict(zip([s.name for s in description.states], description.next, strict=True))
    (expected,) = torch.autograd.grad(values[following[name]].sum(), state)
    found = torch.as_tensor(of_share(share, plain), dtype=torch.float64)
    torch.testing.assert_close(found.expand_as(expected), expected)


KEPT = {
    cells.LSTM(): {"hidden": None, "cell": "forget"},
    cells.GRU(): {"hidden": "update"},
    cells.RNN(): {"hidden": None},
    cells.LSTM1997(): {"hidden": None, "cell": 1.0},
    cells.AntisymmetricRNN(): {"hidden": 1.0},
    cells.PeepholeLSTM(): {"hidden": None, "cell": "forget"},
    cells.SLSTM(): {"hidden": None, "cell": "keep", "normaliser": "keep", "stabiliser": None},
    cells.MinGRU(): {"hidden": "_"},
}


@pytest.mark.parametrize(("cell", "expected"), KEPT.items(), ids=lambda value: type(value).__name__)
def test_the_share_of_known_cells(cell, expected):
    description = described(cell)
    for state, value in expected.items():
        share = kept_share(description, state)
        if value is None:
            assert share is None
        elif isinstance(value, str):
            assert share is not None
            assert str(share.value).startswith(value)
        else:
            assert share == Share((), value)


def test_a_state_that_multiplies_itself_has_none():
    class Squared(Cell):
        def step(self, x, h):
            return h * h + linear(x)

    assert kept_share(described(Squared), "h") is None


@pytest.mark.parametrize("bias", [True, False])
def test_a_gate_without_biases_is_not_set(bias):
    description = described(cells.LSTM(bias=bias))
    share = kept_share(description, "cell")
    assert share is not None
    assert is_learned(description, share) == bias

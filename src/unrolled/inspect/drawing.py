"""The cells as the textbooks draw them: lines, boxes and places for values, without a painter.

State lines run along the top from left to right, gates stand in a row, × and + in circles are
elementwise. The LSTM's is the drawing that Olah made common (Understanding LSTM Networks, 2015),
with the gates of torch's equations; the GRU's reset gate acts on W_hn·h + b_hn, as in torch.

A drawing is plain values so that it can be painted twice from one source: by the page of the
report, where its values are live, and by matplotlib. Units are those of its own width and height, y
from the top down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.cells import GRU, LSTM, RNN
from unrolled.cells.built_in import BUILT_IN

Point = tuple[float, float]
Activation = Literal["tanh", "relu"]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Wire:
    """A line through these points; ``role`` is the quantity that it carries."""

    points: tuple[Point, ...]
    role: str
    arrow: bool = False


@dataclass(frozen=True)
class Gate:
    """A layer of weights with its activation; filled up to its value, from 0 or from the middle."""

    center: Point
    text: str
    role: str
    signed: bool = False


@dataclass(frozen=True)
class Operation:
    """An elementwise operation, in a circle: ×, +, tanh, 1 −."""

    center: Point
    text: str
    wide: bool = False


@dataclass(frozen=True)
class Value:
    """A place for a quantity: its symbol, and its value of the step."""

    at: Point
    symbol: str
    role: str
    anchor: Anchor = "start"


@dataclass(frozen=True)
class Drawing:
    """Painted in this order: the body, wires, operations, gates, values."""

    width: float
    height: float
    body: tuple[float, float, float, float]
    wires: tuple[Wire, ...]
    operations: tuple[Operation, ...]
    gates: tuple[Gate, ...]
    values: tuple[Value, ...]


GATE_SIZE = (56.0, 34.0)
RADIUS = 12.0
"""Of an operation's circle; a wide one is an ellipse of twice this width."""

TOP, MIDDLE, ROW, BOTTOM = 92.0, 152.0, 226.0, 286.0
"""The state line, the products, the gates, the line along which h and x arrive."""
WIDTH, HEIGHT, LEFT, RIGHT = 560.0, 362.0, 66.0, 494.0


def _up(x: float, role: str, to: float) -> Wire:
    return Wire(((x, ROW - GATE_SIZE[1] / 2), (x, to)), role, arrow=True)


def _arrivals(gates: tuple[float, ...]) -> tuple[Wire, ...]:
    """h_{t−1} from the left and x_t from below, joined on their way to the gates."""
    x = LEFT + 26
    return (
        Wire(((0, BOTTOM), (gates[-1], BOTTOM)), "hidden_before"),
        Wire(((x, HEIGHT - 22), (x, BOTTOM + 12), (x + 12, BOTTOM)), "read"),
        *(
            Wire(((at, BOTTOM), (at, ROW + GATE_SIZE[1] / 2)), "hidden_before", arrow=True)
            for at in gates
        ),
    )


def _lstm() -> Drawing:
    f, i, g, o, out = 128.0, 202.0, 274.0, 370.0, 444.0
    above = RIGHT - 18
    return Drawing(
        WIDTH,
        HEIGHT,
        (LEFT, 62, RIGHT - LEFT, 250),
        wires=(
            Wire(((0, TOP), (f - RADIUS, TOP)), "cell_before", arrow=True),
            Wire(((f + RADIUS, TOP), (g - RADIUS, TOP)), "kept", arrow=True),
            Wire(((g + RADIUS, TOP), (WIDTH, TOP)), "cell", arrow=True),
            *_arrivals((f, i, g, o)),
            _up(f, "forget", TOP + RADIUS),
            Wire(((i, ROW - 17), (i, MIDDLE), (g - RADIUS, MIDDLE)), "input", arrow=True),
            _up(g, "candidate", MIDDLE + RADIUS),
            Wire(((g, MIDDLE - RADIUS), (g, TOP + RADIUS)), "written", arrow=True),
            Wire(((out, TOP), (out, TOP + 20)), "cell", arrow=True),
            Wire(((out, TOP + 44), (out, ROW - 28 - RADIUS)), "shown", arrow=True),
            Wire(((o, ROW - 17), (o, ROW - 28), (out - RADIUS, ROW - 28)), "output", arrow=True),
            Wire(((out, ROW - 28 + RADIUS), (out, BOTTOM), (WIDTH, BOTTOM)), "hidden", arrow=True),
            Wire(((above, BOTTOM), (above, 26)), "hidden", arrow=True),
        ),
        operations=(
            Operation((f, TOP), "×"),
            Operation((g, TOP), "+"),
            Operation((g, MIDDLE), "×"),
            Operation((out, TOP + 32), "tanh", wide=True),
            Operation((out, ROW - 28), "×"),
        ),
        gates=(
            Gate((f, ROW), "σ", "forget"),
            Gate((i, ROW), "σ", "input"),
            Gate((g, ROW), "tanh", "candidate", signed=True),
            Gate((o, ROW), "σ", "output"),
        ),
        values=(
            Value((2, TOP - 12), "cₜ₋₁", "cell_before"),
            Value(((f + g) / 2, TOP - 12), "f⊙cₜ₋₁", "kept", "middle"),
            Value((WIDTH - 2, TOP - 12), "cₜ", "cell", "end"),
            Value((f - 8, MIDDLE + 4), "f", "forget", "end"),
            Value((i - 8, MIDDLE + 34), "i", "input", "end"),
            Value((g + 8, MIDDLE + 30), "g", "candidate"),
            Value((g + 10, (TOP + MIDDLE) / 2 + 5), "i⊙g", "written"),
            Value(((o + out - RADIUS) / 2, ROW - 34), "o", "output", "middle"),
            Value((2, BOTTOM - 12), "hₜ₋₁", "hidden_before"),
            Value((LEFT + 34, HEIGHT - 8), "xₜ", "read", "middle"),
            Value((WIDTH - 2, BOTTOM - 12), "hₜ", "hidden", "end"),
            Value((above, 18), "hₜ", "hidden", "middle"),
        ),
    )


def _gru() -> Drawing:
    r, z, n, less = 128.0, 268.0, 408.0, 334.0
    scaled, past = 206.0, BOTTOM + 15
    above = RIGHT - 26
    return Drawing(
        WIDTH,
        HEIGHT,
        (LEFT, 62, RIGHT - LEFT, 250),
        wires=(
            Wire(((0, TOP), (z - RADIUS, TOP)), "hidden_before", arrow=True),
            Wire(((LEFT + 14, TOP), (LEFT + 14, BOTTOM), (z, BOTTOM)), "hidden_before"),
            Wire(((LEFT + 38, HEIGHT - 22), (LEFT + 38, BOTTOM + 12), (LEFT + 50, BOTTOM)), "read"),
            Wire(((r, BOTTOM), (r, ROW + 17)), "hidden_before", arrow=True),
            Wire(((z, BOTTOM), (z, ROW + 17)), "hidden_before", arrow=True),
            # h meets the candidate by way of the reset gate alone, x also by itself.
            Wire(
                ((LEFT + 38, past), (n + 14, past), (n + 14, ROW + 17)),
                "read",
                arrow=True,
            ),
            Wire(((scaled, TOP), (scaled, MIDDLE - RADIUS)), "hidden_before", arrow=True),
            Wire(((r, ROW - 17), (r, MIDDLE), (scaled - RADIUS, MIDDLE)), "reset", arrow=True),
            Wire(
                (
                    (scaled, MIDDLE + RADIUS),
                    (scaled, ROW + 38),
                    (n - 14, ROW + 38),
                    (n - 14, ROW + 17),
                ),
                "reset",
                arrow=True,
            ),
            _up(z, "update", TOP + RADIUS),
            Wire(((z, MIDDLE), (less - 18, MIDDLE)), "update", arrow=True),
            Wire(((less + 18, MIDDLE), (n - RADIUS, MIDDLE)), "update", arrow=True),
            _up(n, "candidate", MIDDLE + RADIUS),
            Wire(((z + RADIUS, TOP), (n - RADIUS, TOP)), "kept", arrow=True),
            Wire(((n, MIDDLE - RADIUS), (n, TOP + RADIUS)), "written", arrow=True),
            Wire(((n + RADIUS, TOP), (WIDTH, TOP)), "hidden", arrow=True),
            Wire(((above, TOP), (above, 26)), "hidden", arrow=True),
        ),
        operations=(
            Operation((z, TOP), "×"),
            Operation((n, TOP), "+"),
            Operation((scaled, MIDDLE), "×"),
            Operation((less, MIDDLE), "1 −", wide=True),
            Operation((n, MIDDLE), "×"),
        ),
        gates=(
            Gate((r, ROW), "σ", "reset"),
            Gate((z, ROW), "σ", "update"),
            Gate((n, ROW), "tanh", "candidate", signed=True),
        ),
        values=(
            Value((2, TOP - 12), "hₜ₋₁", "hidden_before"),
            Value(((z + n) / 2, TOP - 12), "z⊙hₜ₋₁", "kept", "middle"),
            Value((WIDTH - 2, TOP - 12), "hₜ", "hidden", "end"),
            Value((r + 8, MIDDLE + 34), "r", "reset"),
            Value((z + 8, MIDDLE + 34), "z", "update"),
            Value((n + 10, MIDDLE + 34), "n", "candidate"),
            Value((n - 10, (TOP + MIDDLE) / 2 + 5), "(1−z)n", "written", "end"),
            Value((LEFT + 38, HEIGHT - 8), "xₜ", "read", "middle"),
            Value((above, 18), "hₜ", "hidden", "middle"),
        ),
    )


def _rnn(activation: Activation) -> Drawing:
    at, above = 280.0, RIGHT - 60
    line, bottom, height = 132.0, 200.0, 262.0
    return Drawing(
        WIDTH,
        height,
        (LEFT, 62, RIGHT - LEFT, 166),
        wires=(
            Wire(((0, bottom), (at, bottom), (at, line + 17)), "hidden_before", arrow=True),
            Wire(((LEFT + 60, height - 22), (LEFT + 60, bottom + 12), (LEFT + 72, bottom)), "read"),
            Wire(((at, line - 17), (at, 92), (WIDTH, 92)), "hidden", arrow=True),
            Wire(((above, 92), (above, 26)), "hidden", arrow=True),
        ),
        operations=(),
        gates=(Gate((at, line), activation, "hidden", signed=True),),
        values=(
            Value((2, bottom - 12), "hₜ₋₁", "hidden_before"),
            Value((LEFT + 60, height - 8), "xₜ", "read", "middle"),
            Value((WIDTH - 2, 82), "hₜ", "hidden", "end"),
            Value((above, 18), "hₜ", "hidden", "middle"),
        ),
    )


_DRAWN: Mapping[Any, Drawing] = {
    LSTM(): _lstm(),
    GRU(): _gru(),
    **{RNN(activation): _rnn(activation) for activation in get_args(Activation)},
}
DRAWINGS: Mapping[str, Drawing] = {mode: _DRAWN[known.cell] for mode, known in BUILT_IN.items()}
"""By torch's name of the cell."""

"""Paints the textbook drawing of a cell by matplotlib, with the values of a step in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline

from unrolled.inspect.drawing import GATE_SIZE, RADIUS, Drawing, Gate, Operation, Point, Value, Wire

STATE = "#33404f"
COLORS = {
    "forget": "#1c5fa8",
    "update": "#1c5fa8",
    "input": "#19753f",
    "written": "#19753f",
    "candidate": "#a8480c",
    "output": "#7a3a9e",
    "reset": "#7a3a9e",
    "hidden": "#a51d51",
    "hidden_before": "#a51d51",
    "read": "#596473",
}
"""By role, as on the report's page: the gates that keep the state have one colour in the LSTM and
the GRU. What is not named is of the state."""
BODY, EDGE = "#f4f6f9", "#d5dbe3"
FONT = 9.5
TITLE = 34.0
"""Room above a drawing for its title, in its own units."""


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure whose axes fill it, one unit a point of 1/72 inch, y from the top down."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=144)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    return figure, ax


def write(ax: Axes, x: float, y: float, text: str, **style: object) -> None:
    """Text in which a dollar is a dollar."""
    ax.text(x, y, text, **{"fontsize": FONT, "color": "black", "parse_math": False, **style})  # type: ignore[arg-type]


def arrow(ax: Axes, points: tuple[Point, ...], color: str = STATE, *, tip: bool = True) -> None:
    """A line through these points, with a tip at its end."""
    style = "-|>,head_length=4,head_width=2" if tip else "-"
    ax.add_patch(
        FancyArrowPatch(
            path=Outline(points),
            arrowstyle=style,
            color=color,
            lw=1.2,
            joinstyle="round",
            capstyle="butt",
        )
    )


def number(value: float) -> str:
    """Three decimals, with a minus sign that is one; of what is large, three digits."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"
    return text.replace("-", "−")


def cell_picture(drawing: Drawing, values: Mapping[str, float], title: str) -> Figure:
    """The drawing with a value for each role of ``values``, and the symbol alone for the others."""
    figure, ax = sheet(drawing.width, drawing.height + TITLE)
    ax.set_ylim(drawing.height, -TITLE)
    write(ax, drawing.width / 2, -TITLE / 2, title, ha="center", va="center", fontsize=11)
    x, y, width, height = drawing.body
    ax.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=10", fc=BODY, ec=EDGE
        )
    )
    for wire in drawing.wires:
        arrow(ax, wire.points, _color(wire.role), tip=wire.arrow)
    for at, role in _branches(drawing.wires):
        ax.add_patch(Ellipse(at, 5, 5, fc=_color(role), ec="none"))
    for operation in drawing.operations:
        _operation(ax, operation)
    for gate in drawing.gates:
        _gate(ax, gate, values.get(gate.role))
    for value in drawing.values:
        _value(ax, value, values.get(value.role))
    return figure


def _color(role: str) -> str:
    return COLORS.get(role, STATE)


def _branches(wires: Sequence[Wire]) -> list[tuple[Point, str]]:
    """Where a wire leaves another or joins it: a dot there tells it from a mere crossing."""
    return [
        (end, wire.role)
        for wire in wires
        for end in (wire.points[0], wire.points[-1])
        if any(_passes(other, end) for other in wires if other is not wire)
    ]


def _passes(wire: Wire, point: Point) -> bool:
    """Whether a point lies on a wire, elsewhere than at its ends."""
    if point in (wire.points[0], wire.points[-1]):
        return False
    (x, y), segments = point, pairwise(wire.points)
    return any(
        (x1 == x == x2 and min(y1, y2) <= y <= max(y1, y2))
        or (y1 == y == y2 and min(x1, x2) <= x <= max(x1, x2))
        for (x1, y1), (x2, y2) in segments
    )


def _operation(ax: Axes, operation: Operation) -> None:
    width = RADIUS * (4 if operation.wide else 2)
    ax.add_patch(Ellipse(operation.center, width, 2 * RADIUS, fc="white", ec=STATE, lw=1.2))
    write(ax, *operation.center, operation.text, ha="center", va="center_baseline")


def _gate(ax: Axes, gate: Gate, value: float | None) -> None:
    """A box that is filled up to its value: from the bottom, or a signed one from the middle."""
    color, (width, height) = COLORS[gate.role], GATE_SIZE
    x, y = gate.center
    left, top = x - width / 2, y - height / 2
    ax.add_patch(Rectangle((left, top), width, height, fc="white", ec="none"))
    if value is not None:
        share = min(max(value, -1.0 if gate.signed else 0.0), 1.0)
        start, reach = (y, height / 2) if gate.signed else (top + height, height)
        ax.add_patch(
            Rectangle((left, start), width, -share * reach, fc=color, alpha=0.35, ec="none")
        )
    if gate.signed:
        for end in (left, left + width - 8):  # where 0 is, without a line through the text
            ax.plot([end, end + 8], [y, y], color=color, lw=1.0)
    ax.add_patch(Rectangle((left, top), width, height, fc="none", ec=color, lw=1.6))
    write(ax, x, y, gate.text, ha="center", va="center_baseline", fontsize=11)


def _value(ax: Axes, value: Value, found: float | None) -> None:
    text = value.symbol if found is None else f"{value.symbol} {number(found)}"
    ha = {"start": "left", "middle": "center", "end": "right"}[value.anchor]
    write(ax, *value.at, text, ha=ha, va="baseline", color=_color(value.role))

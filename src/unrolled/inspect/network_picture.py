"""The network unrolled over a few steps, and its stack with the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from unrolled.cells.description import HIDDEN, INPUT
from unrolled.inspect.painter import BODY, COLORS, EDGE, STATE, arrow, number, sheet, write
from unrolled.inspect.scene import Sizes
from unrolled.inspect.view import View

CELLS_SHOWN = 5
PITCH, MARGIN = 136.0, 52.0
BOX = (78.0, 58.0)
TOP = 84.0
"""Of the unrolled cells."""
MOST_WEIGHTS = 4
"""Of a layer so many matrices are named."""
MOST_LAYERS = 6
"""Of a deeper stack the first ones and the last are drawn."""
LAYER = (300.0, 66.0)
APART = 38.0
"""From one layer's box up to the next."""
SIDE = 230.0
"""Room for the shapes of the states, on either side of the stack."""


def network_picture(view: View) -> Figure:
    """One layer unrolled around the step: x below, h above, the state handed on between."""
    recorded = view.recorded
    count = min(CELLS_SHOWN, recorded.steps)
    first = max(0, min(view.place - count // 2, recorded.steps - count))
    width = 2 * MARGIN + PITCH * count - (PITCH - BOX[0])
    figure, ax = sheet(width, TOP + _box_height(view) + 64)
    write(ax, width / 2, 20, view.heading, ha="center", va="center", fontsize=11)
    for index in range(count):
        left = MARGIN + PITCH * index
        _unrolled_cell(ax, view, first + index, left, is_first=index == 0)
    _handed_on(ax, view, first, count)
    return figure


def _box_height(view: View) -> float:
    """Room for a line for each state."""
    return max(BOX[1], 28.0 * len(view.recorded.states) + 8)


def _unrolled_cell(ax: Axes, view: View, place: int, left: float, *, is_first: bool) -> None:
    values, output = view.values(place), view.recorded.states[0]
    middle, bottom = left + BOX[0] / 2, TOP + _box_height(view)
    now = place == view.place
    _box(
        ax,
        left,
        TOP,
        BOX[0],
        bottom - TOP,
        edge=COLORS["hidden"] if now else EDGE,
        lw=2.0 if now else 1.2,
    )
    size = min(11.0, 1.5 * BOX[0] / len(view.cell))  # near enough for it to fit
    write(ax, middle, TOP + 22, view.cell, ha="center", va="center", fontsize=size)
    step = view.recorded.first + place
    write(ax, middle, TOP + 41, f"t = {step}", ha="center", va="center", fontsize=8.5)
    arrow(ax, ((middle, bottom + 32), (middle, bottom)), COLORS["read"])
    below = "x" if view.layer.layer == 0 else f"{output.symbol} of layer {view.layer.layer - 1}"
    if view.layer.layer and not is_first:
        below = ""
    text = f"{below} {number(values['read'])}" if "read" in values else below
    write(ax, middle, bottom + 46, text, ha="center", va="center", color=COLORS["read"])
    arrow(ax, ((middle, TOP), (middle, TOP - 28)), COLORS["hidden"])
    above = output.symbol
    if output.name in values:
        above += f" {number(values[output.name])}"
    write(ax, middle, TOP - 38, above, ha="center", va="center", color=COLORS["hidden"])


def _handed_on(ax: Axes, view: View, first: int, count: int) -> None:
    """The states between the cells, before the first and after the last."""
    states = [state.name for state in reversed(view.recorded.states)]
    rows = range(len(states))
    heights = [TOP + 34.0] if len(states) == 1 else [TOP + 18.0 + 28.0 * row for row in rows]
    reverse = view.layer.direction == "reverse"
    for state, y in zip(states, heights, strict=True):
        color = COLORS["hidden"] if state == view.recorded.output else STATE
        for gap in range(count + 1):
            start = MARGIN + PITCH * gap - (PITCH - BOX[0])
            ends = (max(start, 2.0), min(start + PITCH - BOX[0], ax.get_xlim()[1] - 2))
            arrow(ax, tuple((x, y) for x in (ends[::-1] if reverse else ends)), color)
            # What is handed over a gap is what the cell at its far end received.
            receiver = gap - 1 if reverse else gap
            if 0 <= receiver < count:
                values, role = view.values(first + receiver), view.layer.before(state)
            else:
                values, role = view.values(first + (0 if reverse else count - 1)), state
            if role in values:
                text = number(values[role])
                middle = sum(ends) / 2
                write(ax, middle, y - 7, text, ha="center", va="baseline", fontsize=8, color=color)


def stack_picture(view: View) -> Figure:
    """Layers and directions with the shapes of their tensors, in letters and in numbers."""
    sizes = view.recorded.sizes
    levels = _levels(sizes.layers)
    across = LAYER[0] * (1.6 if sizes.directions > 1 else 1.0)
    width, left = across + 2 * SIDE, SIDE
    height = 118 + len(levels) * (LAYER[1] + APART)
    figure, ax = sheet(width, height)
    middle = width / 2
    write(ax, middle, 18, _stack_title(view), ha="center", va="center", fontsize=11)
    out = view.recorded.out
    after = f"D·{out}" if sizes.directions > 1 else out
    y = height - 28
    text = f"input {shape(_rows(sizes, 'I'), sizes)}"
    write(ax, middle, y + 6, text, ha="center", va="center", color=COLORS["read"])
    for place, level in enumerate(levels):
        top = y - APART - LAYER[1]
        color = COLORS["hidden" if place else "read"]
        arrow(ax, ((middle, y - 4), (middle, top + LAYER[1])), color)
        if place:
            text = shape(_rows(sizes, after), sizes)
            write(ax, middle + 8, y - 16, text, va="center", color=color, fontsize=8.5)
        if level is None:
            write(ax, middle, top + LAYER[1] / 2, "⋮", ha="center", va="center", fontsize=16)
        else:
            _layer(ax, view, level, left, top, across)
        y = top
    arrow(ax, ((middle, y), (middle, y - 28)), COLORS["hidden"])
    text = f"output {shape(_rows(sizes, after), sizes)}"
    write(ax, middle, y - 38, text, ha="center", va="center", color=COLORS["hidden"])
    _states(ax, view, left, left + across, y + LAYER[1] / 2)
    return figure


def _stack_title(view: View) -> str:
    sizes = view.recorded.sizes
    layers = "1 layer" if sizes.layers == 1 else f"{sizes.layers} layers"
    directions = "1 direction" if sizes.directions == 1 else f"{sizes.directions} directions"
    first = ", batch first" if sizes.batch_first else ""
    return f"{view.cell}: {layers}, {directions}{first}"


def _levels(layers: int) -> list[int | None]:
    """The layers to draw, None for those that are left out."""
    if layers <= MOST_LAYERS:
        return list(range(layers))
    return [*range(MOST_LAYERS - 2), None, layers - 1]


def _weights(view: View, level: int) -> dict[str, list[str]]:
    """The shapes of a layer's matrices in letters: 4·H rows, and H columns."""
    recorded = view.recorded
    sizes, units = recorded.sizes, recorded.units
    out = f"D·{recorded.out}" if sizes.directions > 1 else recorded.out
    letters = {
        INPUT: "I" if level == 0 else out,
        HIDDEN: "H",
        recorded.cell.output.size: recorded.out,
    }
    found = {}
    for weight in recorded.cell.weights:
        if weight.columns is not None:
            of_rows = {part.size for part in weight.parts}
            rows = str(sum(units[part.size] for part in weight.parts))
            if len(of_rows) == 1 and (letter := letters.get(of_rows.pop())) is not None:
                count = len(weight.parts)
                rows = f"{count}·{letter}" if count > 1 else letter
            columns = letters.get(weight.columns, str(units[weight.columns]))
            found[weight.name] = [rows, columns]
    return dict(list(found.items())[:MOST_WEIGHTS])


def _layer(ax: Axes, view: View, level: int, left: float, top: float, across: float) -> None:
    """Its boxes, one for each direction, with the shapes of their weights."""
    sizes = view.recorded.sizes
    gap = 12.0 if sizes.directions > 1 else 0.0
    single = (across - gap) / sizes.directions
    if sizes.directions > 1:  # what goes in and out is of both
        _box(ax, left - 8, top, across + 16, LAYER[1], face="white")
    inset = 4.0 if sizes.directions > 1 else 0.0
    weights = _weights(view, level)
    for direction in range(sizes.directions):
        x = left + direction * (single + gap)
        _box(ax, x, top + inset, single, LAYER[1] - 2 * inset)
        name = f"layer {level}"
        if sizes.directions > 1:
            name += " ←" if direction else " →"
        middle = x + single / 2
        lines = [f"{kind} {shape(letters, sizes)}" for kind, letters in weights.items()]
        spread = LAYER[1] / (len(lines) + 2)
        write(ax, middle, top + spread, name, ha="center", va="center", fontsize=10.5)
        for line, text in enumerate(lines, start=2):
            write(ax, middle, top + line * spread, text, ha="center", va="center", fontsize=8)
    y, edge = top + LAYER[1] / 2, 8.0 if sizes.directions > 1 else 0.0
    arrow(ax, ((left - 40, y), (left - edge, y)), STATE)
    arrow(ax, ((left + across + edge, y), (left + across + 40, y)), STATE)


def _states(ax: Axes, view: View, left: float, right: float, y: float) -> None:
    """The shapes of the states that all layers begin with, and end with."""
    sizes = view.recorded.sizes
    names = {state.symbol: state.letter for state in view.recorded.states}
    for line, (name, last) in enumerate(names.items()):
        letters = ["L·D" if sizes.directions > 1 else "L", "B", last]
        text, at = shape(letters, sizes), y - 6 * (len(names) - 1) + 14 * line
        write(ax, left - 46, at, f"{name}₀ {text}", ha="right", va="center", fontsize=8.5)
        write(ax, right + 46, at, f"{name}ₙ {text}", ha="left", va="center", fontsize=8.5)


def _rows(sizes: Sizes, last: str) -> list[str]:
    return ["B", "T", last] if sizes.batch_first else ["T", "B", last]


def shape(letters: Sequence[str], sizes: Sizes) -> str:
    """Such as "[T, B, I] = [200, 1, 3]"; a letter may be a product, as 4·H is."""
    values = {
        "T": sizes.steps,
        "B": sizes.batch,
        "I": sizes.inputs,
        "H": sizes.hidden,
        "P": sizes.output,
        "D": sizes.directions,
        "L": sizes.layers,
    }

    def product(factors: str) -> int:
        whole = 1
        for factor in factors.split("·"):
            whole *= values[factor] if factor in values else int(factor)
        return whole

    return f"[{', '.join(letters)}] = [{', '.join(str(product(one)) for one in letters)}]"


def _box(
    ax: Axes,
    left: float,
    top: float,
    width: float,
    height: float,
    *,
    face: str = BODY,
    edge: str = EDGE,
    lw: float = 1.2,
) -> None:
    style = "round,pad=0,rounding_size=8"
    ax.add_patch(
        FancyBboxPatch((left, top), width, height, boxstyle=style, fc=face, ec=edge, lw=lw)
    )

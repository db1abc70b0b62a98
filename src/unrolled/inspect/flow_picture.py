"""The drawing of any cell, made of its equations, as an SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from torch.nn import Module

from unrolled.cells import Cell, Description
from unrolled.cells.equations import equations
from unrolled.cells.options import described
from unrolled.errors import abridged
from unrolled.inspect.flow_heights import PAD, ROW
from unrolled.inspect.flow_layout import Box, Label, Point, Sheet, Wire, lay_out
from unrolled.nn import Recurrent

LIGHT = {
    "page": "#ffffff",
    "ink": "#1a212b",
    "line": "#d5dbe3",
    "panel": "#f4f6f9",
    "state": "#33404f",
    "hidden": "#a51d51",
    "read": "#596473",
    "1": "#1c5fa8",
    "2": "#19753f",
    "3": "#a8480c",
    "4": "#7a3a9e",
}
DARK = {
    "page": "#0f131a",
    "ink": "#e5eaf1",
    "line": "#303946",
    "panel": "#171c24",
    "state": "#c2ccd8",
    "hidden": "#ff86b0",
    "read": "#9aa7b7",
    "1": "#6fb4ff",
    "2": "#67cf92",
    "3": "#f5a052",
    "4": "#cf9bef",
}
"""The colours of the report's page; named lines have those with numbers, by turns."""
NUMBERED = 4

FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SHAPES = {
    "text": f"font: 12px {FONT}",
    ".title": "font-size: 15px; font-weight: bold",
    ".sign": "font-size: 15px",
    ".wire": "fill: none; stroke-width: 1.6; stroke-linecap: round",
    ".node": "stroke-width: 1.5",
}
HUES = ("state", "hidden", "read", *(f"n{i}" for i in range(1, NUMBERED + 1)))


class Picture(str):
    """An SVG, which notebooks show."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


def draw(
    cell: Cell | type[Cell] | Description | Recurrent, path: str | Path | None = None
) -> Picture:
    """Draws one step of a cell, made of its equations: what is computed of what.

    The states come in on the left and go out on the right, the input and what else is given come in
    from below, and the output leaves at the top. A box holds a sum of products, an operation, or a
    chain of operations written out; a circle is an operation on two values, unit by unit. Names are
    those of ``print(cell)``, the equations. The same cell gives the same picture.

    Args:
        cell: a :class:`~unrolled.Cell`, its class or its description, or a
            :class:`~unrolled.Recurrent`, whose layers all have one cell.
        path: the file, by convention ``.svg``; None writes none.

    Returns:
        The SVG, as text. A notebook shows it. It is light or dark as its reader likes it, has a
        title, and describes itself by the equations.

    Raises:
        InputError: it has more values than anybody would find their way in.
        TypeError: it is nothing of these.
        OSError: the file can't be written.
    """
    if isinstance(cell, Module) and not isinstance(cell, Recurrent):
        raise TypeError(
            f"draw takes a Cell, a class of one, a description or a Recurrent, got the module "
            f"{type(cell).__name__}. Of torch's cells the descriptions are in unrolled.cells: "
            "draw(unrolled.cells.LSTM)"
        )
    description = cell.cell if isinstance(cell, Recurrent) else described(cell)
    picture = Picture(svg(lay_out(description), description))
    if path is not None:
        Path(path).write_text(picture, encoding="utf-8")
    return picture


def svg(sheet: Sheet, description: Description, *, within_page: bool = False) -> str:
    """The drawing of a cell as an SVG.

    It needs nothing else, or, with ``within_page``, a page that has :func:`style`.
    """
    color = _colors(description)
    left, top, right, bottom = sheet.body
    size = f'width="{sheet.width:g}" height="{sheet.height:g}"'
    name = escape(abridged(description.name))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {sheet.width:g} '
        f'{sheet.height:g}" class="unrolled-cell" role="img">',
        f"<title>{name}: one step</title>",
        f"<desc>{escape(equations(description))}</desc>",
        *([] if within_page else [f"<style>{style()}</style>"]),
        f'<rect class="page" {size}/>',
        f'<rect class="body" x="{left:g}" y="{top:g}" width="{right - left:g}" '
        f'height="{bottom - top:g}" rx="10"/>',
        f'<text class="title" x="{left:g}" y="28">{name}</text>',
        *(_wire(wire, color) for wire in sheet.wires),
        *(
            f'<circle class="dot {color.get(hue, "read")}" {_at(at)} r="3"/>'
            for at, hue in sheet.dots
        ),
        *(_box(box, color) for box in sheet.boxes),
        *(_label(label, color) for label in sheet.labels),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colors(description: Description) -> dict[str, str]:
    """The class of each state and named line: the output's, the other states', or a number."""
    found = {state.name: "state" for state in description.states}
    found[description.output.name] = "hidden"
    named = (name for name in description.named if name not in found)
    return {name: f"n{1 + i % NUMBERED}" for i, name in enumerate(named)} | found


def style() -> str:
    """The rules, each for what stands in a drawing alone: the page around it has its own.

    Colours are written out, since not all that draws an SVG knows variables.
    """

    def of(rules: Mapping[str, str]) -> str:
        return "\n".join(
            f"{', '.join(f'.unrolled-cell {one}' for one in selector.split(', '))} {{ {rule} }}"
            for selector, rule in rules.items()
        )

    dark = f"@media (prefers-color-scheme: dark) {{\n{of(_colored(DARK))}\n}}"
    return "\n".join(["", of(SHAPES), of(_colored(LIGHT)), dark, ""])


def _colored(colors: Mapping[str, str]) -> dict[str, str]:
    rules = {
        "text": f"fill: {colors['ink']}",
        ".page, .node": f"fill: {colors['page']}",
        ".body": f"fill: {colors['panel']}; stroke: {colors['line']}",
    }
    for name in HUES:
        color = colors[name.removeprefix("n")]
        rules[f".wire.{name}, .node.{name}"] = f"stroke: {color}"
        rules[f".tip.{name}, .dot.{name}, .label.{name}"] = f"fill: {color}"
    return rules


def _at(point: Point) -> str:
    return f'cx="{point[0]:.1f}" cy="{point[1]:.1f}"'


def _wire(wire: Wire, color: Mapping[str, str]) -> str:
    """A line, and its arrowhead, inside of which the line ends."""
    points, name = list(wire.points), color.get(wire.hue, "read")
    tip = ""
    if wire.arrow:
        (x0, y0), (x1, y1) = points[-2:]
        dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0) if x0 == x1 else 0
        corners = [(x1, y1)] + [(x1 - 8 * dx + s * dy, y1 - 8 * dy + s * dx) for s in (4, -4)]
        tip = f'<polygon class="tip {name}" points="{_points(corners)}"/>'
        points[-1] = (x1 - 5 * dx, y1 - 5 * dy)
    return f'<polyline class="wire {name}" points="{_points(points)}"/>{tip}'


def _points(points: list[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _box(box: Box, color: Mapping[str, str]) -> str:
    name, text = color.get(box.node.hue, "read"), box.node.text
    if box.node.shape == "circle":
        shape = f'<circle class="node {name}" {_at((box.x, box.y))} r="{box.width / 2:g}"/>'
    else:
        x, y = box.x - box.width / 2, box.y - box.height / 2
        shape = (
            f'<rect class="node {name}" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="4"/>'
        )
    middle = box.node.shape == "circle" or len(text) == 1
    x = box.x if middle else box.x - box.width / 2 + PAD
    top = box.y - ROW * (len(text) - 1) / 2 + 4
    anchor = ' text-anchor="middle"' if middle else ""
    sign = ' class="sign"' if box.node.shape == "circle" else ""
    rows = [
        f'<text x="{x:.1f}" y="{top + ROW * i:.1f}"{anchor}{sign}>{escape(row)}</text>'
        for i, row in enumerate(text)
    ]
    return shape + "".join(rows)


def _label(label: Label, color: Mapping[str, str]) -> str:
    name = color.get(label.hue, "read")
    at = f'x="{label.x:.1f}" y="{label.y:.1f}"'
    return f'<text class="label {name}" {at}>{escape(label.text)}</text>'


__all__ = ["Picture", "draw", "style", "svg"]

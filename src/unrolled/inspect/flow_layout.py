"""Where everything of a drawing of a cell stands: boxes, lines between them, and their names.

From left to right. Between two columns each value has a track of its own, on which its line goes up
and down; beside a column there is room for the names of what leaves it. So no name lies on another,
on a box or on a line that goes up and down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from unrolled.cells.description import Description
from unrolled.errors import InputError, abridged
from unrolled.inspect.flow import OUTPUT, Node, flow
from unrolled.inspect.flow_heights import CIRCLE, GAP, PAD, Heights, Port
from unrolled.inspect.flow_order import Order
from unrolled.inspect.flow_tracks import Net

Point = tuple[float, float]

MOST_NODES = 400
"""So many values a drawing may have: more take long to lay out, and nobody sees through them."""

LETTER = 7.3
"""The width of a letter in 12 px of a monospaced font."""
MARGIN, TRACK = 12.0, 11.0
"""Between a column and the lines beside it, and between two of these."""
HEAD, FOOT, SIDE = 64.0, 44.0, 14.0
"""Room above the body, below it, and at the edges of the picture."""


@dataclass(frozen=True)
class Box:
    """A node: where its middle is, and how large it is."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """A text, by the left end of its base line."""

    x: float
    y: float
    text: str
    hue: str


@dataclass(frozen=True)
class Wire:
    """A line through these points, which carries the value of this name."""

    name: str
    points: tuple[Point, ...]
    hue: str
    arrow: bool


@dataclass
class Sheet:
    """A drawing: y from the top down, in pixels. ``body`` is the cell: left, top, right, bottom."""

    width: float = 0.0
    height: float = 0.0
    body: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    dots: list[tuple[Point, str]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def text_width(text: str) -> float:
    """Of a text in the drawing's font, in pixels; what is wide in East Asia is two letters wide."""
    return LETTER * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def lay_out(description: Description) -> Sheet:
    """The drawing of a cell."""
    nodes = flow(description)
    if len(nodes) > MOST_NODES:
        raise InputError(
            f"{abridged(description.name)}: a drawing has at most {MOST_NODES} boxes, and this one "
            f"would have {len(nodes)}. Its equations are what print(cell) shows"
        )
    return _Layout(Order(nodes)).sheet


class _Layout:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.columns = order.columns
        self.sheet = Sheet()
        self.heights = Heights(order)
        self.y = self.heights.y
        self.left, self.right = self._widths()
        self._place()
        for column in range(1, len(self.columns)):
            self._wire(column)
        self._enter()
        self._leave()

    def _width(self, column: int, key: str) -> float:
        node = self.order.nodes[key]
        if self.order.is_passing(column, key) or node.shape in ("state", "given", "next"):
            return 0.0
        if node.shape == "circle":
            return CIRCLE
        return max(map(text_width, node.text)) + 2 * PAD

    # From left to right

    def _widths(self) -> tuple[list[float], list[float]]:
        """The left and right edge of every column."""
        self.nets = [self.heights.nets(column) for column in range(1, len(self.columns))]
        before = [text_width(self.order.nodes[key].text[0]) for key in self._states()]
        x = SIDE + max(before, default=0.0) + 4
        left, right = [x], [x + self._entrance()]
        for column in range(1, len(self.columns)):
            x = right[-1] + self._label_room(column - 1) + MARGIN
            x += TRACK * (1 + max((net.track for net in self.nets[column - 1]), default=-1))
            left.append(x + MARGIN)
            right.append(x + MARGIN + max(self._width(column, k) for k in self.columns[column]))
        return left, right

    def _states(self) -> list[str]:
        return [key for key in self.columns[0] if self.order.nodes[key].shape == "state"]

    def _given(self) -> list[str]:
        return [key for key in self.columns[0] if self.order.nodes[key].shape == "given"]

    def _entrance(self) -> float:
        """How wide the part is where what is read comes in from below."""
        return MARGIN + sum(text_width(self.order.nodes[k].text[0]) + LETTER for k in self._given())

    def _label_room(self, column: int) -> float:
        """What the names of a column's values need beside it."""
        widest = max(self._width(column, key) for key in self.columns[column])
        rooms = [
            text_width(self.order.nodes[key].label) + 8 - (widest - self._width(column, key)) / 2
            for key in self.columns[column]
            if not self.order.is_passing(column, key) and self.order.nodes[key].label
        ]
        return max([0.0, *rooms])

    # The drawing

    def _place(self) -> None:
        """Boxes and their names, and the body around all."""
        tops, bottoms = [], []
        for column, keys in enumerate(self.columns):
            for key, y in zip(keys, self.y[column], strict=True):
                tops.append(y - self.heights.height(column, key) / 2)
                bottoms.append(y + self.heights.height(column, key) / 2)
        shift = HEAD + GAP - min(tops)
        self.y = [[y + shift for y in ys] for ys in self.y]
        self.nets = [[net.moved(shift) for net in nets] for nets in self.nets]
        bottom = max(bottoms) + shift + GAP
        self.body = (self.left[0], HEAD, self.right[-1], bottom)
        after = [text_width(self.order.nodes[key].text[0]) for key in self.columns[-1]]
        self.sheet.body = self.body
        self.sheet.width = self.right[-1] + MARGIN + max(after) + SIDE + 8
        self.sheet.height = bottom + FOOT
        for column, keys in list(enumerate(self.columns))[1:-1]:
            middle = (self.left[column] + self.right[column]) / 2
            for key, y in zip(keys, self.y[column], strict=True):
                if not self.order.is_passing(column, key):
                    self._box(column, key, middle, y)

    def _box(self, column: int, key: str, x: float, y: float) -> None:
        node, width = self.order.nodes[key], self._width(column, key)
        self.sheet.boxes.append(Box(node, x, y, width, self.heights.height(column, key)))
        if node.label:
            self.sheet.labels.append(Label(x + width / 2 + 5, y - 5, node.label, node.hue))

    def _line(
        self,
        name: str,
        points: Sequence[Point],
        *,
        hue: str | None = None,
        arrow: bool = False,
    ) -> None:
        """A line that carries the value of this name, in its colour unless another is given."""
        shade = self.order.nodes[name].hue if hue is None else hue
        self.sheet.wires.append(Wire(name, tuple(points), shade, arrow))

    def _edge(self, column: int, key: str, side: int) -> float:
        """Where a line meets a node: at its left (−1) or its right (1)."""
        if column in (0, len(self.columns) - 1):
            return self.left[column] if column else self.right[0]
        middle = (self.left[column] + self.right[column]) / 2
        if self.order.is_passing(column, key):
            return middle
        return middle + side * self._width(column, key) / 2

    def _wire(self, column: int) -> None:
        """The lines that lead to this column."""
        nets = {net.name: net for net in self.nets[column - 1]}
        for net in nets.values():
            self._trunk(column, net)
        ports = self.heights.ports[column]
        for key, y, entering in zip(self.columns[column], self.y[column], ports, strict=True):
            for port in entering:
                self._branch(column, key, y, port, nets[port[0]])

    def _track(self, column: int, net: Net) -> float:
        """Where a value's line goes up and down on its way to a column."""
        count = 1 + max(other.track for other in self.nets[column - 1])
        return self.left[column] - MARGIN - TRACK * (count - net.track - 0.5)

    def _trunk(self, column: int, net: Net) -> None:
        """The part of a line that several branches have in common."""
        if net.track < 0 or len(net.ends) < 2:
            return
        x0, x = self._edge(column - 1, net.name, 1), self._track(column, net)
        hue = self.order.nodes[net.name].hue
        self._line(net.name, ((x0, net.start), (x, net.start)))
        self.sheet.wires.append(
            Wire(net.name, ((x, net.span[0]), (x, net.span[1])), hue, arrow=False)
        )
        self.sheet.dots += [((x, y), hue) for y in net.branches()]

    def _branch(self, column: int, key: str, y: float, port: Port, net: Net) -> None:
        """The part of a line that leads to this key, from where it leaves the others."""
        name, offset, mark = port
        hue, end = self.order.nodes[name].hue, y + offset
        x0, x1 = self._edge(column - 1, name, 1), self._edge(column, key, -1)
        is_passing = self.order.is_passing(column, key)
        if not is_passing and self.order.nodes[key].shape == "circle":
            x1 += CIRCLE / 2 - (CIRCLE**2 / 4 - offset**2) ** 0.5
        points = [(x0, end), (x1, end)]
        if net.track >= 0:
            x = self._track(column, net)
            is_alone = len(net.ends) == 1
            points = [(x0, net.start), (x, net.start)] if is_alone else []
            points += [(x, end), (x1, end)]
        is_arrow = not is_passing and column < len(self.columns) - 1
        self._line(name, points, arrow=is_arrow)
        if mark:
            self.sheet.labels.append(Label(x1 - 15, end + (15 if offset > 0 else -5), mark, hue))

    def _enter(self) -> None:
        """The states from the left, and what is read from below."""
        bottom = self.body[3]
        for key in self._states():
            y, node = self.y[0][self.columns[0].index(key)], self.order.nodes[key]
            self.sheet.wires.append(
                Wire(key, ((SIDE, y), (self.right[0], y)), node.hue, arrow=False)
            )
            self.sheet.labels.append(Label(SIDE, y - 6, node.text[0], node.hue))
        x = self.left[0] + MARGIN
        for key in self._given():
            y, node = self.y[0][self.columns[0].index(key)], self.order.nodes[key]
            width = text_width(node.text[0])
            middle = x + width / 2
            points = ((middle, bottom + 18), (middle, y), (self.right[0], y))
            self._line(key, points)
            self.sheet.labels.append(Label(x, bottom + 34, node.text[0], node.hue))
            x += width + LETTER

    def _leave(self) -> None:
        """The states to the right, the output to the top as well."""
        right, end = self.right[-1], self.sheet.width - SIDE
        for key, y in zip(self.columns[-1], self.y[-1], strict=True):
            node = self.order.nodes[key]
            name = node.reads[0].name
            self._line(name, ((right, y), (end, y)), hue=node.hue, arrow=True)
            self.sheet.labels.append(Label(right + 8, y - 6, node.text[0], node.hue))
            if key == OUTPUT:
                x, half = right - MARGIN / 2, text_width(node.text[0]) / 2
                self._line(name, ((x, y), (x, HEAD - 24)), hue=node.hue, arrow=True)
                self.sheet.dots.append(((x, y), node.hue))
                self.sheet.labels.append(Label(x - half, HEAD - 31, node.text[0], node.hue))


__all__ = ["Box", "Label", "Point", "Sheet", "Wire", "lay_out", "text_width"]

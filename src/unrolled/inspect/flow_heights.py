"""At which height the nodes of a drawing stand, so that few lines have to bend."""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.inspect.flow_order import Order
from unrolled.inspect.flow_tracks import NEAR, Net, clashes, tracks

Port = tuple[str, float, str]
"""What enters a node: its name, how far from the node's middle, and the mark beside its line."""
Want = tuple[float, float]
"""Where a node would like to be, and how much."""

ROW, PAD, GAP = 16.0, 9.0, 17.0
"""The height of a row of text, the room about it in a box, and the least between two nodes."""
CIRCLE, LANE, BESIDE = 26.0, 8.0, 24.0
"""The heights of a circle, of a line that passes, and of what comes from beside."""
PORTS = 9.0
"""Between the lines that enter a box."""
ROUNDS = 14
SHIFTS = [sign * (NEAR + 1) * i for i in range(8) for sign in (1, -1)]
"""By so much a column is moved, the first that will do, where lines would lie on one another."""


class Heights:
    """The heights of an order's keys.

    Attributes:
        y: the middle of each key of each column, from the top down.
        ports: what enters each key of each column.
    """

    def __init__(self, order: Order) -> None:
        self.order, self.columns = order, order.columns
        self.ports = [
            [self._ports(c, k) if c else [] for k in keys] for c, keys in self._numbered()
        ]
        self.y = [_stacked([self.height(c, key) for key in keys]) for c, keys in self._numbered()]
        self._align()

    def _numbered(self) -> list[tuple[int, list[str]]]:
        return list(enumerate(self.columns))

    def height(self, column: int, key: str) -> float:
        """How much room a key takes, up and down."""
        node = self.order.nodes[key]
        if self.order.is_passing(column, key):
            return LANE
        if node.shape == "circle":
            return CIRCLE
        if node.shape != "box":
            return ROW if node.shape == "next" else BESIDE
        return max(ROW * len(node.text) + PAD, PORTS * (len(node.reads) + 1), CIRCLE)

    def nets(self, column: int) -> list[Net]:
        """What leads to this column, a net for each value, with its track."""
        ends: dict[str, list[float]] = {}
        for y, entering in zip(self.y[column], self.ports[column], strict=True):
            for name, offset, _ in entering:
                ends.setdefault(name, []).append(y + offset)
        place = {name: i for i, name in enumerate(self.columns[column - 1])}
        return tracks([Net(n, self.y[column - 1][place[n]], tuple(e)) for n, e in ends.items()])

    def _ports(self, column: int, key: str) -> list[Port]:
        """What enters from the column before, from the top down: how far from the middle."""
        if self.order.is_passing(column, key):
            return [(key, 0.0, "")]
        place = {name: i for i, name in enumerate(self.columns[column - 1])}
        found = sorted(self.order.nodes[key].reads, key=lambda read: place[read.name])
        step = 7.0 if self.order.nodes[key].shape == "circle" else PORTS / 2
        return [
            (read.name, (2 * i + 1 - len(found)) * step, read.mark) for i, read in enumerate(found)
        ]

    def _align(self) -> None:
        """Columns come to stand where their lines are short, and then where they are straight."""
        columns = range(len(self.columns))
        for turn in range(ROUNDS):
            for column in columns if turn % 2 == 0 else reversed(columns):
                self._balance(column)
        # Where lanes have to move apart, they do so all along their way.
        for column in columns[1:]:
            self._straighten(column, self._wanted_before(column))
        for column in reversed(columns[:-1]):
            self._straighten(column, self._wanted_after(column))
        for column in columns[1:]:
            self._straighten(column, self._wanted_before(column))
            self._keep_apart(column)

    def _balance(self, column: int) -> None:
        """Each key goes amid what leads to it and what it leads to."""
        sides = zip(self._wanted_before(column), self._wanted_after(column), strict=True)
        wanted = [[height for height, _ in (*before, *after)] for before, after in sides]
        middles = [sum(w) / len(w) if w else self.y[column][i] for i, w in enumerate(wanted)]
        self._move(column, middles, [1.0 + len(w) for w in wanted])

    def _straighten(self, column: int, wanted: Sequence[Sequence[Want]]) -> None:
        """Each key goes where one of its lines is straight: that of a lane, if it has one."""
        found = []
        for y, places in zip(self.y[column], wanted, strict=True):
            strongest = max((weight for _, weight in places), default=1.0)
            heights = [height for height, weight in places if weight == strongest] or [y]
            found.append((min(heights, key=lambda height: abs(height - y)), strongest))
        self._move(column, [height for height, _ in found], [weight for _, weight in found])

    def _keep_apart(self, column: int) -> None:
        """Moves a column a little, where lines on their way to it would lie on one another."""
        straight = self.y[column]
        for shift in SHIFTS:
            self.y[column] = [y + shift for y in straight]
            if not clashes(self.nets(column)):
                break

    def _wanted_before(self, column: int) -> list[list[Want]]:
        """For each key: where it would have to be for each line that enters it to be straight."""
        if column == 0:
            return [[] for _ in self.columns[0]]
        height = dict(zip(self.columns[column - 1], self.y[column - 1], strict=True))
        return [
            [(height[name] - offset, self._weight(column, key)) for name, offset, _ in entering]
            for key, entering in zip(self.columns[column], self.ports[column], strict=True)
        ]

    def _wanted_after(self, column: int) -> list[list[Want]]:
        """The same for each line that leaves it."""
        found: dict[str, list[Want]] = {key: [] for key in self.columns[column]}
        if column + 1 < len(self.columns):
            after = column + 1
            for key, y, entering in zip(
                self.columns[after], self.y[after], self.ports[after], strict=True
            ):
                for name, offset, _ in entering:
                    found[name].append((y + offset, self._weight(after, key)))
        return list(found.values())

    def _weight(self, column: int, key: str) -> float:
        """How much it matters that a line to this key is straight."""
        return 1e6 if self.order.is_passing(column, key) else 1.0

    def _move(self, column: int, wanted: Sequence[float], weights: Sequence[float]) -> None:
        heights = [self.height(column, key) for key in self.columns[column]]
        self.y[column] = _apart(wanted, weights, heights)


def _stacked(heights: Sequence[float]) -> list[float]:
    """The middles of things that stand one below the other, about 0."""
    tops = [sum(heights[:i]) + GAP * i for i in range(len(heights))]
    middle = (sum(heights) + GAP * (len(heights) - 1)) / 2
    return [top + height / 2 - middle for top, height in zip(tops, heights, strict=True)]


def _apart(
    wanted: Sequence[float], weights: Sequence[float], heights: Sequence[float]
) -> list[float]:
    """As near to where each wants to be as their order and their heights allow (least squares).

    Measured from where each would stand if all stood close, the places must not fall: what would
    fall is pooled, by the pool-adjacent-violators algorithm.
    """
    close = _stacked(heights)
    pools: list[tuple[float, float, int]] = []
    for want, weight, base in zip(wanted, weights, close, strict=True):
        mean, total, count = want - base, weight, 1
        while pools and pools[-1][0] > mean:
            other, mass, more = pools.pop()
            mean = (mean * total + other * mass) / (total + mass)
            total, count = total + mass, count + more
        pools.append((mean, total, count))
    moved = [mean for mean, _, count in pools for _ in range(count)]
    return [base + move for base, move in zip(close, moved, strict=True)]


__all__ = ["CIRCLE", "GAP", "PAD", "ROW", "Heights", "Port"]

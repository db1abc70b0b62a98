"""Which column a node of a drawing stands in, and in what order the columns' nodes stand.

A column is a list of keys, from the top down. A value that is read further to the right than in the
next column has a place in each column between, under its own name; so what leads from one column to
the next leads from key to key.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, permutations

from unrolled.inspect.flow import Node

MOST_ORDERS = 24
"""So many orders of the states are tried."""
SWEEPS = 6

Columns = list[list[str]]


class Order:
    """The columns of a flow.

    Attributes:
        nodes: by name.
        level: the column of each.
        columns: the keys of each column, from the top down.
    """

    def __init__(self, flow: Sequence[Node]) -> None:
        self.nodes: Mapping[str, Node] = {node.name: node for node in flow}
        self.level = _levels(flow)
        states = [node.name for node in flow if node.shape == "state"]
        given = [node.name for node in flow if node.shape == "given"]
        after = [node.name for node in flow if node.shape == "next"]
        middle = self._middle(flow)
        found: list[tuple[tuple[int, int], Columns]] = []
        for order in islice(permutations(range(len(states))), MOST_ORDERS):
            columns = [[*(states[i] for i in order), *given], *map(list, middle)]
            columns.append([after[i] for i in order])
            found.append(self._untangled(columns))
        self.columns = min(found, key=lambda one: one[0])[1]

    def is_passing(self, column: int, key: str) -> bool:
        """Whether a value only passes through this column."""
        return self.level[key] != column

    def reads(self, column: int, key: str) -> list[str]:
        """The keys of the column before that lead to this one."""
        if self.is_passing(column, key):
            return [key]
        return [read.name for read in self.nodes[key].reads]

    def _middle(self, flow: Sequence[Node]) -> Columns:
        """The columns between what was before and what comes after, in the order of the lines."""
        last = max(self.level.values())
        reach = dict(self.level)
        for node in flow:
            for read in node.reads:
                reach[read.name] = max(reach[read.name], self.level[node.name] - 1)
        return [
            [n.name for n in flow if self.level[n.name] <= column <= reach[n.name]]
            for column in range(1, last)
        ]

    def _untangled(self, columns: Columns) -> tuple[tuple[int, int], Columns]:
        """By barycentres, forward and backward; the best of what was met, and how bad it is.

        What was before keeps its order.
        """
        best = (self._tangle(columns), [list(column) for column in columns])
        for _ in range(SWEEPS):
            for step in (1, -1):
                for column in list(range(1, len(columns)))[::step]:
                    if column - step < len(columns):
                        self._sort(columns, column, column - step)
                tangle = self._tangle(columns)
                if tangle < best[0]:
                    best = (tangle, [list(column) for column in columns])
        return best

    def _sort(self, columns: Columns, column: int, beside: int) -> None:
        place = {key: i for i, key in enumerate(columns[beside])}
        sums: dict[str, list[int]] = {key: [] for key in columns[column]}
        for source, target in self._links(columns, max(column, beside)):
            here, there = (target, source) if beside < column else (source, target)
            sums[here].append(place[there])
        stays = {key: float(i) for i, key in enumerate(columns[column])}
        columns[column].sort(
            key=lambda key: sum(sums[key]) / len(sums[key]) if sums[key] else stays[key]
        )

    def _links(self, columns: Columns, column: int) -> list[tuple[str, str]]:
        """From the keys of the column before to those of this one."""
        return [(source, key) for key in columns[column] for source in self.reads(column, key)]

    def _tangle(self, columns: Columns) -> tuple[int, int]:
        """How often links cross, and how far up and down they go."""
        crossings = distance = 0
        for column in range(1, len(columns)):
            before = {key: i for i, key in enumerate(columns[column - 1])}
            here = {key: i for i, key in enumerate(columns[column])}
            ends = [(before[s], here[t]) for s, t in self._links(columns, column)]
            crossings += _inversions(ends)
            distance += sum(abs(one - other) for one, other in ends)
        return crossings, distance


def _levels(flow: Sequence[Node]) -> dict[str, int]:
    """By the longest path; what reads nothing stands just before what reads it."""
    level: dict[str, int] = {}
    for node in flow:
        if node.shape in ("state", "given"):
            level[node.name] = 0
        elif node.shape != "next":
            level[node.name] = 1 + max((level[read.name] for read in node.reads), default=0)
    last = 1 + max(level.values())
    level |= {node.name: last for node in flow if node.shape == "next"}
    for free in flow:
        if free.shape == "box" and not free.reads:
            readers = [
                level[node.name]
                for node in flow
                if any(read.name == free.name for read in node.reads)
            ]
            level[free.name] = min(readers, default=last) - 1
    return level


def _inversions(ends: Iterable[tuple[int, int]]) -> int:
    """How many pairs of links cross."""
    seen: list[int] = []
    found = 0
    by_source: dict[int, list[int]] = {}
    for source, target in ends:
        by_source.setdefault(source, []).append(target)
    for source in sorted(by_source):
        # Links of one source don't cross, so that they are counted before they are added.
        found += sum(len(seen) - bisect_left(seen, target + 1) for target in by_source[source])
        for target in by_source[source]:
            insort(seen, target)
    return found


__all__ = ["Order"]

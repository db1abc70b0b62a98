"""What a step forward keeps for the step back, and what is computed again of it.

As little as possible: of all sets of values from which the step back has what it reads, one with
the fewest numbers, and of these the one from which the least is computed again. It is a minimal cut
of the graph of the step's lines, between what can't be computed again (sums of products, and what
is taken over all units) and what the step back reads; Ford & Fulkerson 1956.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from unrolled.cells.description import Line, Sum, reads
from unrolled.cells.staging import is_reduction

_START, _END = "start", "end"

Edge = tuple[str, str]


def kept(
    lines: Collection[Sum | Line],
    there: Collection[str],
    read: Collection[str],
    whole: Collection[str],
    units: Mapping[str, int],
) -> list[str]:
    """The names of the values to keep, in the order of the lines.

    Args:
        lines: of the step forward.
        there: what the step back has anyway.
        read: what it reads.
        whole: what it multiplies by, which is not computed again.
        units: how many numbers each line has.
    """
    found = {line.name for line in lines if line.name in whole and line.name not in there}
    free = {*there, *found}
    graph = _Graph()
    for line in lines:
        if line.name in free:
            continue
        graph.join(f"{line.name} in", f"{line.name} out", units[line.name])
        if isinstance(line, Sum) or is_reduction(line):
            graph.join(_START, f"{line.name} in", None)
        else:
            for name in reads(line):
                if name not in free:
                    graph.join(f"{name} out", f"{line.name} in", None)
        if line.name in read:
            graph.join(f"{line.name} out", _END, None)
    near_the_end = graph.cut()
    cut = {
        line.name
        for line in lines
        if f"{line.name} out" in near_the_end and f"{line.name} in" not in near_the_end
    }
    return [line.name for line in lines if line.name in cut | found]


class _Graph:
    """Places, and edges between them through which so much can flow; None for any amount."""

    def __init__(self) -> None:
        self._room: dict[str, dict[str, float]] = {}

    def join(self, a: str, b: str, room: int | None) -> None:
        self._room.setdefault(a, {})[b] = float("inf") if room is None else room
        self._room.setdefault(b, {}).setdefault(a, 0)

    def cut(self) -> set[str]:
        """What lies behind the minimal cut that is nearest to the end."""
        while path := self._path():
            room = min(self._room[a][b] for a, b in path)
            for a, b in path:
                self._room[a][b] -= room
                self._room[b][a] += room
        behind, todo = {_END}, [_END]
        while todo:
            b = todo.pop()
            for a in self._room.get(b, {}):
                if a not in behind and self._room[a][b] > 0:
                    behind.add(a)
                    todo.append(a)
        return behind

    def _path(self) -> list[Edge]:
        """A way from the start to the end on which something can still flow."""
        came: dict[str, str] = {_START: ""}
        todo = [_START]
        for a in todo:
            for b, room in self._room.get(a, {}).items():
                if room > 0 and b not in came:
                    came[b] = a
                    todo.append(b)
        if _END not in came:
            return []
        path, b = [], _END
        while b != _START:
            path.append((came[b], b))
            b = came[b]
        return path

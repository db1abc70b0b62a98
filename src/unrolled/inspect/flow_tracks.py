"""Between two columns of a drawing: which line goes up and down where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

SAME = 0.5
"""Two heights nearer than this are one."""
NEAR = 5.0
"""Lines nearer than this would be taken for one."""
OVERLAP = 1000
"""A line that lies on another is as bad as so many crossings."""
MOST_TRIED = 6
"""Of so many nets all orders are tried."""


@dataclass(frozen=True)
class Net:
    """A value on its way from one column to the next.

    Attributes:
        name: of the value.
        start: the height at which it leaves the left column.
        ends: the heights at which it enters the right one.
        track: where it goes up and down, from the left; −1 for what goes straight through.
    """

    name: str
    start: float
    ends: tuple[float, ...]
    track: int = -1

    @property
    def is_straight(self) -> bool:
        """Whether it needs no track."""
        return all(abs(end - self.start) < SAME for end in self.ends)

    @property
    def span(self) -> tuple[float, float]:
        """From where to where it goes up and down."""
        return min(self.start, *self.ends), max(self.start, *self.ends)

    def branches(self) -> list[float]:
        """The heights at which it divides, where a dot says that this is no crossing."""
        if self.track < 0:
            return []
        low, high = self.span
        inner = {self.start, *self.ends} - {low, high}
        starts_at_end = self.start in (low, high) and self.start in self.ends
        return sorted(inner | ({self.start} if starts_at_end else set()))

    def moved(self, shift: float) -> Net:
        """The same, further down."""
        ends = tuple(end + shift for end in self.ends)
        return replace(self, start=self.start + shift, ends=ends)


def tracks(nets: Sequence[Net]) -> list[Net]:
    """The nets with their tracks, so that none lies on another and few cross."""
    turning = [net for net in nets if not net.is_straight]
    cost = {(a.name, b.name): _cost(a, b) for a in turning for b in turning if a.name != b.name}
    if len(turning) <= MOST_TRIED:
        best = min(permutations(turning), key=lambda order: _total(order, cost), default=())
    else:
        best = _improved(turning, cost)
    place = {net.name: i for i, net in enumerate(best)}
    return [replace(net, track=place.get(net.name, -1)) for net in nets]


def clashes(nets: Sequence[Net]) -> bool:
    """Whether a line lies on another all the same: two that change places can't be kept apart."""
    turning = [net for net in nets if net.track >= 0]
    return any(_cost(a, b) >= OVERLAP for a in turning for b in turning if a.track < b.track)


def _cost(left: Net, right: Net) -> int:
    """Of having one to the left of the other: crossings, and lines that lie on one another."""
    found = 0
    for y, (low, high) in [(right.start, left.span), *((end, right.span) for end in left.ends)]:
        found += low + SAME < y < high - SAME
    found += OVERLAP * sum(abs(end - right.start) < NEAR for end in left.ends)
    return found


def _total(order: Sequence[Net], cost: dict[tuple[str, str], int]) -> int:
    return sum(cost[a.name, b.name] for i, a in enumerate(order) for b in order[i + 1 :])


def _improved(nets: Sequence[Net], cost: dict[tuple[str, str], int]) -> tuple[Net, ...]:
    """Each net in turn goes to the place that is best for it, as long as that helps."""
    order = list(nets)
    total = _total(order, cost)
    while True:
        for net in nets:
            others = [other for other in order if other is not net]
            tries = [[*others[:i], net, *others[i:]] for i in range(len(order))]
            order = min(tries, key=lambda one: _total(one, cost))
        if (found := _total(order, cost)) >= total:
            return tuple(order)
        total = found


__all__ = ["Net", "clashes", "tracks"]

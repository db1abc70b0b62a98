"""The stages of a step: what can be computed together, block of units by block.

Within a stage every line has the same number of units, and reads of what the stage computes only
what stands in the same block. What multiplies a whole vector, or comes of all units of a row, is
for a later stage than the one that computes these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from unrolled.cells.derive import BackSum
from unrolled.cells.description import Line, Sum
from unrolled.cells.lowering import Step, read_by

REDUCTIONS = ("mean", "total")
"""The operations that make one number of a row's units."""

After = Mapping[str, tuple[str, ...]]
"""Names that a line has to come after, besides those that it reads."""


@dataclass
class Stage:
    """Lines of one size, in the order in which they are computed."""

    size: str
    sums: list[Sum] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    reductions: list[Line] = field(default_factory=list)
    back_sums: list[BackSum] = field(default_factory=list)

    def steps(self) -> list[Step]:
        """All, in their order."""
        return [*self.sums, *self.lines, *self.reductions, *self.back_sums]

    def add(self, step: Step) -> None:
        """Adds a line of any kind."""
        if isinstance(step, Sum):
            self.sums.append(step)
        elif isinstance(step, BackSum):
            self.back_sums.append(step)
        elif is_reduction(step):
            self.reductions.append(step)
        else:
            self.lines.append(step)


def is_reduction(step: Step) -> bool:
    """Whether it makes one number of a row's units."""
    return isinstance(step, Line) and step.operation in REDUCTIONS


def staged(steps: list[Step], sizes: Mapping[str, str], after: After) -> list[Stage]:
    """The lines in stages.

    Args:
        steps: the lines.
        sizes: of every name.
        after: what some have to come after.
    """
    steps = _ordered(steps, after)
    levels = _levels(steps, sizes, after)
    _sink(steps, sizes, after, levels)
    by_level: list[list[Step]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for step in steps:
        by_level[levels[step.name]].append(step)
    found: list[Stage] = []
    for here in by_level:
        stages: dict[str, Stage] = {}
        for step in here:
            if not isinstance(step, BackSum):
                size = _computed_in(step, sizes)
                stages.setdefault(size, Stage(size)).add(step)
        for step in here:
            if isinstance(step, BackSum):  # once all of the level is computed
                last = list(stages.values())[-1] if stages else Stage(step.size)
                stages.setdefault(last.size, last).add(step)
        found += stages.values()
    return found


def _ordered(steps: list[Step], after: After) -> list[Step]:
    """The same in an order in which each comes after what it reads, else as they stand."""
    made = {step.name: step for step in steps}
    found: dict[str, Step] = {}
    begun: set[str] = set()
    todo = [(step, False) for step in reversed(steps)]
    while todo:
        step, is_due = todo.pop()
        if is_due:
            found[step.name] = step
        if step.name in begun:
            continue
        begun.add(step.name)
        todo.append((step, True))
        names = (*after.get(step.name, ()), *reversed(read_by(step)))
        todo += [(made[name], False) for name in names if name in made and name not in found]
    return list(found.values())


def in_runs(lines: list[Line], last: Collection[str]) -> list[Line]:
    """The lines of a stage in an order in which many follow others of the same operation.

    The core looks at an operation once for all that follow each other. Those in ``last`` are last.
    """
    place = {line.name: i for i, line in enumerate(lines)}
    awaited = [{place[name] for name in read_by(line) if name in place} for line in lines]
    readers: list[list[int]] = [[] for _ in lines]
    for i, names in enumerate(awaited):
        for name in names:
            readers[name].append(i)
    late, done = {place[name] for name in last if name in place}, [False] * len(lines)
    ready: dict[str, list[int]] = {}  # by operation, the first of each on top
    newly = [i for i, names in enumerate(awaited) if not names]
    found: list[Line] = []
    first = 0
    while len(found) < len(lines):
        for i in newly:
            if i not in late and not done[i]:
                heappush(ready.setdefault(lines[i].operation, []), i)
        queues = [queue for queue in ready.values() if queue]
        before = ready.get(found[-1].operation) if found else None
        if queues:
            chosen = heappop(before or min(queues))
        else:
            first = next(i for i in range(first, len(lines)) if not done[i])
            chosen = first
        done[chosen] = True
        found.append(lines[chosen])
        for i in readers[chosen]:
            awaited[i].discard(chosen)
        newly = [i for i in readers[chosen] if not awaited[i]]
    return found


def _computed_in(step: Step, sizes: Mapping[str, str]) -> str:
    """The size of the stage that computes it: of a reduction, that of what is reduced."""
    if isinstance(step, Line) and is_reduction(step):
        return sizes[str(step.operands[0])]
    return step.size


def _levels(steps: list[Step], sizes: Mapping[str, str], after: After) -> dict[str, int]:
    """How many stages at least come before each line's."""
    levels: dict[str, int] = {}
    made: dict[str, Step] = {}
    for step in steps:
        least = [levels[n] + _apart(made[n], step, sizes) for n in read_by(step) if n in made]
        least += [
            levels[name] + _apart_in_time(made[name], step, sizes)
            for name in after.get(step.name, ())
            if name in made
        ]
        levels[step.name] = max(least, default=0)
        made[step.name] = step
    return levels


def _apart(made: Step, reader: Step, sizes: Mapping[str, str]) -> int:
    """How many stages after it at least a reader of it comes."""
    if isinstance(made, BackSum) or is_reduction(made) or isinstance(reader, Sum):
        return 1
    if isinstance(reader, BackSum):
        return 0
    return int(_computed_in(made, sizes) != _computed_in(reader, sizes))


def _apart_in_time(before: Step, step: Step, sizes: Mapping[str, str]) -> int:
    """How many stages after it at least that comes which may overwrite what it reads."""
    if isinstance(before, Sum | BackSum) or is_reduction(before):
        return 1
    if isinstance(step, BackSum):
        return 0
    return int(_computed_in(before, sizes) != _computed_in(step, sizes))


def _sink(
    steps: list[Step], sizes: Mapping[str, str], after: After, levels: dict[str, int]
) -> None:
    """Moves lines to where they are read, if there is no more to hand over by that."""
    made = {step.name: step for step in steps}
    awaited = {name for names in after.values() for name in names}
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in read_by(step):
            readers.setdefault(name, []).append(step)
    for step in reversed(steps):
        own = {name for name in read_by(step) if name in made}
        if isinstance(step, BackSum) or is_reduction(step) or len(own) > 1:
            continue
        if step.name in readers and step.name not in awaited:
            latest = min(levels[r.name] - _apart(step, r, sizes) for r in readers[step.name])
            levels[step.name] = max(latest, levels[step.name])

"""Where the values of a step lie, and the step in the form in which the core is given it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unrolled.cells.derive import BackSum
from unrolled.cells.description import Line, Operand, Sum
from unrolled.cells.lowering import Step, read_by
from unrolled.cells.staging import Stage, in_runs, staged

KINDS = (
    "number",
    "weight",
    "input",
    "constant",
    "before",
    "after",
    "kept",
    "buffer",
    "scratch",
    "derivative",
    "d_state",
    "d_input",
    "d_constant",
)
"""Where an operand can lie, in the core's order; csrc/program.h says what each is."""

CHEAP = ("add", "subtract", "multiply", "divide", "negative", "multiply_add", "subtract_product")
"""Operations that cost less than to hand their result from stage to stage."""

Place = tuple[str, int]
"""A kind, and which of it."""

Rows = tuple[int, int, int]
"""The number of a weight, the first row, how many rows."""


class Equations:
    """Lines, with a place for every value."""

    def __init__(
        self,
        lines: list[Step],
        sizes: Mapping[str, str],
        places: Mapping[str, Place],
        units: Mapping[str, int],
        rows: Callable[[str, int], Rows],
        number: Callable[[float], int],
    ) -> None:
        """The lines to compute; what is there before has a size and a place already.

        Args:
            lines: in an order in which they can be computed.
            sizes: of every name.
            places: of what is there before, and of what has to lie somewhere.
            units: how many numbers each size has.
            rows: where a part of a matrix or bias is.
            number: the place of a number among all numbers.
        """
        self.lines = lines
        self.sizes = {**sizes, **{line.name: line.size for line in lines}}
        self.places = dict(places)
        self.units, self.rows, self.number = units, rows, number
        self._after: dict[str, tuple[str, ...]] = {}
        self._overwritten: dict[str, str] = {}
        self._late: set[str] = set()
        self._operands: dict[tuple[int, int, int], int] = {}
        self._buffers: list[int] = []
        self._names = 0
        self._scratch = 0

    # --- results ----------------------------------------------------------------------------------

    def put(self, value: Operand, place: Place, size: str) -> str:
        """Has a value lie at a place: where it is computed, if it can be, or else a copy of it.

        Gives the name under which it lies there.
        """
        is_made = any(s.name == value for s in self.lines if not isinstance(s, BackSum))
        if is_made and value not in self.places and self.sizes[str(value)] == size:
            self.places[str(value)] = place
            return str(value)
        if not is_made and value in self.places:
            # It may be written over by another copy: so it is read before all copies are made.
            value = self._add(Line(self._named(place), size, "copy", (value,)))
        return self.copy(value, place, size)

    def overwrites(self, name: str, value: str) -> None:
        """Notes that what lies where ``name`` is put is another value, which ends by that."""
        self._overwritten[name] = value

    def comes_after(self, name: str, others: tuple[str, ...]) -> None:
        """Has a line come after these."""
        self._after[name] = (*self._after.get(name, ()), *others)

    def copy(self, value: Operand, place: Place, size: str) -> str:
        """Has a value copied to a place once all of its stage is computed."""
        name = self._add(Line(self._named(place), size, "copy", (value,)), place)
        self._late.add(name)
        return name

    def _add(self, line: Line, place: Place | None = None) -> str:
        self.lines.append(line)
        self.sizes[line.name] = line.size
        if place is not None:
            self.places[line.name] = place
        return line.name

    def _named(self, place: Place) -> str:
        self._names += 1
        return f"{place[0]} {place[1]}, line {self._names}"

    def buffer(self, size: str) -> Place:
        """A place that is handed from stage to stage."""
        self._buffers.append(self.units[size])
        return "buffer", len(self._buffers) - 1

    # --- the order --------------------------------------------------------------------------------

    def _stages(self) -> list[Stage]:
        """The stages in an order in which no value is written over that is still to be read."""
        for _ in range(2 * len(self.lines) + 2):
            stages = staged(self.lines, self.sizes, self._after)
            for stage in stages:
                stage.lines = in_runs(stage.lines, self._late)
            if (early := self._too_early(stages)) is None:
                return stages
            self._postpone(*early)
        raise AssertionError("values that wait for each other")

    def _too_early(self, stages: list[Stage]) -> tuple[str, tuple[str, ...]] | None:
        """A line that writes over a value, and who reads that afterwards."""
        for position, stage in enumerate(stages):
            steps = list(stage.steps())
            for number, step in enumerate(steps):
                if (value := self._overwritten.get(step.name)) is None:
                    continue
                later = [step for other in stages[position + 1 :] for step in other.steps()]
                # Sums read whole vectors, of which other blocks are written before.
                reads_whole = isinstance(step, Line | Sum)
                after = [*(stage.sums if reads_whole else ()), *steps[number + 1 :]]
                readers = tuple(s.name for s in (*after, *later) if value in read_by(s))
                if readers:
                    return step.name, readers
        return None

    def _postpone(self, name: str, readers: tuple[str, ...]) -> None:
        """Has it computed elsewhere, and copied to its place after these."""
        if name in self._late:
            self.comes_after(name, readers)
            return
        place, value = self.places.pop(name), self._overwritten.pop(name)
        copy = self.copy(name, place, self.sizes[name])
        self.comes_after(copy, readers)
        self.overwrites(copy, value)

    # --- the core's form --------------------------------------------------------------------------

    def handed(self) -> tuple[Any, ...]:
        """Operands, stages, places in scratch and buffers, as csrc/linked.h takes them."""
        stages = self._stages()
        self._compute_again(stages)
        self._place_what_crosses(stages)
        found = [self._stage(stage) for stage in stages]
        return list(self._operands), found, self._scratch, self._buffers

    def _compute_again(self, stages: list[Stage]) -> None:
        """Has a stage compute a value of an earlier one again, where that is cheaper than a buffer.

        It is where all that the value is made of is in memory anyway, or is computed again, too.
        """
        home = {s.name: number for number, stage in enumerate(stages) for s in stage.steps()}
        crossing = {
            name
            for number, stage in enumerate(stages)
            for step in stage.steps()
            for name in read_by(step)
            if home.get(name, number) != number
        }
        written_over = set(self._overwritten.values())
        cheap: dict[str, Line] = {}
        for stage in stages:
            for line in stage.lines:
                operands = read_by(line)
                at_hand = all(o in self.places or o in crossing for o in operands)
                if (
                    line.name in crossing - self.places.keys()
                    and line.operation in CHEAP
                    and at_hand
                    and written_over.isdisjoint(operands)
                ):
                    cheap[line.name] = line
        for number, stage in enumerate(stages):
            self._add_again(stage, number, home, cheap)

    def _add_again(
        self, stage: Stage, number: int, home: Mapping[str, int], cheap: Mapping[str, Line]
    ) -> None:
        again: dict[str, Line] = {}

        def renamed(line: Line) -> Line:
            operands = tuple(own(o) if isinstance(o, str) else o for o in line.operands)
            return replace(line, operands=operands)

        def own(name: str) -> str:
            if name not in cheap or home[name] == number:
                return name
            if name not in again:
                new = replace(renamed(cheap[name]), name=f"{name} again, {number}")
                again[name] = new
                self.sizes[new.name] = new.size
            return again[name].name

        lines = [renamed(line) for line in stage.lines]
        # What is made of others comes after them: that is the order in which they were asked for.
        stage.lines = [*again.values(), *lines]

    def _place_what_crosses(self, stages: list[Stage]) -> None:
        """Buffers for what another stage reads, or what is read as a whole.

        A buffer is another value's once all stages are done that read the one before.
        """
        home = {s.name: number for number, stage in enumerate(stages) for s in stage.steps()}
        last: dict[str, int] = {}
        for number, stage in enumerate(stages):
            whole: list[Step] = [*stage.sums, *stage.reductions]
            for step in [*whole, *stage.lines]:
                for name in read_by(step):
                    if name in home and (home[name] != number or step in whole):
                        last[name] = number
            for made in [s.name for s in stage.reductions] + [s.name for s in stage.back_sums]:
                last.setdefault(made, number)
        free: dict[str, list[Place]] = {}
        ends: dict[int, list[str]] = {}  # who needs a buffer no longer than until that stage
        for number, stage in enumerate(stages):
            for name in [s.name for s in stage.steps() if s.name in last]:
                if name not in self.places:
                    size = self.sizes[name]
                    self.places[name] = free[size].pop() if free.get(size) else self.buffer(size)
                    ends.setdefault(last[name], []).append(name)
            for name in ends.get(number, ()):
                free.setdefault(self.sizes[name], []).append(self.places[name])

    def operand(self, value: Operand) -> int:
        """The number of an operand that is not in scratch."""
        if not isinstance(value, str):
            return self._listed(("number", self.number(float(value))), 1)
        return self._listed(self.places[value], self.units[self.sizes[value]])

    def _listed(self, place: Place, units: int) -> int:
        kind, index = place
        key = (KINDS.index(kind), index, units)
        return self._operands.setdefault(key, len(self._operands))

    def _stage(self, stage: Stage) -> tuple[Any, ...]:
        scratch = _Scratch(stage, self.places)

        def of(value: Operand) -> int:
            if isinstance(value, str) and (place := scratch.place(value)) is not None:
                return self._listed(("scratch", place), self.units[stage.size])
            return self.operand(value)

        sums = _in_groups(stage.sums)
        for total in sums:
            scratch.take(total.name)
        totals = [self._total(total, of(total.name)) for total in sums]
        instructions = []
        for number, line in enumerate(stage.lines):
            operands = [of(operand) for operand in line.operands]
            scratch.leave(number)
            scratch.take(line.name)
            instructions.append((line.operation, of(line.name), operands))
        reductions = [
            (self.operand(line.name), self.operand(line.operands[0]), line.operation == "mean")
            for line in stage.reductions
        ]
        self._scratch = max(self._scratch, scratch.size)
        back = [total for back_sum in stage.back_sums for total in self.back_totals(back_sum)]
        return self.units[stage.size], totals, instructions, reductions, back

    def _total(self, line: Sum, to: int) -> tuple[Any, ...]:
        terms = [
            (*self.rows(product.weight, product.part)[:2], self.operand(product.of))
            for product in line.products
        ]
        return to, terms, [self.rows(bias.weight, bias.part)[:2] for bias in line.biases]

    def back_totals(self, line: BackSum) -> list[Any]:
        """The products of a step back."""
        raise NotImplementedError  # a step forward has none


class _Scratch:
    """Places for what a stage computes and reads alone; each is taken again once it is read."""

    def __init__(self, stage: Stage, places: Mapping[str, Place]) -> None:
        self.size = 0
        self._elsewhere = places
        self._taken: dict[str, int] = {}
        self._free: list[int] = []
        last = {n: i for i, line in enumerate(stage.lines) for n in (line.name, *read_by(line))}
        self._ends: dict[int, list[str]] = {}
        for name, number in last.items():
            self._ends.setdefault(number, []).append(name)

    def place(self, name: str) -> int | None:
        """Where it lies, or None for what lies elsewhere."""
        return self._taken.get(name)

    def take(self, name: str) -> None:
        """Gives it a place, if it has none elsewhere."""
        if name not in self._elsewhere:
            if not self._free:
                self._free.append(self.size)
                self.size += 1
            self._taken[name] = self._free.pop()

    def leave(self, number: int) -> None:
        """Takes back the places of what this line is the last to read."""
        for name in self._ends.get(number, ()):
            if name in self._taken:
                self._free.append(self._taken[name])


def _in_groups(sums: list[Sum]) -> list[Sum]:
    """Those that multiply the same stand side by side."""
    groups: dict[tuple[str, ...], list[Sum]] = {}
    for line in sums:
        groups.setdefault(tuple(product.of for product in line.products), []).append(line)
    return [line for group in groups.values() for line in group]

"""What a step is given, and where it lies, for a program of the compiled core."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from unrolled.cells.derive import BackSum
from unrolled.cells.description import Description, Line, Product, Sum, Weight
from unrolled.cells.detached import undetached
from unrolled.cells.lowering import Step, fused, lowered, needed
from unrolled.cells.placing import Equations, Place, Rows
from unrolled.cells.staging import is_reduction

MOST_WEIGHTS, MOST_SUMMED = 64, 128
"""So many weights, and parts of them whose gradients are summed, the core takes."""


class NotLinkedError(Exception):
    """The core has no way to run this; the message says why."""


@dataclass(frozen=True)
class Kept:
    """What a forward pass keeps of a step of a row, [width], for the backward pass.

    ``places`` says where each value begins; ``after`` of each state where it lies after the step,
    None for the first, which is the output.
    """

    places: Mapping[str, int]
    after: tuple[int | None, ...]
    width: int


class Given:
    """What a step is given, and where it lies."""

    def __init__(self, cell: Description, units: Mapping[str, int], draws: bool) -> None:
        self.described, self.cell, self.units = cell, undetached(cell), units
        cell = self.cell
        multiplied = {product.of for line in cell.sums for product in line.products}
        drawn = [d for d in cell.draws if draws or d.name in multiplied]
        self.resting = {d.name: d.resting for d in cell.draws if d not in drawn}
        of_steps = [d.name for d in drawn if draws and d.each == "step"]
        self.inputs = (cell.input.name, *of_steps)
        of_rows = [d.name for d in drawn if d.name not in of_steps]
        self.constants = (*[c.name for c in cell.constants], *of_rows)
        self.weights = {
            weight.name: weight
            for weight in cell.weights  # by an input of no numbers nothing is multiplied
            if weight.columns is None or units[weight.columns]
        }
        self.numbers: dict[tuple[float, float], int] = {}
        named = (cell.input, *cell.constants, *cell.states, *cell.draws, *cell.lines)
        self.sizes = {quantity.name: quantity.size for quantity in named}
        self.places: dict[str, Place] = {}
        for kind, names in (
            ("input", self.inputs),
            ("constant", self.constants),
            ("before", [state.name for state in cell.states]),
        ):
            self.places |= {name: (kind, i) for i, name in enumerate(names)}
        for i, weight in enumerate(self.weights.values()):
            if weight.kind in ("vector", "scalar"):
                self.places[weight.name] = ("weight", i)
                self.sizes[weight.name] = weight.parts[0].size
        self._check()

    def _check(self) -> None:
        products = [(p.weight, p.part) for line in self.cell.sums for p in line.products]
        biases = [(b.weight, b.part) for line in self.cell.sums for b in line.biases]
        if len(set(products)) < len(products) or len(set(biases)) < len(biases):
            refuse("rows of a weight that stand in two places")
        if len(self.weights) > MOST_WEIGHTS:
            refuse(f"more than {MOST_WEIGHTS} weights")

    def units_of(self, name: str) -> int:
        """How many numbers it has."""
        return self.units[self.sizes[name]]

    def handed(self) -> tuple[list[int], list[int], list[int], list[tuple[int, int]], list[float]]:
        """How large all of it is, and the numbers: the first arguments of ``LinkedProgram``.

        The numbers are known once the lines that read them are placed.
        """
        return (
            [self.units_of(name) for name in self.inputs],
            [self.units_of(name) for name in self.constants],
            [self.units[state.size] for state in self.cell.states],
            [self.shape(weight) for weight in self.weights.values()],
            [value for value, _ in self.numbers],
        )

    def shape(self, weight: Weight) -> tuple[int, int]:
        """Rows and columns; 0 columns for what is no matrix."""
        rows = sum(self.units[part.size] for part in weight.parts)
        return rows, 0 if weight.columns is None else self.units[weight.columns]

    def rows(self, name: str, part: int) -> Rows:
        """Where a part of a matrix or bias is."""
        sizes = [self.units[p.size] for p in self.weights[name].parts]
        return list(self.weights).index(name), sum(sizes[:part]), sizes[part]

    def number(self, value: float) -> int:
        """The place of a number among all."""
        key = value, math.copysign(1.0, value)  # 0 and -0 are two numbers
        return self.numbers.setdefault(key, len(self.numbers))

    def at_hand(self, lines: Iterable[Step]) -> list[Step]:
        """The lines in the core's operations, of what is given."""
        found: list[Step] = []
        for line in lowered(lines, self.units):
            if isinstance(line, Line):
                operands = tuple(
                    self.resting.get(o, o) if isinstance(o, str) else o for o in line.operands
                )
                operation = line.operation
                if is_reduction(line):
                    if isinstance(operands[0], str):
                        operands = (self._whole(operands[0], found),)
                    else:  # the mean of equal numbers
                        operation = "copy"
                line = Line(line.name, line.size, operation, operands)
            elif isinstance(line, Sum):
                products = [
                    replace(p, of=self._whole(p.of, found)) for p in self.real(line.products)
                ]
                line = Sum(line.name, line.size, tuple(products), line.biases)
            else:
                line = BackSum(line.name, line.size, self.real(line.products), line.plus)
            found.append(line)
        return found

    def _whole(self, name: str, lines: list[Step]) -> str:
        """The name under which something can be read as a whole: of weights a copy of every row."""
        if self.places.get(name, ("", 0))[0] != "weight":
            return name
        copy = f"{name} of a row"
        if all(line.name != copy for line in lines):
            lines.append(Line(copy, self.sizes[name], "copy", (name,)))
            self.sizes[copy] = self.sizes[name]
        return copy

    def real(self, products: Iterable[Product]) -> tuple[Product, ...]:
        """Those of anything."""
        return tuple(product for product in products if product.weight in self.weights)

    def kept(self, names: Iterable[str]) -> Kept:
        """Places for these values and for all states after the step but the first."""
        places: dict[str, int] = {}
        after: list[int | None] = [None]
        width = 0
        for state in self.cell.states[1:]:
            after.append(width)
            width += self.units[state.size]
        for name in dict.fromkeys(names):
            if name not in self.places and name not in self.cell.next:
                places[name] = width
                width += self.units_of(name)
        return Kept(places, tuple(after), width)

    def equations(self, lines: list[Step], places: Mapping[str, Place]) -> Equations:
        """A step forward."""
        return Equations(
            lines, self.sizes, {**self.places, **places}, self.units, self.rows, self.number
        )

    def forward(self, kept: Mapping[str, int], watched: Collection[str] = ()) -> Equations:
        """A step forward, which keeps these values; ``watched`` are those that only readers want.

        These are computed beside the rest, which stays as it is: so a step that is watched has the
        bits of one that is not.
        """
        results = {*kept, *self.cell.next} - {*watched}
        lines = self.at_hand(self.cell.lines)
        steps = {line.name: line for line in fused(needed(lines, results), results)}
        beside = {line.name: line for line in needed(lines, [n for n in watched if n not in steps])}
        lines = [
            steps.get(line.name) or beside[line.name]
            for line in lines
            if line.name in steps or line.name in beside
        ]
        found = self.equations(lines, {name: ("kept", place) for name, place in kept.items()})
        for i, (state, following) in enumerate(zip(self.cell.states, self.cell.next, strict=True)):
            name = found.put(self.resting.get(following, following), ("after", i), state.size)
            if i:  # where nothing is kept, all states but the first have one place
                found.overwrites(name, state.name)
        return found


def refuse(why: str) -> NoReturn:
    """Raises NotLinkedError."""
    raise NotLinkedError(f"the core can't run {why}")

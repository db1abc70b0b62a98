"""A cell's equations as a program for the compiled core.

A program is plain data, as csrc/program.h has it: where every operand lies, and stages of sums and
instructions. It is made once for a cell and its sizes. What it says the core checks again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from unrolled.cells.derive import BackSum, differentiate
from unrolled.cells.description import Description, Line, Product, Sum, Weight, reads
from unrolled.cells.keeping import kept
from unrolled.cells.lowering import Step, fused, lowered, needed, read_by
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


@dataclass(frozen=True, eq=False)
class Program:
    """A layer in one direction.

    Attributes:
        inputs: the names of what is read at every step: the cell's input, then draws.
        constants: of what is the same at every step: the cell's constants, then draws.
        weights: the names of the weights that the core is given.
        kept: what a forward pass keeps.
        adds_to_input: whether the gradient of the input is added to what is there.
        is_learned: of each weight, whether the backward pass writes all of its gradient.
        handed: the arguments of the core's ``Program``.
    """

    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    weights: tuple[str, ...]
    kept: Kept
    adds_to_input: bool
    is_learned: tuple[bool, ...]
    handed: tuple[Any, ...]


def link(
    cell: Description, units: Mapping[str, int], *, draws: bool, watched: Iterable[str] = ()
) -> Program:
    """The program of a cell with so many numbers of each size.

    Args:
        cell: the cell.
        units: how many numbers each size has.
        draws: whether random numbers are given; else their resting values stand for them.
        watched: the names of lines to keep besides what the backward pass needs.

    Raises:
        NotLinkedError: the core can't run it.
    """
    given = _Given(cell, units, draws)
    back = _Back(given)
    kept = given.kept([*back.kept, *watched])
    infer, train = given.forward({}), given.forward(kept.places)
    handed_back = back.handed_with(kept)
    handed_infer, handed_train = infer.handed(), train.handed()
    handed = (
        [given.units_of(name) for name in given.inputs],
        [given.units_of(name) for name in given.constants],
        [units[state.size] for state in cell.states],
        [given.shape(weight) for weight in given.weights.values()],
        [value for value, _ in given.numbers],
        handed_infer,
        handed_train,
        handed_back,
        kept.width,
        back.width,
        [-1 if place is None else place for place in kept.after],
        back.to_input,
        back.weight_gradients,
    )
    return Program(
        given.inputs,
        given.constants,
        tuple(given.weights),
        kept,
        back.adds_to_input,
        tuple(back.learned[i] == given.shape(w)[0] for i, w in enumerate(given.weights.values())),
        handed,
    )


class _Given:
    """What a step is given, and where it lies."""

    def __init__(self, cell: Description, units: Mapping[str, int], draws: bool) -> None:
        self.cell, self.units = cell, units
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

    def forward(self, kept: Mapping[str, int]) -> Equations:
        """A step forward, which keeps these values."""
        results = {*kept, *self.cell.next}
        lines = fused(needed(self.at_hand(self.cell.lines), results), results)
        found = self.equations(lines, {name: ("kept", place) for name, place in kept.items()})
        for i, (state, following) in enumerate(zip(self.cell.states, self.cell.next, strict=True)):
            name = found.put(self.resting.get(following, following), ("after", i), state.size)
            if i:  # where nothing is kept, all states but the first have one place
                found.overwrites(name, state.name)
        return found


class _Back(Equations):
    """A step back.

    Attributes:
        kept: the names of what the step forward keeps.
        width: of the derivatives of a step of a row.
        to_input: the products of the input's gradient.
        weight_gradients: sums over all steps.
        adds_to_input: whether the gradient of the input is more than products, or nothing.
    """

    def __init__(self, given: _Given) -> None:
        self.given, self.cell = given, given.cell
        self.backward = differentiate(given.cell)
        lines = given.at_hand(self.backward.lines)
        self.kept, again = self._kept(lines)
        results = {*self.backward.by.values()}
        lines = fused(needed([*given.at_hand(again), *lines], results), results)
        sizes = dict(given.sizes)
        places = dict(given.places)
        for i, name in enumerate(self.backward.given):
            sizes[name], places[name] = self.cell.states[i].size, ("d_state", i)
        super().__init__(lines, sizes, places, given.units, given.rows, given.number)
        self._columns: dict[str, int] = {}
        self._under: dict[str, str] = {}
        self._plus: dict[str, str] = {}
        self._input_sum: BackSum | None = None
        self.width = 0
        self.to_input: list[Any] = []
        self.weight_gradients: list[Any] = []
        self.adds_to_input = True

    def _kept(self, lines: list[Step]) -> tuple[list[str], list[Sum | Line]]:
        """What the step forward keeps, and what is computed again of that."""
        given, cell = self.given, self.cell
        there = {*given.places, *given.resting, *cell.next}
        by = self.backward.by
        whole = {p.of for line in cell.sums if line.name in by for p in line.products}
        read = {name for line in lines for name in read_by(line)} | whole
        units = {line.name: given.units_of(line.name) for line in cell.lines}
        found = kept(cell.lines, there, read, whole, units)
        known = {*there, *found}
        again: dict[str, Sum | Line] = {}
        for line in reversed(cell.lines):
            if line.name in read and line.name not in known:
                again[line.name] = line
                read.update(reads(line))
        return found, list(again.values())[::-1]

    def handed_with(self, kept: Kept) -> tuple[Any, ...]:
        """See :meth:`Equations.handed`."""
        self.places |= {name: ("kept", place) for name, place in kept.places.items()}
        for i, name in reversed(list(enumerate(self.cell.next))):
            if name not in self.given.places:
                self.places[name] = ("after", i)
        self._place_derivatives()
        by = self.backward.by
        for i, state in enumerate(self.cell.states):
            self._place_state(i, by.get(state.name, 0.0), state.size)
        for i, constant in enumerate(self.cell.constants):
            self._place_added(by.get(constant.name), ("d_constant", i), constant.size)
        self._place_input(by.get(self.cell.input.name))
        for line in [line for line in self.lines if isinstance(line, BackSum)]:
            if line.name not in self.places:
                self._place_sum(line, self.buffer(line.size))
        self._sum_gradients()
        return self.handed()

    @property
    def learned(self) -> Counter[int]:
        """Of how many rows of each weight the gradient is written."""
        rows = [r for _, _, of_weights in self.weight_gradients for r in of_weights]
        found: Counter[int] = Counter()
        for weight, _, count in rows:
            found[weight] += count
        return found

    # --- derivatives by sums and weights ----------------------------------------------------------

    def _sums(self) -> list[Sum]:
        """Those that the loss depends on: of the input alone first, and those without it last."""

        def order(line: Sum) -> int:
            of = [product.of for product in line.products]
            return 2 - (self.cell.input.name in of) - (of == [self.cell.input.name])

        return sorted([line for line in self.cell.sums if line.name in self.backward.by], key=order)

    def _place_derivatives(self) -> None:
        by = self.backward.by
        for line in self._sums():
            self._derivative(by[line.name], line.size)
        for weight in self.given.weights.values():
            if weight.kind in ("vector", "scalar") and weight.name in by:
                self._derivative(by[weight.name], weight.parts[0].size)

    def _derivative(self, name: str, size: str) -> None:
        """A column for it, one for all that have the same."""
        if name not in self._columns:
            self._columns[name] = self.width
            self._under[name] = self.put(name, ("derivative", self.width), size)
            self.width += self.units[size]

    # --- other derivatives ------------------------------------------------------------------------

    def _made(self, name: Any) -> BackSum | None:
        """The sum of products that this is, if it has no place yet."""
        sums = (line for line in self.lines if isinstance(line, BackSum))
        return next((s for s in sums if s.name == name and name not in self.places), None)

    def _own(self, name: Any) -> BackSum | None:
        """The same, if nobody else reads it."""
        uses = list(self.backward.by.values()).count(name)
        is_read = uses > 1 or any(name in read_by(line) for line in self.lines)
        return None if is_read else self._made(name)

    def _place_state(self, i: int, value: Any, size: str) -> None:
        line, given = self._made(value), self.backward.given[i]
        if line is None:
            self.overwrites(self.put(value, ("d_state", i), size), given)
        else:
            self._place_sum(line, ("d_state", i))
            self.overwrites(line.name, given)
            if line.name in self._plus:
                self.overwrites(self._plus[line.name], given)

    def _place_sum(self, line: BackSum, place: Place) -> None:
        """Has the products added up at a place, on what is put there first."""
        self.places[line.name] = place
        self.comes_after(line.name, tuple(self._under[p.of] for p in line.products))
        if line.plus is not None:
            # Others that read it would find the sum in its place.
            readers = sum(line.plus in read_by(other) for other in self.lines)
            is_own = readers == 1 and line.plus not in self.backward.by.values()
            put = self.put if is_own else self.copy
            self._plus[line.name] = put(line.plus, place, line.size)
            self.comes_after(line.name, (self._plus[line.name],))

    def _postpone(self, name: str, readers: tuple[str, ...]) -> None:
        """What a sum is added to lies where the sum does, and is postponed with it."""
        of = next((of for of, plus in self._plus.items() if name in (of, plus)), None)
        if of is None or (name != of and name not in self._late and not self._needs(of, readers)):
            super()._postpone(name, readers)
            if of is not None:  # its last line is the copy
                self._plus[of] = self.lines[-1].name
                self.comes_after(of, (self._plus[of],))
            return
        size = self.sizes[of]
        super()._postpone(of, readers)
        self.places[of] = self.buffer(size)
        if of in self._plus:
            plus = self._plus.pop(of)
            self._overwritten.pop(plus)
            self.places[plus] = self.places[of]

    def _needs(self, name: str, readers: tuple[str, ...]) -> bool:
        """Whether any of these is computed from it."""
        of_it = {name}
        for _ in self.lines:
            of_it |= {line.name for line in self.lines if not of_it.isdisjoint(read_by(line))}
        return not of_it.isdisjoint(readers)

    def _place_added(self, value: str | None, place: Place, size: str) -> None:
        """Has a value added to what is at a place."""
        if (line := self._own(value)) is not None:
            self.places[line.name] = place
            self.comes_after(line.name, tuple(self._under[p.of] for p in line.products))
            value = line.plus
        self._add_to(value, place, size)

    def _add_to(self, value: str | None, place: Place, size: str) -> None:
        if value is not None:
            before = f"{place[0]} {place[1]} before"
            self.places[before], self.sizes[before] = place, size
            name = self._add(Line(self._named(place), size, "add", (before, value)), place)
            self._late.add(name)

    def _place_input(self, value: str | None) -> None:
        self._input_sum = self._own(value)
        if self._input_sum is not None:
            self.lines.remove(self._input_sum)
            value = self._input_sum.plus
        self._add_to(value, ("d_input", 0), self.cell.input.size)
        self.adds_to_input = value is not None or self._input_sum is None

    # --- the core's form --------------------------------------------------------------------------

    def back_totals(self, line: BackSum) -> list[Any]:
        """The products of a step back, in the order of the derivatives."""
        to = self.operand(line.name)
        adds = line.plus is not None or self.places[line.name][0] == "d_constant"
        runs = self._runs((self._columns[p.of], p.weight, p.part) for p in line.products)
        return [(to, begin, rows, adds or i > 0) for i, (begin, rows) in enumerate(runs)]

    def _runs(self, parts: Iterable[tuple[int, str, int]]) -> list[tuple[int, list[Rows]]]:
        """Parts of weights, each with its column, as runs of columns that follow each other."""
        runs: list[tuple[int, list[Rows]]] = []
        end = -1
        for column, name, part in sorted(parts, key=lambda p: p[0]):
            rows = self.rows(name, part)
            if column != end:
                runs.append((column, []))
            runs[-1][1].append(rows)
            end = column + rows[2]
        return runs

    def _sum_gradients(self) -> None:
        by = self.backward.by
        if self._input_sum is not None:
            to = self._listed(("d_input", 0), self.given.units_of(self.cell.input.name))
            products = self._input_sum.products
            runs = self._runs((self._columns[p.of], p.weight, p.part) for p in products)
            self.to_input = [(to, begin, rows, i > 0) for i, (begin, rows) in enumerate(runs)]
        products_of: dict[str, list[tuple[int, str, int]]] = {}
        biases_of: dict[int, list[tuple[int, str, int]]] = {}
        for line in self._sums():
            column = self._columns[by[line.name]]
            for product in self.given.real(line.products):
                products_of.setdefault(product.of, []).append(
                    (column, product.weight, product.part)
                )
            for i, bias in enumerate(line.biases):
                biases_of.setdefault(i, []).append((column, bias.weight, bias.part))
        for of, parts in products_of.items():
            self.weight_gradients += [(self.operand(of), *run) for run in self._runs(parts)]
        for parts in biases_of.values():
            self.weight_gradients += [(-1, *run) for run in self._runs(parts)]
        for weight in self.given.weights.values():
            if weight.kind in ("vector", "scalar") and weight.name in by:
                part = (self._columns[by[weight.name]], weight.name, 0)
                self.weight_gradients += [(-1, *run) for run in self._runs([part])]
        if len(self.weight_gradients) > MOST_SUMMED:
            refuse(f"more than {MOST_SUMMED} parts of weights")


def refuse(why: str) -> NoReturn:
    """Raises NotLinkedError."""
    raise NotLinkedError(f"the core can't run {why}")

"""The step back as a part of a program of the compiled core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from unrolled.cells.derive import BackSum, differentiate
from unrolled.cells.description import Line, Sum, reads
from unrolled.cells.given import MOST_SUMMED, Given, Kept, refuse
from unrolled.cells.keeping import kept
from unrolled.cells.lowering import Step, fused, needed, read_by
from unrolled.cells.placing import Equations, Place, Rows


class Back(Equations):
    """A step back.

    Attributes:
        kept: the names of what the step forward keeps.
        width: of the derivatives of a step of a row.
        to_input: the products of the input's gradient.
        weight_gradients: sums over all steps.
        adds_to_input: whether the gradient of the input is more than products, or nothing.
    """

    def __init__(self, given: Given) -> None:
        self.given, self.cell = given, given.cell
        self.backward = differentiate(given.described)
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
        self.places |= {name: ("kept", kept.places[name]) for name in self.kept}
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

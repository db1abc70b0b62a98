"""The sums of a step by as few products as possible.

Sums that multiply the same values by rows of the same matrices, one part after the other, are
computed as one sum of all these rows, and then split. What multiplies one value is one product as
far as the rows stand one below the other. So a step of the LSTM is one product with ``weight_hh``
and one addition, whatever the number of gates. As in torch, a product adds its own bias.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.cells.description import Bias, Description, Product, Sum, Weight
from unrolled.scan import eight_bits, rounding

LINEAR: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "whole": functional.linear,
    "bfloat16": rounding.linear,
    "int8": eight_bits.linear,
}
"""``torch.nn.functional.linear``, by what it multiplies."""

Products = dict[int, Sequence[Tensor]]
"""What was multiplied, by the number of the product in its plan: a tensor for each of its uses."""


class Run(NamedTuple):
    """Consecutive parts of a weight whose parts have these sizes: ``first`` to before ``last``."""

    weight: str
    sizes: tuple[str, ...]
    first: int
    last: int

    def cut(self, weight: Tensor, units: Mapping[str, int]) -> Tensor:
        """These rows, which are often all there are."""
        if self.last - self.first == len(self.sizes):
            return weight
        start = sum(units[size] for size in self.sizes[: self.first])
        return weight.narrow(0, start, self.width(units))

    def width(self, units: Mapping[str, int]) -> int:
        """How many rows these are."""
        return sum(units[size] for size in self.sizes[self.first : self.last])


class Term(NamedTuple):
    """Rows of a matrix times a value, plus rows of a bias if there is one."""

    matrix: Run
    of: str
    bias: Run | None

    @property
    def kin(self) -> tuple[str, str, str, int]:
        """Terms of equal kin that stand one below the other are one product."""
        bias, first = self.bias, self.matrix.first
        named = ("", 0) if bias is None else (bias.weight, bias.first - first)
        return (self.matrix.weight, self.of, *named)


class Linear(NamedTuple):
    """One product for one or more terms of equal kin: ``parts`` are their rows of the matrix."""

    of: str
    matrix: Run
    bias: Run | None
    parts: tuple[Run, ...]

    @classmethod
    def for_all(cls, terms: Sequence[Term]) -> Linear:
        """For terms that stand one below the other."""
        first, last = terms[0], terms[-1]
        bias = None
        if first.bias is not None and last.bias is not None:
            bias = first.bias._replace(last=last.bias.last)
        matrix = first.matrix._replace(last=last.matrix.last)
        return cls(first.of, matrix, bias, tuple([term.matrix for term in terms]))


class Block(NamedTuple):
    """Sums that are computed together.

    Attributes:
        names: theirs, one below the other.
        sizes: those of their rows.
        uses: what is added up: the number of a product, and which of its terms.
        biases: those that no product adds.
    """

    names: tuple[str, ...]
    sizes: tuple[str, ...]
    uses: tuple[tuple[int, int], ...]
    biases: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is multiplied in a step, and what for.

    Attributes:
        products: all that there are.
        blocks: all sums.
    """

    products: tuple[Linear, ...]
    blocks: tuple[Block, ...]


def plan(cell: Description) -> Plan:
    """How to compute the sums of a cell."""
    blocks = [(sums, *_terms(cell.weights_by_name, sums)) for sums in _beside(cell.sums)]
    products = _joined({term for _, terms, _ in blocks for term in terms})
    uses = {t: (number, place) for number, ts in enumerate(products) for place, t in enumerate(ts)}
    made = [
        Block(
            tuple([line.name for line in sums]),
            tuple([line.size for line in sums]),
            tuple([uses[term] for term in terms]),
            tuple(biases),
        )
        for sums, terms, biases in blocks
    ]
    return Plan(tuple([Linear.for_all(terms) for terms in products]), tuple(made))


def _beside(sums: Iterable[Sum]) -> list[list[Sum]]:
    """The sums, those together that are consecutive parts of the same."""
    found: list[list[Sum]] = []
    following: dict[tuple[tuple[str, str, int], ...], list[Sum]] = {}  # by what would come next
    for line in sums:
        block = following.pop(_parts(line, 0), [])
        if not block:
            found.append(block)
        block.append(line)
        following[_parts(block[0], len(block))] = block
    return found


def _parts(line: Sum, further: int) -> tuple[tuple[str, str, int], ...]:
    """What a sum adds up, so many parts further."""
    products = [(p.weight, p.of, p.part + further) for p in line.products]
    return (*products, *[(b.weight, "", b.part + further) for b in line.biases])


def _terms(weights: Mapping[str, Weight], sums: Sequence[Sum]) -> tuple[list[Term], list[Run]]:
    """What these sums add up, and the biases that have no product to be added by."""

    def run(of: Product | Bias) -> Run:
        sizes = tuple([part.size for part in weights[of.weight].parts])
        return Run(of.weight, sizes, of.part, of.part + len(sums))

    pairs = list(zip_longest(sums[0].products, sums[0].biases))
    terms = [Term(run(p), p.of, None if b is None else run(b)) for p, b in pairs if p is not None]
    return terms, [run(b) for p, b in pairs if p is None and b is not None]


def _joined(terms: Collection[Term]) -> list[tuple[Term, ...]]:
    """The terms, those in one that are one product."""
    found: list[tuple[Term, ...]] = []
    for term in sorted(terms, key=lambda term: (term.kin, term.matrix.first)):
        above = found[-1][-1] if found else None
        if above and above.kin == term.kin and above.matrix.last == term.matrix.first:
            found[-1] = (*found[-1], term)
        else:
            found.append((term,))
    return found


class Sums:
    """The sums of one layer, with its weights.

    Args:
        plan: of the cell.
        weights: what multiplies, and biases, by name.
        units: how many numbers each size has.
        numbers: what is multiplied; see :class:`unrolled.scan.spec.Spec`.
    """

    def __init__(
        self,
        plan: Plan,
        weights: Mapping[str, Tensor],
        units: Mapping[str, int],
        *,
        numbers: str = "whole",
    ) -> None:
        self._weights, self._units = weights, units
        self._linear_of = LINEAR[numbers]
        self._linears = [self._linear(product) for product in plan.products]
        self._blocks = {
            block.names[0]: (
                block,
                [units[size] for size in block.sizes],
                [self._rows(bias) for bias in block.biases],
            )
            for block in plan.blocks
        }

    def _linear(self, product: Linear) -> tuple[str, Tensor, Tensor | None, list[int]]:
        """What is multiplied, the matrix, the bias, and how many rows each term has."""
        widths = [part.width(self._units) for part in product.parts]
        bias = None if product.bias is None else self._rows(product.bias)
        return product.of, self._rows(product.matrix), bias, widths

    def _rows(self, run: Run) -> Tensor:
        return run.cut(self._weights[run.weight], self._units)

    def products(self, values: Mapping[str, Any]) -> Products:
        """All products with these values, which may be those of many steps."""
        return {
            number: self._product(number, values)
            for number, (of, *_) in enumerate(self._linears)
            if of in values
        }

    def _product(self, number: int, values: Mapping[str, Any]) -> Sequence[Tensor]:
        of, matrix, bias, widths = self._linears[number]
        found = self._linear_of(values[of], matrix, bias)
        return (found,) if len(widths) == 1 else torch.split_with_sizes(found, widths, -1)

    def add(self, name: str, values: dict[str, Any], products: Products) -> None:
        """Adds to the values the sums of the block that begins with this one.

        ``products`` are those that are known; those that other sums need too come to them.
        """
        block, widths, biases = self._blocks[name]
        terms = []
        for number, place in block.uses:
            parts = products.get(number)
            if parts is None:
                parts = self._product(number, values)
                if len(parts) > 1:
                    products[number] = parts
            terms.append(parts[place])
        first, *rest = [*terms, *biases]
        total: Tensor = sum(rest, start=first)
        if len(widths) == 1:
            values[name] = total
        else:
            parts = torch.split_with_sizes(total, widths, -1)
            values.update(zip(block.names, parts, strict=True))

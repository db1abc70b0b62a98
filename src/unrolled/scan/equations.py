"""The step of a described cell in plain torch: what every faster engine is held against."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from unrolled.cells.derive import BackSum, Backward
from unrolled.cells.description import Description, Line, reads
from unrolled.scan import sums

Values = dict[str, Any]
"""What is known of a step by its names: vectors [B, ·], weights, and one number a row [B, 1]."""

Parts = Mapping[tuple[str, int], Tensor]
"""The parts of matrices and biases."""


def parts(
    description: Description, weights: Mapping[str, Tensor], units: Mapping[str, int]
) -> Parts:
    """Matrices and biases in their parts, as views.

    Args:
        description: the cell.
        weights: a layer's weights by their names.
        units: how many numbers each size has.
    """
    found: dict[tuple[str, int], Tensor] = {}
    for weight in description.weights:
        if weight.kind in ("matrix", "bias"):
            rows = torch.split(weights[weight.name], [units[p.size] for p in weight.parts])
            found |= {(weight.name, number): part for number, part in enumerate(rows)}
    return found


@dataclass(frozen=True, eq=False)
class Plan:
    """How to compute a step of a cell.

    Attributes:
        sums: how to compute its sums.
        lines: what is computed in turn: of sums that are computed together the first, and of lines
            the operands where these are one or two names.
        is_whole: whether each state's next value has all units of every row. One may also be made
            of weights alone, or be one number for all units.
        reads_input: whether anything but products reads the input.
    """

    sums: sums.Plan
    lines: tuple[tuple[str, Line | None, str, tuple[str, ...]], ...]
    is_whole: bool
    reads_input: bool


@cache
def plan(cell: Description) -> Plan:
    """How to compute a step of this cell."""
    of_sums = sums.plan(cell)
    firsts = {block.names[0] for block in of_sums.blocks}
    lines: list[tuple[str, Line | None, str, tuple[str, ...]]] = []
    for line in cell.lines:
        if isinstance(line, Line):
            lines.append((line.name, line, line.operation, _names(line)))
        elif line.name in firsts:
            lines.append((line.name, None, "", ()))
    read = {name for line in cell.lines if isinstance(line, Line) for name in reads(line)}
    reads_input = cell.input.name in read.union(cell.next)
    return Plan(of_sums, tuple(lines), _is_whole(cell), reads_input)


def _names(line: Line) -> tuple[str, ...]:
    """The operands, if they are one or two names: then there is little to do at every step."""
    names = tuple([operand for operand in line.operands if isinstance(operand, str)])
    return names if names == line.operands and len(names) <= 2 else ()


def _is_whole(cell: Description) -> bool:
    """See :class:`Plan`."""
    sizes = {q.name: q.size for q in (cell.input, *cell.states, *cell.constants)}
    sizes |= {draw.name: draw.size for draw in cell.draws}
    of_rows = set(sizes)
    for line in cell.lines:
        sizes[line.name] = line.size
        if of_rows.intersection(reads(line)):
            of_rows.add(line.name)
    return all(
        name in of_rows and sizes[name] == state.size
        for name, state in zip(cell.next, cell.states, strict=True)
    )


class Step:
    """A step forward of one layer.

    Args:
        plan: of the cell.
        weights: what multiplies, and biases, by name.
        units: how many numbers each size has.
        numbers: what products multiply; see :class:`unrolled.scan.spec.Spec`.
    """

    def __init__(
        self,
        plan: Plan,
        weights: Mapping[str, Tensor],
        units: Mapping[str, int],
        *,
        numbers: str = "whole",
    ) -> None:
        self._lines = plan.lines
        self._sums = sums.Sums(plan.sums, weights, units, numbers=numbers)

    @classmethod
    def of(cls, cell: Description, weights: Mapping[str, Tensor], units: Mapping[str, int]) -> Step:
        """That of a cell."""
        return cls(plan(cell), weights, units)

    def products(self, values: Mapping[str, Any]) -> sums.Products:
        """All products with these values, which may be those of many steps: for :meth:`add`."""
        return self._sums.products(values)

    def run(self, known: Mapping[str, Any]) -> Values:
        """What was known, and all lines, by their names.

        Args:
            known: the input, the constants, the states before the step and the draws [B, ·],
                vectors of weights [·] and scalars [].
        """
        values: Values = dict(known)
        self.add(values, {})
        return values

    def add(self, values: Values, products: sums.Products) -> None:
        """Adds all lines to what is known, given what was multiplied beforehand."""
        for name, line, operation, names in self._lines:
            if line is None:
                self._sums.add(name, values, products)
            elif len(names) == 2:
                x, y = names
                values[name] = TORCHS[operation](values[x], values[y])
            elif names:
                values[name] = TORCHS[operation](values[names[0]])
            else:
                values[name] = computed(line, values)


def step_back(
    backward: Backward, values: Mapping[str, Any], parts: Parts, units: Mapping[str, int]
) -> Values:
    """One step back: what was known, and all lines, by their names.

    Args:
        backward: the backward equations.
        values: what the step computed, and the derivatives by the states after it [B, ·].
        parts: of the matrices.
        units: how many numbers each size has.
    """
    found: Values = dict(values)
    for line in backward.lines:
        if isinstance(line, BackSum):
            terms = [found[p.of] @ parts[p.weight, p.part] for p in line.products]
            found[line.name] = sum(terms, start=0 if line.plus is None else found[line.plus])
        elif line.operation == "share":
            share = _operand(line.operands[0], found) / units[line.size]
            found[line.name] = share.expand(*share.shape[:-1], units[line.size])
        else:
            found[line.name] = computed(line, found)
    return found


def computed(line: Line, values: Mapping[str, Any]) -> Any:
    """What a line is, from what it reads."""
    return TORCHS[line.operation](*[_operand(o, values) for o in line.operands])


def _operand(operand: str | float, values: Mapping[str, Any]) -> Any:
    return values[operand] if isinstance(operand, str) else operand


def _of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The function with numbers for an answer, of which either operand may be a number."""

    def run(x: Any, y: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else y
        return function(_tensor(x, like), _tensor(y, like)).to(like.dtype)

    return run


def _tensor(value: Any, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_tensor(value)


def _where(condition: Any, x: Any, y: Any) -> Tensor:
    """Any of the three may be a number; all of them are not."""
    like = next(value for value in (condition, x, y) if isinstance(value, Tensor))
    condition, x, y = (_tensor(value, like) for value in (condition, x, y))
    return torch.where(condition != 0, x, y)


TORCHS: dict[str, Callable[..., Any]] = {
    "negative": torch.neg,
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "absolute": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    # torch's own is x itself from its threshold on: beyond 40 that is exact in double precision.
    "softplus": lambda x: softplus(x, threshold=40.0),
    "minimum": _of_two(torch.minimum),
    "maximum": _of_two(torch.maximum),
    "less": _of_two(torch.lt),
    "less_equal": _of_two(torch.le),
    "equal": _of_two(torch.eq),
    "where": _where,
    "detach": torch.Tensor.detach,
    "mean": lambda x: x.mean(-1, keepdim=True),
    "total": lambda x: x.sum(-1, keepdim=True),
}
"""What torch has for each operation."""

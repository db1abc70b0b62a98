"""The step of a described cell in plain torch: what every faster engine is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from unrolled.cells.derive import BackSum, Backward
from unrolled.cells.description import Description, Line, Product, Sum

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


def step(
    description: Description,
    known: Mapping[str, Any],
    parts: Parts,
    products: Mapping[Product, Tensor] | None = None,
) -> Values:
    """One step forward: what was known, and all lines, by their names.

    Args:
        description: the cell.
        known: the input, the constants, the states before the step and the draws [B, ·], vectors of
            weights [·] and scalars [].
        parts: of the matrices and biases.
        products: what was computed beforehand.
    """
    values: Values = dict(known)
    for line in description.lines:
        if isinstance(line, Sum):
            values[line.name] = _sum(line, values, parts, products or {})
        else:
            values[line.name] = computed(line, values)
    return values


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


def _sum(
    line: Sum, values: Mapping[str, Any], parts: Parts, products: Mapping[Product, Tensor]
) -> Tensor:
    biases = [parts[bias.weight, bias.part] for bias in line.biases]
    terms = [
        products[p] if p in products else linear(values[p.of], parts[p.weight, p.part])
        for p in line.products
    ]
    first, *rest = [*terms, *biases]
    total: Tensor = sum(rest, start=first)
    return total


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
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "power": lambda x, y: x**y,
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
    "mean": lambda x: x.mean(-1, keepdim=True),
    "total": lambda x: x.sum(-1, keepdim=True),
}
"""What torch has for each operation."""

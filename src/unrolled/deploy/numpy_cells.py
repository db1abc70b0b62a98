"""A layer of a cell that is written down, in NumPy: its equations line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unrolled.cells.description import Bias, Description, Operand, Product, Sum
from unrolled.deploy.plan import Array


def times(x: Array, matrix: Array) -> Array:
    """x·Wᵀ."""
    found: Array = x @ matrix.T
    return found


class DescribedLayer:
    """B rows of a layer, with their states and constants.

    Args:
        cell: the cell, without forms.
        units: how many numbers each size has in this layer.
        weights: what multiplies, by name.
        batch: B.
        number: the type of all numbers.
        product: of values [B, K] and a matrix [M, K], [B, M].
    """

    def __init__(
        self,
        cell: Description,
        units: Mapping[str, int],
        weights: Mapping[str, Array],
        batch: int,
        number: np.dtype[Any],
        product: Callable[[Array, Array], Array] = times,
    ) -> None:
        self._product = product
        self.cell, self.units, self.weights, self.number = cell, units, weights, number
        self.states = [np.zeros((batch, units[s.size]), number) for s in cell.states]
        self.constants = [np.zeros((batch, units[c.size]), number) for c in cell.constants]
        self.parts = {
            (w.name, i): part
            for w in cell.weights
            if w.kind in ("matrix", "bias")
            for i, part in enumerate(
                np.split(weights[w.name], np.cumsum([units[p.size] for p in w.parts])[:-1])
            )
        }

    def run(self, x: Array, rows: Array) -> Array:
        """One step of these rows [·, I]; gives the first state."""
        cell, values = self.cell, {w: v for w, v in self.weights.items() if v.ndim < 2}
        values[cell.input.name] = x
        for quantity, of_all in zip(
            (*cell.states, *cell.constants), (*self.states, *self.constants), strict=True
        ):
            values[quantity.name] = of_all[rows]
        for draw in cell.draws:
            values[draw.name] = np.full((len(rows), self.units[draw.size]), draw.resting, x.dtype)
        with np.errstate(divide="ignore"):
            for line in cell.lines:
                values[line.name] = (
                    self._sum(line, values)
                    if isinstance(line, Sum)
                    else NUMPYS[line.operation](*[self._operand(o, values) for o in line.operands])
                )
        after = [values[name] for name in cell.next]
        for state, value in zip(self.states, after, strict=True):
            state[rows] = value  # it may be made of weights alone, or be one number for all units
        return self.states[0][rows]

    def _sum(self, line: Sum, values: Mapping[str, Array]) -> Array:
        terms: list[Product | Bias] = [*line.products, *line.biases]
        found = [
            self._product(values[t.of], self.parts[t.weight, t.part])
            if isinstance(t, Product)
            else self.parts[t.weight, t.part]
            for t in terms
        ]
        first, *rest = found
        total: Array = sum(rest, start=first)
        return total

    def _operand(self, operand: Operand, values: Mapping[str, Array]) -> Any:
        return values[operand] if isinstance(operand, str) else self.number.type(operand)


def _as_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison whose answer is 1 or 0."""
    return lambda x, y: function(x, y).astype(x.dtype)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _mean(x: Any) -> Any:
    return np.atleast_1d(x).mean(-1, keepdims=True)


NUMPYS: dict[str, Callable[..., Any]] = {
    "negative": np.negative,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "absolute": np.abs,
    "sign": lambda x: (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype),  # 0 of NaN
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x < 0, x.dtype.type(0), x),  # NaN stays NaN
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
    "minimum": np.minimum,
    "maximum": np.maximum,
    "less": _as_numbers(np.less),
    "less_equal": _as_numbers(np.less_equal),
    "equal": _as_numbers(np.equal),
    "where": lambda condition, x, y: np.where(condition != 0, x, y),
    "detach": lambda x: x,
    "mean": _mean,
}
"""What NumPy has for each operation."""

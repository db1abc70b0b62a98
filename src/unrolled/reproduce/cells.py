"""The cells of the early papers as their experiments had them."""

from __future__ import annotations

from typing import Any

from unrolled.cells import Cell, linear, sigmoid
from unrolled.cells.language import detach


class Blocks1997(Cell):
    def step(self, x: Any, hidden: Any, cell: Any, input: Any, output: Any) -> Any:
        """The next states."""
        h, i, o = detach(hidden), detach(input), detach(output)
        input = sigmoid(linear(x) + linear(h, i, o, bias=False))
        candidate = 4 * sigmoid(linear(x) + linear(h, i, o, bias=False)) - 2
        output = sigmoid(linear(x) + linear(h, i, o, bias=False))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell, input, output

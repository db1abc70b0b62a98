"""The LSTM that forgets as much as it takes in."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh


class CIFG(Cell):
    """Coupled input and forget gates: forget = 1 − input.

    Greff et al. 2017, "LSTM: a search space odyssey", arXiv 1503.04069, without the peepholes
    that the variant has there: ``PeepholeCIFG`` has them.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        input = sigmoid(linear(x, hidden))
        candidate = tanh(linear(x, hidden))
        output = sigmoid(linear(x, hidden))
        cell = (1 - input) * cell + input * candidate
        return output * tanh(cell), cell

"""The LSTM whose input gate is a row's own."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh


class EALSTM(Cell):
    """The input gate sees what does not change over time, ``static``, and nothing else.

    Kratzert et al. 2019, Hydrol. Earth Syst. Sci. 23, equations 8 to 13.
    """

    def step(self, x: Any, hidden: Any, cell: Any, *, static: Any) -> Any:
        """The next states."""
        input = sigmoid(linear(static))
        forget = sigmoid(linear(x, hidden))
        candidate = tanh(linear(x, hidden))
        output = sigmoid(linear(x, hidden))
        cell = forget * cell + input * candidate
        return output * tanh(cell), cell

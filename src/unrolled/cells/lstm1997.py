"""The LSTM of 1997."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid


class LSTM1997(Cell):
    """Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 4 and appendix A.1.

    It has no forget gate, and the squashing functions of the paper: g(x) = 4σ(x) − 2 for what comes
    in and h(x) = 2σ(x) − 1 for what goes out. Its memory blocks are of one cell each.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        input = sigmoid(linear(x, hidden))
        candidate = 4 * sigmoid(linear(x, hidden)) - 2
        output = sigmoid(linear(x, hidden))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell

"""The LSTM of 1997."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import detach, linear, sigmoid


class LSTM1997(Cell):
    """Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 4 and appendix A.1.

    It has no forget gate, and the squashing functions of the paper: g(x) = 4σ(x) − 2 for what comes
    in and h(x) = 2σ(x) − 1 for what goes out. Its memory blocks are of one cell each. The gradient
    is that of the equations; :class:`TruncatedLSTM1997` has the paper's.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        input = sigmoid(linear(x, hidden))
        candidate = 4 * sigmoid(linear(x, hidden)) - 2
        output = sigmoid(linear(x, hidden))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell


class TruncatedLSTM1997(Cell):
    """:class:`LSTM1997` as its experiments have it: fully recurrent, with the truncated gradient.

    Hochreiter & Schmidhuber 1997, Neural Computation 9(8). The hidden layer is fully connected, as
    in section 5: memory cells and gates also read the gates of the step before, which are states.
    They are 0 before the first step unless they are given. Of a layer of H blocks of one cell each
    there are 3H·(I + 3H + 1) weights. By appendix A.1 an error that arrives at the net input of a
    gate or a memory cell goes no further back in time: through time it goes by the cell alone,
    where it stays as it is.
    """

    def step(self, x: Any, hidden: Any, cell: Any, input: Any, output: Any) -> Any:
        """The next states."""
        read = x, detach(hidden), detach(input), detach(output)
        input = sigmoid(linear(*read))
        candidate = 4 * sigmoid(linear(*read)) - 2
        output = sigmoid(linear(*read))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell, input, output

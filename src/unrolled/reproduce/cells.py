"""The cells of the early papers as their experiments had them."""

from __future__ import annotations

from typing import Any

from unrolled.cells import Cell, linear, sigmoid
from unrolled.cells.language import detach


class Blocks1997(Cell):
    """Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 4 and appendix A.1.

    There is no forget gate. Cells and gates read the cells and gates of the step before, and no
    gradient goes through these edges: only a cell's state carries errors back in time. The
    squashing functions are g(x) = 4σ(x) − 2 and h(x) = 2σ(x) − 1.
    """

    def step(self, x: Any, hidden: Any, cell: Any, input: Any, output: Any) -> Any:
        """The next states."""
        h, i, o = detach(hidden), detach(input), detach(output)
        input = sigmoid(linear(x) + linear(h, i, o, bias=False))
        candidate = 4 * sigmoid(linear(x) + linear(h, i, o, bias=False)) - 2
        output = sigmoid(linear(x) + linear(h, i, o, bias=False))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell, input, output


class InputGated1997(Cell):
    """The memory cell of experiments 2a and 2b of the same paper.

    It has an input gate and no output gate, reads the input alone, takes in g(x) = σ(x), and gives
    its state out as it is.
    """

    def step(self, x: Any, cell: Any) -> Any:
        """The next state."""
        input = sigmoid(linear(x, bias=False))
        candidate = sigmoid(linear(x, bias=False))
        return cell + input * candidate

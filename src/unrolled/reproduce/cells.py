"""The cells of the early papers as their experiments had them."""

from __future__ import annotations

from typing import Any

from unrolled.cells import Cell, linear, sigmoid


class InputGated1997(Cell):
    """The memory cell of experiments 2a and 2b of Hochreiter & Schmidhuber 1997.

    It has an input gate and no output gate, reads the input alone, takes in g(x) = σ(x), and gives
    its state out as it is.
    """

    def step(self, x: Any, cell: Any) -> Any:
        """The next state."""
        input = sigmoid(linear(x, bias=False))
        candidate = sigmoid(linear(x, bias=False))
        return cell + input * candidate

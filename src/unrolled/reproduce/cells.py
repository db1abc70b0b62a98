"""The cells of the early papers as their experiments had them."""

from __future__ import annotations

from typing import Any

from unrolled.cells import Cell, detach, linear, sigmoid


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


class Standard2000(Cell):
    """The standard LSTM of Gers, Schmidhuber & Cummins 2000, section 2, with truncated gradients.

    It reads the cells' outputs alone where that of 1997 reads the gates, too. Its memory cells have
    no bias.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        read = x, detach(hidden)
        input = sigmoid(linear(*read))
        candidate = 4 * sigmoid(linear(*read, bias=False)) - 2
        output = sigmoid(linear(*read))
        cell = cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell


class Forgetting2000(Cell):
    """:class:`Standard2000` with forget gates: Gers, Schmidhuber & Cummins 2000, section 3."""

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        read = x, detach(hidden)
        input = sigmoid(linear(*read))
        forget = sigmoid(linear(*read))
        candidate = 4 * sigmoid(linear(*read, bias=False)) - 2
        output = sigmoid(linear(*read))
        cell = forget * cell + input * candidate
        return output * (2 * sigmoid(cell) - 1), cell

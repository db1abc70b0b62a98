"""LSTMs whose gates see the cell state, or each other."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh, weight


class PeepholeLSTM(Cell):
    """The gates see the cell state, each unit its own: the output gate the new one.

    Gers & Schmidhuber 2000, "Recurrent nets that time and count"; Gers, Schraudolph & Schmidhuber
    2002, JMLR 3, equations 4 to 8, with tanh for both squashing functions. As ``VanillaLSTM`` it
    has the variants of Greff et al. 2017.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        peephole_input, peephole_forget, peephole_output = weight(), weight(), weight()
        input = sigmoid(linear(x, hidden) + peephole_input * cell)
        forget = sigmoid(linear(x, hidden) + peephole_forget * cell)
        candidate = tanh(linear(x, hidden))
        cell = forget * cell + input * candidate
        output = sigmoid(linear(x, hidden) + peephole_output * cell)
        return output * tanh(cell), cell

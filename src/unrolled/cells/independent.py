"""The RNN whose units don't see each other."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, relu, weight


class IndRNN(Cell):
    """Each unit sees its own past alone: Li et al. 2018, arXiv 1803.04831, equation 2."""

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        recurrent = weight()
        return relu(linear(x) + recurrent * hidden)

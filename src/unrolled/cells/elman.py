"""The Elman network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, relu, tanh


@dataclass(frozen=True)
class RNN(Cell):
    """torch's: h_t = tanh(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh), or relu for tanh.

    Elman 1990, "Finding structure in time"; with relu Le, Jaitly & Hinton 2015, arXiv 1504.00941.
    """

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    bias: bool = True

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        function = {"tanh": tanh, "relu": relu}[self.nonlinearity]
        return function(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))


KERNELS = {"RNN_TANH": RNN(), "RNN_RELU": RNN(nonlinearity="relu")}
"""The cells that the core has kernels for, by torch's ``mode``."""
OF_RUNS = {"rnn": "RNN_TANH"}
"""What a run calls it."""

"""The GRU, with the reset gate after the product and before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh


@dataclass(frozen=True)
class GRU(Cell):
    """torch's, and cuDNN's: Cho et al. 2014, arXiv 1406.1078, with the reset after the product."""

    bias: bool = True

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        reset = sigmoid(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        update = sigmoid(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        candidate = tanh(linear(x, bias=self.bias) + reset * linear(hidden, bias=self.bias))
        return candidate + update * (hidden - candidate)


KERNELS = {"GRU": GRU()}
"""The cells that the core has kernels for, by torch's ``mode``."""
OF_RUNS = {"gru": "GRU"}
"""What a run calls it."""


class GRUResetBefore(Cell):
    """Cho et al. 2014, arXiv 1406.1078, equations 5 to 8: the reset before the product.

    It is Keras's with ``reset_after=False``, and ONNX's with ``linear_before_reset=0``.
    """

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        reset = sigmoid(linear(x, hidden))
        update = sigmoid(linear(x, hidden))
        kept = reset * hidden
        candidate = tanh(linear(x, kept))
        return update * hidden + (1 - update) * candidate

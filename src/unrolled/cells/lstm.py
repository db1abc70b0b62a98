"""The LSTM as torch has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh


@dataclass(frozen=True)
class LSTM(Cell):
    """torch's: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.

    With one bias for two it is ``NP``, the variant without peepholes, of Greff et al. 2017.
    """

    bias: bool = True

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        input = sigmoid(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        forget = sigmoid(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        candidate = tanh(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        output = sigmoid(linear(x, bias=self.bias) + linear(hidden, bias=self.bias))
        cell = forget * cell + input * candidate
        return output * tanh(cell), cell


@dataclass(frozen=True)
class ProjectedLSTM(LSTM):
    """torch's with ``proj_size``: Sak et al. 2014, arXiv 1402.1128."""

    sizes: ClassVar[dict[str, str]] = {"hidden": "proj"}

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        raw, cell = super().step(x, hidden, cell)
        return linear(raw, size="proj", bias=False, name="hr"), cell


KERNELS = {"LSTM": LSTM()}
"""The cells that the core has kernels for, by torch's ``mode``."""
PROJECTED = {"LSTM": ProjectedLSTM()}
"""The same with a projected hidden state."""
OF_RUNS = {"lstm": "LSTM"}
"""What a run calls it."""

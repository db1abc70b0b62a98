"""What ONNX's RNN, LSTM and GRU have, and which of our cells is which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.cells import GRU, LSTM, RNN
from unrolled.cells.built_in import BUILT_IN

ORDER = {
    "LSTM": ("input", "output", "forget", "candidate"),
    "GRU": ("update", "reset", "candidate"),
    "RNN": ("hidden",),
}
"""The rows of ONNX's weights, by operator: i, o, f, c and z, r, h in the standard's letters."""
ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""Those where a node says nothing, of one direction."""
CASE_COUNTS = ("RNN",)
"""The operators whose activations ONNX Runtime knows in one spelling alone."""
RESET = "linear_before_reset"
"""The attribute that is 1 where the reset gate stands behind the product."""


@dataclass(frozen=True)
class Cell:
    """A cell as the standard has it.

    Attributes:
        operator: RNN, LSTM or GRU.
        attributes: of a node.
        own_activations: of a node, for each direction; None for the operator's.
    """

    operator: str
    attributes: Mapping[str, int] = field(default_factory=dict)
    own_activations: tuple[str, ...] | None = None

    @property
    def activations(self) -> tuple[str, ...]:
        """Of one direction."""
        return self.own_activations or ACTIVATIONS[self.operator]


_STANDARD = {
    LSTM(): Cell("LSTM"),
    GRU(): Cell("GRU", {RESET: 1}),
    RNN(): Cell("RNN"),
    RNN("relu"): Cell("RNN", own_activations=("Relu",)),
}
CELLS = {mode: _STANDARD[known.cell] for mode, known in BUILT_IN.items()}
"""By torch's ``mode``."""


def to_onnx(weight: Tensor, mode: str) -> Tensor:
    """A weight or bias [G·H, …] of the cell ``mode``, its gates in ONNX's order."""
    return _reordered(weight, BUILT_IN[mode].gates, ORDER[CELLS[mode].operator])


def from_onnx(weight: Tensor, mode: str) -> Tensor:
    """The same back."""
    return _reordered(weight, ORDER[CELLS[mode].operator], BUILT_IN[mode].gates)


def _reordered(weight: Tensor, have: tuple[str, ...], want: tuple[str, ...]) -> Tensor:
    by_gate = dict(zip(have, weight.chunk(len(have)), strict=True))
    return torch.cat([by_gate[gate] for gate in want])

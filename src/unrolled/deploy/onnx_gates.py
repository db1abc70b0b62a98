"""Which of our gates is which of ONNX's."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.cells.built_in import BUILT_IN

ORDER = {
    "LSTM": ("input", "output", "forget", "candidate"),
    "GRU": ("update", "reset", "candidate"),
    "RNN": ("hidden",),
}
"""The rows of ONNX's weights, by operator: i, o, f, c and z, r, h in the standard's letters."""

MODES = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "RNN", "RNN_RELU": "RNN"}
"""The operator of each cell."""


def to_onnx(weight: Tensor, mode: str) -> Tensor:
    """A weight or bias [G·H, …] of the cell ``mode``, its gates in ONNX's order."""
    return _reordered(weight, BUILT_IN[mode].gates, ORDER[MODES[mode]])


def from_onnx(weight: Tensor, mode: str) -> Tensor:
    """The same back."""
    return _reordered(weight, ORDER[MODES[mode]], BUILT_IN[mode].gates)


def _reordered(weight: Tensor, have: tuple[str, ...], want: tuple[str, ...]) -> Tensor:
    by_gate = dict(zip(have, weight.chunk(len(have)), strict=True))
    return torch.cat([by_gate[gate] for gate in want])

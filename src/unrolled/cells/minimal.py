"""Cells with one gate, or with gates that see the input alone."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh


class MGU(Cell):
    """The minimal gated unit: Zhou et al. 2016, arXiv 1603.09420, equations 7 to 9."""

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        forget = sigmoid(linear(x, hidden))
        kept = forget * hidden
        candidate = tanh(linear(x, kept))
        return (1 - forget) * hidden + forget * candidate


class JANET(Cell):
    """Just another network: an LSTM of which the forget gate is left.

    Van der Westhuizen & Lasenby 2018, arXiv 1804.04849, equation 7, with its β = 1.
    """

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        score = linear(x, hidden)
        candidate = tanh(linear(x, hidden))
        return sigmoid(score) * hidden + (1 - sigmoid(score - 1)) * candidate


class MinGRU(Cell):
    """Feng et al. 2024, "Were RNNs all we needed?", arXiv 2410.01201, section 3.1."""

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        update = sigmoid(linear(x))
        candidate = linear(x)
        return (1 - update) * hidden + update * candidate


class MinLSTM(Cell):
    """Feng et al. 2024, arXiv 2410.01201, section 3.2, the gates scaled to add up to 1."""

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        forget = sigmoid(linear(x))
        input = sigmoid(linear(x))
        candidate = linear(x)
        return (forget * hidden + input * candidate) / (forget + input)

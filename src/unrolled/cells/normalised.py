"""The LSTM with layer normalisation."""

from __future__ import annotations

from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, mean, sigmoid, sqrt, tanh, variance, weight

EPSILON = 1e-5
"""Beside the variance, as torch's LayerNorm has it."""


class LayerNormLSTM(Cell):
    """Ba, Kiros & Hinton 2016, "Layer normalization", arXiv 1607.06450, equations 20 to 22.

    What all four gates get from the input is normalised together, and so is what they get from the
    hidden state; then each has a gain for each unit, and they share a bias. The cell state is
    normalised on its way out.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        read = _normalised([linear(x, bias=False) for _ in range(4)], "x")
        kept = _normalised([linear(hidden, bias=False) for _ in range(4)], "h")
        both = [
            a + b + weight(f"bias_{name}", initial=0.0)
            for a, b, name in zip(read, kept, "ifco", strict=True)
        ]
        input, forget, output = sigmoid(both[0]), sigmoid(both[1]), sigmoid(both[3])
        candidate = tanh(both[2])
        cell = forget * cell + input * candidate
        gain_cell, bias_cell = weight(initial=1.0), weight(initial=0.0)
        shown = gain_cell * (cell - mean(cell)) / sqrt(variance(cell) + EPSILON) + bias_cell
        return output * tanh(shown), cell


def _normalised(sums: list[Any], of: str) -> list[Any]:
    """Sums of the same size, by the mean and the deviation of all their units."""
    middle = sum(map(mean, sums)) / len(sums)
    spread = sum(mean((a - middle) ** 2) for a in sums) / len(sums)
    return [
        weight(f"gain_{of}_{name}", initial=1.0) * (a - middle) / sqrt(spread + EPSILON)
        for a, name in zip(sums, "ifco", strict=True)
    ]

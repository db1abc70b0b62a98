"""The scalar LSTM of xLSTM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.description import Form
from unrolled.cells.language import exp, linear, maximum, minimum, sigmoid, softplus, tanh, where


@dataclass(frozen=True)
class SLSTM(Cell):
    """Exponential gates, a normaliser and a stabiliser: Beck et al. 2024, arXiv 2405.04517.

    Equations 8 to 17, with the sigmoid for the forget gate, in the order of the gates that the
    authors' packages have. Each head sees its own units alone. At a sequence's start, where the
    normaliser is 0, the stabiliser is the input gate's. The weights lie as flashrnn has them:
    ``weight_hh_l0`` is its ``R.flatten(0, 2)``, and ``bias_ih_l0`` its ``b.flatten()``.

    Attributes:
        heads: into so many the units are divided; H has to be a multiple of it.
    """

    heads: int = 1

    def step(self, x: Any, hidden: Any, cell: Any, normaliser: Any, stabiliser: Any) -> Any:
        """The next states."""
        form = Form(blocks=self.heads)
        log_input = linear(x) + linear(hidden, bias=False, form=form)
        forget = linear(x) + linear(hidden, bias=False, form=form)
        candidate = tanh(linear(x) + linear(hidden, bias=False, form=form))
        output = sigmoid(linear(x) + linear(hidden, bias=False, form=form))
        kept = stabiliser - softplus(-forget)  # log sigmoid(forget) beside what was taken out
        stabiliser = where(normaliser == 0, log_input, maximum(kept, log_input))
        take = minimum(exp(log_input - stabiliser), 1.0)
        keep = minimum(exp(kept - stabiliser), 1.0)
        cell = keep * cell + take * candidate
        normaliser = keep * normaliser + take
        return output * cell / normaliser, cell, normaliser, stabiliser

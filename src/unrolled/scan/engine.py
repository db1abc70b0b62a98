"""Picks who computes a recurrent pass. The one seam: faster engines are added here."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from unrolled.scan import kernels, reference
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights


def run(
    spec: Spec, sequences: Sequences, initial: State, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """One recurrent pass.

    Args:
        spec: the cell and the options.
        sequences: the input, [T, B, I] or ragged [N, I].
        initial: each state [L·D, B, P] (P = H but for a projected hidden state); the rows stand
            in the order of ``sequences``.
        flat: all weights in torch's order.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P], and each state after every
        row's own last step, [L·D, B, P].
    """
    output, last = _engine(sequences.data).run(spec, sequences, initial, flat)
    return output, last


def run_cell(cell: Cell, input: Tensor, state: State, weights: Weights) -> State:
    """One step: ``input`` [B, I], each state [B, H]; returns the next states [B, H]."""
    next_state: State = _engine(input).run_cell(cell, input, state, weights)
    return next_state


def _engine(data: Tensor) -> ModuleType:
    """The reference on a CPU; elsewhere, and under autocast, torch has kernels of its own.

    Autocast casts inside torch's kernels; rounding every step of ours to bfloat16 would lose the
    state that torch keeps.
    """
    ours = data.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return reference if ours else kernels

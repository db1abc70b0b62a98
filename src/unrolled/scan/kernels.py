"""The recurrent pass by torch's own kernels: oneDNN, cuDNN, MPS and what else torch has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _VF, Tensor

from unrolled.cells.built_in import BUILT_IN
from unrolled.scan import reference
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights

CELL_KERNELS: dict[str, Callable[..., Any]] = {
    mode: getattr(_VF, f"{mode.lower()}_cell") for mode in BUILT_IN
}
KERNELS: dict[str, Callable[..., Any]] = {mode: getattr(_VF, mode.lower()) for mode in BUILT_IN}
"""Of a step and of a pass, by torch's ``mode``, after which torch names them."""


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    kernel = KERNELS[spec.cell.name]
    initial = spec.zeros(sequences, flat) if initial is None else initial
    options = (flat, spec.bias, spec.num_layers, spec.dropout, spec.training, spec.bidirectional)
    if sequences.batch_sizes is None:
        output, *last = kernel(sequences.data, _hx(initial), *options, False)
        return output, tuple(last)
    # torch's ragged kernels know no row of length 0: such rows stand last and keep their state.
    begin = int(sequences.batch_sizes[0])
    if begin == 0:
        return reference.run(spec, sequences, initial, flat)
    active = tuple(s[:, :begin].contiguous() for s in initial)
    waiting = tuple(s[:, begin:] for s in initial)
    output, *last = kernel(sequences.data, sequences.batch_sizes, _hx(active), *options)
    return output, tuple(torch.cat(pair, dim=1) for pair in zip(last, waiting, strict=True))


def run_cell(cell: Cell, input: Tensor, state: State, w: Weights) -> State:
    """One step; see :func:`unrolled.scan.engine.run_cell`."""
    kernel = CELL_KERNELS[cell.name]
    result = kernel(input, _hx(state), w.ih, w.hh, w.bias_ih, w.bias_hh)
    return result if isinstance(result, tuple) else (result,)


def _hx(state: State) -> Tensor | State:
    """The states as the kernels take them: a pair for an LSTM, else the hidden state itself."""
    return state if len(state) > 1 else state[0]

"""The recurrent pass by torch's own kernels: oneDNN, cuDNN, MPS and what else torch has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _VF, Tensor

from unrolled.cells.built_in import BUILT_IN
from unrolled.scan import reference
from unrolled.scan.spec import Given, Spec, State, zeros

CELL_KERNELS: dict[str, Callable[..., Any]] = {
    mode: getattr(_VF, f"{mode.lower()}_cell") for mode in BUILT_IN
}
KERNELS: dict[str, Callable[..., Any]] = {mode: getattr(_VF, mode.lower()) for mode in BUILT_IN}
"""Of a step and of a pass, by torch's ``mode``, after which torch names them."""


# An engine takes all that another may look at.
def supports(spec: Spec, data: Tensor, others: Sequence[Tensor]) -> str | None:  # noqa: ARG001
    """Why torch can't run a pass, or None where it can."""
    if spec.kernel is None:
        return "torch has no kernel of a cell that is written down, which runs by its equations"
    return None


def run(spec: Spec, given: Given) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    assert spec.kernel is not None
    kernel = KERNELS[spec.kernel]
    initial = zeros(spec, given) if given.initial is None else given.initial
    options = (
        list(given.flat),
        spec.is_biased,
        spec.num_layers,
        given.dropout,
        spec.training,
        spec.bidirectional,
    )
    data, sizes, _ = given.sequences
    if sizes is None:
        output, *last = kernel(data, _hx(initial), *options, False)
        return output, tuple(last)
    # torch's ragged kernels know no row of length 0: such rows stand last and keep their state.
    begin = int(sizes[0])
    if begin == 0:
        return reference.run(spec, given)
    active = tuple(s[:, :begin].contiguous() for s in initial)
    waiting = tuple(s[:, begin:] for s in initial)
    output, *last = kernel(data, sizes, _hx(active), *options)
    return output, tuple(torch.cat(pair, dim=1) for pair in zip(last, waiting, strict=True))


def run_cell(spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    """One step; see :func:`unrolled.scan.engine.run_cell`."""
    assert spec.kernel is not None
    kernel = CELL_KERNELS[spec.kernel]
    biases = weights[2:] if spec.is_biased else (None, None)
    result = kernel(input, _hx(state), *weights[:2], *biases)
    return result if isinstance(result, tuple) else (result,)


def _hx(state: State) -> Tensor | State:
    """The states as the kernels take them: a pair for an LSTM, else the hidden state itself."""
    return state if len(state) > 1 else state[0]

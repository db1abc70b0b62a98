"""A module's call: what it is called with laid out for a pass, and the results laid out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled import scan
from unrolled.nn.checks import Lengths, checked_lengths
from unrolled.scan import Given, Sequences, Spec, State, eligibility


@dataclass(slots=True)
class Call:
    """What a module is called with, all of it checked but the lengths.

    Attributes:
        input: [T, B, I], with ``batch_first`` [B, T, I], or packed.
        lengths: of the rows of a padded input, None for all steps.
        batch_first: see ``input``.
        state: each [L·D, B, ·], None for zeros; the rows stand as the caller has them.
        constants: each [B, ·], likewise.
        flat: what multiplies in each layer and direction, in the order of the cell's weights.
        dropout: the probability in force between the layers.
    """

    input: Tensor | PackedSequence
    lengths: Lengths | None
    batch_first: bool
    state: State | None
    constants: Sequence[Tensor]
    flat: Sequence[Tensor]
    dropout: float


Run = Callable[[Spec, Given], tuple[Tensor, State]]
"""A whole pass, as :func:`unrolled.scan.engine.run` has it."""


def run(spec: Spec, call: Call, by: Run | None = None) -> tuple[Any, State]:
    """The outputs, laid out as the input is, and the states after each row's own last step.

    Args:
        spec: the pass.
        call: what it is called with.
        by: who runs it, the engine if it is None.

    Raises:
        ValueError, TypeError: the lengths are none.
    """
    sequences, rows, before, after, back = _laid_out(call)
    state, constants = call.state, call.constants
    if before is not None:
        state = None if state is None else _reordered(state, before)
        constants = [constant.index_select(0, before) for constant in constants]
    given = Given(sequences, rows, state, constants, call.flat, call.dropout)
    by = by or scan.run
    if not torch.compiler.is_compiling() and torch._C._autograd._profiler_enabled():
        name = spec.kernel or spec.cell.name
        with torch.profiler.record_function(f"unrolled::{name.lower()}"):
            output, last = by(spec, given)
    else:
        output, last = by(spec, given)
    if back is not None:
        output = back(output)
    return output, last if after is None else _reordered(last, after)


_LaidOut = tuple[Sequences, int, Tensor | None, Tensor | None, Callable[[Tensor], Any] | None]
"""What a pass reads, and of how many rows; the order of the caller's rows as the pass has them, and
the one that undoes it, None for rows that stand as they are; what lays the outputs out as the input
was, None where they are so."""


def _laid_out(call: Call) -> _LaidOut:
    given, batch_first = call.input, call.batch_first
    if isinstance(given, PackedSequence):
        before, after = given.sorted_indices, given.unsorted_indices
        sequences = Sequences(given.data, given.batch_sizes, before)
        rows = int(given.batch_sizes[0])
        return sequences, rows, before, after, lambda data: given._replace(data=data)
    batch, steps = given.shape[:2] if batch_first else (given.shape[1], given.shape[0])
    if call.lengths is None:
        dense = scan.dense(given, batch_first=batch_first)
        return dense, batch, None, None, _batch_first if batch_first else None
    lengths = checked_lengths(call.lengths, batch=batch, steps=steps)
    ragged = scan.ragged(given, lengths, batch_first=batch_first)
    return ragged.sequences, batch, ragged.order, ragged.inverse, ragged.pad


def _reordered(state: State, order: Tensor) -> State:
    return tuple(s.index_select(1, order) for s in state)


KEEP_NO_RESULT = {"CloneBackward0", "StackBackward0", "CatBackward0", "ToCopyBackward0"}
"""Autograd's nodes whose result may be changed in place: the core's, and the reference's."""


def _batch_first(output: Tensor) -> Tensor:
    """The output [T, B, F] as [B, T, F]: as torch has it no view, which could not be detached."""
    if torch.compiler.is_compiling() or eligibility.is_transformed() or output._is_view():
        return output.transpose(0, 1)
    made_by = output.grad_fn
    if made_by is not None and made_by.name() not in KEEP_NO_RESULT:
        return output.transpose(0, 1)  # cuDNN's node, say, keeps it, and counts every change
    return output.transpose_(0, 1)

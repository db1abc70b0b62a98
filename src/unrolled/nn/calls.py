"""A module's call: what it is called with laid out for a pass, and the results laid out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled import scan
from unrolled.nn.checks import Lengths, checked_lengths
from unrolled.scan import Given, Sequences, Spec, State, eligibility


@dataclass
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


def run(spec: Spec, call: Call) -> tuple[Any, State]:
    """The outputs, laid out as the input is, and the states after each row's own last step.

    Raises:
        ValueError, TypeError: the lengths are none.
    """
    laid = _laid_out(call)
    state, constants = call.state, call.constants
    if laid.before is not None:
        state = None if state is None else _reordered(state, laid.before)
        constants = [constant.index_select(0, laid.before) for constant in constants]
    given = Given(laid.sequences, laid.rows, state, constants, call.flat, call.dropout)
    if not torch.compiler.is_compiling() and torch._C._autograd._profiler_enabled():
        name = spec.kernel or spec.cell.name
        with torch.profiler.record_function(f"unrolled::{name.lower()}"):
            output, last = scan.run(spec, given)
    else:
        output, last = scan.run(spec, given)
    return laid.back(output), last if laid.after is None else _reordered(last, laid.after)


class _LaidOut(NamedTuple):
    """What a pass reads, and the way back to the caller's rows.

    ``before`` orders the caller's rows as the pass has them and ``after`` undoes it, None for rows
    that stand as they are; ``back`` lays the outputs out as the input was.
    """

    sequences: Sequences
    rows: int
    before: Tensor | None
    after: Tensor | None
    back: Callable[[Tensor], Any]


def _laid_out(call: Call) -> _LaidOut:
    given, batch_first = call.input, call.batch_first
    if isinstance(given, PackedSequence):
        before, after = given.sorted_indices, given.unsorted_indices
        sequences = Sequences(given.data, given.batch_sizes, before)
        rows = int(given.batch_sizes[0])
        return _LaidOut(sequences, rows, before, after, lambda data: given._replace(data=data))
    batch, steps = given.shape[:2] if batch_first else reversed(given.shape[:2])
    if call.lengths is None:
        dense = scan.dense(given, batch_first=batch_first)
        return _LaidOut(dense, batch, None, None, _batch_first if batch_first else _as_it_is)
    lengths = checked_lengths(call.lengths, batch=batch, steps=steps)
    ragged = scan.ragged(given, lengths, batch_first=batch_first)
    return _LaidOut(ragged.sequences, batch, ragged.order, ragged.inverse, ragged.pad)


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _reordered(state: State, order: Tensor) -> State:
    return tuple(s.index_select(1, order) for s in state)


KEEP_NO_RESULT = {"CloneBackward0", "StackBackward0", "CatBackward0"}
"""Autograd's nodes whose result may be changed in place: the core's, and the reference's."""


def _batch_first(output: Tensor) -> Tensor:
    """The output [T, B, F] as [B, T, F]: as torch has it no view, which could not be detached."""
    if torch.compiler.is_compiling() or eligibility.is_transformed() or output._is_view():
        return output.transpose(0, 1)
    made_by = output.grad_fn
    if made_by is not None and made_by.name() not in KEEP_NO_RESULT:
        return output.transpose(0, 1)  # cuDNN's node, say, keeps it, and counts every change
    return output.transpose_(0, 1)

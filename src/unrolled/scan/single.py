"""One layer in one direction over all steps at once, with as little Python as can be.

Most calls are that, and with few steps of few rows Python is what they cost. What :mod:`passes`
computes of it has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.cells.description import INPUT
from unrolled.scan.layer import ScanBack, check_shape, scans
from unrolled.scan.native import NOWHERE, Place, Steps, dense, layout
from unrolled.scan.passes import empty_output
from unrolled.scan.plan import Plan
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State


class Single:
    """A pass over dense sequences, of a layer that reads nothing but them, its states and weights.

    Its tensors are those of :meth:`unrolled.scan.spec.Given.tensors`, in their order: the input
    [T, B, I], the states [1, B, ·] if there are any, and the weights.

    Attributes:
        plans: how the core runs it, a plan.
        weights: how many weights are handed over: none where the plan has them packed.
    """

    def __init__(self, spec: Spec, plan: Plan) -> None:
        self.plans, self.weights = (plan,), len(spec.cell.weights) if plan.weights else 0
        self._inputs, self._widths = plan.kind.units[INPUT], plan.kind.widths

    def forward(
        self, tensors: Sequence[Tensor], *, keeps: bool
    ) -> tuple[Tensor, State, list[Tensor]]:
        """The output [T, B, P], the last states, and with ``keeps`` what :meth:`backward` reads.

        Raises:
            RuntimeError: the weights' shapes don't fit each other, or the input or a state them.
        """
        read = _Read(tensors, self)
        data, (first, *_) = read.data, self._widths
        output = empty_output(data, first)
        last = tuple([data.new_empty(1, read.steps.batch, width) for width in self._widths])
        kept = read.scan.empty_kept(data, read.steps.time * read.steps.batch) if keeps else None
        read.scan.forward(read.layout, read.place, read.initial, _place(output), last, kept)
        return output, last, kept or []

    def backward(
        self,
        tensors: Sequence[Tensor],
        output: Tensor,
        kept: list[Tensor],
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """The gradients of ``tensors``; None for what is not wanted, or not read.

        Args:
            tensors: those of the forward pass.
            output: what it gave.
            kept: what it kept.
            gradients: those of the output and the last states, None for zero.
            wanted: for each of the tensors whether its gradient is.
        """
        read = _Read(tensors, self)
        data, first = read.data, len(tensors) - self.weights
        d_output, *d_last = [None if g is None else g.contiguous() for g in gradients]
        adds = read.scan.plan.adds_to_input
        d_data = None
        if wanted[0]:
            d_data = (data.new_zeros if adds else data.new_empty)(data.shape)
        d_initial: State | None = None
        if any(wanted[1:first]):
            d_initial = tuple([torch.empty_like(state) for state in read.initial or ()])
        back = ScanBack(read.scan, read.steps, data, wanted[first:], {}, stretches=1)
        back.run(
            read.layout,
            read.place,
            read.initial,
            _place(output),
            kept,
            _place(d_output),
            d_last,
            d_initial,
            _place(d_data),
            adds=adds,
        )
        of_states = d_initial or [None] * (first - 1)
        return [d_data, *of_states, *back.found()]

    def check(self, data: Tensor, states: State) -> None:
        """The core reads as far as the sizes say.

        Raises:
            RuntimeError: an input [T, B, I] or states [1, B, ·] have others.
        """
        rows, width = data.shape[1:]
        if width != self._inputs:
            check_shape("the input", (rows, width), (rows, self._inputs))
        for state, count in zip(states, self._widths, strict=False):
            if state.shape != (1, rows, count):
                check_shape("a state", state.shape, (1, rows, count))


class _Read:
    """What a pass reads; its tensors stay alive with it."""

    __slots__ = ("data", "flat", "initial", "layout", "place", "scan", "steps")

    def __init__(self, tensors: Sequence[Tensor], of: Single) -> None:
        first = len(tensors) - of.weights
        data = self.data = dense(tensors[0])
        self.steps = Steps(*data.shape[:2])
        self.layout = layout(*self.steps[:2])
        self.initial = tuple([state.contiguous() for state in tensors[1:first]]) or None
        self.flat = [weight.contiguous() for weight in tensors[first:]]
        of.check(data, self.initial or ())
        (self.scan,) = scans(of.plans, self.flat)
        self.place = _place(data)


@lru_cache(maxsize=1024)
def single(spec: Spec, plans: tuple[Plan, ...]) -> Single | None:
    """The pass, where it is of that kind."""
    return Single(spec, plans[0]) if is_single(spec) else None


def is_single(spec: Spec) -> bool:
    """Whether a pass is of that kind."""
    cell = spec.cell
    reads_more = cell.draws or cell.constants
    return len(spec.kinds) == 1 and not (reads_more or spec.is_projected or spec.recompute_every)


def fits(sequences: Sequences) -> bool:
    """Whether they are dense, and not without numbers, of which nobody knows where they lie."""
    return sequences.batch_sizes is None and sequences.data.numel() > 0


def _place(data: Tensor | None) -> Place:
    """Where a matrix [T, B, F] lies, whose last dimension is dense."""
    if data is None:
        return NOWHERE
    (steps, rows, width), (step, row, _) = data.shape, data.stride()
    return data.data_ptr(), (steps - 1) * step + (rows - 1) * row + width, 0, step, row

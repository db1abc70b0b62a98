"""Layers that the core can run together, a stretch of steps at a time.

A stack in one direction is one strand: each stretch goes through all its layers. In two directions
a layer reads what both below it have written from end to end, so there each layer and direction is
a strand of its own.

For the backward pass a strand keeps either what its cells did at every step, or only the states
before each stretch; the pass then repeats the stretches as it comes to them, the last one first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor

from unrolled.scan.layer import Kept, Scan, ScanBack
from unrolled.scan.native import NOWHERE, Place, Steps
from unrolled.scan.spec import State


@dataclass
class Run:
    """What each layer did over a stretch of K pairs of a step and a row, one step after the other.

    ``outputs`` [K, ·] is None for a layer that wrote into the output of the pass.
    """

    kept: list[Kept] = field(default_factory=list)
    outputs: list[Tensor | None] = field(default_factory=list)


@dataclass
class Left:
    """What a strand leaves for its backward pass: a run of all steps, or the states before each.

    ``bounds`` are the steps at which the stretches meet, in the order of the scan. Before the first
    stretch the states are those that the pass was given, and None here.
    """

    bounds: list[int]
    run: Run | None = None
    states: list[State | None] = field(default_factory=list)

    def tensors(self) -> list[Tensor | None]:
        """All there are, in the order in which :meth:`with_tensors` takes them."""
        if self.run is None:
            return [tensor for state in self.states if state is not None for tensor in state]
        return [*chain.from_iterable(self.run.kept), *self.run.outputs]

    def with_tensors(self, tensors: Iterator[Any]) -> Left:
        """The same with other tensors, or None, in their places."""
        if self.run is None:
            states = [None if s is None else tuple([next(tensors) for _ in s]) for s in self.states]
            return Left(self.bounds, None, states)
        kept = [[next(tensors) for _ in of_layer] for of_layer in self.run.kept]
        return Left(self.bounds, Run(kept, [next(tensors) for _ in self.run.outputs]))


@dataclass
class Back:
    """What a backward pass over a strand begins with, and what it is to find.

    ``d_output`` and ``d_last`` are the gradients of the strand's results, :data:`NOWHERE` and None
    for zero. ``d_initial`` (whose slices are written) and ``d_input`` (which is written, or with
    ``adds`` added to) are None and :data:`NOWHERE` where nobody wants them; over steps that are run
    in stretches ``d_initial`` is needed to hand on. ``wanted`` says of each layer's weights whether
    their gradients are wanted, and below the layer ``lowest`` nothing is. ``carried``, of steps
    that are not run in stretches, is filled for each layer; to ``d_constants`` is added.
    """

    d_output: Place
    d_last: Sequence[Tensor | None] | None
    d_initial: State | None
    d_input: Place
    wanted: Sequence[Sequence[bool]]
    d_constants: Mapping[str, Tensor]
    lowest: int = 0
    adds: bool = False
    carried: list[list[Tensor]] | None = None


class Strand:
    """Layers from the lowest up, and what dropout multiplies between them, [N, ·] or None."""

    def __init__(
        self, scans: list[Scan], noises: Sequence[Tensor | None], steps: Steps, like: Tensor
    ) -> None:
        self.scans, self.noises, self.steps, self.like = scans, noises, steps, like
        self.reverse = scans[0].reverse

    def forward(self, data: Place, initial: State | None, output: Place, last: State) -> None:
        """Writes ``output`` and the strand's slices of the states ``last``."""
        begin, end = self.steps.bounds(None, reverse=self.reverse)
        self._run(begin, end, data, initial, output, last, keep=False)

    def forward_to_return(
        self, data: Place, initial: State | None, output: Place, last: State, every: int | None
    ) -> Left:
        """The same, so that a backward pass may follow; ``every`` so many steps the states stay."""
        left = Left(self.steps.bounds(every, reverse=self.reverse))
        if len(left.bounds) == 2:
            begin, end = left.bounds
            left.run = self._run(begin, end, data, initial, output, last, keep=True)
            return left
        before = initial
        for number, (begin, end) in enumerate(pairwise(left.bounds)):
            left.states.append(before if number else None)  # the way back is given the first ones
            after = last if end == left.bounds[-1] else tuple(map(torch.empty_like, last))
            self._run(begin, end, data, before, output, after, keep=False)
            before = after
        return left

    def backward(
        self,
        left: Left,
        data: Place,
        initial: State | None,
        output: Place,
        back: Back,
    ) -> list[Tensor | None]:
        """Does what ``back`` says; returns the weights' gradients, None for those not wanted.

        The first arguments are those of the forward pass and what it left; ``output`` is not read
        where the steps are run in stretches.
        """
        stretches = list(pairwise(left.bounds))
        backs = [
            ScanBack(
                scan, self.steps, self.like, of_scan, back.d_constants, stretches=len(stretches)
            )
            for scan, of_scan in zip(self.scans, back.wanted, strict=True)
        ]
        scratch: State = ()
        if left.run is None and back.d_initial is not None:
            scratch = tuple(map(torch.empty_like, back.d_initial))
        for number in reversed(range(len(stretches))):
            begin, end = stretches[number]
            run, before = left.run, left.states[number] if number else initial
            if run is None:
                run = self._run(begin, end, data, before, None, scratch, keep=True)
            self._run_back(backs, (begin, end), run, data, before, output, back)
            if number:
                back = replace(back, d_last=back.d_initial)
        return [gradient for of_scan in backs for gradient in of_scan.found()]

    def _run(
        self,
        begin: int,
        end: int,
        data: Place,
        initial: State | None,
        output: Place | None,
        last: State,
        *,
        keep: bool,
    ) -> Run:
        """A stretch through all layers; without ``output`` the run has the last one's too."""
        steps, run, top = self.steps, Run(), len(self.scans) - 1
        layout, count = steps.stretch(begin, end, reverse=self.reverse)
        for layer, scan in enumerate(self.scans):
            is_top = layer == top
            kept = scan.empty_kept(self.like, count) if keep else None
            own = None
            if is_top and output is not None:
                place = output
            else:
                own = self.like.new_empty(count, scan.plan.kind.widths[0])
                place = steps.place_from(own, begin, end)
            scan.forward(layout, data, initial, place, last, kept)
            if kept is not None:
                run.kept.append(kept)
                run.outputs.append(own)
            if own is not None and not is_top:
                read = self._dropped(own, layer, begin, end)
                data = steps.place_from(read, begin, end)
        return run

    def _run_back(
        self,
        backs: list[ScanBack],
        stretch: tuple[int, int],
        run: Run,
        data: Place,
        before: State | None,
        output: Place,
        back: Back,
    ) -> None:
        """The way back through a stretch."""
        steps, (begin, end) = self.steps, stretch
        layout, _ = steps.stretch(begin, end, reverse=self.reverse)
        d_output, d_read = back.d_output, None
        for layer in reversed(range(back.lowest, len(backs))):
            own, read, d_place, d_above = run.outputs[layer], data, back.d_input, d_read
            below = run.outputs[layer - 1] if layer else None
            if below is not None:
                below = self._dropped(below, layer - 1, begin, end)
                read, d_place, d_read = steps.place_from(below, begin, end), NOWHERE, None
            if below is not None and layer > back.lowest:
                adds = backs[layer].scan.plan.adds_to_input
                d_read = torch.zeros_like(below) if adds else torch.empty_like(below)
                d_place = steps.place_from(d_read, begin, end)
            backs[layer].run(
                layout,
                read,
                before,
                output if own is None else steps.place_from(own, begin, end),
                run.kept[layer],
                d_output,
                back.d_last,
                back.d_initial,
                d_place,
                back.carried[layer] if back.carried else None,
                adds=back.adds and layer == 0,
            )
            del d_above  # until here its memory was read
            if below is not None and d_read is not None:
                d_read = self._dropped(d_read, layer - 1, begin, end)
                d_place = steps.place_from(d_read, begin, end)
            d_output = d_place

    def _dropped(self, output: Tensor, layer: int, begin: int, end: int) -> Tensor:
        """This layer's output over a stretch [K, ·], or the gradient of it, after dropout."""
        noise = self.noises[layer]
        if noise is None:
            return output
        begin, end = min(begin, end), max(begin, end)
        return output * noise[self.steps.offset(begin) : self.steps.offset(end)]

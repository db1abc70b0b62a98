"""One layer in one direction on the compiled core, forward and backward.

It owns every buffer that it hands over; csrc/contract.h says what each of them is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from unrolled.scan.native import NO_MEMORY, Memory, Place, Steps, dense, memory
from unrolled.scan.plan import Plan
from unrolled.scan.spec import State

Kept = list[Tensor]
"""What a forward scan leaves for the backward one, a step after the other [N, ·]: the plan says
what they are."""


class Scan:
    """A layer with where its weights lie, which the caller holds alive.

    ``index`` is its place in the states.
    """

    def __init__(self, plan: Plan, index: int, weights: list[Memory]) -> None:
        self.plan, self.index, self.reverse = plan, index, plan.kind.reverse
        self.weights = weights
        self._inputs: list[Place] = []
        self._constants: list[Memory] = []
        self._alive: list[Tensor] = []

    def reading(self, steps: Steps, beside: Mapping[str, Tensor]) -> Scan:
        """The same with the constants and random numbers that it reads, of those by name."""
        found = Scan(self.plan, self.index, self.weights)
        inputs = [dense(beside[name]) for name in self.plan.inputs]
        constants = [beside[name].contiguous() for name in self.plan.constants]
        found._inputs = [steps.place(data) for data in inputs]
        found._constants = [memory(constant) for constant in constants]
        found._alive = [*inputs, *constants]
        return found

    def empty_kept(self, like: Tensor, count: int) -> Kept:
        """Room for what ``count`` pairs of a step and a row leave for a backward scan."""
        return [like.new_empty(count, width) for width in self.plan.kept]

    def empty_carried(self, like: Tensor, count: int) -> list[Tensor]:
        """Room for what a backward scan says of the states of ``count`` pairs.

        Of each state as it is handed on to the next step, and of the first one with what is given
        out besides.
        """
        widths = self.plan.kind.widths
        return [like.new_empty(count, width) for width in (*widths, widths[0])]

    def forward(
        self,
        layout: Any,
        data: Place,
        initial: State | None,
        output: Place,
        last: State,
        kept: Kept | None,
    ) -> None:
        """Writes ``output``, its slice of the states ``last``, and ``kept``.

        Args:
            layout: the steps to run, see :meth:`Steps.stretch`.
            data: the layer's input, I numbers for each step of each row.
            initial: each state of all layers and directions [L·D, B, ·]; None for zeros.
            output: the first state after each step, likewise.
            last: as ``initial``.
            kept: for a backward pass, None where none may follow.
        """
        self.plan.core.forward(
            layout,
            self.read(data, initial),
            (output, [] if kept is None else [memory(each) for each in kept]),
            self.slices(last),
            torch.get_num_threads(),
        )

    def read(self, data: Place, initial: State | None) -> tuple[Any, ...]:
        """What a pass reads, for the core."""
        return self.weights, [data, *self._inputs], self._constants, self.slices(initial)

    def slices(self, states: Sequence[Tensor | None] | None) -> list[Memory]:
        """Where this layer's and direction's states lie."""
        if states is None:
            return self.plan.no_states
        return [self._slice(state) for state in states]

    def _slice(self, state: Tensor | None) -> Memory:
        if state is None or (count := state.numel()) == 0:
            return NO_MEMORY
        if self.index == 0:
            return state.data_ptr(), count
        before = self.index * state.stride(0)
        return state.data_ptr() + before * state.element_size(), count - before


class ScanBack:
    """The backward pass of a scan: all steps at once or in stretches, the last ones first.

    The gradients of the weights are then the same to the last bit.
    """

    def __init__(
        self,
        scan: Scan,
        steps: Steps,
        like: Tensor,
        wanted: Sequence[bool],
        d_constants: Mapping[str, Tensor],
        *,
        stretches: int,
    ) -> None:
        """``wanted`` says of each of the cell's weights whether its gradient is.

        To ``d_constants`` is added, by name, what the layer says of those.
        """
        self.scan = scan
        plan = scan.plan
        of_weights = zip(plan.weights, plan.shapes, plan.is_learned, strict=True)
        self.gradients = [
            (like.new_empty if is_learned else like.new_zeros)(shape) if wanted[number] else None
            for number, shape, is_learned in of_weights
        ]
        """Those of the plan's weights, once all steps have been run; None for those not wanted."""
        self._wanted = sum(1 << i for i, g in enumerate(self.gradients) if g is not None)
        self._d_constants = [memory(d_constants.get(name)) for name in plan.constants]
        self._left = stretches
        self._sums = None
        if stretches > 1:
            bounds = steps.bounds(None, reverse=scan.reverse)
            layout, _ = steps.stretch(*bounds, reverse=scan.reverse)
            self._sums = like.new_zeros(plan.core.sums_size(layout, self._wanted))

    def run(
        self,
        layout: Any,
        data: Place,
        initial: State | None,
        output: Place,
        kept: Kept,
        d_output: Place,
        d_last: Sequence[Tensor | None] | None,
        d_initial: State | None,
        d_input: Place,
        carried: Sequence[Tensor] | None = None,
        *,
        adds: bool,
    ) -> None:
        """Writes its slice of ``d_initial``, ``d_input`` (or adds to that) and ``carried``.

        The first arguments are those of :meth:`Scan.forward`. :data:`NOWHERE` or None stands for
        zero, or for what is not wanted.
        """
        self._left -= 1
        scan = self.scan
        each = scan.plan.no_states
        if carried is not None:
            each = [memory(of_state) for of_state in carried[:-1]]
        total = NO_MEMORY if carried is None else memory(carried[-1])
        scan.plan.core.backward(
            layout,
            scan.read(data, initial),
            (output, [memory(of_kept) for of_kept in kept]),
            (d_output, scan.slices(d_last)),
            (scan.slices(d_initial), d_input, adds or scan.plan.adds_to_input, self._d_constants),
            (each, total),
            (
                self._wanted,
                memory(self._sums),
                [NO_MEMORY if self._left else memory(g) for g in self.gradients],
            ),
            torch.get_num_threads(),
        )

    def found(self) -> list[Tensor | None]:
        """The gradients of all of the cell's weights; None for those not wanted or not read."""
        found: list[Tensor | None] = [None] * len(self.scan.plan.kind.cell.weights)
        for number, gradient in zip(self.scan.plan.weights, self.gradients, strict=True):
            found[number] = gradient
        return found


def scans(plans: tuple[Plan, ...], flat: Sequence[Tensor]) -> list[Scan]:
    """The layers and directions of a pass, in the order of the states.

    ``flat`` are the weights of all of them, dense, in the order of the cell's.

    Raises:
        RuntimeError: the weights' shapes don't fit the plans.
    """
    if not flat:  # they are in the plans, which are not to outlive those who have them
        return [Scan(plan, index, []) for index, plan in enumerate(plans)]
    shapes, addresses = tuple([w.shape for w in flat]), tuple([w.data_ptr() for w in flat])
    return _scans(plans, shapes, addresses)


@lru_cache(maxsize=1024)
def _scans(
    plans: tuple[Plan, ...], shapes: tuple[Any, ...], addresses: tuple[int, ...]
) -> list[Scan]:
    """They are values: made, and the shapes checked, once for all calls that are alike."""
    each, found = len(shapes) // len(plans), []
    for index, plan in enumerate(plans):
        weights = []
        for number, expected in zip(plan.weights, plan.shapes, strict=True):
            place = index * each + number
            check_shape(f"a weight of {plan.kind.cell.name}", shapes[place], expected)
            weights.append((addresses[place], prod(expected)))
        found.append(Scan(plan, index, weights))
    return found


def check_shape(name: str, found: Sequence[int], expected: Sequence[int]) -> None:
    """The core reads as far as the sizes say: what is smaller would be read past its end.

    Raises:
        RuntimeError: the shape is another.
    """
    if tuple(found) != tuple(expected):
        raise RuntimeError(
            f"{name} has shape {list(found)}, and {list(expected)} was expected to fit the "
            "other weights. Was a weight replaced?"
        )

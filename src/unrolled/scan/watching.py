"""What a layer of a described cell does at every step, and what a loss says of it.

On the compiled core the numbers are those that its step forward keeps and its step back writes; by
the equations each step is watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.detached import undetached
from unrolled.scan import equations
from unrolled.scan.draws import resting
from unrolled.scan.layer import Kept
from unrolled.scan.plan import Plan
from unrolled.scan.reference import Layer
from unrolled.scan.spec import State


class Watch:
    """Watches one layer in one direction; all that it has is of its steps as they lie [N, ·].

    Attributes:
        layer: what runs.
        values: every line that has a name and every state after the step, by name.
        carried: what a loss says of each state as every step hands it on to the next, and of the
            first one with what is given out besides.
    """

    def __init__(self, layer: Layer, *, gradients: bool) -> None:
        """With ``gradients`` the steps it is shown are handed on as tensors of their own."""
        self.layer, self.gradients = layer, gradients
        self.values: dict[str, Tensor] = {}
        self.carried: tuple[Tensor, ...] = ()
        self._steps: list[tuple[list[Tensor], State, Tensor]] = []
        self._sizes = layer.sequences.sizes()

    # --- what the engines tell --------------------------------------------------------------------

    def see_kept(self, plan: Plan, kept: Kept, output: Tensor) -> None:
        """What a pass of the core left, of steps that were not run in stretches.

        ``output`` [N, ·] is what it gave out.
        """
        cell = self.layer.kind.cell
        after = {cell.output.name: output}
        for state, place in zip(cell.states[1:], plan.after[1:], strict=True):
            assert place is not None
            after[state.name] = place.of(kept)
        columns = {name: place.of(kept) for name, place in plan.places.items()}
        # What a state becomes is kept once, also where it is detached.
        of_next = dict(zip(undetached(cell).next, after.values(), strict=True))
        of_next |= zip(cell.next, after.values(), strict=True)
        named = {name: columns[name] if name in columns else of_next[name] for name in cell.named}
        # The output is the caller's, who may change it.
        self.values = {name: value.detach().clone() for name, value in {**named, **after}.items()}

    def see_step(self, values: Mapping[str, Any], after: State) -> tuple[State, Tensor]:
        """What a step by the equations computed; gives the states to go on with, and the output."""
        on, out = after, after[0]
        if self.gradients:
            # Tensors of their own, so that a loss can be asked of one and not of the other.
            on, out = tuple([_own(state) for state in after]), _own(out)
        rows, units = len(out), self.layer.kind.units
        by_name = self.layer.kind.cell.by_name
        named = [
            values[name].detach().expand(rows, units[by_name[name].size])
            for name in self.layer.kind.cell.named
        ]
        self._steps.append((named, on, out))
        return on, out

    def finish(self) -> None:
        """All steps were seen."""
        cell = self.layer.kind.cell
        named = zip(*[named for named, _, _ in self._in_order()], strict=True)
        on = zip(*[on for _, on, _ in self._in_order()], strict=True)
        names = (*cell.named, *[state.name for state in cell.states])
        self.values = {
            name: torch.cat(steps).detach()
            for name, steps in zip(names, (*named, *on), strict=True)
        }

    def sources(self) -> list[Tensor]:
        """What a loss has to be differentiated by, besides what the pass reads."""
        if not self.gradients:
            return []
        return [t for _, on, out in self._in_order() for t in (*on, out)]

    def _in_order(self) -> Iterator[tuple[list[Tensor], State, Tensor]]:
        """The steps as time goes, in whatever order they ran."""
        return reversed(self._steps) if self.layer.kind.reverse else iter(self._steps)

    # --- what a loss says -------------------------------------------------------------------------

    def see_carried(self, carried: Sequence[Tensor] | None) -> None:
        """What the core says; None where the loss does not hang on the pass."""
        if carried is None:
            states = [self.values[state.name] for state in self.layer.kind.cell.states]
            carried = [torch.zeros_like(state) for state in (*states, states[0])]
        self.carried = tuple(carried)

    def see_gradients(self, found: list[Tensor | None]) -> None:
        """The gradients by :meth:`sources`."""
        known = [
            torch.zeros_like(source) if gradient is None else gradient
            for source, gradient in zip(self.sources(), found, strict=True)
        ]
        each = len(self.layer.initial) + 1
        *carried, out = [torch.cat(known[place::each]) for place in range(each)]
        self.carried = (*carried, carried[0] + out)

    def totals(self) -> list[Tensor]:
        """The gradient by each state after every step, by all that hangs on it.

        That is what the steps after it and the output say, and what the step itself says of a state
        that it reads once it is computed: an LSTM's output shows its new cell state.
        """
        kind = self.layer.kind
        cell = kind.cell
        by = [self.carried[-1], *self.carried[1:-1]]
        with torch.enable_grad():
            step = equations.Step(kind.step, self._weights(), kind.units, numbers=kind.numbers)
            values = step.run(self._known())
        made = [
            values[name] if name in cell.by_name and values[name].requires_grad else None
            for name in cell.next
        ]
        of_made = [(one, of) for one, of in zip(made, by, strict=True) if one is not None]
        found = iter(
            torch.autograd.grad(
                [m for m, _ in of_made], [m for m, _ in of_made], [g for _, g in of_made]
            )
            if of_made
            else ()
        )
        return [of if one is None else next(found) for one, of in zip(made, by, strict=True)]

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach() for name, weight in self.layer.weights.items()}

    def _known(self) -> dict[str, Tensor]:
        """All that every step was given [N, ·], each a tensor to differentiate by."""
        kind, count = self.layer.kind, sum(self._sizes)
        cell, data = kind.cell, self.layer.sequences.data
        rows = torch.cat([torch.arange(size, device=data.device) for size in self._sizes])
        found = {cell.input.name: data.flatten(0, -2)}
        draws = self.layer.draws or resting(kind, len(self.layer.initial[0]), data)
        of_steps = {d.name for d in cell.draws if d.each == "step" and self.layer.draws}
        for name, value in {**self.layer.constants, **draws}.items():
            found[name] = value if name in of_steps else value[rows]
        for weight in cell.weights:
            if weight.kind in ("vector", "scalar"):
                value = self.layer.weights[weight.name]
                found[weight.name] = value.expand(count, kind.units[weight.parts[0].size])
        for place, state in enumerate(cell.states):
            found[state.name] = self._before(place)
        return {name: value.detach().clone().requires_grad_() for name, value in found.items()}

    def _before(self, place: int) -> Tensor:
        """A state as each step received it."""
        state = self.layer.kind.cell.states[place]
        steps = list(torch.split(self.values[state.name], self._sizes))
        if self.layer.kind.reverse:
            steps.reverse()
        found, last = [], self.layer.initial[place][:0]
        for step in steps:
            # Rows that have no step yet begin with the initial state; others have ended.
            begun = self.layer.initial[place][len(last) : len(step)]
            found.append(torch.cat([last[: len(step)], begun]))
            last = step
        return torch.cat(found[::-1] if self.layer.kind.reverse else found)


def _own(tensor: Tensor) -> Tensor:
    """The same as a tensor that a loss can be asked of."""
    if tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()  # nothing before it wants a gradient

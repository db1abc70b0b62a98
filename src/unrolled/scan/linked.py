"""Programs of described cells on the compiled core: one layer in one direction.

It checks what it hands over (type, device, layout) and owns every buffer; csrc/program.h says what
each of them is. float32 and float64 on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.cells.description import Description
from unrolled.cells.given import NotLinkedError
from unrolled.cells.program import Program, link
from unrolled.scan.native import NO_MEMORY, NOWHERE, Memory, Place, Steps, isa
from unrolled.scan.spec import State

try:
    from unrolled import _core
except ImportError:  # built without a compiler
    _core = None  # type: ignore[assignment]

Units = tuple[tuple[str, int], ...]
"""How many numbers each size has."""


@lru_cache(maxsize=256)
def linked(cell: Description, units: Units, draws: bool, watched: bool = False) -> Linked | str:
    """The cell's program, or why there is none; ``watched`` is one that keeps all named lines."""
    try:
        return Linked(link(cell, dict(units), draws=draws, watched=cell.named if watched else ()))
    except (NotLinkedError, ValueError) as reason:  # the core refuses sizes of 0, for example
        return str(reason)


class Names(NamedTuple):
    """What a program reads beside its input and the states, in its order."""

    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    weights: tuple[str, ...]


class Linked:
    """A program, as the core has it for each type of numbers."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.inputs, self.constants = len(program.inputs), len(program.constants)
        self.states, self.weights = len(program.kept.after), len(program.weights)
        self.names = Names(
            tuple(program.inputs[1:]), tuple(program.constants), tuple(program.weights)
        )
        self.state_units: list[int] = program.handed[2]
        self._core = _core.Program(*program.handed)

    @cached_property
    def f32(self) -> Any:
        """The core's pass in single precision."""
        return _core.ProgramF32(isa(), self._core)

    @cached_property
    def f64(self) -> Any:
        """And in double precision."""
        return _core.ProgramF64(isa(), self._core)

    def core(self, dtype: torch.dtype) -> Any:
        """The core's pass for numbers of this type."""
        return self.f32 if dtype == torch.float32 else self.f64


class Given:
    """What a pass is given.

    The inputs [T, B, ·] or [N, ·], whose last dimension is dense, and the constants [B, ·], the
    states [B, ·], if any are given, and the weights, which are dense.
    """

    def __init__(self, linked: Linked, steps: Steps, tensors: Sequence[Tensor]) -> None:
        a = linked.inputs
        b = a + linked.constants
        c = len(tensors) - linked.weights
        self.steps = steps
        self.inputs, self.constants = tensors[:a], tensors[a:b]
        self.states, self.weights = tensors[b:c], tensors[c:]


@dataclass
class Left:
    """What a forward pass leaves for the backward pass.

    Attributes:
        bounds: where its stretches of steps begin, and the last one ends.
        states: those [1, B, ·] with which each stretch but the first begins.
        output: what it gave out, [T, B, ·] or [N, ·].
        kept: what it kept of every step and row [N, ·]. Where the steps are run in stretches it and
            the output are None: the backward pass repeats them.
    """

    bounds: list[int]
    states: list[State] = field(default_factory=list)
    output: Tensor | None = None
    kept: Tensor | None = None

    def tensors(self) -> list[Tensor | None]:
        """All there are, in the order in which :meth:`with_tensors` takes them."""
        return [self.output, self.kept, *[state for of_all in self.states for state in of_all]]

    def with_tensors(self, tensors: Iterator[Any]) -> Left:
        """The same with other tensors, or None, in their places."""
        output, kept = next(tensors), next(tensors)
        states = [tuple([next(tensors) for _ in of_all]) for of_all in self.states]
        return Left(self.bounds, states, output, kept)


class Scan:
    """A layer in one direction over what it is given."""

    def __init__(self, linked: Linked, given: Given, *, reverse: bool) -> None:
        self.linked, self.given, self.steps, self.reverse = linked, given, given.steps, reverse
        self.like = given.inputs[0]
        self._core = linked.core(self.like.dtype)
        self._weights = [memory(weight) for weight in given.weights]
        self._inputs = [self.steps.place(data) for data in given.inputs]
        self._constants = [memory(constant) for constant in given.constants]

    def forward(self) -> tuple[Tensor, State]:
        """The output, and the last states [1, B, ·]."""
        output, after = self._empty_output(), self.empty_states()
        begin, end = self.steps.bounds(None, reverse=self.reverse)
        self._run(begin, end, self.given.states, self.steps.place(output), after, None)
        return output, after

    def forward_to_return(self, every: int | None) -> tuple[Tensor, State, Left]:
        """The same, so that a backward pass may follow; ``every`` so many steps the states stay."""
        steps, output = self.steps, self._empty_output()
        left = Left(steps.bounds(every, reverse=self.reverse))
        place, before = steps.place(output), self.given.states
        is_kept = len(left.bounds) == 2
        if is_kept:
            left.output = output
            left.kept = self._empty_kept(*left.bounds)
        after: State = ()
        for begin, end in pairwise(left.bounds):
            if after:
                left.states.append(after)
            after = self.empty_states()
            self._run(begin, end, before, place, after, left.kept)
            before = after
        return output, after, left

    def backward(
        self,
        left: Left,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        carried: Sequence[Tensor] = (),
    ) -> list[Tensor | None]:
        """The gradients of what is given; None for those not wanted.

        ``gradients`` are those of the output and the last states, None for zero. ``carried``
        [N, ·], of steps that are not run in stretches, are filled, if given: with those of each
        state as every step hands it on, and of the first state with what is given out besides.
        """
        stretches = list(pairwise(left.bounds))
        back = _Back(self, gradients, wanted, carried, stretches=len(stretches))
        for number in reversed(range(len(stretches))):
            begin, end = stretches[number]
            before = left.states[number - 1] if number else self.given.states
            output, kept = left.output, left.kept
            if output is None or kept is None:
                count = self.steps.stretch(begin, end, reverse=self.reverse)[1]
                output = self.like.new_empty(count, self.linked.state_units[0])
                kept = self._empty_kept(begin, end)
                place = self.steps.place_from(output, begin, end)
                self._run(begin, end, before, place, self.empty_states(), kept)
            else:
                place = self.steps.place(output)
            back.run(begin, end, before, place, kept, is_last=number == 0)
        return back.found()

    def addresses(self, states: Sequence[Tensor]) -> tuple[list[Any], ...]:
        """Where all lies that steps are given which begin with these states, none for zeros."""
        before = [memory(state) for state in states] or [NO_MEMORY] * self.linked.states
        return self._weights, self._inputs, self._constants, before

    def layout(self, begin: int, end: int) -> Any:
        """These steps, for the core."""
        return self.steps.stretch(begin, end, reverse=self.reverse)[0]

    def _run(
        self,
        begin: int,
        end: int,
        before: Sequence[Tensor],
        output: Place,
        after: State,
        kept: Tensor | None,
    ) -> None:
        self._core.forward(
            self.layout(begin, end),
            *self.addresses(before),
            output,
            [memory(state) for state in after],
            memory(kept),
            torch.get_num_threads(),
        )

    def _empty_output(self) -> Tensor:
        return self.like.new_empty(*self.like.shape[:-1], self.linked.state_units[0])

    def empty_states(self) -> State:
        """Room for one of each state [1, B, ·]."""
        new, rows = self.like.new_empty, self.steps.batch
        return tuple([new(1, rows, units) for units in self.linked.state_units])

    def _empty_kept(self, begin: int, end: int) -> Tensor:
        count = self.steps.stretch(begin, end, reverse=self.reverse)[1]
        return self.like.new_empty(count, self.linked.program.kept.width)


class _Back:
    """The backward pass of a scan: all steps at once or in stretches, the last ones first.

    The gradients are then the same to the last bit.
    """

    def __init__(
        self,
        scan: Scan,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        carried: Sequence[Tensor],
        *,
        stretches: int,
    ) -> None:
        self.carried = carried
        self.scan, self.core = scan, scan.linked.core(scan.like.dtype)
        given, program, steps = scan.given, scan.linked.program, scan.steps
        wants = iter(wanted)
        self.d_input = None
        if next(wants):
            new = scan.like.new_zeros if program.adds_to_input else scan.like.new_empty
            self.d_input = new(scan.like.shape)
        for _ in given.inputs[1:]:
            next(wants)  # random numbers, which have none
        self.d_constants = [torch.zeros_like(c) if next(wants) else None for c in given.constants]
        self._wants_states = [next(wants) for _ in given.states]
        self.d_weights = [
            (torch.empty_like if is_learned else torch.zeros_like)(weight) if next(wants) else None
            for weight, is_learned in zip(given.weights, program.is_learned, strict=True)
        ]
        self._wanted = sum(1 << i for i, d in enumerate(self.d_weights) if d is not None)
        self.d_output = None if gradients[0] is None else dense(gradients[0])
        self.d_after = [None if g is None else g.contiguous() for g in gradients[1:]]
        self.d_before: list[Tensor | None] = [None] * scan.linked.states
        self._sums = None
        if stretches > 1:  # each hands on to the one before it
            all_steps = scan.layout(*steps.bounds(None, reverse=scan.reverse))
            self._sums = scan.like.new_zeros(self.core.sums_size(all_steps, self._wanted))
            self.d_before = list(scan.empty_states())
        elif given.states:
            self.d_before = [
                torch.empty_like(state) if is_wanted else None
                for state, is_wanted in zip(given.states, self._wants_states, strict=True)
            ]

    def run(
        self,
        begin: int,
        end: int,
        before: Sequence[Tensor],
        output: Place,
        kept: Tensor,
        *,
        is_last: bool,
    ) -> None:
        """The way back through these steps; ``is_last`` of those with which the scan began."""
        scan, steps = self.scan, self.scan.steps
        self.core.backward(
            scan.layout(begin, end),
            *scan.addresses(before),
            output,
            memory(kept),
            NOWHERE if self.d_output is None else steps.place(self.d_output),
            [memory(d) for d in self.d_after],
            [memory(d) for d in self.d_before],
            [memory(each) for each in self.carried[:-1]] or [NO_MEMORY] * scan.linked.states,
            memory(self.carried[-1]) if self.carried else NO_MEMORY,
            NOWHERE if self.d_input is None else steps.place(self.d_input),
            scan.linked.program.adds_to_input,
            [memory(d) for d in self.d_constants],
            self._wanted,
            memory(self._sums),
            [memory(d) if is_last else NO_MEMORY for d in self.d_weights],
            torch.get_num_threads(),
        )
        self.d_after = self.d_before

    def found(self) -> list[Tensor | None]:
        """The gradients of what the scan was given."""
        given = self.scan.given
        d_states = [
            d.view(state.shape) if d is not None and is_wanted else None
            for d, state, is_wanted in zip(
                self.d_before, given.states, self._wants_states, strict=False
            )
        ]
        none = [None] * (len(given.inputs) - 1)
        return [self.d_input, *none, *self.d_constants, *d_states, *self.d_weights]


def memory(tensor: Tensor | None) -> Memory:
    """Where a tensor lies that is dense."""
    return NO_MEMORY if tensor is None else (tensor.data_ptr(), tensor.numel())


def dense(data: Tensor) -> Tensor:
    """``data``, copied if the core can't read it: its last dimension has to be dense."""
    return data if data.dim() > 1 and data.stride(-1) == 1 else data.contiguous()

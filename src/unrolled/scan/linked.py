"""Programs of described cells on the compiled core: one layer in one direction.

It checks what it hands over (type, device, layout) and owns every buffer; csrc/program.h says what
each of them is. float32 and float64 on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import Description
from unrolled.cells.given import NotLinkedError
from unrolled.cells.program import Program, link
from unrolled.scan.native import NO_MEMORY, NOWHERE, Memory, Steps, isa
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


class Linked:
    """A program, as the core has it for each type of numbers."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.inputs, self.constants = len(program.inputs), len(program.constants)
        self.states, self.weights = len(program.kept.after), len(program.weights)
        self.names = program.weights
        self.reads_more = self.inputs + self.constants > 1
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
        self.addresses = (
            [memory(w) for w in self.weights],
            [steps.place(x) for x in self.inputs],
            [memory(c) for c in self.constants],
            [memory(s) for s in self.states] or [NO_MEMORY] * linked.states,
        )

    def layout(self, reverse: bool) -> Any:
        """All steps."""
        time = self.steps.time
        begin, end = (time, 0) if reverse else (0, time)
        return self.steps.stretch(begin, end, reverse=reverse)[0]

    def count(self) -> int:
        """How many pairs of a step and a row there are."""
        return self.steps.offset(self.steps.time)


def forward(
    linked: Linked, given: Given, reverse: bool, *, keeps: bool
) -> tuple[Tensor, State, Tensor | None]:
    """The output, the last states [1, B, ·], and what is kept [N, ·] for the backward pass."""
    data = given.inputs[0]
    output = data.new_empty(*data.shape[:-1], linked.state_units[0])
    after = tuple([data.new_empty(1, given.steps.batch, units) for units in linked.state_units])
    kept = data.new_empty(given.count(), linked.program.kept.width) if keeps else None
    linked.core(data.dtype).forward(
        given.layout(reverse),
        *given.addresses,
        given.steps.place(output),
        [memory(s) for s in after],
        memory(kept),
        torch.get_num_threads(),
    )
    return output, after, kept


def backward(
    linked: Linked,
    given: Given,
    output: Tensor,
    kept: Tensor,
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
    reverse: bool,
    carried: Sequence[Tensor | None] = (),
) -> list[Tensor | None]:
    """The gradients of what is given; None for those not wanted.

    ``gradients`` are those of the output and the last states, None for zero. ``carried`` [N, ·] are
    filled, if given: with those of each state as every step hands it on, and of the first state
    with what is given out besides.
    """
    a, program = linked.inputs, linked.program
    b = a + linked.constants
    c = b + len(given.states)
    d_input = None
    if wanted[0]:
        new = given.inputs[0].new_zeros if program.adds_to_input else given.inputs[0].new_empty
        d_input = new(given.inputs[0].shape)
    of_rows = [
        torch.empty_like(tensor) if is_wanted else None
        for tensor, is_wanted in zip([*given.constants, *given.states], wanted[a:c], strict=True)
    ]
    d_constants, d_states = of_rows[: b - a], of_rows[b - a :]
    d_weights = [
        (torch.empty_like if is_learned else torch.zeros_like)(weight) if is_wanted else None
        for weight, is_learned, is_wanted in zip(
            given.weights, program.is_learned, wanted[c:], strict=True
        )
    ]
    d_output = None if gradients[0] is None else dense(gradients[0])
    d_after = [None if g is None else g.contiguous() for g in gradients[1:]]
    linked.core(output.dtype).backward(
        given.layout(reverse),
        *given.addresses,
        given.steps.place(output),
        memory(kept),
        NOWHERE if d_output is None else given.steps.place(d_output),
        [memory(d) for d in d_after],
        [memory(d) for d in d_states] or [NO_MEMORY] * linked.states,
        [memory(each) for each in carried[:-1]] or [NO_MEMORY] * linked.states,
        memory(carried[-1]) if carried else NO_MEMORY,
        NOWHERE if d_input is None else given.steps.place(d_input),
        program.adds_to_input,
        [memory(d) for d in d_constants],
        sum(1 << i for i, d in enumerate(d_weights) if d is not None),
        NO_MEMORY,
        [memory(d) for d in d_weights],
        torch.get_num_threads(),
    )
    return [d_input, *[None] * (a - 1), *of_rows, *d_weights]


def memory(tensor: Tensor | None) -> Memory:
    """Where a tensor lies that is dense."""
    return NO_MEMORY if tensor is None else (tensor.data_ptr(), tensor.numel())


def dense(data: Tensor) -> Tensor:
    """``data``, copied if the core can't read it: its last dimension has to be dense."""
    return data if data.dim() > 1 and data.stride(-1) == 1 else data.contiguous()

"""How the compiled core runs a layer in one direction: by kernels, or as a program.

A plan is a value: made, and checked, once for all passes that are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import layers
from unrolled.cells.built_in import BUILT_IN
from unrolled.cells.description import HIDDEN, INPUT, Description
from unrolled.cells.given import NotLinkedError
from unrolled.cells.program import Program, link
from unrolled.scan import native
from unrolled.scan.native import NO_MEMORY, Memory
from unrolled.scan.spec import Kind, Spec, Units

MOST_BYTES = 2**16
"""So many numbers in 8 bits the core multiplies at most: their sum is one in 32 bits."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a value lies among what a pass keeps: in which tensor [N, ·], and in which columns."""

    tensor: int
    begin: int
    width: int

    def of(self, kept: Sequence[Tensor]) -> Tensor:
        """The value [N, ·]."""
        return kept[self.tensor][:, self.begin : self.begin + self.width]


@dataclass(frozen=True, eq=False)
class Plan:
    """A layer in one direction with numbers of one type.

    Attributes:
        kind: the layer.
        core: the core's pass.
        inputs: the random numbers of every step that it reads beside the layer's input.
        constants: the constants, and random numbers of a row, that it reads.
        weights: which of the cell's weights it reads, by their places among them.
        shapes: of these.
        is_learned: whether the gradient of each is written, or is zero.
        adds_to_input: whether the gradient of the input is added to what is there.
        kept: how many numbers of a step each tensor has that is left for the backward pass.
        places: where these hold the values that have names.
        after: where they hold each state after the step, None for the first, which is the output.
        no_states: what stands for the addresses of states where there are none.
    """

    kind: Kind
    core: Any
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    weights: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    is_learned: tuple[bool, ...]
    adds_to_input: bool
    kept: tuple[int, ...]
    places: Mapping[str, Place]
    after: tuple[Place | None, ...]
    no_states: list[Memory] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "no_states", [NO_MEMORY] * len(self.after))


def plans(spec: Spec, dtype: torch.dtype, *, watched: bool = False) -> tuple[Plan, ...] | str:
    """Those of the layers and directions, or why the core can't run one of them.

    ``watched`` keeps all values that have names.
    """
    return _plans(spec, dtype, watched, native.isa())


@lru_cache(maxsize=1024)
def _plans(spec: Spec, dtype: torch.dtype, watched: bool, isa: int) -> tuple[Plan, ...] | str:
    found = []
    if spec.numbers == "int8" and (reason := _not_in_eight_bits(spec, dtype)):
        return reason
    for kind in spec.kinds:
        if kind.kernel is not None:
            found.append(_by_kernels(kind, kind.kernel, dtype, isa))
            continue
        units = tuple(kind.units.items())
        program = linked(kind.cell, units, draws=spec.draws, watched=watched)
        if isinstance(program, str):
            return program
        found.append(_as_program(kind, program, dtype, isa))
    return tuple(found)


def _not_in_eight_bits(spec: Spec, dtype: torch.dtype) -> str | None:
    """Why the core has no products in 8 bits for the pass."""
    if spec.kernel is None or dtype != torch.float32:
        return "the core's products in 8 bits are of RNN, LSTM and GRU in float32"
    if max(count for kind in spec.kinds for count in kind.units.values()) > MOST_BYTES:
        return f"the core sums up to {MOST_BYTES} products in 8 bits"
    return None


def _by_kernels(kind: Kind, mode: str, dtype: torch.dtype, isa: int) -> Plan:
    cell, units = kind.cell, kind.units
    hidden, state = units[HIDDEN], units[cell.output.size]
    make = native.core.KernelF32 if dtype == torch.float32 else native.core.KernelF64
    is_biased = any(weight.kind == "bias" for weight in cell.weights)
    is_projected = cell.output.size != HIDDEN
    core = make(
        isa,
        _products(kind, isa),
        mode,
        units[INPUT],
        hidden,
        state if is_projected else 0,
        is_biased,
    )
    kept = tuple(core.kept)
    # csrc/contract.h's Kept: the gates, if there are any, then the cell state and the raw one.
    gates = BUILT_IN[mode].gates if kept and kept[0] > hidden else ()
    places = {name: Place(0, number * hidden, hidden) for number, name in enumerate(gates)}
    more = [Place(number, 0, hidden) for number in range(1 if gates else 0, len(kept))]
    after: list[Place | None] = [None, *more[: len(cell.states) - 1]]
    if is_projected:
        places["raw"] = more[-1]
    return Plan(
        kind,
        core,
        inputs=(),
        constants=(),
        weights=tuple(range(len(cell.weights))),
        shapes=_shapes(cell, units, range(len(cell.weights))),
        is_learned=(True,) * len(cell.weights),
        adds_to_input=False,
        kept=kept,
        places=places,
        after=tuple(after),
    )


def _as_program(kind: Kind, linked: Linked, dtype: torch.dtype, isa: int) -> Plan:
    program, cell = linked.program, kind.cell
    names = [weight.name for weight in cell.weights]
    weights = tuple([names.index(name) for name in program.weights])
    sizes = {line.name: kind.units[line.size] for line in cell.lines}
    kept = program.kept
    return Plan(
        kind,
        (native.core.ProgramF32 if dtype == torch.float32 else native.core.ProgramF64)(
            isa, _products(kind, isa), linked.core
        ),
        inputs=tuple(program.inputs[1:]),
        constants=tuple(program.constants),
        weights=weights,
        shapes=_shapes(cell, kind.units, weights),
        is_learned=tuple(program.is_learned),
        adds_to_input=program.adds_to_input,
        kept=(kept.width,),
        places={name: Place(0, begin, sizes[name]) for name, begin in kept.places.items()},
        after=tuple(
            [
                None if begin is None else Place(0, begin, width)
                for begin, width in zip(kept.after, kind.widths, strict=True)
            ]
        ),
    )


def _products(kind: Kind, isa: int) -> str:
    """What the core's products multiply, the fastest way there is."""
    return str(native.core.products(isa, kind.numbers)[-1])


def _shapes(
    cell: Description, units: Mapping[str, int], weights: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Of what multiplies: of a matrix in blocks the whole of it."""
    found = []
    for weight in [cell.weights[number] for number in weights]:
        rows = sum(units[part.size] for part in weight.parts)
        whole = None if weight.columns is None else (rows, units[weight.columns])
        found.append(whole or layers.shape(weight, units))
    return tuple(found)


class Linked:
    """A cell's program, checked by the core."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.core = native.core.Program(*program.handed)


@lru_cache(maxsize=256)
def linked(cell: Description, units: Units, *, draws: bool, watched: bool = False) -> Linked | str:
    """The cell's program, or why there is none; ``watched`` is one that keeps all named lines."""
    try:
        return Linked(link(cell, dict(units), draws=draws, watched=cell.named if watched else ()))
    except (NotLinkedError, ValueError) as reason:  # the core refuses sizes of 0, for example
        return str(reason)

"""What a recurrent pass is, as values: the cell, the options of one pass, and what it is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from unrolled.cells import stored
from unrolled.cells.built_in import BUILT_IN
from unrolled.cells.description import HIDDEN, INPUT, ONE, Description
from unrolled.cells.layers import units_of
from unrolled.scan.compiling import constant
from unrolled.scan.equations import Plan, plan
from unrolled.scan.sequences import Sequences

State = tuple[Tensor, ...]
"""One tensor for each of the cell's states, in their order; the first is the output."""

Numbers = Literal["whole", "bfloat16", "int8"]
"""What products can multiply."""

Units = tuple[tuple[str, int], ...]
"""How many numbers each size has."""


@dataclass(frozen=True, eq=False)
class Kind:
    """One layer in one direction.

    Attributes:
        cell: its equations.
        units: how many numbers each size has.
        reverse: whether it goes from each row's last step to its first.
        kernel: the name of the core's kernels for the cell, None for a program.
        numbers: see :class:`Spec`.
    """

    cell: Description
    units: Mapping[str, int]
    reverse: bool = False
    kernel: str | None = None
    numbers: Numbers = "whole"

    widths: tuple[int, ...] = field(init=False)
    """How many numbers each state has."""
    weights: tuple[str, ...] = field(init=False)
    """The names of the cell's weights."""
    has_forms: bool = field(init=False)
    """Whether what multiplies is made from what is learned."""
    step: Plan = field(init=False)
    """How the equations compute a step."""

    def __post_init__(self) -> None:
        widths = [self.units[state.size] for state in self.cell.states]
        object.__setattr__(self, "widths", tuple(widths))
        object.__setattr__(self, "weights", tuple([weight.name for weight in self.cell.weights]))
        object.__setattr__(self, "has_forms", self.cell.has_forms)
        object.__setattr__(self, "step", plan(self.cell))


@dataclass(frozen=True, eq=False)
class Spec:
    """One recurrent pass: ``num_layers`` layers of a cell in one or two directions.

    Attributes:
        cell: its equations.
        units: how many numbers each size has in the first layer.
        num_layers: L.
        bidirectional: whether there are two directions.
        training: the module's mode: whether random numbers are drawn, and cuDNN keeps what its
            backward pass reads.
        recompute_every: None, or at every how many steps the compiled core keeps the states for
            the backward pass, and repeats what lies between; the results are the same.
        kernel: torch's mode of a cell that the core and torch have kernels for, else None.
        numbers: what products multiply: numbers as they are, rounded to bfloat16 (see
            :mod:`rounding`) or in 8 bits (see :mod:`eight_bits`).
        directions: D, the number of directions.
        draws: whether a pass draws random numbers for the cell.
        is_biased: whether kernels add biases.
        is_projected: whether kernels project the hidden state.
        kinds: the layers and directions, in the order of the states.
        text: all of it, for an operator of torch's, which takes text; see :func:`read`.
    """

    cell: Description
    units: Units
    num_layers: int = 1
    bidirectional: bool = False
    training: bool = False
    recompute_every: int | None = None
    kernel: str | None = None
    numbers: Numbers = "whole"
    directions: int = field(init=False)
    draws: bool = field(init=False)
    is_biased: bool = field(init=False)
    is_projected: bool = field(init=False)
    kinds: tuple[Kind, ...] = field(init=False)
    text: str = field(init=False)

    def __post_init__(self) -> None:
        # Made at once: Dynamo reads them, and can't trace what is made when it is asked for.
        object.__setattr__(self, "directions", 2 if self.bidirectional else 1)
        object.__setattr__(self, "draws", self.training and bool(self.cell.draws))
        is_biased = any(weight.kind == "bias" for weight in self.cell.weights)
        object.__setattr__(self, "is_biased", is_biased)
        is_projected = self.kernel is not None and self.cell.output.size != HIDDEN
        object.__setattr__(self, "is_projected", is_projected)
        kinds = [
            Kind(self.cell, self.units_of(layer), direction == 1, self.kernel, self.numbers)
            for layer in range(self.num_layers)
            for direction in range(self.directions)
        ]
        object.__setattr__(self, "kinds", tuple(kinds))
        said = {
            "cell": stored.to_json(self.cell),
            "units": self.units,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "training": self.training,
            "recompute_every": self.recompute_every,
            "kernel": self.kernel,
            "numbers": self.numbers,
        }
        object.__setattr__(self, "text", json.dumps(said))

    def units_of(self, layer: int) -> dict[str, int]:
        """How many numbers each size has in a layer: the first reads the input, others outputs."""
        return units_of(self.cell, dict(self.units), layer, self.directions)

    def given(self, batch_sizes: Tensor | None, rows: int, tensors: Sequence[Tensor]) -> Given:
        """What is given of the tensors of :meth:`Given.tensors`."""
        flat = len(tensors) - len(self.kinds) * len(self.cell.weights)
        constants = flat - len(self.cell.constants)
        return Given(
            Sequences(tensors[0], batch_sizes),
            rows,
            tuple(tensors[1:constants]) or None,
            tensors[constants:flat],
            tensors[flat:],
        )

    def drawn(self, tensors: Sequence[Tensor]) -> Drawn:
        """The random numbers of the tensors of :meth:`Drawn.tensors`."""
        if not tensors:
            return Drawn()
        names = [draw.name for draw in self.cell.draws] if self.draws else []
        count = len(names) * len(self.kinds)
        of_cells = [
            dict(zip(names, tensors[start : start + len(names)], strict=True))
            for start in range(0, count, len(names) or 1)
        ]
        return Drawn(of_cells, tensors[count:])


# Functions rather than methods: Dynamo calls none of a value that it takes as it is.


def zeros(spec: Spec, given: Given) -> State:
    """The states that a pass without given ones begins with."""
    new, depth = given.sequences.data.new_zeros, len(spec.kinds)
    return tuple([new(depth, given.rows, width) for width in spec.kinds[0].widths])


def of_layers(spec: Spec, flat: Sequence[Any]) -> list[Sequence[Any]]:
    """What there is of every weight, cut into layers and directions, in the cell's order.

    Returns L·D entries: layer 0 forward, layer 0 reverse, layer 1 forward, and so on.

    Raises:
        ValueError: there are too few or too many.
    """
    size, count = len(spec.kinds[0].weights), len(spec.kinds)
    if len(flat) != size * count:
        raise ValueError(f"{size * count} weights were expected, got {len(flat)}")
    if count == 1:
        return [flat]
    return [flat[number * size : (number + 1) * size] for number in range(count)]


@lru_cache(maxsize=256)
def read(text: str) -> Spec:
    """The pass that a :attr:`Spec.text` says.

    Raises:
        InputError: its cell is no description.
    """
    said = json.loads(text)
    cell = stored.from_json(said.pop("cell"))
    units = tuple([(name, count) for name, count in said.pop("units")])
    return Spec(cell, units, **said)


def of_kernel(
    mode: str,
    input_size: int,
    hidden_size: int,
    proj_size: int = 0,
    bias: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    training: bool = False,
    recompute_every: int | None = None,
) -> Spec:
    """A pass of a cell that has kernels: its name, which is torch's mode, and the module's options.

    ``training`` and ``recompute_every`` are those of :class:`Spec`.
    """
    # Specs are values: made once for all calls that are alike.
    make = _constant_of_kernel if torch.compiler.is_compiling() else _of_kernel
    sizes = input_size, hidden_size, proj_size
    return make(mode, *sizes, bias, num_layers, bidirectional, training, recompute_every)


@lru_cache(maxsize=1024)
def _of_kernel(
    mode: str,
    input_size: int,
    hidden_size: int,
    proj_size: int,
    bias: bool,
    num_layers: int,
    bidirectional: bool,
    training: bool,
    recompute_every: int | None,
) -> Spec:
    cell = BUILT_IN[mode].described(bias=bias, projected=proj_size > 0)
    units = {INPUT: input_size, HIDDEN: hidden_size, ONE: 1}
    if proj_size:
        units[cell.output.size] = proj_size
    sizes = tuple(units.items())
    return Spec(cell, sizes, num_layers, bidirectional, training, recompute_every, mode)


@constant
def _constant_of_kernel(*values: Any) -> Spec:
    return _of_kernel(*values)


class Drawn(NamedTuple):
    """The random numbers of a pass.

    ``of_cells`` are those of each layer and direction by name, drawn at every step [N, ·] or for
    each row [B, ·]; none outside of training. ``noises`` are what dropout multiplies the outputs of
    each layer but the last by [T, B, D·P] or [N, D·P], if it is in force.
    """

    of_cells: Sequence[Mapping[str, Tensor]] = ()
    noises: Sequence[Tensor] = ()

    def tensors(self) -> list[Tensor]:
        """All of them, in the order in which :meth:`Spec.drawn` takes them."""
        return [*[t for of_cell in self.of_cells for t in of_cell.values()], *self.noises]


@dataclass(slots=True)
class Given:
    """What a pass is given.

    Attributes:
        sequences: the input, [T, B, I] or ragged [N, I].
        rows: B.
        initial: each state [L·D, B, ·]; the rows stand in the order of ``sequences``. None for
            zeros.
        constants: the cell's constants [B, ·], likewise.
        flat: what multiplies in each layer and direction, in the order of the cell's weights.
        dropout: the probability in force between the layers, 0 outside training. torch.compile has
            a symbol for it, and none for what is in a :class:`Spec`.
    """

    sequences: Sequences
    rows: int
    initial: State | None
    constants: Sequence[Tensor]
    flat: Sequence[Tensor]
    dropout: float = 0.0

    def tensors(self) -> list[Tensor]:
        """All of them, in the order in which :meth:`Spec.given` takes them."""
        return [self.sequences.data, *(self.initial or ()), *self.constants, *self.flat]

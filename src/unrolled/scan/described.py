"""The pass of a described cell: its layers and directions, each by whoever runs a layer.

By the equations in plain torch it runs on any device, in any dtype, and can be differentiated any
number of times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.cells import stored
from unrolled.cells.description import Description, Draw, Product
from unrolled.cells.layers import units_of
from unrolled.scan import equations, forms
from unrolled.scan.reference import draw_noise, walk
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import State


@dataclass(frozen=True, eq=False)
class Kind:
    """One layer in one direction: the cell, how many numbers each size has, and the direction.

    With ``reverse`` it goes from each row's last step to its first. With ``recompute_every`` the
    compiled core keeps for the backward pass only the states at every so many steps.
    """

    cell: Description
    units: Mapping[str, int]
    reverse: bool
    recompute_every: int | None = None
    has_forms: bool = field(init=False)
    """Whether what multiplies is made from what is learned."""
    text: str = field(init=False)
    """All of it, for an operator of torch's, which takes text; :meth:`read` is the way back."""

    def __post_init__(self) -> None:
        said = {
            "cell": stored.to_json(self.cell),
            "units": dict(self.units),
            "reverse": self.reverse,
            "recompute_every": self.recompute_every,
        }
        # Made at once, as :attr:`Pass.kinds` is; the sums are what the equations ask the cell for.
        _ = self.cell.sums
        object.__setattr__(self, "has_forms", self.cell.has_forms)
        object.__setattr__(self, "text", json.dumps(said))

    @classmethod
    def read(cls, text: str) -> Kind:
        """What a text says.

        Raises:
            InputError: its cell is no description.
        """
        said = json.loads(text)
        cell = stored.from_json(said.pop("cell"))
        return cls(cell, **said)

    @cached_property
    def key(self) -> tuple[tuple[str, int], ...]:
        """The units as a value."""
        return tuple(self.units.items())


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of a described cell: ``num_layers`` layers in one or two directions.

    ``units`` says how many numbers each size has, ``training`` whether random numbers are drawn.
    With ``recompute_every`` the compiled core repeats in the backward pass what lies between the
    states at every so many steps; the results are the same.
    """

    cell: Description
    units: tuple[tuple[str, int], ...]
    num_layers: int = 1
    bidirectional: bool = False
    training: bool = False
    recompute_every: int | None = None
    kinds: tuple[Kind, ...] = field(init=False)
    """The layers and directions, in the order of the states."""

    def __post_init__(self) -> None:
        kinds = [
            Kind(self.cell, self.units_of(layer), direction == 1, self.recompute_every)
            for layer in range(self.num_layers)
            for direction in range(self.directions)
        ]
        # Made at once: Dynamo reads it, and can't trace what is made when it is asked for.
        object.__setattr__(self, "kinds", tuple(kinds))

    @property
    def directions(self) -> int:
        """D, the number of directions."""
        return 2 if self.bidirectional else 1

    def units_of(self, layer: int) -> dict[str, int]:
        """How many numbers each size has in a layer: the first reads the input, others outputs."""
        return units_of(self.cell, dict(self.units), layer, self.directions)


See = Callable[[Mapping[str, Any], State], tuple[State, Tensor]]
"""Given the values of a step and the states after it: the states to go on with, and the output."""


class Layer(NamedTuple):
    """A layer with all that it is given but the input and the states.

    Attributes:
        kind: what it is.
        weights: what multiplies, by name: see :mod:`forms`.
        constants: the cell's constants [B, ·].
        draws: random numbers: [N, ·] if they are drawn at every step, else of a row [B, ·]. Outside
            of training there are none.
    """

    kind: Kind
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]


RunLayer = Callable[[Layer, Sequences, State | None, int], tuple[Tensor, State]]
"""Runs a layer over an input of so many rows from states [B, ·], None for zeros: the outputs, laid
out as the input is, and the states after each row's own last step, [1, B, ·]."""


def run(
    spec: Pass,
    sequences: Sequences,
    rows: int,
    initial: State | None,
    constants: Sequence[Tensor],
    weights: Sequence[Mapping[str, Tensor]],
    run_layer: RunLayer,
    dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """The whole pass.

    Args:
        spec: the cell and the options.
        sequences: the input, [T, B, I] or ragged [N, I].
        rows: B.
        initial: each state [L·D, B, ·]; the rows stand in the order of ``sequences``. None for
            zeros.
        constants: the cell's constants [B, ·], likewise.
        weights: for each layer and direction the weights, and the signs and masks that they
            have, by their names; see :mod:`forms`.
        run_layer: who runs a layer.
        dropout: the probability in force between the layers, 0 outside training.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P] (P numbers in the first
        state), and each state after every row's own last step, [L·D, B, ·].
    """
    last: list[State] = []
    named = dict(zip([c.name for c in spec.cell.constants], constants, strict=True))
    outputs = []
    for index, (kind, of_layer) in enumerate(zip(spec.kinds, weights, strict=True)):
        multiplies = of_layer
        if kind.has_forms:
            multiplies = forms.multiplies(kind.cell, of_layer, kind.units)
        state = None if initial is None else tuple([s[index] for s in initial])
        draws = _draw(kind, sequences, rows) if spec.training and kind.cell.draws else {}
        layer = Layer(kind, multiplies, named, draws)
        output, after = run_layer(layer, sequences, state, rows)
        outputs.append(output)
        last.append(after)
        if spec.bidirectional and len(outputs) == 1:
            continue
        data = torch.cat(outputs, dim=-1) if spec.bidirectional else output
        if dropout > 0 and index < len(spec.kinds) - 1:
            data = data * draw_noise(data, dropout)
        sequences, outputs = sequences.with_data(data), []
    if len(last) == 1:
        return sequences.data, last[0]
    return sequences.data, tuple([torch.cat(of_all) for of_all in zip(*last, strict=True)])


def _draw(kind: Kind, sequences: Sequences, rows: int) -> dict[str, Tensor]:
    """The random numbers: [N, ·] where they are drawn at every step, else of each row [B, ·]."""
    data = sequences.data
    steps = data.shape[:-1].numel()
    return {
        draw.name: _drawn(
            draw, data, (steps if draw.each == "step" else rows, kind.units[draw.size])
        )
        for draw in kind.cell.draws
    }


def _drawn(draw: Draw, like: Tensor, shape: tuple[int, int]) -> Tensor:
    options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
    if draw.law == "normal":
        return torch.randn(shape, **options) * draw.parameter
    return (torch.rand(shape, **options) < draw.parameter).to(like.dtype)


def resting(kind: Kind, rows: int, like: Tensor) -> dict[str, Tensor]:
    """What stands for random numbers outside of training, of each row [B, ·]."""
    return {
        draw.name: like.new_full((rows, kind.units[draw.size]), draw.resting)
        for draw in kind.cell.draws
    }


def by_equations(
    layer: Layer,
    sequences: Sequences,
    initial: State | None,
    rows: int,
    see: See | None = None,
) -> tuple[Tensor, State]:
    """Runs a layer by its equations in plain torch; see :data:`RunLayer`.

    ``see`` is shown every step.
    """
    kind = layer.kind
    if initial is None:
        new = sequences.data.new_zeros
        initial = tuple([new(rows, kind.units[state.size]) for state in kind.cell.states])
    return _ByEquations(layer, sequences, rows).run(initial, see)


class _ByEquations:
    def __init__(self, layer: Layer, sequences: Sequences, rows: int) -> None:
        self.layer, self.sequences = layer, sequences
        self.cell, kind = layer.kind.cell, layer.kind
        self.parts = equations.parts(self.cell, layer.weights, kind.units)
        self.sizes = sequences.sizes()
        self.inputs = torch.split(sequences.data.flatten(0, -2), self.sizes)
        draws = layer.draws or resting(kind, rows, sequences.data)
        of_steps = {d.name for d in self.cell.draws if d.each == "step" and layer.draws}
        self.of_rows = {**layer.constants} | {n: d for n, d in draws.items() if n not in of_steps}
        self.of_steps = {n: torch.split(draws[n], self.sizes) for n in draws if n in of_steps}
        self.plain = {w.name: layer.weights[w.name] for w in self.cell.weights if w.kind in PLAIN}

    def run(self, initial: State, see: See | None) -> tuple[Tensor, State]:
        sizes, cell, units = self.sizes, self.cell, self.layer.kind.units
        read, steps = self._products_with_input()
        constant = self._products_with_constants()

        def step(t: int, state: State) -> tuple[State, Tensor]:
            rows = sizes[t]
            products = {p: found[:rows] for p, found in constant.items()}
            products |= dict(zip(read, steps[t], strict=True)) if read else {}
            known: dict[str, Any] = {**self.plain, cell.input.name: self.inputs[t]}
            known |= {name: value[:rows] for name, value in self.of_rows.items()}
            known |= {name: value[t] for name, value in self.of_steps.items()}
            known |= dict(zip([s.name for s in cell.states], state, strict=True))
            values = equations.step(cell, known, self.parts, products)
            after = tuple(
                # A state may be made of weights alone, or of one number for all units.
                values[name].expand(rows, units[state.size])
                for name, state in zip(cell.next, cell.states, strict=True)
            )
            return (after, after[0]) if see is None else see(values, after)

        outputs, last = walk(step, sizes, initial, reverse=self.layer.kind.reverse)
        joined = torch.stack if self.sequences.batch_sizes is None else torch.cat
        return joined(outputs), tuple([torch.stack([state]) for state in last])

    def _products(self, names: Collection[str]) -> list[Product]:
        return [p for line in self.cell.sums for p in line.products if p.of in names]

    def _products_with_input(self) -> tuple[list[Product], list[tuple[Tensor, ...]]]:
        """The products with the input, which are computed for all steps at once, of each step."""
        data = self.sequences.data.flatten(0, -2)
        read = self._products([self.cell.input.name])
        found = [linear(data, self.parts[p.weight, p.part]) for p in read]
        return read, list(zip(*[torch.split(of_all, self.sizes) for of_all in found], strict=True))

    def _products_with_constants(self) -> dict[Product, Tensor]:
        """The products with constants, which are computed once."""
        return {
            p: linear(self.layer.constants[p.of], self.parts[p.weight, p.part])
            for p in self._products(self.layer.constants)
        }


PLAIN = ("vector", "scalar")
"""Weights that stand in the equations as they are."""

"""The pass of a described cell: its layers and directions, each by whoever runs a layer.

By the equations in plain torch it runs on any device, in any dtype, and can be differentiated any
number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.cells.description import INPUT, Description, Draw, Product
from unrolled.scan import equations, forms
from unrolled.scan.reference import draw_noise, walk
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import State


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of a described cell: ``num_layers`` layers in one or two directions.

    ``units`` says how many numbers each size has, ``dropout`` is the probability in force between
    the layers (0 outside training), and ``training`` whether random numbers are drawn.
    """

    cell: Description
    units: Mapping[str, int]
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    training: bool = False

    @property
    def directions(self) -> int:
        """D, the number of directions."""
        return 2 if self.bidirectional else 1

    def units_of(self, layer: int) -> dict[str, int]:
        """How many numbers each size has in a layer: the first reads the input, others outputs."""
        below = self.directions * self.units[self.cell.output.size]
        return {**self.units, INPUT: self.units[INPUT] if layer == 0 else below}


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer in one direction, with all that it is given but the input and the states.

    Attributes:
        cell: the cell.
        units: how many numbers each size has in it.
        weights: what multiplies, by name: see :mod:`forms`.
        constants: the cell's constants [B, ·].
        draws: random numbers, and what stands for them outside of training: for every step
            [N, ·], else of a row [B, ·].
        draws_steps: the names of the former.
        reverse: whether it goes from each row's last step to its first.
    """

    cell: Description
    units: Mapping[str, int]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]
    draws_steps: frozenset[str]
    reverse: bool


RunLayer = Callable[[Layer, Sequences, State], tuple[Tensor, State]]
"""Runs a layer over an input from states [B, ·]: the outputs, laid out as the input is, and the
states after each row's own last step, [B, ·]."""


def run(
    spec: Pass,
    sequences: Sequences,
    initial: State,
    constants: Sequence[Tensor],
    weights: Sequence[Mapping[str, Tensor]],
    run_layer: RunLayer,
) -> tuple[Tensor, State]:
    """The whole pass.

    Args:
        spec: the cell and the options.
        sequences: the input, [T, B, I] or ragged [N, I].
        initial: each state [L·D, B, ·]; the rows stand in the order of ``sequences``.
        constants: the cell's constants [B, ·], likewise.
        weights: for each layer and direction the weights, and the signs and masks that they
            have, by their names; see :mod:`forms`.
        run_layer: who runs a layer.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P] (P numbers in the first
        state), and each state after every row's own last step, [L·D, B, ·].
    """
    last: list[State] = []
    named = dict(zip([c.name for c in spec.cell.constants], constants, strict=True))
    for layer in range(spec.num_layers):
        outputs = []
        for direction in range(spec.directions):
            index = layer * spec.directions + direction
            units = spec.units_of(layer)
            multiplies = forms.multiplies(spec.cell, weights[index], units)
            state = tuple(s[index] for s in initial)
            draws = _draw(spec.cell, units, sequences, state[0]) if spec.training else {}
            steps = frozenset(d.name for d in spec.cell.draws if d.each == "step" and draws)
            reverse = direction == 1
            one = Layer(spec.cell, units, multiplies, named, draws, steps, reverse)
            output, after = run_layer(one, sequences, state)
            outputs.append(output)
            last.append(after)
        data = torch.cat(outputs, dim=-1) if spec.bidirectional else outputs[0]
        if spec.dropout > 0 and layer < spec.num_layers - 1:
            data = data * draw_noise(data, spec.dropout)
        sequences = sequences.with_data(data)
    return sequences.data, tuple(torch.stack(column) for column in zip(*last, strict=True))


def _draw(
    cell: Description, units: Mapping[str, int], sequences: Sequences, like: Tensor
) -> dict[str, Tensor]:
    """The random numbers: [N, ·] where they are drawn at every step, else of each row [B, ·]."""
    steps, rows = sequences.data.shape[:-1].numel(), like.shape[0]
    return {
        draw.name: _drawn(draw, like, (steps if draw.each == "step" else rows, units[draw.size]))
        for draw in cell.draws
    }


def _drawn(draw: Draw, like: Tensor, shape: tuple[int, int]) -> Tensor:
    options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
    if draw.law == "normal":
        return torch.randn(shape, **options) * draw.parameter
    return (torch.rand(shape, **options) < draw.parameter).to(like.dtype)


def resting(layer: Layer, rows: int, like: Tensor) -> dict[str, Tensor]:
    """What stands for random numbers outside of training, of each row [B, ·]."""
    return {
        draw.name: like.new_full((rows, layer.units[draw.size]), draw.resting)
        for draw in layer.cell.draws
    }


def by_equations(layer: Layer, sequences: Sequences, initial: State) -> tuple[Tensor, State]:
    """Runs a layer by its equations in plain torch; see :data:`RunLayer`."""
    return _ByEquations(layer).run(sequences, initial)


class _ByEquations:
    def __init__(self, layer: Layer) -> None:
        self.layer, self.cell = layer, layer.cell
        self.parts = equations.parts(self.cell, layer.weights, layer.units)

    def run(self, sequences: Sequences, initial: State) -> tuple[Tensor, State]:
        sizes = sequences.sizes()
        data = sequences.data.flatten(0, -2)
        inputs = torch.split(data, sizes)
        read = self._products([self.cell.input.name])
        beforehand = [torch.split(p, sizes) for p in self._multiplied(read, data)]
        steps = list(zip(*beforehand, strict=True))
        constants = self.layer.constants
        of_rows = {
            p: linear(constants[p.of], self.parts[p.weight, p.part])
            for p in self._products(constants)
        }
        draws = self.layer.draws or resting(self.layer, initial[0].shape[0], initial[0])
        drawn = {
            name: torch.split(value, sizes) if name in self.layer.draws_steps else value
            for name, value in draws.items()
        }
        plain = {w.name: self.layer.weights[w.name] for w in self.cell.weights if w.kind in PLAIN}

        def step(t: int, state: State) -> tuple[State, Tensor]:
            rows = sizes[t]
            products = {p: found[:rows] for p, found in of_rows.items()}
            products |= dict(zip(read, steps[t], strict=True)) if read else {}
            known: dict[str, Any] = {**plain, self.cell.input.name: inputs[t]}
            known |= {name: value[:rows] for name, value in constants.items()}
            known |= dict(zip([s.name for s in self.cell.states], state, strict=True))
            for name, value in drawn.items():
                known[name] = value[t] if isinstance(value, tuple) else value[:rows]
            values = equations.step(self.cell, known, self.parts, products)
            after = tuple(values[name] for name in self.cell.next)
            return after, after[0]

        outputs, last = walk(step, sizes, initial, reverse=self.layer.reverse)
        joined = torch.stack if sequences.batch_sizes is None else torch.cat
        return joined(outputs), last

    def _products(self, names: Collection[str]) -> list[Product]:
        """The products with what has one of these names, which are computed beforehand."""
        return [p for line in self.cell.sums for p in line.products if p.of in names]

    def _multiplied(self, products: list[Product], data: Tensor) -> Iterator[Tensor]:
        for product in products:
            yield linear(data, self.parts[product.weight, product.part])


PLAIN = ("vector", "scalar")
"""Weights that stand in the equations as they are."""

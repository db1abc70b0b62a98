"""The pass of a described cell, by its equations in plain torch.

On any device, in any dtype, differentiable any number of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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


def run(
    spec: Pass,
    sequences: Sequences,
    initial: State,
    constants: Sequence[Tensor],
    weights: Sequence[Mapping[str, Tensor]],
) -> tuple[Tensor, State]:
    """The whole pass.

    Args:
        spec: the cell and the options.
        sequences: the input, [T, B, I] or ragged [N, I].
        initial: each state [L·D, B, ·]; the rows stand in the order of ``sequences``.
        constants: the cell's constants [B, ·], likewise.
        weights: for each layer and direction the weights, and the signs and masks that they
            have, by their names; see :mod:`forms`.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P] (P numbers in the first
        state), and each state after every row's own last step, [L·D, B, ·].
    """
    last: list[State] = []
    for layer in range(spec.num_layers):
        outputs = []
        for direction in range(spec.directions):
            index = layer * spec.directions + direction
            one = _Layer(spec, layer, weights[index], constants)
            state = tuple(s[index] for s in initial)
            output, after = one.run(sequences, state, reverse=direction == 1)
            outputs.append(output)
            last.append(after)
        data = torch.cat(outputs, dim=-1) if spec.bidirectional else outputs[0]
        if spec.dropout > 0 and layer < spec.num_layers - 1:
            data = data * draw_noise(data, spec.dropout)
        sequences = sequences.with_data(data)
    return sequences.data, tuple(torch.stack(column) for column in zip(*last, strict=True))


class _Layer:
    """One layer in one direction, with its weights and the constants [B, ·]."""

    def __init__(
        self,
        spec: Pass,
        layer: int,
        weights: Mapping[str, Tensor],
        constants: Sequence[Tensor],
    ) -> None:
        self.spec, self.cell = spec, spec.cell
        self.units = spec.units_of(layer)
        self.weights = forms.multiplies(self.cell, weights, self.units)
        self.parts = equations.parts(self.cell, self.weights, self.units)
        self.constants = dict(zip([c.name for c in self.cell.constants], constants, strict=True))

    def run(self, sequences: Sequences, initial: State, *, reverse: bool) -> tuple[Tensor, State]:
        """The outputs, laid out as the input is, and the last states, each [B, ·]."""
        sizes = sequences.sizes()
        inputs = torch.split(sequences.data.flatten(0, -2), sizes)
        beforehand = list(
            zip(*[torch.split(p, sizes) for p in self._of_input(sequences)], strict=True)
        )
        of_rows = {
            p: linear(self.constants[p.of], self.parts[p.weight, p.part]) for p in self._fixed
        }
        draws = self._draw(sequences, initial[0])
        plain = {w.name: self.weights[w.name] for w in self.cell.weights if w.kind in PLAIN}

        def step(t: int, state: State) -> tuple[State, Tensor]:
            rows = sizes[t]
            products = {p: found[:rows] for p, found in of_rows.items()}
            products |= dict(zip(self._read, beforehand[t], strict=True)) if self._read else {}
            known: dict[str, Any] = {**plain, self.cell.input.name: inputs[t]}
            known |= {name: value[:rows] for name, value in self.constants.items()}
            known |= dict(zip([s.name for s in self.cell.states], state, strict=True))
            for name, value in draws.items():
                known[name] = value[t] if isinstance(value, tuple) else value[:rows]
            values = equations.step(self.cell, known, self.parts, products)
            after = tuple(values[name] for name in self.cell.next)
            return after, after[0]

        outputs, last = walk(step, sizes, initial, reverse=reverse)
        joined = torch.stack if sequences.batch_sizes is None else torch.cat
        return joined(outputs), last

    @cached_property
    def _products(self) -> list[Product]:
        return [product for line in self.cell.sums for product in line.products]

    @cached_property
    def _read(self) -> list[Product]:
        """The products with the input, which are computed for all steps at once."""
        return [p for p in self._products if p.of == self.cell.input.name]

    @cached_property
    def _fixed(self) -> list[Product]:
        """The products with constants, which are computed once."""
        return [p for p in self._products if p.of in self.constants]

    def _of_input(self, sequences: Sequences) -> Iterator[Tensor]:
        data = sequences.data.flatten(0, -2)
        for product in self._read:
            yield linear(data, self.parts[product.weight, product.part])

    def _draw(self, sequences: Sequences, like: Tensor) -> dict[str, Any]:
        """The random numbers: a list of each step's, or those of the rows [B, ·]."""
        found: dict[str, Any] = {}
        for draw in self.cell.draws:
            width = self.units[draw.size]
            if draw.each == "sequence" or not self.spec.training:
                found[draw.name] = self._drawn(draw, like, (like.shape[0], width))
            else:
                count = sequences.data.shape[:-1].numel()
                drawn = self._drawn(draw, like, (count, width))
                found[draw.name] = torch.split(drawn, sequences.sizes())
        return found

    def _drawn(self, draw: Draw, like: Tensor, shape: tuple[int, int]) -> Tensor:
        options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        if not self.spec.training:
            return torch.full(shape, draw.resting, **options)
        if draw.law == "normal":
            return torch.randn(shape, **options) * draw.parameter
        return (torch.rand(shape, **options) < draw.parameter).to(like.dtype)


PLAIN = ("vector", "scalar")
"""Weights that stand in the equations as they are."""

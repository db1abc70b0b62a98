"""The pass of any cell by its equations, in plain torch.

This is the oracle of the tests and the fallback for whatever no faster engine takes: any device,
any dtype, differentiable any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.scan import draws, equations
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Drawn, Given, Kind, Spec, State, of_layers
from unrolled.scan.sums import Products
from unrolled.scan.unroll import unroll


class Layer(NamedTuple):
    """A layer in one direction, with all that it is given.

    Attributes:
        kind: what it is.
        sequences: its input.
        initial: the states that it begins with, each [B, ·].
        weights: what multiplies, by name.
        constants: the cell's constants [B, ·].
        draws: random numbers: [N, ·] if they are drawn at every step, else of a row [B, ·]. Outside
            of training there are none.
    """

    kind: Kind
    sequences: Sequences
    initial: State
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]


See = Callable[[Mapping[str, Any], State], tuple[State, Tensor]]
"""Given the values of a step and the states after it: the states to go on with, and the output."""
Watch = Callable[[Layer], See]
"""Given a layer that is about to run: who is shown its steps."""


# An engine takes all that another may look at.
def supports(spec: Spec, data: Tensor, others: Sequence[Tensor]) -> str | None:  # noqa: ARG001
    """Why it can't run the pass: never."""
    return None


def run(
    spec: Spec, given: Given, drawn: Drawn | None = None, watch: Watch | None = None
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`.

    ``drawn`` are the random numbers, to repeat a pass; they are drawn if it is None. ``watch`` is
    shown every step of every layer.
    """
    sequences, names = given.sequences, [weight.name for weight in spec.cell.weights]
    named = [constant.name for constant in spec.cell.constants]
    constants = dict(zip(named, given.constants, strict=True))
    last: list[State] = []
    outputs: list[Tensor] = []
    for index, (kind, flat) in enumerate(zip(spec.kinds, of_layers(spec, given.flat), strict=True)):
        of_cell: Mapping[str, Tensor] = {}
        if spec.draws:
            of_cell = (
                draws.draw_of_cell(kind, sequences, given.rows)
                if drawn is None
                else drawn.of_cells[index]
            )
        layer = Layer(
            kind,
            sequences,
            initial_states(given, kind, index),
            dict(zip(names, flat, strict=True)),
            constants,
            of_cell,
        )
        output, after = _Run(layer).run(None if watch is None else watch(layer))
        outputs.append(output)
        last.append(after)
        if len(outputs) < spec.directions:
            continue
        data = torch.cat(outputs, dim=-1) if spec.bidirectional else output
        number = index // spec.directions
        if number < spec.num_layers - 1:
            if drawn is not None and drawn.noises:
                data = data * drawn.noises[number]
            elif drawn is None and given.dropout > 0:
                data = data * draws.draw_noise(data, given.dropout)
        sequences, outputs = sequences.with_data(data), []
    return sequences.data, tuple([torch.stack(of_all) for of_all in zip(*last, strict=True)])


def run_cell(spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    """One step; see :func:`unrolled.scan.engine.run_cell`."""
    cell, kind = spec.cell, spec.kinds[0]
    named = dict(zip([weight.name for weight in cell.weights], weights, strict=True))
    known = {cell.input.name: input}
    known |= zip([of.name for of in cell.states], state, strict=True)
    values = equations.Step(kind.step, named, kind.units).run(known)
    return tuple([values[name] for name in cell.next])


def initial_states(given: Given, kind: Kind, index: int) -> State:
    """Those [B, ·] with which a layer and direction begins."""
    if given.initial is not None:
        return tuple([state[index] for state in given.initial])
    new = given.sequences.data.new_zeros
    return tuple([new(given.rows, width) for width in kind.widths])


class _Run:
    """A layer that is about to run."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.cell, kind, sequences = layer, layer.kind.cell, layer.kind, layer.sequences
        self.step = equations.Step(kind.step, layer.weights, kind.units, numbers=kind.numbers)
        self.sizes = sequences.sizes()
        self.data = sequences.data.flatten(0, -2)
        self.inputs = torch.split_with_sizes(self.data, self.sizes)
        self.of_rows: dict[str, Tensor] = {**layer.constants}
        self.of_steps: dict[str, Sequence[Tensor]] = {}
        drawn = layer.draws
        if self.cell.draws and not drawn:
            drawn = draws.resting(kind, len(layer.initial[0]), sequences.data)
        for draw in self.cell.draws:
            value = drawn[draw.name]
            if draw.each == "step" and layer.draws:
                self.of_steps[draw.name] = torch.split_with_sizes(value, self.sizes)
            else:
                self.of_rows[draw.name] = value
        self.plain = {w.name: layer.weights[w.name] for w in self.cell.weights if w.kind in PLAIN}

    def run(self, see: See | None) -> tuple[Tensor, State]:
        """The outputs, laid out as the input is, and the states after each row's own last step."""
        sizes, cell, kind = self.sizes, self.cell, self.layer.kind
        names = [cell.input.name, *[state.name for state in cell.states]]
        # With the input all steps are multiplied at once, and with constants once for all steps.
        of_steps = {
            number: list(zip(*[torch.split_with_sizes(part, sizes) for part in parts], strict=True))
            for number, parts in self.step.products({cell.input.name: self.data}).items()
        }
        of_rows = self.step.products(self.layer.constants)
        has_more = bool(of_rows or self.plain or self.of_rows or self.of_steps)

        def step(t: int, state: State) -> tuple[State, Tensor]:
            rows = sizes[t]
            products: Products = {number: parts[t] for number, parts in of_steps.items()}
            values: dict[str, Any] = dict(zip(names, (self.inputs[t], *state), strict=True))
            if has_more:
                products |= {n: [part[:rows] for part in parts] for n, parts in of_rows.items()}
                values |= self.plain
                values |= {name: value[:rows] for name, value in self.of_rows.items()}
                values |= {name: value[t] for name, value in self.of_steps.items()}
            self.step.add(values, products)
            after = tuple([values[name] for name in cell.next])
            if not kind.step.is_whole:
                widths = zip(after, kind.widths, strict=True)
                after = tuple([made.expand(rows, width) for made, width in widths])
            return (after, after[0]) if see is None else see(values, after)

        outputs, last = unroll(step, sizes, self.layer.initial, reverse=kind.reverse)
        joined = torch.stack if self.layer.sequences.batch_sizes is None else torch.cat
        return joined(outputs), last


PLAIN = ("vector", "scalar")
"""Weights that stand in the equations as they are."""

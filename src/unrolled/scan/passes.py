"""The whole pass on the compiled core: stacks, directions and dropout, forward and backward.

Nothing here knows of autograd: :mod:`autograd` and :mod:`operator` put it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import INPUT
from unrolled.scan import draws
from unrolled.scan.layer import Scan, check_shape, scans
from unrolled.scan.native import NOWHERE, Place, Steps, dense
from unrolled.scan.plan import Plan
from unrolled.scan.spec import Drawn, Given, Spec, State, of_layers
from unrolled.scan.strand import Back, Left, Strand


@dataclass
class Stage:
    """Strands that read the same, and what they leave for the backward pass.

    ``data`` is what they read and ``output`` what they wrote. ``noises`` are dropout's inside the
    strands, ``noise`` what the output was multiplied by on its way to the next stage.
    """

    data: Tensor
    noises: list[Tensor | None]
    left: list[Left] = field(default_factory=list)
    output: Tensor | None = None
    noise: Tensor | None = None

    def tensors(self) -> list[Tensor | None]:
        """All there are, in the order in which :meth:`with_tensors` takes them."""
        own = [self.data, self.output, self.noise, *self.noises]
        return own + [tensor for left in self.left for tensor in left.tensors()]

    def with_tensors(self, tensors: Iterator[Any]) -> Stage:
        """The same with other tensors, or None, in their places."""
        data, output, noise = next(tensors), next(tensors), next(tensors)
        noises = [next(tensors) for _ in self.noises]
        left = [left.with_tensors(tensors) for left in self.left]
        return Stage(data, noises, left, output, noise)


class Pass:
    """A pass that is about to run, forward or backward: all that it is given fits, and is dense.

    It has to stay alive as long as its scans, which have its tensors' addresses.
    """

    def __init__(self, spec: Spec, plans: tuple[Plan, ...], given: Given, drawn: Drawn) -> None:
        """See :func:`unrolled.scan.engine.run`; ``drawn`` are its random numbers.

        Raises:
            RuntimeError: the weights' shapes don't fit each other, or the input or a state them.
        """
        self.spec, self.drawn = spec, drawn
        self.data = dense(given.sequences.data)
        self.steps = Steps.of(given.sequences, given.rows)
        self.initial = given.initial and tuple([s.contiguous() for s in given.initial])
        self.constants: dict[str, Tensor] = {}
        if given.constants:
            names = [constant.name for constant in spec.cell.constants]
            dense_ones = [constant.contiguous() for constant in given.constants]
            self.constants = dict(zip(names, dense_ones, strict=True))
        self._check()
        self._flat = [w.contiguous() for w in given.flat]
        self.scans = scans(plans, self._flat)
        """The layers and directions, in the order of the states."""
        if spec.cell.draws or spec.cell.constants:
            self.scans = [
                scan.reading(self.steps, self._beside(index, scan.plan))
                for index, scan in enumerate(self.scans)
            ]

    def _check(self) -> None:
        units, rows = self.spec.kinds[0].units, self.steps.batch
        if (width := self.data.shape[-1]) != units[INPUT]:
            check_shape("the input", (rows, width), (rows, units[INPUT]))
        if self.initial is not None:
            for state, width in zip(self.initial, self.spec.kinds[0].widths, strict=True):
                check_shape("a state", state.shape, (len(self.spec.kinds), rows, width))
        for constant in self.spec.cell.constants:
            expected = rows, units[constant.size]
            check_shape(constant.name, self.constants[constant.name].shape, expected)

    def _beside(self, index: int, plan: Plan) -> Mapping[str, Tensor]:
        """What a layer and direction reads beside its input and its weights."""
        kind = plan.kind
        if not kind.cell.draws:
            return self.constants
        if not self.drawn.of_cells:
            return {**self.constants, **draws.resting(kind, self.steps.batch, self.data)}
        drawn = dict(self.drawn.of_cells[index])
        for draw in kind.cell.draws:
            if draw.each == "step":
                shape = *self.data.shape[:-1], kind.units[draw.size]
                drawn[draw.name] = drawn[draw.name].view(shape)
        return {**self.constants, **drawn}

    # --- forward --------------------------------------------------------------------------------

    def forward(self, stages: list[Stage] | None = None) -> tuple[Tensor, State]:
        """The output and the last states; fills ``stages``, if given, for a backward pass.

        The stages hold the output: it has to stay as it is until then.
        """
        spec, data, last = self.spec, self.data, self.empty_states()
        noises, of_stages = self.drawn.noises, self.stages()
        for number, layers in enumerate(of_stages):
            output = empty_output(data, spec.directions * spec.kinds[0].widths[0])
            stage = Stage(data, self._inner_noises())
            self._run_stage(layers, stage, output, last, keeps=stages is not None)
            data = output
            if number < len(of_stages) - 1:
                stage.output = output
                if noises:
                    stage.noise = noises[number]
                    data = output * stage.noise
            if stages is not None:
                if stage.left[0].run is not None:
                    stage.output = output
                stages.append(stage)
        return data, last

    def _run_stage(
        self, layers: list[Scan], stage: Stage, output: Tensor, last: State, *, keeps: bool
    ) -> None:
        """Writes ``output`` and the states ``last``; with ``keeps`` the stage has what is left."""
        spec, steps = self.spec, self.steps
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, stage.data)
            here, there = steps.place(stage.data), self.columns(output, direction)
            if keeps:
                every = spec.recompute_every
                left = strand.forward_to_return(here, self.initial, there, last, every)
                stage.left.append(left)
            else:
                strand.forward(here, self.initial, there, last)

    def stages(self) -> list[list[Scan]]:
        """What runs one after the other: a whole stack in one direction, in two by layers."""
        if not self.spec.bidirectional:
            return [self.scans]
        return [self.scans[i : i + 2] for i in range(0, len(self.scans), 2)]

    def empty_states(self) -> State:
        """Room for all states of all layers and directions."""
        depth, rows = len(self.scans), self.steps.batch
        widths = self.spec.kinds[0].widths
        return tuple([self.data.new_empty(depth, rows, width) for width in widths])

    def _inner_noises(self) -> list[Tensor | None]:
        """Dropout's, of all layers but the last [N, ·] where they are one strand."""
        if self.spec.bidirectional or not self.drawn.noises:
            return [None] * self.spec.num_layers
        return [noise.flatten(0, -2) for noise in self.drawn.noises]

    def columns(self, matrix: Tensor, direction: int) -> Place:
        """Where the columns of one direction lie in [T, B, D·P] or [N, D·P]."""
        address, count, _, step, row = self.steps.place(matrix)
        return address, count, direction * (matrix.shape[-1] // self.spec.directions), step, row

    # --- backward -------------------------------------------------------------------------------

    def backward(
        self,
        stages: list[Stage],
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        carried: dict[int, list[Tensor]] | None = None,
    ) -> list[Tensor | None]:
        """The gradients of :meth:`Given.tensors`; None for what is not wanted, or not read.

        Args:
            stages: what the forward pass left.
            gradients: those of the output and the last states, None for zero.
            wanted: for each of :meth:`Given.tensors` whether its gradient is.
            carried: filled, if given, by the place of the layer and direction in the states, with
                what the loss says of each state as every step hands it on, and of the first one
                with what is given out besides.
        """
        return _Back(self, gradients, wanted, carried).run(stages)


class _Back:
    """The way back through a pass."""

    def __init__(
        self,
        forward: Pass,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        carried: dict[int, list[Tensor]] | None,
    ) -> None:
        spec, constants = forward.spec, forward.constants
        self.forward, self.spec, self.steps, self.carried = forward, spec, forward.steps, carried
        states = 1 + len(forward.initial or ())
        self.wants_data, self.wants_states = wanted[0], any(wanted[1:states])
        self.wants_constants = wanted[states : states + len(constants)]
        self.flags = of_layers(spec, wanted[states + len(constants) :])
        self.gradients = gradients
        self.d_last = [None if g is None else g.contiguous() for g in gradients[1:]]
        self.d_initial = None
        if self.wants_states or spec.recompute_every is not None:
            self.d_initial = forward.empty_states()
        self.d_constants = {
            name: torch.zeros_like(constant)
            for (name, constant), is_wanted in zip(
                constants.items(), self.wants_constants, strict=True
            )
            if is_wanted
        }
        goes_down = self.wants_data or self.wants_states or self.d_constants or carried is not None
        self.lowest = 0 if goes_down else self._lowest_layer()

    def _lowest_layer(self) -> int:
        """The first layer of which a weight's gradient is wanted."""
        found = (i // self.spec.directions for i, flags in enumerate(self.flags) if any(flags))
        return next(found, self.spec.num_layers)

    def run(self, stages: list[Stage]) -> list[Tensor | None]:
        """See :meth:`Pass.backward`."""
        spec, d_output = self.spec, self.gradients[0]
        d_flat: list[list[Tensor | None]] = []
        for number, layers in reversed(list(enumerate(self.forward.stages()))):
            stage = stages[number]
            if d_output is not None:
                d_output = dense(d_output if stage.noise is None else d_output * stage.noise)
            if spec.bidirectional and number < self.lowest:
                d_flat = [[None] * (len(spec.cell.weights) * spec.directions), *d_flat]
                continue
            goes_on = number > self.lowest if number else self.wants_data
            d_data = None
            if goes_on:
                d_data = empty_output(stage.data, stage.data.shape[-1])
                if layers[0].plan.adds_to_input:
                    d_data.zero_()
            d_flat = [self._stage(stage, layers, d_output, d_data), *d_flat]
            d_output = d_data
        states: Sequence[Tensor | None] = [None] * len(self.forward.initial or ())
        if self.wants_states and self.d_initial is not None:
            states = self.d_initial
        found = [d for of_stage in d_flat for d in of_stage]
        self._leave_out(found)
        constants = [self.d_constants.get(name) for name in self.forward.constants]
        return [d_output if self.wants_data else None, *states, *constants, *found]

    def _stage(
        self, stage: Stage, layers: list[Scan], d_output: Tensor | None, d_data: Tensor | None
    ) -> list[Tensor | None]:
        """The weights' gradients of the layers of a stage; writes ``d_data``."""
        forward, spec, steps = self.forward, self.spec, self.steps
        found = []
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, stage.data)
            room = None
            if self.carried is not None:
                count = steps.offset(steps.time)
                room = [scan.empty_carried(stage.data, count) for scan in strand.scans]
                indices = [scan.index for scan in strand.scans]
                self.carried |= dict(zip(indices, room, strict=True))
            output = stage.output
            back = Back(
                NOWHERE if d_output is None else forward.columns(d_output, direction),
                self.d_last,
                self.d_initial,
                NOWHERE if d_data is None else steps.place(d_data),
                [self.flags[scan.index] for scan in strand.scans],
                self.d_constants,
                lowest=0 if spec.bidirectional else self.lowest,
                adds=direction > 0,
                carried=room,
            )
            found += strand.backward(
                stage.left[direction],
                steps.place(stage.data),
                forward.initial,
                NOWHERE if output is None else forward.columns(output, direction),
                back,
            )
        return found

    def _leave_out(self, found: list[Tensor | None]) -> None:
        """Of the last layer's only step nobody may read the projected state, but as the output.

        Its weights then have no part in the loss, and torch's no gradient.
        """
        if not self.spec.is_projected or self.steps.time > 1:
            return
        if self.gradients[0] is None and self.gradients[1] is None:
            size = len(self.spec.cell.weights)
            for layer in range(1, self.spec.directions + 1):
                found[len(found) - (layer - 1) * size - 1] = None


def empty_output(like: Tensor, width: int) -> Tensor:
    """New numbers [T, B, F] or [N, F], step after step, whatever way the input lies.

    So they lie in torch's, too, and what draws random numbers in the order of memory, as dropout on
    an output does, draws the same.
    """
    return like.new_empty(*like.shape[:-1], width)


def noises(spec: Spec, stages: list[Stage]) -> list[Tensor]:
    """What dropout multiplied the outputs of each layer but the last by, if there was any."""
    found = [stage.noise for stage in stages] if spec.bidirectional else stages[0].noises
    shape = stages[0].data.shape[:-1]
    return [noise.view(*shape, noise.shape[-1]) for noise in found if noise is not None]

"""The whole pass on the compiled core: stacks, directions and dropout, forward and backward.

Nothing here knows of autograd: :mod:`autograd` and :mod:`operator` put it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unrolled.scan import fitting, native, reference
from unrolled.scan.native import NOWHERE, Carried, Place, Scan, Steps, dense
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State
from unrolled.scan.strand import Left, Strand


@dataclass
class Stage:
    """Strands that read the same, and what they leave for the backward pass.

    ``data`` is what they read, ``output`` what they wrote: of the last stage None, because that is
    the pass's and autograd keeps it. ``noises`` are dropout's inside the strands, ``noise`` what
    the output was multiplied by on its way to the next stage.
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


def forward(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    stages: list[Stage] | None = None,
    noises: Sequence[Tensor] | None = None,
) -> tuple[Tensor, State]:
    """The output and the last states; fills ``stages``, if given, for a backward pass.

    ``noises`` are dropout's after each layer but the last, to repeat a pass; they are drawn if it
    is None. See :func:`unrolled.scan.engine.run`.
    """
    flat = [w.contiguous() for w in flat]
    scans = native.scans(spec, flat)
    steps = Steps.of(sequences, None if initial is None else initial[0].shape[1])
    if initial is not None:
        initial = tuple([s.contiguous() for s in initial])
    native.check(scans, sequences.data.shape[-1], initial, steps.batch)
    last = _empty_states(scans, sequences.data, steps)
    data = dense(sequences.data)
    for number, layers in enumerate(_stages(spec, scans)):
        output = empty_output(data, spec.directions * scans[0].plan.width)
        stage = Stage(data, _inner_noises(spec, output, noises))
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, data)
            here, there = steps.place(data), _columns(steps, output, direction, spec)
            if stages is None:
                strand.forward(here, initial, there, last)
            else:
                every = spec.recompute_every
                stage.left.append(strand.forward_to_return(here, initial, there, last, every))
        data = output
        if spec.bidirectional and number < spec.num_layers - 1:
            stage.output = output
            if spec.dropout > 0:
                stage.noise = _noise(spec, output, noises, number)
                data = output * stage.noise
        if stages is not None:
            stages.append(stage)
    return data, last


def backward(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    output: Tensor,
    stages: list[Stage],
    gradients: Sequence[Tensor | None],
    carried: dict[int, Carried] | None = None,
    *,
    wants_input: bool,
) -> list[Tensor | None]:
    """The gradients of the input (None if not wanted), the given states and the weights.

    Fills ``carried``, if given, by the place of the layer and direction in the states.

    ``output`` and ``stages`` are what the forward pass left, ``gradients`` those of the output and
    the last states, None for zero.
    """
    fitting.check_kind(output, [sequences.data, *(initial or ()), *flat])
    flat = [w.contiguous() for w in flat]
    scans = native.scans(spec, flat)
    steps = Steps.of(sequences, None if initial is None else initial[0].shape[1])
    if initial is not None:
        initial = tuple([s.contiguous() for s in initial])
    native.check(scans, sequences.data.shape[-1], initial, steps.batch)
    d_last = [None if g is None else g.contiguous() for g in gradients[1:]]
    d_initial = None
    if initial is not None or spec.recompute_every is not None:
        d_initial = _empty_states(scans, sequences.data, steps)
    d_output = gradients[0]
    d_flat: list[list[Tensor]] = []
    for number, layers in reversed(list(enumerate(_stages(spec, scans)))):
        stage = stages[number]
        stage_output = output if stage.output is None else stage.output
        if d_output is not None:
            d_output = d_output if stage.noise is None else d_output * stage.noise
            d_output = dense(d_output)
        d_data = empty_output(stage.data, stage.data.shape[-1]) if wants_input or number else None
        d_strands = []
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, stage.data)
            room = None
            if carried is not None:
                count = steps.offset(steps.time)
                room = [scan.empty_carried(stage.data, count) for scan in strand.scans]
                carried |= {s.index: of_scan for s, of_scan in zip(strand.scans, room, strict=True)}
            d_strands.append(
                strand.backward(
                    stage.left[direction],
                    steps.place(stage.data),
                    initial,
                    _columns(steps, stage_output, direction, spec),
                    NOWHERE if d_output is None else _columns(steps, d_output, direction, spec),
                    d_last,
                    d_initial,
                    NOWHERE if d_data is None else steps.place(d_data),
                    room,
                    adds=direction > 0,
                )
            )
        d_flat = d_strands + d_flat
        d_output = d_data
    states = d_initial if initial is not None and d_initial is not None else ()
    return [d_output if wants_input else None, *states, *[d for part in d_flat for d in part]]


def _stages(spec: Spec, scans: list[Scan]) -> list[list[Scan]]:
    """What runs one after the other: a whole stack in one direction, in two layer by layer."""
    return [scans[i : i + 2] for i in range(0, len(scans), 2)] if spec.bidirectional else [scans]


def _empty_states(scans: list[Scan], like: Tensor, steps: Steps) -> State:
    plan, depth, batch = scans[0].plan, len(scans), steps.batch
    hidden = like.new_empty(depth, batch, plan.width)
    return (hidden, like.new_empty(depth, batch, plan.hidden)) if plan.has_cell else (hidden,)


def empty_output(like: Tensor, width: int) -> Tensor:
    """New numbers [T, B, F] or [N, F]; a batch-first input has a batch-first output."""
    if like.dim() == 2:
        return like.new_empty(like.shape[0], width)
    steps, batch, _ = like.shape
    if like.stride(0) < like.stride(1):
        return like.new_empty(batch, steps, width).transpose(0, 1)
    return like.new_empty(steps, batch, width)


def noises(spec: Spec, stages: list[Stage]) -> list[Tensor]:
    """What dropout multiplied the outputs of each layer but the last by, if there was any."""
    found = [stage.noise for stage in stages] if spec.bidirectional else stages[0].noises
    return [noise for noise in found if noise is not None]


def _noise(spec: Spec, output: Tensor, given: Sequence[Tensor] | None, layer: int) -> Tensor:
    """Of this layer, in the order of [T, B, F], as torch draws it, whatever way the rows lie."""
    if given is not None:
        return given[layer].view(output.shape)
    return reference.draw_noise(output.new_empty(output.shape), spec.dropout)


def _inner_noises(
    spec: Spec, output: Tensor, given: Sequence[Tensor] | None
) -> list[Tensor | None]:
    """Of all layers but the last [N, P] where they are one strand."""
    if spec.bidirectional or spec.dropout == 0:
        return [None] * spec.num_layers
    layers = range(spec.num_layers - 1)
    return [_noise(spec, output, given, layer).flatten(0, -2) for layer in layers]


def _columns(steps: Steps, matrix: Tensor, direction: int, spec: Spec) -> Place:
    """Where the columns of one direction lie in [T, B, D·P] or [N, D·P]."""
    address, step, row = steps.place(matrix)
    width = matrix.shape[-1] // spec.directions
    return address + direction * width * matrix.element_size(), step, row

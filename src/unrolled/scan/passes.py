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
from unrolled.scan.spec import Spec, State, Weights
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


def forward(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    stages: list[Stage] | None = None,
    noises: Sequence[Tensor] | None = None,
) -> tuple[Tensor, State]:
    """The output and the last states; fills ``stages``, if given, for a backward pass.

    The stages hold the output: it has to stay as it is until then.

    ``noises`` are dropout's after each layer but the last, to repeat a pass; they are drawn if it
    is None. See :func:`unrolled.scan.engine.run`.
    """
    scans, steps, initial, flat = _begin(spec, sequences, initial, flat)
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
        is_last = number == spec.num_layers - 1 or not spec.bidirectional
        if not is_last or any(left.run is not None for left in stage.left):
            stage.output = output
        if not is_last and spec.dropout > 0:
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
    stages: list[Stage],
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
    carried: dict[int, Carried] | None = None,
) -> list[Tensor | None]:
    """The gradients of the input, the given states and the weights; None for those not wanted.

    ``stages`` are what the forward pass left, ``gradients`` those of the output and the last
    states, None for zero, and ``wanted`` says which of the results are. Fills ``carried``, if
    given, by the place of the layer and direction in the states.
    """
    wants_states = initial is not None and any(wanted[1 : 1 + len(initial)])
    flags = spec.weights(wanted[1 + len(initial or ()) :])
    fitting.check_kind(sequences.data, [*(initial or ()), *flat])
    scans, steps, initial, flat = _begin(spec, sequences, initial, flat)
    d_last = [None if g is None else g.contiguous() for g in gradients[1:]]
    d_initial = None
    if wants_states or spec.recompute_every is not None:
        d_initial = _empty_states(scans, sequences.data, steps)
    goes_down = wanted[0] or wants_states or carried is not None
    lowest = 0 if goes_down else _lowest_layer(spec, flags)
    d_output = gradients[0]
    d_flat: list[list[Tensor | None]] = []
    for number, layers in reversed(list(enumerate(_stages(spec, scans)))):
        stage = stages[number]
        if d_output is not None:
            d_output = dense(d_output if stage.noise is None else d_output * stage.noise)
        if spec.bidirectional and number < lowest:
            d_flat = [[None] * (len(flat) // spec.num_layers), *d_flat]
            continue
        goes_on = number > lowest if number else wanted[0]
        d_data = empty_output(stage.data, stage.data.shape[-1]) if goes_on else None
        d_strands = []
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, stage.data)
            room = None
            if carried is not None:
                count = steps.offset(steps.time)
                room = [scan.empty_carried(stage.data, count) for scan in strand.scans]
                carried |= {s.index: of_scan for s, of_scan in zip(strand.scans, room, strict=True)}
            output = stage.output
            back = Back(
                NOWHERE if d_output is None else _columns(steps, d_output, direction, spec),
                d_last,
                d_initial,
                NOWHERE if d_data is None else steps.place(d_data),
                [flags[scan.index] for scan in strand.scans],
                lowest=0 if spec.bidirectional else lowest,
                adds=direction > 0,
                carried=room,
            )
            d_strands += strand.backward(
                stage.left[direction],
                steps.place(stage.data),
                initial,
                NOWHERE if output is None else _columns(steps, output, direction, spec),
                back,
            )
        d_flat = [d_strands, *d_flat]
        d_output = d_data
    states = d_initial if wants_states and d_initial is not None else (None,) * len(initial or ())
    found = [d for part in d_flat for d in part]
    if spec.projected and steps.time == 1 and gradients[0] is None and gradients[1] is None:
        # Of the last layer's only step nobody reads the projected state: its weights have no part.
        size = len(found) // (spec.num_layers * spec.directions)
        for last in range(1, spec.directions + 1):
            found[len(found) - (last - 1) * size - 1] = None
    return [d_output if wanted[0] else None, *states, *found]


def _begin(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[list[Scan], Steps, State | None, list[Tensor]]:
    """What a pass begins with, forward and backward: all of it fits, states and weights are dense.

    The weights have to stay alive as long as the scans, which have their addresses.
    """
    flat = [w.contiguous() for w in flat]
    scans = native.scans(spec, flat)
    steps = Steps.of(sequences, None if initial is None else initial[0].shape[1])
    if initial is not None:
        initial = tuple([s.contiguous() for s in initial])
    native.check(scans, sequences.data.shape[-1], initial, steps.batch)
    return scans, steps, initial, flat


def _lowest_layer(spec: Spec, wanted: Sequence[Weights]) -> int:
    """The first layer of which a weight's gradient is wanted."""
    found = (i // spec.directions for i, of_layer in enumerate(wanted) if any(of_layer))
    return next(found, spec.num_layers)


def _stages(spec: Spec, scans: list[Scan]) -> list[list[Scan]]:
    """What runs one after the other: a whole stack in one direction, in two layer by layer."""
    return [scans[i : i + 2] for i in range(0, len(scans), 2)] if spec.bidirectional else [scans]


def _empty_states(scans: list[Scan], like: Tensor, steps: Steps) -> State:
    plan, depth, batch = scans[0].plan, len(scans), steps.batch
    hidden = like.new_empty(depth, batch, plan.width)
    return (hidden, like.new_empty(depth, batch, plan.hidden)) if plan.has_cell else (hidden,)


def empty_output(like: Tensor, width: int) -> Tensor:
    """New numbers [T, B, F] or [N, F], step after step, whatever way the input lies.

    So they lie in torch's, too, and what draws random numbers in the order of memory, as dropout on
    an output does, draws the same.
    """
    return like.new_empty(*like.shape[:-1], width)


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
    address, count, _, step, row = steps.place(matrix)
    return address, count, direction * (matrix.shape[-1] // spec.directions), step, row

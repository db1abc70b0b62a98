"""The whole pass on the compiled core, and its place in autograd.

The first derivative is the core's. To be differentiated again, the backward pass is repeated by
the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import native, reference
from unrolled.scan.native import NOWHERE, Place, Scan, Steps, dense, has_memory
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State
from unrolled.scan.strand import Left, Strand


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    if torch.is_grad_enabled():
        tensors = [sequences.data, *(initial or ()), *flat]
        if any(tensor.requires_grad for tensor in tensors):
            states = len(initial or ())
            results: tuple[Tensor, ...] = _Pass.apply(  # type: ignore[no-untyped-call]
                spec, sequences.batch_sizes, states, *tensors
            )
            return results[0], results[1:]
    return _forward(spec, sequences, initial, flat, None)


@dataclass
class _Stage:
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


def _forward(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    stages: list[_Stage] | None,
) -> tuple[Tensor, State]:
    """The output and the last states; fills ``stages``, if given, for a backward pass."""
    flat = [w.contiguous() for w in flat]
    scans = native.scans(spec, flat)
    steps = Steps.of(sequences, None if initial is None else initial[0].shape[1])
    if initial is not None:
        initial = tuple([s.contiguous() for s in initial])
    native.check(scans, sequences.data.shape[-1], initial, steps.batch)
    last = _empty_states(scans, sequences.data, steps)
    data = dense(sequences.data)
    for number, layers in enumerate(_stages(spec, scans)):
        output = _empty_output(data, spec.directions * scans[0].plan.width)
        stage = _Stage(data, _draw_inner_noises(spec, output))
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
                stage.noise = _draw_noise(spec, output)
                data = output * stage.noise
        if stages is not None:
            stages.append(stage)
    return data, last


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, spec: Spec, batch_sizes: Tensor | None, states: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        sequences, initial = Sequences(tensors[0], batch_sizes), tensors[1 : 1 + states] or None
        ctx.spec, ctx.batch_sizes, ctx.states, ctx.stages = spec, batch_sizes, states, []
        ctx.shapes = [tensor.shape for tensor in tensors]
        flat = list(tensors[1 + states :])
        output, last = _forward(spec, sequences, initial, flat, ctx.stages)
        ctx.save_for_backward(*tensors, output)
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        *tensors, output = ctx.saved_tensors  # refuses weights that were changed in place
        if [tensor.shape for tensor in tensors] != ctx.shapes:
            raise RuntimeError(
                "a weight, a state or the input has another shape than in the forward pass. "
                "Was its data replaced before the backward pass?"
            )
        states: int = ctx.states
        sequences, initial = Sequences(tensors[0], ctx.batch_sizes), tuple(tensors[1 : 1 + states])
        flat = tensors[1 + states :]
        # With create_graph, or under a vmap over the gradients, which are then no plain tensors.
        if torch.is_grad_enabled() or not all(has_memory(g) for g in gradients if g is not None):
            found = _backward_by_reference(ctx, sequences, initial or None, flat, gradients)
        else:
            found = _backward(ctx, sequences, initial or None, flat, output, gradients)
        return None, None, None, *found


def _backward(
    ctx: Any,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    output: Tensor,
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The gradients of the input, the states and the weights, by the core."""
    spec: Spec = ctx.spec
    wants_input: bool = ctx.needs_input_grad[3]
    flat = [w.contiguous() for w in flat]
    scans = native.scans(spec, flat)
    steps = Steps.of(sequences, None if initial is None else initial[0].shape[1])
    if initial is not None:
        initial = tuple([s.contiguous() for s in initial])
    d_last = [None if g is None else g.contiguous() for g in gradients[1:]]
    d_initial = None
    if initial is not None or spec.recompute_every is not None:
        d_initial = _empty_states(scans, sequences.data, steps)
    d_output = gradients[0]
    d_flat: list[list[Tensor]] = []
    for number, layers in reversed(list(enumerate(_stages(spec, scans)))):
        stage: _Stage = ctx.stages[number]
        stage_output = output if stage.output is None else stage.output
        if d_output is not None:
            d_output = d_output if stage.noise is None else d_output * stage.noise
            d_output = dense(d_output)
        d_data = _empty_output(stage.data, stage.data.shape[-1]) if wants_input or number else None
        d_strands = []
        for direction in range(spec.directions):
            strand = Strand(layers[direction :: spec.directions], stage.noises, steps, stage.data)
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
                    adds=direction > 0,
                )
            )
        d_flat = d_strands + d_flat
        d_output = d_data
    states = d_initial if initial is not None and d_initial is not None else ()
    return [d_output if wants_input else None, *states, *[d for part in d_flat for d in part]]


def _backward_by_reference(
    ctx: Any,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The same by plain torch, from the start: gradients that can be differentiated again."""
    spec: Spec = ctx.spec
    stages: list[_Stage] = ctx.stages
    shape = sequences.data.shape[:-1]
    noises = [s.noise for s in stages] if spec.bidirectional else [*stages[0].noises, None]
    noises = [n if n is None else n.view(*shape, n.shape[-1]) for n in noises]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        output, last = reference.run(spec, sequences, initial, flat, noises)
    needed = ctx.needs_input_grad[3:]
    inputs = [sequences.data, *(initial or ()), *flat]
    known = [(o, g) for o, g in zip((output, *last), gradients, strict=True) if g is not None]
    found = iter(
        torch.autograd.grad(
            outputs=[o for o, _ in known],
            inputs=[t for t, wanted in zip(inputs, needed, strict=True) if wanted],
            grad_outputs=[g for _, g in known],
            create_graph=create_graph,
            allow_unused=True,
        )
    )
    return [next(found) if wanted else None for wanted in needed]


def _stages(spec: Spec, scans: list[Scan]) -> list[list[Scan]]:
    """What runs one after the other: a whole stack in one direction, in two layer by layer."""
    return [scans[i : i + 2] for i in range(0, len(scans), 2)] if spec.bidirectional else [scans]


def _empty_states(scans: list[Scan], like: Tensor, steps: Steps) -> State:
    plan, depth, batch = scans[0].plan, len(scans), steps.batch
    hidden = like.new_empty(depth, batch, plan.width)
    return (hidden, like.new_empty(depth, batch, plan.hidden)) if plan.has_cell else (hidden,)


def _empty_output(like: Tensor, width: int) -> Tensor:
    """New numbers [T, B, F] or [N, F]; a batch-first input has a batch-first output."""
    if like.dim() == 2:
        return like.new_empty(like.shape[0], width)
    steps, batch, _ = like.shape
    if like.stride(0) < like.stride(1):
        return like.new_empty(batch, steps, width).transpose(0, 1)
    return like.new_empty(steps, batch, width)


def _draw_noise(spec: Spec, output: Tensor) -> Tensor:
    """In the order of [T, B, F], as torch draws it, whatever way the rows lie."""
    return reference.draw_noise(output.new_empty(output.shape), spec.dropout)


def _draw_inner_noises(spec: Spec, output: Tensor) -> list[Tensor | None]:
    """What dropout multiplies the outputs of all layers but the last by [N, P], in one strand."""
    if spec.bidirectional or spec.dropout == 0:
        return [None] * spec.num_layers
    return [_draw_noise(spec, output).flatten(0, -2) for _ in range(spec.num_layers - 1)]


def _columns(steps: Steps, matrix: Tensor, direction: int, spec: Spec) -> Place:
    """Where the columns of one direction lie in [T, B, D·P] or [N, D·P]."""
    address, step, row = steps.place(matrix)
    width = matrix.shape[-1] // spec.directions
    return address + direction * width * matrix.element_size(), step, row

"""The whole pass as one operator of torch's, for torch.compile and torch.export.

They see ``unrolled::scan`` and ``unrolled::scan_backward`` with the shapes of their results and
nothing inside. Called directly an operator is slower than :mod:`autograd`, by some tens of
microseconds. Dense batches only: how many steps a ragged one has is in its numbers, which a
compiler does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import passes
from unrolled.scan.native import NUMBERS, Kept, dense
from unrolled.scan.passes import Stage
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import CELLS, Spec, State
from unrolled.scan.strand import Left, Run


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    states = [] if initial is None else list(initial)
    tensors = [sequences.data, *states, *flat]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    results = _scan(sequences.data, states, flat, *_options(spec), keep)
    return results[0], tuple(results[1 : 1 + len(spec.cell.states)])


def _options(spec: Spec) -> tuple[Any, ...]:
    """A spec as the operators take it; :func:`_spec` is the way back."""
    return (
        spec.cell.name,
        spec.num_layers,
        spec.bias,
        spec.bidirectional,
        spec.projected,
        spec.dropout,
        spec.recompute_every or 0,
    )


@cache
def _spec(
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
) -> Spec:
    return Spec(CELLS[cell], num_layers, bias, bidirectional, projected, dropout, every or None)


@torch.library.custom_op("unrolled::scan", mutates_args=())
def _scan(
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    keep: bool,
) -> list[Tensor]:
    """The output [T, B, D·P], the last states, and with ``keep`` what :func:`_flatten` gives."""
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    stages: list[Stage] | None = [] if keep else None
    output, last = passes.forward(spec, Sequences(data), tuple(initial) or None, list(flat), stages)
    return [output, *last, *([] if stages is None else _flatten(spec, stages))]


@_scan.register_fake
def _(
    data: Tensor,
    initial: Sequence[Tensor],  # noqa: ARG001
    flat: Sequence[Tensor],
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    keep: bool,
) -> list[Tensor]:
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    data = dense(data)
    pairs, batch = data.shape[0] * data.shape[1], data.shape[1]
    width, hidden = flat[1].shape[1], flat[1].shape[0] // len(spec.cell.gates)
    depth, between = num_layers * spec.directions, num_layers - 1
    results = [passes.empty_output(data, spec.directions * width)]
    states = {"hidden": width, "cell": hidden}
    results += [data.new_empty(depth, batch, states[name]) for name in spec.cell.states]
    if keep and not every:
        kept = (
            NUMBERS[cell].kept * hidden,
            hidden * ("cell" in spec.cell.states),
            hidden * projected,
        )
        results += [data.new_empty(pairs, columns) for _ in range(depth) for columns in kept]
        if bidirectional:
            results += [passes.empty_output(data, 2 * width) for _ in range(between)]
        else:
            results += [data.new_empty(pairs, width) for _ in range(between)]
    if keep and dropout > 0:
        results += [data.new_empty(pairs, spec.directions * width) for _ in range(between)]
    return results


def _flatten(spec: Spec, stages: list[Stage]) -> list[Tensor]:
    """What the stages leave for the backward pass, as many tensors whatever the sizes.

    What each layer and direction keeps (with no columns where there is no such thing) and the
    outputs between the layers; both only where nothing is recomputed. Then dropout's noises.
    """
    like = stages[0].data
    found: list[Tensor] = []
    if spec.recompute_every is None:
        runs = [left.run for stage in stages for left in stage.left if left.run is not None]
        pairs = like.shape[0] * like.shape[1]
        for kept in [kept for run in runs for kept in run.kept]:
            found += [like.new_empty(pairs, 0) if k is None else k for k in kept]
        outputs = [stage.output for stage in stages] if spec.bidirectional else runs[0].outputs
        found += [output for output in outputs if output is not None]
    return [*found, *[noise.flatten(0, -2) for noise in passes.noises(spec, stages)]]


def _unflatten(spec: Spec, data: Tensor, flat: list[Tensor]) -> list[Stage]:
    """The way back; only for a pass that recomputes nothing."""
    depth, between = spec.num_layers * spec.directions, spec.num_layers - 1
    kept = [
        Kept(*[None if part.shape[-1] == 0 else part for part in flat[i : i + 3]])
        for i in range(0, 3 * depth, 3)
    ]
    outputs: list[Tensor | None] = [*flat[3 * depth : 3 * depth + between], None]
    noises: list[Tensor | None] = [*flat[3 * depth + between :], None]
    noises = noises if spec.dropout > 0 else [None] * spec.num_layers
    forward, backward = [0, data.shape[0]], [data.shape[0], 0]
    if not spec.bidirectional:
        return [Stage(data, noises, [Left(forward, Run(kept, outputs))])]
    stages: list[Stage] = []
    for layer in range(spec.num_layers):
        left = [
            Left(bounds, Run([kept[2 * layer + direction]], [None]))
            for direction, bounds in enumerate((forward, backward))
        ]
        output, noise = outputs[layer], noises[layer]
        noise = noise if noise is None or output is None else noise.view(output.shape)
        stages.append(Stage(data, [None], left, output, noise))
        if output is not None:
            data = output if noise is None else output * noise
    return stages


@torch.library.custom_op("unrolled::scan_backward", mutates_args=())
def _scan_backward(
    gradients: Sequence[Tensor],
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    output: Tensor,
    left: Sequence[Tensor],
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    wants_input: bool,
) -> list[Tensor]:
    """The gradients of the input if it is wanted, of the given states and of the weights."""
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    sequences, states, weights = Sequences(data), tuple(initial) or None, list(flat)
    if every:
        stages: list[Stage] = []
        passes.forward(spec, sequences, states, weights, stages, list(left) or None)
    else:
        stages = _unflatten(spec, dense(data), list(left))
    found = passes.backward(
        spec, sequences, states, weights, output, stages, gradients, wants_input=wants_input
    )
    return [gradient for gradient in found if gradient is not None]


@_scan_backward.register_fake
def _(
    gradients: Sequence[Tensor],  # noqa: ARG001
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    output: Tensor,  # noqa: ARG001
    left: Sequence[Tensor],  # noqa: ARG001
    cell: str,  # noqa: ARG001
    num_layers: int,  # noqa: ARG001
    bias: bool,  # noqa: ARG001
    bidirectional: bool,  # noqa: ARG001
    projected: bool,  # noqa: ARG001
    dropout: float,  # noqa: ARG001
    every: int,  # noqa: ARG001
    wants_input: bool,
) -> list[Tensor]:
    data = dense(data)
    found = [passes.empty_output(data, data.shape[-1])] if wants_input else []
    return found + [t.new_empty(t.shape) for t in (*initial, *flat)]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    data, initial, flat, *options, _keep = inputs
    ctx.counts = (len(initial), len(flat))
    ctx.options = options
    ctx.results = 1 + len(CELLS[options[0]].states)
    left = output[ctx.results :]
    ctx.save_for_backward(data, *initial, *flat, output[0], *left)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    data, *rest = ctx.saved_tensors
    states, weights = ctx.counts
    initial, flat = rest[:states], rest[states : states + weights]
    output, *left = rest[states + weights :]
    wants_input = ctx.needs_input_grad[0]
    found = _scan_backward(
        [g.contiguous() for g in gradients[: ctx.results]],
        data,
        initial,
        flat,
        output,
        left,
        *ctx.options,
        wants_input,
    )
    d_data, found = (found[0], found[1:]) if wants_input else (None, found)
    return (d_data, found[:states], found[states:], *[None] * (len(ctx.options) + 1))


_scan.register_autograd(_backward, setup_context=_set_up)

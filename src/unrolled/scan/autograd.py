"""The whole pass on the compiled core, and its place in autograd.

The first derivative is the core's. To be differentiated again, the backward pass is repeated by
the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import reference
from unrolled.scan.native import Kept, Rows, Scan, has_memory
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State


def run(
    spec: Spec, sequences: Sequences, initial: State, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    tensors = [sequences.data, *initial, *flat]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        results: tuple[Tensor, ...] = _Pass.apply(  # type: ignore[no-untyped-call]
            spec, sequences.batch_sizes, len(initial), *tensors
        )
        output, *last = results
        return output, tuple(last)
    return _forward(spec, _scans(spec, flat), sequences, initial)


@dataclass
class _Layer:
    """What a layer leaves for its backward pass: its input [N, ·], and what each direction kept.

    ``output`` [N, D·P] is None for the last layer: that is the pass's, and autograd keeps it.
    ``noise`` is what dropout multiplied the output by, None without dropout.
    """

    data: Tensor
    kept: list[Kept] = field(default_factory=list)
    output: Tensor | None = None
    noise: Tensor | None = None


def _scans(spec: Spec, flat: list[Tensor]) -> list[Scan]:
    return [
        Scan(spec.cell, w, index, reverse=spec.bidirectional and index % 2 == 1)
        for index, w in enumerate(spec.weights(flat))
    ]


def _forward(
    spec: Spec,
    scans: list[Scan],
    sequences: Sequences,
    initial: State,
    layers: list[_Layer] | None = None,
) -> tuple[Tensor, State]:
    """The output and the last states; fills ``layers``, if it is given, for a backward pass."""
    rows = Rows.of(sequences, initial[0].shape[1])
    initial = tuple(s.contiguous() for s in initial)
    last = tuple(torch.empty_like(s) for s in initial)
    data = rows.flat(sequences.data)
    for number in range(spec.num_layers):
        output = data.new_empty(data.shape[0], spec.directions * initial[0].shape[-1])
        layer = _Layer(data)
        for direction in range(spec.directions):
            index = number * spec.directions + direction
            kept = scans[index].forward(
                rows,
                data,
                initial,
                _columns(output, direction, spec.directions),
                last,
                keep=layers is not None,
            )
            layer.kept.append(kept)
        data = output
        if number < spec.num_layers - 1:
            layer.output = output
            if spec.dropout > 0:
                # In the order of [T, B, F], as torch draws it, whatever way the rows lie.
                noise = reference.draw_noise(rows.empty(output), spec.dropout)
                layer.noise = rows.flat(noise)
                data = output * layer.noise
        if layers is not None:
            layers.append(layer)
    return rows.unflat(data), last


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, spec: Spec, batch_sizes: Tensor | None, states: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        sequences, initial = Sequences(tensors[0], batch_sizes), tensors[1 : 1 + states]
        ctx.spec, ctx.batch_sizes, ctx.states = spec, batch_sizes, states
        ctx.scans, ctx.layers = _scans(spec, list(tensors[1 + states :])), []
        output, last = _forward(spec, ctx.scans, sequences, initial, ctx.layers)
        ctx.save_for_backward(*tensors, output)
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        *tensors, output = ctx.saved_tensors  # refuses weights that were changed in place
        sequences = Sequences(tensors[0], ctx.batch_sizes)
        initial = tuple(tensors[1 : 1 + ctx.states])
        # With create_graph, or under a vmap over the gradients, which are then no plain tensors.
        if torch.is_grad_enabled() or not all(has_memory(g) for g in gradients if g is not None):
            flat = tensors[1 + ctx.states :]
            found = _backward_by_reference(ctx, sequences, initial, flat, gradients)
        else:
            found = _backward(ctx, sequences, initial, output, gradients)
        return None, None, None, *found


def _backward(
    ctx: Any,
    sequences: Sequences,
    initial: State,
    output: Tensor,
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The gradients of the input, the states and the weights, by the core."""
    spec: Spec = ctx.spec
    rows = Rows.of(sequences, initial[0].shape[1])
    initial = tuple(s.contiguous() for s in initial)
    wants_input = ctx.needs_input_grad[3]
    d_last = [None if g is None else g.contiguous() for g in gradients[1:]]
    d_initial = tuple(torch.empty_like(s) for s in initial)
    d_output = None if gradients[0] is None else rows.flat(gradients[0])
    d_flat: list[Tensor] = []
    for number in reversed(range(spec.num_layers)):
        layer: _Layer = ctx.layers[number]
        layer_output = rows.flat(output) if layer.output is None else layer.output
        if d_output is not None and layer.noise is not None:
            d_output = d_output * layer.noise
        d_data, d_layer = None, []
        for direction in range(spec.directions):
            index = number * spec.directions + direction
            part, d_weights = ctx.scans[index].backward(
                rows,
                layer.data,
                initial,
                _columns(layer_output, direction, spec.directions),
                layer.kept[direction],
                None if d_output is None else _columns(d_output, direction, spec.directions),
                d_last,
                d_initial,
                wants_input=wants_input or number > 0,
            )
            d_data = part if d_data is None or part is None else d_data.add_(part)
            d_layer += d_weights
        d_flat = d_layer + d_flat
        d_output = d_data
    d_input = rows.unflat(d_output) if wants_input and d_output is not None else None
    return [d_input, *d_initial, *d_flat]


def _backward_by_reference(
    ctx: Any,
    sequences: Sequences,
    initial: State,
    flat: list[Tensor],
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The same by plain torch, from the start: gradients that can be differentiated again."""
    rows = Rows.of(sequences, initial[0].shape[1])
    noises = [
        layer.noise if layer.noise is None else rows.unflat(layer.noise) for layer in ctx.layers
    ]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        output, last = reference.run(ctx.spec, sequences, initial, flat, noises)
    needed = ctx.needs_input_grad[3:]
    inputs = [sequences.data, *initial, *flat]
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


def _columns(matrix: Tensor, direction: int, directions: int) -> Tensor:
    """The columns of one direction, [N, D·P] to [N, P]."""
    if directions == 1:
        return matrix
    width = matrix.shape[1] // directions
    return matrix.narrow(1, direction * width, width)

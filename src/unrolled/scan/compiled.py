"""A layer of a described cell on the compiled core, and its place in autograd.

The first derivative is the core's. To be differentiated again, the backward pass is repeated by the
equations in plain torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import described, linked
from unrolled.scan.described import Kind, Layer
from unrolled.scan.fitting import are_plain, check_kind
from unrolled.scan.linked import Linked, Names, Scan
from unrolled.scan.native import Steps
from unrolled.scan.saving import Given, Layout, by_stand_ins, handed
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import State
from unrolled.scan.watching import Watch


def program(layer: Layer, *, watched: bool = False) -> Linked | str:
    """The layer's program, or why there is none; see :func:`linked.linked`."""
    return linked.linked(layer.kind.cell, layer.kind.key, bool(layer.draws), watched)


def run(
    layer: Layer,
    program: Linked,
    sequences: Sequences,
    initial: State | None,
    rows: int,
    watch: Watch | None = None,
) -> tuple[Tensor, State]:
    """Runs a layer; see :data:`unrolled.scan.described.RunLayer`."""
    steps = Steps.of(sequences, rows)
    tensors = laid(program, given(layer, program.names, sequences, initial, rows))
    is_differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if not is_differentiated or torch.is_inference_mode_enabled():
        scan = Scan(program, linked.Given(program, steps, tensors), reverse=layer.kind.reverse)
        if watch is None:
            return scan.forward()
        output, after, left = scan.forward_to_return(None)
        watch.see_kept(program.program.kept, left)
        return output, after
    sizes = sequences.batch_sizes
    if sizes is not None:
        # They are the caller's, who may change them before a second derivative.
        sizes = sizes.to("cpu", torch.int64, copy=True)
    # torch has no types for it.
    results: tuple[Tensor, ...] = _Run.apply(  # type: ignore[no-untyped-call]
        layer.kind, program, steps, sizes, bool(layer.draws), watch, *handed(tensors)
    )
    return results[0], results[1:]


def given(
    layer: Layer, names: Names, sequences: Sequences, initial: State | None, rows: int
) -> list[Tensor]:
    """All tensors that a program reads, in its order. Without states there are none."""
    data = sequences.data
    inputs, constants = [data], []
    if names.inputs or names.constants:
        known = {**layer.constants, **(layer.draws or described.resting(layer.kind, rows, data))}
        more = [known[name] for name in names.inputs]
        inputs += [drawn.reshape(*data.shape[:-1], drawn.shape[-1]) for drawn in more]
        constants = [known[name] for name in names.constants]
    return [*inputs, *constants, *(initial or ()), *[layer.weights[n] for n in names.weights]]


def laid(program: Linked, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What is given, as the core can read it."""
    count = program.inputs
    dense = [linked.dense(tensor) for tensor in tensors[:count]]
    return [*dense, *[tensor.contiguous() for tensor in tensors[count:]]]


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: Kind,
        program: Linked,
        steps: Steps,
        batch_sizes: Tensor | None,
        is_drawn: bool,
        watch: Watch | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        every = kind.recompute_every if watch is None else None
        scan = Scan(program, linked.Given(program, steps, tensors), reverse=kind.reverse)
        output, after, left = scan.forward_to_return(every)
        if watch is not None:
            watch.see_kept(program.program.kept, left)
        ctx.watch = watch
        ctx.given = Given(tensors, [True] * len(tensors), 0, repeats=every is not None)
        # All tensors by autograd's hands, as in :mod:`autograd`.
        ctx.save_for_backward(*ctx.given.release(), *left.tensors())
        ctx.lies = [Layout.of(tensor) for tensor in left.tensors()]
        ctx.left = left.with_tensors(repeat(None))
        ctx.kind, ctx.program, ctx.steps = kind, program, steps
        ctx.batch_sizes, ctx.is_drawn = batch_sizes, is_drawn
        ctx.set_materialize_grads(False)
        return output, *after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        given = len(ctx.given.shapes)
        wanted = ctx.needs_input_grad[6:]
        if all(gradient is None for gradient in gradients):
            return (None,) * (6 + len(wanted))
        tensors = ctx.given.restored(saved[:given])
        check_kind(tensors[0], tensors[1:])
        if torch.is_grad_enabled() or not are_plain(gradients):
            stand_ins = ctx.given.stand_ins(saved[:given], tensors, wanted)
            found = _by_equations(ctx, stand_ins, gradients, wanted)
        else:
            left = ctx.left.with_tensors(
                None if lies is None else lies.restored(tensor)
                for lies, tensor in zip(ctx.lies, saved[given:], strict=True)
            )
            # Hooks on saved tensors may give them another layout.
            plain = laid(ctx.program, [tensor.resolve_neg() for tensor in tensors])
            there = linked.Given(ctx.program, ctx.steps, plain)
            scan = Scan(ctx.program, there, reverse=ctx.kind.reverse)
            d_results = [None if g is None else g.resolve_neg() for g in gradients]
            carried = () if ctx.watch is None else ctx.watch.carried
            found = scan.backward(left, d_results, wanted, carried)
        return None, None, None, None, None, None, *found


def _by_equations(
    ctx: Any,
    stand_ins: list[Tensor],
    gradients: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The same by plain torch: gradients that can be differentiated again."""
    names, kind = ctx.program.names, ctx.kind
    tensors = iter(stand_ins)
    data = next(tensors)
    draws = {name: next(tensors).flatten(0, -2) for name in names.inputs}
    draws |= {name: next(tensors) for name in names.constants}
    constants = {constant.name: draws.pop(constant.name) for constant in kind.cell.constants}
    states = len(stand_ins) - 1 - sum(map(len, names))
    initial = tuple([next(tensors) for _ in range(states)]) or None
    weights = {name: next(tensors) for name in names.weights}
    # Without draws it takes what stands for them, of all of them.
    draws = draws if ctx.is_drawn else {}
    layer = Layer(kind, {**_without_columns(kind, data), **weights}, constants, draws)
    sequences = Sequences(data, ctx.batch_sizes)
    with torch.enable_grad():
        output, after = described.by_equations(layer, sequences, initial, ctx.steps.batch)
    return by_stand_ins((output, *after), gradients, stand_ins, wanted)


def _without_columns(kind: Kind, like: Tensor) -> dict[str, Tensor]:
    """The weights of inputs that have no numbers, which the program does not read."""
    return {
        weight.name: like.new_empty(sum(kind.units[p.size] for p in weight.parts), 0)
        for weight in kind.cell.weights
        if weight.columns is not None and not kind.units[weight.columns]
    }

"""The whole pass on the compiled core, and its place in autograd.

The first derivative is the core's. To be differentiated again, the backward pass is repeated by
the reference.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import passes, reference
from unrolled.scan.fitting import has_memory
from unrolled.scan.native import Carried, dense
from unrolled.scan.passes import Stage
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    if torch.is_grad_enabled():
        tensors = [sequences.data, *(initial or ()), *flat]
        if any(tensor.requires_grad for tensor in tensors):
            states = len(initial or ())
            return differentiable(spec, sequences.batch_sizes, states, tensors, [])
    return passes.forward(spec, sequences, initial, flat)


def differentiable(
    spec: Spec,
    batch_sizes: Tensor | None,
    states: int,
    tensors: list[Tensor],
    stages: list[Stage],
    carried: dict[int, Carried] | None = None,
) -> tuple[Tensor, State]:
    """The whole pass over the input, so many states, and the weights, which are ``tensors``.

    Fills ``stages``, and when the backward pass runs ``carried``, if given.
    """
    results: tuple[Tensor, ...] = _Pass.apply(  # type: ignore[no-untyped-call]
        spec, batch_sizes, states, stages, carried, *tensors
    )
    return results[0], results[1:]


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        spec: Spec,
        batch_sizes: Tensor | None,
        states: int,
        stages: list[Stage],
        carried: dict[int, Carried] | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        sequences, initial = Sequences(tensors[0], batch_sizes), tensors[1 : 1 + states] or None
        flat = list(tensors[1 + states :])
        output, last = passes.forward(spec, sequences, initial, flat, stages)
        # All tensors by autograd's hands: it frees them when the graph is done with, and what works
        # on saved tensors, as checkpoints do, works on these.
        left = [tensor for stage in stages for tensor in stage.tensors()]
        ctx.save_for_backward(*tensors, output, *left)
        ctx.stages = [stage.with_tensors(repeat(None)) for stage in stages]
        ctx.carried = carried
        ctx.spec, ctx.batch_sizes, ctx.states = spec, batch_sizes, states
        ctx.shapes = [tensor.shape for tensor in tensors]
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # refuses weights that were changed in place
        given: int = len(ctx.shapes)
        states: int = ctx.states
        tensors = saved[:given]
        if [tensor.shape for tensor in tensors] != ctx.shapes:
            raise RuntimeError(
                "a weight, a state or the input has another shape than in the forward pass. "
                "Was its data replaced before the backward pass?"
            )
        # A hook on saved tensors may give them back in another layout.
        output = dense(saved[given])
        left = iter([None if tensor is None else dense(tensor) for tensor in saved[given + 1 :]])
        stages = [stage.with_tensors(left) for stage in ctx.stages]
        sequences, initial = Sequences(tensors[0], ctx.batch_sizes), tuple(tensors[1 : 1 + states])
        flat = tensors[1 + states :]
        # With create_graph, or under a vmap over the gradients, which are then no plain tensors.
        if torch.is_grad_enabled() or not all(has_memory(g) for g in gradients if g is not None):
            found = _backward_by_reference(ctx, sequences, initial or None, flat, stages, gradients)
        else:
            found = passes.backward(
                ctx.spec,
                sequences,
                initial or None,
                flat,
                output,
                stages,
                gradients,
                ctx.carried,
                wants_input=ctx.needs_input_grad[5],
            )
        return None, None, None, None, None, *found


def _backward_by_reference(
    ctx: Any,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    stages: list[Stage],
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The same by plain torch, from the start: gradients that can be differentiated again."""
    spec: Spec = ctx.spec
    shape = sequences.data.shape[:-1]
    noises = [n.view(*shape, n.shape[-1]) for n in passes.noises(spec, stages)]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        output, last = reference.run(spec, sequences, initial, flat, noises)
    needed = ctx.needs_input_grad[5:]
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

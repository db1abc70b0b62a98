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
from unrolled.scan.fitting import are_plain
from unrolled.scan.native import Carried, dense
from unrolled.scan.passes import Stage
from unrolled.scan.saving import Given, Layout, by_stand_ins, handed, reads_back
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Spec, State


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
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
    if batch_sizes is not None:
        # They are the caller's, who may change them before the backward pass.
        batch_sizes = batch_sizes.to("cpu", torch.int64, copy=True)
    results: tuple[Tensor, ...] = _Pass.apply(  # type: ignore[no-untyped-call]
        spec, batch_sizes, states, stages, carried, *handed(tensors)
    )
    # The backward pass reads the output, and the caller may change it in place, even where no
    # version is counted. A copy of each also has a node of its own: a hook on one is not called for
    # another, and a view of it may be changed, as torch has it.
    output, *last = [result.clone() for result in results]
    return output, tuple(last)


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
        wanted = ctx.needs_input_grad[5:]
        is_long = (tensors[0].shape[0] if batch_sizes is None else batch_sizes.shape[0]) > 1
        read = reads_back(spec, states, wanted, is_long=is_long)
        ctx.given = Given(tensors, read, states, repeats=spec.recompute_every is not None)
        # All tensors by autograd's hands: it frees them when the graph is done with, and what works
        # on saved tensors, as checkpoints do, works on these. The input is not saved once more.
        left = [tensor for stage in stages for tensor in stage.tensors()]
        left[0] = None
        ctx.save_for_backward(*ctx.given.release(), *left)
        ctx.left = [Layout.of(tensor) for tensor in left]
        ctx.stages = [stage.with_tensors(repeat(None)) for stage in stages]
        ctx.carried = carried
        ctx.spec, ctx.batch_sizes, ctx.states = spec, batch_sizes, states
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # refuses what was changed in place and torch reads, too
        if all(gradient is None for gradient in gradients):
            return (None,) * len(ctx.needs_input_grad)
        given, states = len(ctx.given.shapes), ctx.states
        again = torch.is_grad_enabled() or not are_plain(gradients)
        tensors = ctx.given.restored(saved[:given])
        sequences, initial = Sequences(tensors[0], ctx.batch_sizes), tuple(tensors[1 : 1 + states])
        flat, wanted = tensors[1 + states :], ctx.needs_input_grad[5:]
        left = iter(
            [
                None if layout is None else layout.restored(tensor)
                for layout, tensor in zip(ctx.left, saved[given:], strict=True)
            ]
        )
        stages = [stage.with_tensors(left) for stage in ctx.stages]
        stages[0].data = dense(tensors[0])
        if again:
            stand_ins = ctx.given.stand_ins(saved[:given], tensors, wanted)
            noises = passes.noises(ctx.spec, stages)
            if not ctx.given.is_hooked:  # then what comes back may be less exact
                _check_unwritten(ctx.spec, sequences, initial or None, flat, stages, noises)
            found = _backward_by_reference(
                ctx.spec, sequences, states, stand_ins, noises, gradients, wanted
            )
        else:
            found = passes.backward(
                ctx.spec,
                sequences,
                initial or None,
                flat,
                stages,
                [None if g is None else g.resolve_neg() for g in gradients],
                wanted,
                ctx.carried,
            )
        return None, None, None, None, None, *found


def _check_unwritten(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    stages: list[Stage],
    noises: list[Tensor],
) -> None:
    """Whether the pass would still give the same bits: only then may it be repeated.

    Raises:
        RuntimeError: it would not.
    """
    if (before := stages[-1].output) is None:
        return
    with torch.no_grad():
        output, _ = passes.forward(spec, sequences, initial, flat, noises=noises)
    if not torch.equal(output.nan_to_num(), before.nan_to_num()):
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            "operation that autograd does not see: through .data, through NumPy, or by another "
            "process. A derivative that can be differentiated again, or is taken for many "
            "gradients at once, repeats the forward pass on the input, the states and the "
            "weights: write to them after it, or give the module copies"
        )


def _backward_by_reference(
    spec: Spec,
    sequences: Sequences,
    states: int,
    stand_ins: list[Tensor],
    noises: list[Tensor],
    gradients: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The same by plain torch, from the start: gradients that can be differentiated again.

    It differentiates by stand-ins of the tensors, each of its own. By the tensors themselves it
    would also follow what leads from one to another outside of the pass, which autograd follows
    itself once it has the gradient: a state that was computed from the input, say.
    """
    shape = sequences.data.shape[:-1]
    with torch.enable_grad():
        output, last = reference.run(
            spec,
            sequences.with_data(stand_ins[0]),
            tuple(stand_ins[1 : 1 + states]) or None,
            stand_ins[1 + states :],
            [n.view(*shape, n.shape[-1]) for n in noises],
        )
    return by_stand_ins((output, *last), gradients, stand_ins, wanted)

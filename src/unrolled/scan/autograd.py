"""The whole pass on the compiled core, and its place in autograd.

The first derivative is the core's. To be differentiated again, the backward pass is repeated by the
equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import passes, reference, saving
from unrolled.scan.eligibility import are_plain, check_kind
from unrolled.scan.native import dense
from unrolled.scan.passes import Pass, Stage
from unrolled.scan.plan import Plan
from unrolled.scan.reach import reached
from unrolled.scan.saving import Layout, by_stand_ins, handed
from unrolled.scan.spec import Drawn, Given, Spec, State


@dataclass(slots=True)
class Call:
    """A pass that may be differentiated, without its tensors, which autograd is to hold.

    Attributes:
        spec: the pass.
        plans: how the core runs its layers and directions.
        batch_sizes: those of ragged sequences.
        rows: B.
        carried: filled by the backward pass, if given; see :meth:`Pass.backward`.
    """

    spec: Spec
    plans: tuple[Plan, ...]
    batch_sizes: Tensor | None
    rows: int
    carried: dict[int, list[Tensor]] | None = None

    def given(self, tensors: Sequence[Tensor]) -> Given:
        """What is given, of its tensors."""
        return self.spec.given(self.batch_sizes, self.rows, tensors)

    def reached(
        self, states: int, wanted: tuple[bool, ...], gradients: tuple[bool, ...]
    ) -> tuple[bool, ...]:
        """See :func:`unrolled.scan.reach.reached`."""
        is_ragged = self.batch_sizes is not None
        return reached(self.spec, states, wanted, gradients, is_ragged=is_ragged)


def differentiable(
    call: Call, tensors: list[Tensor], drawn: Drawn, stages: list[Stage]
) -> tuple[Tensor, State]:
    """The whole pass over the tensors of :meth:`Given.tensors`; ``drawn`` are random numbers.

    Fills ``stages`` with what it leaves.
    """
    if call.batch_sizes is not None:
        # They are the caller's, who may change them before the backward pass.
        call.batch_sizes = call.batch_sizes.to("cpu", torch.int64, copy=True)
    # torch has no types for it.
    results: tuple[Tensor, ...] = _Pass.apply(  # type: ignore[no-untyped-call]
        call, drawn, stages, *handed(tensors)
    )
    # The backward pass reads the output, and the caller may change it in place, even where no
    # version is counted. A copy of each also has a node of its own: a hook on one is not called for
    # another, and a view of it may be changed, as torch has it.
    output, *last = [result.clone() for result in results]
    return output, tuple(last)


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: Call, drawn: Drawn, stages: list[Stage], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        spec, given = call.spec, call.given(tensors)
        forward = Pass(spec, call.plans, given, drawn)
        output, last = forward.forward(stages)
        states = len(given.initial or ())
        read = saving.reads_back(
            spec, states, ctx.needs_input_grad[3:], is_long=forward.steps.time > 1
        )
        ctx.given = saving.Given(tensors, read, states, repeats=spec.recompute_every is not None)
        # All tensors by autograd's hands: it frees them when the graph is done with, and what works
        # on saved tensors, as checkpoints do, works on these. The input is not saved once more.
        left = [tensor for stage in stages for tensor in stage.tensors()]
        left[0] = None
        # Dropout's random numbers are in the stages.
        of_cells = drawn._replace(noises=()).tensors() if drawn.of_cells else []
        # Of a cell with kernels the output shows all states; another may show one a step later.
        ends = last if spec.kernel is None else ()
        ctx.drawn, ctx.ends = len(of_cells), len(of_cells) + len(ends)
        ctx.save_for_backward(*ctx.given.release(), *of_cells, *ends, *left)
        ctx.left = [Layout.of(tensor) for tensor in (*of_cells, *ends, *left)]
        ctx.call, ctx.states = call, states
        ctx.stages = [stage.with_tensors(repeat(None)) for stage in stages]
        ctx.set_materialize_grads(False)
        results = output, *last
        if spec.kernel is None and call.carried is None:
            ctx.mark_non_differentiable(*_constants(call, states, ctx, results))
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # refuses what was changed in place and torch reads, too
        count, wanted, call = len(ctx.given.shapes), ctx.needs_input_grad[3:], ctx.call
        has = tuple([gradient is not None for gradient in gradients])
        wanted = call.reached(ctx.states, wanted, has)
        if not any(has) or not (any(wanted) or call.carried is not None):
            return (None,) * len(ctx.needs_input_grad)
        again = torch.is_grad_enabled() or not are_plain(gradients)
        tensors = ctx.given.restored(saved[:count])
        left = [
            None if layout is None else layout.restored(tensor)
            for layout, tensor in zip(ctx.left, saved[count:], strict=True)
        ]
        rest = iter(left[ctx.ends :])
        stages = [stage.with_tensors(rest) for stage in ctx.stages]
        stages[0].data = dense(tensors[0])
        drawn = call.spec.drawn(left[: ctx.drawn])
        if again:
            drawn = drawn._replace(noises=passes.noises(call.spec, stages))
            stand_ins = ctx.given.stand_ins(saved[:count], tensors, wanted)
            if not ctx.given.is_hooked:  # then what comes back may be less exact
                results = stages[-1].output, *left[ctx.drawn : ctx.ends]
                _check_unwritten(call, tensors, drawn, results)
            found = _backward_by_reference(call, stand_ins, drawn, gradients, wanted)
        else:
            check_kind(tensors[0], tensors[1:])
            found = Pass(call.spec, call.plans, call.given(tensors), drawn).backward(
                stages,
                [None if g is None else g.resolve_neg() for g in gradients],
                wanted,
                call.carried,
            )
        return None, None, None, *found


def _constants(call: Call, states: int, ctx: Any, results: tuple[Tensor, ...]) -> list[Tensor]:
    """The results that have no derivative by anything that wants one."""
    wanted = ctx.needs_input_grad[3:]
    found = []
    for number, result in enumerate(results):
        alone = tuple([other == number for other in range(len(results))])
        if not any(call.reached(states, wanted, alone)):
            found.append(result)
    return found


def _check_unwritten(
    call: Call, tensors: Sequence[Tensor], drawn: Drawn, results: Sequence[Tensor | None]
) -> None:
    """Whether the pass would still give the same bits: only then may it be repeated.

    ``results`` are the output and, of some cells, the last states; None where nothing is kept.

    Raises:
        RuntimeError: it would not.
    """
    if results[0] is None:
        return
    with torch.no_grad():
        output, last = Pass(call.spec, call.plans, call.given(tensors), drawn).forward()
    pairs = zip((output, *last), results, strict=False)
    if not all(b is not None and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            "operation that autograd does not see: through .data, through NumPy, or by another "
            "process. A derivative that can be differentiated again, or is taken for many "
            "gradients at once, repeats the forward pass on the input, the states and the "
            "weights: write to them after it, or give the module copies"
        )


def _backward_by_reference(
    call: Call,
    stand_ins: list[Tensor],
    drawn: Drawn,
    gradients: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The same by plain torch, from the start: gradients that can be differentiated again.

    It differentiates by stand-ins of the tensors, each of its own. By the tensors themselves it
    would also follow what leads from one to another outside of the pass, which autograd follows
    itself once it has the gradient: a state that was computed from the input, say.
    """
    with torch.enable_grad():
        output, last = reference.run(call.spec, call.given(stand_ins), drawn)
    return by_stand_ins((output, *last), gradients, stand_ins, wanted)

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
from unrolled.scan.single import Single
from unrolled.scan.spec import Drawn, Given, Spec, State


@dataclass(slots=True)
class Call:
    """A pass that may be differentiated, without its tensors, which autograd is to hold.

    Attributes:
        spec: the pass.
        plans: how the core runs its layers and directions.
        batch_sizes: those of ragged sequences.
        rows: B.
        single: the pass where it is a single one.
        carried: filled by the backward pass, if given; see :meth:`Pass.backward`.
    """

    spec: Spec
    plans: tuple[Plan, ...]
    batch_sizes: Tensor | None
    rows: int
    single: Single | None = None
    carried: dict[int, list[Tensor]] | None = None

    def given(self, tensors: Sequence[Tensor]) -> Given:
        """What is given, of its tensors."""
        return self.spec.given(self.batch_sizes, self.rows, tensors)

    def states(self, tensors: Sequence[Tensor]) -> int:
        """How many of the tensors are states."""
        cell = self.spec.cell
        weights = len(self.spec.kinds) * len(cell.weights)
        return len(tensors) - 1 - len(cell.constants) - weights

    def reached(
        self, states: int, wanted: tuple[bool, ...], gradients: tuple[bool, ...]
    ) -> tuple[bool, ...]:
        """See :func:`unrolled.scan.reach.reached`."""
        is_ragged = self.batch_sizes is not None
        return reached(self.spec, states, wanted, gradients, is_ragged=is_ragged)

    def forward(
        self, tensors: Sequence[Tensor], drawn: Drawn, stages: list[Stage]
    ) -> tuple[Tensor, State, list[Tensor | None]]:
        """The results, and what they leave for :class:`Left`; fills ``stages`` if it has any."""
        if self.single is not None:
            output, last, kept = self.single.forward(tensors, keeps=True)
            return output, last, [output, *kept]
        output, last = Pass(self.spec, self.plans, self.given(tensors), drawn).forward(stages)
        left = [tensor for stage in stages for tensor in stage.tensors()]
        left[0] = None  # the input is not saved once more
        return output, last, left


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
        spec, states = call.spec, call.states(tensors)
        output, last, left = call.forward(tensors, drawn, stages)
        steps = tensors[0].shape[0] if call.batch_sizes is None else len(call.batch_sizes)
        read = saving.reads_back(spec, states, ctx.needs_input_grad[3:], is_long=steps > 1)
        ctx.given = saving.Given(tensors, read, states, repeats=spec.recompute_every is not None)
        # All tensors by autograd's hands: it frees them when the graph is done with, and what works
        # on saved tensors, as checkpoints do, works on these. Dropout's numbers are in the stages.
        of_cells = drawn._replace(noises=()).tensors() if drawn.of_cells else []
        # Of a cell with kernels the output shows all states; another may show one a step later.
        ends = last if spec.kernel is None else ()
        ctx.drawn, ctx.ends = len(of_cells), len(of_cells) + len(ends)
        ctx.save_for_backward(*ctx.given.release(), *of_cells, *ends, *left)
        # They are our own: only a hook gives another back.
        ctx.left = None
        if ctx.given.is_hooked:
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
        left = saved[count:]
        if ctx.left is not None:
            pairs = zip(ctx.left, left, strict=True)
            left = [layout and layout.restored(tensor) for layout, tensor in pairs]
        drawn, ends, left = left[: ctx.drawn], left[ctx.drawn : ctx.ends], left[ctx.ends :]
        run = Left(call, tensors, call.spec.drawn(drawn), ctx.stages, left)
        if again:
            stand_ins = ctx.given.stand_ins(saved[:count], tensors, wanted)
            if not ctx.given.is_hooked:  # then what comes back may be less exact
                run.check_unwritten(ends)
            found = run.by_reference(stand_ins, gradients, wanted)
        else:
            check_kind(tensors[0], tensors[1:])
            found = run.backward(gradients, wanted)
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


class Left:
    """A pass that has run forward, and what it left, as a backward pass finds it.

    Attributes:
        call: the pass.
        tensors: those that it was given.
        drawn: its random numbers.
        output: what it gave; None where nothing is kept.
    """

    def __init__(
        self,
        call: Call,
        tensors: Sequence[Tensor],
        drawn: Drawn,
        stages: Sequence[Stage],
        left: Sequence[Tensor | None],
    ) -> None:
        """``stages`` are those of the forward pass without their tensors, which are ``left``."""
        self.call, self.tensors, self.drawn, self._left = call, tensors, drawn, left
        self._stages: list[Stage] = []
        if call.single is not None:
            self.output = left[0]
            return
        rest = iter(left)
        self._stages = [stage.with_tensors(rest) for stage in stages]
        self._stages[0].data = dense(tensors[0])
        self.output = self._stages[-1].output
        self.drawn = drawn._replace(noises=passes.noises(call.spec, self._stages))

    def backward(
        self, gradients: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The gradients of the tensors; None for what is not wanted, or not read."""
        call = self.call
        gradients = [None if g is None else g.resolve_neg() for g in gradients]
        if call.single is not None:
            output, *kept = (each for each in self._left if each is not None)
            return call.single.backward(self.tensors, output, kept, gradients, wanted)
        forward = Pass(call.spec, call.plans, call.given(self.tensors), self.drawn)
        return forward.backward(self._stages, gradients, wanted, call.carried)

    def check_unwritten(self, ends: Sequence[Tensor | None]) -> None:
        """Whether the pass would still give the same bits: only then may it be repeated.

        Args:
            ends: the last states, of a cell whose output does not show them.

        Raises:
            RuntimeError: it would not.
        """
        if self.output is None:
            return
        call = self.call
        with torch.no_grad():
            again = Pass(call.spec, call.plans, call.given(self.tensors), self.drawn)
            output, last = again.forward()
        pairs = zip((output, *last), (self.output, *ends), strict=False)
        if not all(b is not None and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                "inplace operation that autograd does not see: through .data, through NumPy, or by "
                "another process. A derivative that can be differentiated again, or is taken for "
                "many gradients at once, repeats the forward pass on the input, the states and the "
                "weights: write to them after it, or give the module copies"
            )

    def by_reference(
        self,
        stand_ins: list[Tensor],
        gradients: tuple[Tensor | None, ...],
        wanted: tuple[bool, ...],
    ) -> list[Tensor | None]:
        """The gradients by plain torch, from the start: they can be differentiated again.

        It differentiates by stand-ins of the tensors, each of its own. By the tensors themselves it
        would also follow what leads from one to another outside of the pass, which autograd follows
        itself once it has the gradient: a state that was computed from the input, say.
        """
        call = self.call
        with torch.enable_grad():
            output, last = reference.run(call.spec, call.given(stand_ins), self.drawn)
        return by_stand_ins((output, *last), gradients, stand_ins, wanted)

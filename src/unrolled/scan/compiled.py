"""The compiled core as an engine."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from unrolled.scan import draws, eligibility, operator, reference
from unrolled.scan.autograd import Call, differentiable
from unrolled.scan.passes import Pass
from unrolled.scan.plan import plans
from unrolled.scan.single import fits, single
from unrolled.scan.spec import Given, Spec, State

_requires_grad = attrgetter("requires_grad")


def supports(spec: Spec, data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why the core can't run a pass, or None where it can."""
    if obstacle := eligibility.obstacle(data, others):
        return obstacle
    if spec.kernel is not None and spec.numbers != "int8":
        return None
    if is_one_operator():
        return None if operator.has_plans(spec.text) else "the core has no program for it"
    found = plans(spec, data.dtype)
    return found if isinstance(found, str) else None


def run(spec: Spec, given: Given) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    if is_one_operator():
        # How many steps a ragged batch has is in its numbers, which nobody sees who traces it.
        runs = operator if given.sequences.batch_sizes is None else reference
        output, last = runs.run(spec, given)
        return output, last
    planned = plans(spec, given.sequences.data.dtype)
    drawn = draws.draw(spec, given)
    assert not isinstance(planned, str)  # else the pass is not supported
    one = single(spec, planned) if fits(given.sequences) else None
    tensors = given.tensors()
    is_recorded = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    if is_recorded and any(map(_requires_grad, tensors)):
        call = Call(spec, planned, given.sequences.batch_sizes, given.rows, one)
        return differentiable(call, tensors, drawn, [])
    if one is not None:
        output, last, _ = one.forward(tensors, keeps=False)
        return output, last
    return Pass(spec, planned, given, drawn).forward()


def run_cell(spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    """One step, which the core has no entry for; see :func:`unrolled.scan.engine.run_cell`."""
    return reference.run_cell(spec, input, state, weights)


def is_one_operator() -> bool:
    """Whether somebody traces the pass, for whom it is to be one operator."""
    return torch.compiler.is_compiling() or operator.is_traced()

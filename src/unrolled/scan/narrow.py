"""Passes in bfloat16: products multiply it, and all else is float32.

So run tensors of bfloat16, and those of float32 under autocast to it. They are widened, which
changes no number, and the results are rounded to the dtype that torch's modules give. On the way
back autograd rounds the gradients of what was widened, once, at the end of the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import elman, lstm
from unrolled.scan import eligibility
from unrolled.scan.compiling import constant
from unrolled.scan.saving import reads_back
from unrolled.scan.spec import Given, Spec, State, read

Run = Callable[[Spec, Given], tuple[Tensor, State]]

MADE_BY_PRODUCTS = tuple(elman.KERNELS)
"""The cells whose state is a function of products alone."""

HAS_A_KERNEL = tuple(lstm.KERNELS)
"""The cells that torch has a kernel for that computes in bfloat16: oneDNN's."""


def is_narrow(data: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether a pass over these tensors is one in bfloat16."""
    if not data.is_cpu:
        return False
    if not is_autocast():
        return data.dtype is torch.bfloat16 and all(t.dtype is torch.bfloat16 for t in others)
    known = torch.bfloat16, torch.float32
    return _autocast_dtype() is torch.bfloat16 and all(t.dtype in known for t in (data, *others))


def is_autocast() -> bool:
    """Whether torch casts on its own on this machine's processor."""
    return torch.is_autocast_enabled("cpu")


@constant
def _autocast_dtype() -> torch.dtype:
    return torch.get_autocast_dtype("cpu")


def without_autocast() -> AbstractContextManager[object]:
    """Within it torch casts nothing on its own."""
    return torch.autocast("cpu", enabled=False) if is_autocast() else nullcontext()


def run(run: Run, spec: Spec, given: Given) -> tuple[Tensor, State]:
    """The pass by ``run``, of float32 tensors whose products are rounded."""
    dtypes = _dtypes(spec, given)
    widened = _widened(spec, given)
    with without_autocast():
        output, last = run(narrowed(spec), widened)
        last = tuple([state.to(dtype) for state, dtype in zip(last, dtypes, strict=True)])
        return output.to(dtypes[0]), last


def _dtypes(spec: Spec, given: Given) -> list[torch.dtype]:
    """Those of the last states, the first of which is the output's: as torch's modules have them.

    By torch's kernel of dense sequences all of an LSTM's are bfloat16. Elsewhere torch takes single
    operations, of which products are bfloat16 and sums of two dtypes the wider of both: so is a
    state that the one before is added to.
    """
    states = len(spec.cell.states)
    if given.initial is None:
        dtypes = [given.sequences.data.dtype] * states
    else:
        dtypes = [state.dtype for state in given.initial]
    is_dense = given.sequences.batch_sizes is None
    if spec.kernel in MADE_BY_PRODUCTS or (
        spec.kernel in HAS_A_KERNEL and is_dense and not spec.is_projected
    ):
        return [torch.bfloat16] * states
    if spec.kernel in HAS_A_KERNEL:
        return [torch.bfloat16 if spec.is_projected else dtypes[1], dtypes[1]]
    return dtypes


def _widened(spec: Spec, given: Given) -> Given:
    """All that is given in float32; of a pass that may be differentiated as torch minds changes.

    What a backward pass of torch's reads again, in bfloat16, must not have been changed in place
    until then. Under autocast torch reads copies, and so do we.
    """
    tensors = given.tensors()
    is_graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if not is_graph or torch.compiler.is_compiling() or eligibility.is_transformed():
        found = [tensor.float() for tensor in tensors]
    elif is_autocast():
        states = range(1, 1 + len(given.initial or ()))
        found = [
            tensor.float() if i in states else tensor.to(torch.float32, copy=True)
            for i, tensor in enumerate(tensors)
        ]
    else:
        found = [
            _minded(tensor) if is_read else tensor.float()
            for tensor, is_read in zip(tensors, _read_again(spec, given), strict=True)
        ]
    constants = 1 + len(given.initial or ())
    flat = constants + len(given.constants)
    return Given(
        given.sequences.with_data(found[0]),
        given.rows,
        None if given.initial is None else tuple(found[1:constants]),
        found[constants:flat],
        found[flat:],
        given.dropout,
    )


def _read_again(spec: Spec, given: Given) -> tuple[bool, ...]:
    data, sizes, _ = given.sequences
    wanted = tuple([tensor.requires_grad for tensor in given.tensors()])
    is_long = len(data if sizes is None else sizes) > 1
    return reads_back(spec, len(given.initial or ()), wanted, is_long=is_long)


class _Minded(torch.autograd.Function):
    """A copy in float32, whose backward pass refuses to run if the tensor was changed meanwhile."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.save_for_backward(tensor)
        return tensor.float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (tensor,) = ctx.saved_tensors  # torch compares their versions
        return gradient.to(tensor.dtype)


def _minded(tensor: Tensor) -> Tensor:
    # torch has no types for it.
    return _Minded.apply(tensor)  # type: ignore[no-untyped-call, no-any-return]


def narrowed(spec: Spec) -> Spec:
    """The same pass with rounded products."""
    return _constant_of(spec.text) if torch.compiler.is_compiling() else _of(spec)


@lru_cache(maxsize=1024)
def _of(spec: Spec) -> Spec:
    return replace(spec, numbers="bfloat16")


# Of its text, which Dynamo can hand over.
@constant
def _constant_of(text: str) -> Spec:
    return _of(read(text))

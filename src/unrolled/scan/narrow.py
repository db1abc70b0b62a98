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

import torch
from torch import Tensor

from unrolled.scan.compiling import constant
from unrolled.scan.spec import Given, Spec, State

Run = Callable[[Spec, Given], tuple[Tensor, State]]

ROUNDS_RESULTS = ("LSTM", "RNN_TANH", "RNN_RELU")
"""The kernels of torch's whose results are bfloat16 under autocast whatever they were given. Those
of the GRU, and a cell's that is written down, are of the dtype that the state has."""


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
    dtype = _dtype(spec, given)
    widened = _widened(given)
    with without_autocast():
        output, last = run(narrowed(spec), widened)
        return output.to(dtype), tuple([state.to(dtype) for state in last])


def _dtype(spec: Spec, given: Given) -> torch.dtype:
    """That of the results."""
    if spec.kernel in ROUNDS_RESULTS:
        return torch.bfloat16
    return given.sequences.data.dtype if given.initial is None else given.initial[0].dtype


def _widened(given: Given) -> Given:
    return replace(
        given,
        sequences=given.sequences.with_data(given.sequences.data.float()),
        initial=given.initial and tuple([state.float() for state in given.initial]),
        constants=[constant.float() for constant in given.constants],
        flat=[weight.float() for weight in given.flat],
    )


def narrowed(spec: Spec) -> Spec:
    """The same pass with rounded products."""
    return _constant_of(spec) if torch.compiler.is_compiling() else _of(spec)


@lru_cache(maxsize=1024)
def _of(spec: Spec) -> Spec:
    return replace(spec, rounds=True)


@constant
def _constant_of(spec: Spec) -> Spec:
    return _of(spec)

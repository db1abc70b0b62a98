"""What the compiled core can run: which tensors, and under what of torch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from unrolled.scan.compiling import constant
from unrolled.scan.native import is_built

PLAIN = (Tensor, Parameter)
"""The types whose numbers lie in memory; a subclass may compute them."""


def obstacle(data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why the core can't run a pass over these tensors, or None where it can."""
    if not is_built():
        return "the package was built without a compiler"
    if is_transformed():
        return "a transform of torch.func is active"
    if torch.compiler.is_compiling():
        return _other_kind(data, others)
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch._C._len_torch_dispatch_stack() > 0:
        return "a torch dispatch mode is active"
    return not_in_memory(data, others)


@constant
def is_transformed() -> bool:
    """Whether a transform of torch.func is active; compiled code is for the one it was made in."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def not_in_memory(data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why these are not all numbers of one kind that lie in this machine's memory."""
    if other := _other_kind(data, others):
        return other
    strided, plain = torch.strided, PLAIN
    for tensor in (data, *others):
        if type(tensor) not in plain or tensor.layout is not strided:
            return f"a tensor is a {type(tensor).__name__} with layout {tensor.layout}"
        if tensor.is_neg():
            return "a tensor is negated when it is read, and not in memory"
    return None


def _other_kind(data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why these are not all of one kind that the core computes in."""
    dtype = data.dtype
    if dtype not in (torch.float32, torch.float64):
        return f"the core computes in float32 and float64, not {dtype}"
    for tensor in others:
        if tensor.dtype is not dtype or not tensor.is_cpu:
            return "input, states and weights differ in dtype or device"
    return None


def check_kind(data: Tensor, others: Sequence[Tensor]) -> None:
    """Whether a backward pass still finds what the forward pass found.

    Raises:
        RuntimeError: a tensor has another dtype or is elsewhere.
    """
    if _other_kind(data, others):
        raise RuntimeError(
            "a weight, a state or the input has another dtype or device than in the forward pass. "
            "Was the module or its data converted before the backward pass?"
        )


def are_plain(gradients: Sequence[Tensor | None]) -> bool:
    """Whether the core can run a backward pass with these gradients, None for zero.

    It can't where they stand for many, as under vmap, carry tangents, or are no plain tensors.
    """
    if forward_ad._current_level >= 0 or is_transformed():
        return False
    return all(
        g is None or (type(g) in PLAIN and g.layout is torch.strided and has_memory(g))
        for g in gradients
    )


def has_memory(tensor: Tensor) -> bool:
    """Whether the tensor is numbers in memory, and not a stand-in for many."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True

"""A model whose recurrent layers have weights in 8 bits."""

from __future__ import annotations

import copy
import warnings
from typing import TypeVar, overload

import torch

from unrolled.deploy.convert import checked
from unrolled.nn.exchange import TORCHS, ours_for
from unrolled.nn.quantized import Quantized
from unrolled.nn.recurrent import GRU, LSTM, RNN

M = TypeVar("M", bound=torch.nn.Module)

QUANTIZED = (RNN, LSTM, GRU)
"""What is; also torch's own."""


@overload
def quantize(model: torch.nn.RNNBase) -> Quantized: ...
@overload
def quantize(model: M) -> M: ...
def quantize(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model for inference, in which each RNN, LSTM and GRU is :class:`Quantized`.

    Their products are of whole numbers in 8 bits. A quarter of the memory holds their weights, and
    with AVX512-VNNI they run faster; docs/int8.md says how much, and what it costs in accuracy.
    Compare the copy's results with the model's on inputs of your own before you deploy it.

    Args:
        model: any module, which may be a recurrent one itself: torch's or this package's. It stays
            as it is. Other modules, such as linear layers, are copied.

    Returns:
        The copy, in evaluation mode. If the model is a recurrent module, a :class:`Quantized`.

    Raises:
        TypeError: the model is no torch.nn.Module.
        ValueError: there is no such module in it, or none that can be quantized.

    Warns:
        UserWarning: a recurrent module is left as it is, and why: it is a subclass with methods of
            its own, or its numbers are not float32.
    """
    found = copy.deepcopy(checked(model)).eval()
    recurrent = {path: m for path, m in found.named_modules() if isinstance(m, torch.nn.RNNBase)}
    reasons = {path or "the model": _obstacle(module) for path, module in recurrent.items()}
    left = "; ".join(f"{path}: {reason}" for path, reason in reasons.items() if reason)
    if all(reasons.values()):
        raise ValueError(
            f"nothing here can be quantized: {left or 'there is no RNN, LSTM or GRU in the model'}"
        )
    if left:
        warnings.warn(f"left as they are: {left}", stacklevel=2)
    made = {module: _quantized(module) for module in recurrent.values() if not _obstacle(module)}
    if isinstance(found, torch.nn.RNNBase):
        return made[found]
    for parent in list(found.modules()):
        for name, child in parent._modules.items():  # named_children tells of each but once
            if isinstance(child, torch.nn.RNNBase) and child in made:
                setattr(parent, name, made[child])
    return found


def _quantized(module: torch.nn.RNNBase) -> Quantized:
    found = Quantized(module).eval()
    for hooks in ("_forward_pre_hooks", "_forward_hooks"):
        for options in ("", "_with_kwargs", "_always_called"):
            if hasattr(found, hooks + options):
                getattr(found, hooks + options).update(getattr(module, hooks + options))
    return found


def _obstacle(module: torch.nn.RNNBase) -> str | None:
    """Why the module can't be quantized, or None where it can."""
    ours = type(module) if isinstance(module, QUANTIZED) else ours_for(module)
    if isinstance(ours, str):
        return ours
    bare = ours.__bases__[0] if torch.nn.utils.parametrize.is_parametrized(module) else ours
    if bare not in TORCHS.values():
        return f"its class {type(module).__name__} extends another"
    dtypes = {getattr(module, name).dtype for name in module._flat_weights_names}
    if dtypes != {torch.float32}:
        return f"its weights are {', '.join(sorted(map(str, dtypes)))}, and float32 was expected"
    return None

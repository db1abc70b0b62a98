"""A model whose recurrent layers have weights in 8 bits."""

from __future__ import annotations

import copy
import warnings
from typing import TypeVar, overload

import torch
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from unrolled.deploy.convert import checked
from unrolled.nn.exchange import TORCHS, ours_for
from unrolled.nn.quantized import Quantized
from unrolled.nn.recurrent import GRU, LSTM, RNN

STANDARD = ("training", "recompute_every")
"""Other attributes of a recurrent module."""

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
        The copy, in evaluation mode, of which no parameter requires a gradient. If the model is a
        recurrent module, a :class:`Quantized`.

    Raises:
        TypeError: the model is no torch.nn.Module.
        ValueError: there is no such module in it, or none that can be quantized.

    Warns:
        UserWarning: a recurrent module is left as it is, and why: it is of a subclass, has
            parameters or submodules of its own, or its numbers are not float32.
    """
    for module in checked(model).modules():
        _compute(module)
    found = copy.deepcopy(model).eval()
    recurrent = {path: m for path, m in found.named_modules() if isinstance(m, torch.nn.RNNBase)}
    reasons = {path: _obstacle(module) for path, module in recurrent.items()}
    said = [f"{path or 'the model'}: {reason}" for path, reason in reasons.items() if reason]
    left = "; ".join(said)
    if all(reasons.values()):
        raise ValueError(
            f"nothing here can be quantized: {left or 'there is no RNN, LSTM or GRU in the model'}"
        )
    if left:
        warnings.warn(f"left as they are: {left}", stacklevel=2)
    found.requires_grad_(False)
    made = {m: _quantized(m) for path, m in recurrent.items() if not reasons[path]}
    if isinstance(found, torch.nn.RNNBase):
        return made[found]
    for parent in list(found.modules()):
        for name, child in parent._modules.items():  # named_children tells of each but once
            if isinstance(child, torch.nn.RNNBase) and child in made:
                setattr(parent, name, made[child])
    return found


COMPUTES = (WeightNorm, SpectralNorm, BasePruningMethod)
"""Hooks that make a weight of others before each call."""


def _compute(module: torch.nn.Module) -> None:
    """Makes such weights anew, as the next call would; torch copies none that lead to others."""
    training = module.training
    module.training = False  # else spectral_norm would go on with its iteration
    with torch.no_grad():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, COMPUTES):
                hook(module, ())
        if isinstance(module, torch.nn.RNNBase):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    module.training = training


def _quantized(module: torch.nn.RNNBase) -> Quantized:
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, COMPUTES):
            del module._forward_pre_hooks[key]
    found = Quantized(module).eval()
    for name, value in vars(module).items():
        if not (name.startswith("_") or name in STANDARD or hasattr(found, name)):
            setattr(found, name, value)
    for hooks in ("_forward_pre_hooks", "_forward_hooks"):
        for options in ("", "_with_kwargs", "_always_called"):
            if hasattr(found, hooks + options):
                getattr(found, hooks + options).update(getattr(module, hooks + options))
    return found


def _computed(module: torch.nn.RNNBase) -> set[str]:
    """What the weights are computed from, by the names that torch.nn.utils gives it."""
    endings = "_orig", "_mask", "_g", "_v", "_u"
    return {name + ending for name in module._flat_weights_names for ending in endings}


def _obstacle(module: torch.nn.RNNBase) -> str | None:
    """Why the module can't be quantized, or None where it can."""
    ours = type(module) if isinstance(module, QUANTIZED) else ours_for(module)
    if isinstance(ours, str):
        return ours
    bare = ours.__bases__[0] if torch.nn.utils.parametrize.is_parametrized(module) else ours
    if bare not in TORCHS.values():
        return f"its class {type(module).__name__} extends another"
    names, computed = set(module._flat_weights_names), _computed(module)
    own = [n for n, _ in module.named_parameters() if n not in names | computed]
    own += [n for n, _ in module.named_buffers() if n not in computed]
    own += [n for n, _ in module.named_children() if n != "parametrizations"]
    if own := [n for n in own if not n.startswith("parametrizations.")]:
        return f"it has more than its weights: {', '.join(own)}"
    dtypes = {getattr(module, name).dtype for name in module._flat_weights_names}
    if dtypes != {torch.float32}:
        return f"its weights are {', '.join(sorted(map(str, dtypes)))}, and float32 was expected"
    return None

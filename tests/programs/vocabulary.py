"""The words of programs beside torch's own; each does the same with both packages.

Where ours can do what torch's modules can't, the word does the same by hand with theirs.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import register_multi_grad_hook, save_on_cpu, saved_tensors_hooks
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

__all__ = [
    "F",
    "Noisy",
    "Squashed",
    "Stopped",
    "backwards_hook",
    "by_sample",
    "checkpoint",
    "copy",
    "dot",
    "doubled",
    "dual",
    "expanded",
    "fast_weights",
    "first",
    "fit",
    "forward_ad",
    "forward_by_backward",
    "from_bytes",
    "functional_call",
    "grad",
    "nested",
    "noise",
    "offset",
    "pack_padded_sequence",
    "pad_packed_sequence",
    "recompute_every",
    "register_multi_grad_hook",
    "register_parametrization",
    "renewed",
    "replaced",
    "save_on_cpu",
    "saved_tensors_hooks",
    "scaled",
    "spectral_norm",
    "squared",
    "strided",
    "to_bytes",
    "torch",
    "total",
    "transposed",
    "watched",
    "weight_norm",
    "with_lengths",
]


def is_ours(module: torch.nn.Module) -> bool:
    return any(cls.__module__.startswith("unrolled") for cls in type(module).__mro__)


# --- Tensors: the same numbers in another layout, or other numbers that depend on them.


def fit(tensor: Tensor, *shape: int) -> Tensor:
    """Its numbers, over and over, in this shape: so that anything can be read by anything."""
    count = math.prod(shape)
    return tensor.reshape(-1).repeat(-(-count // tensor.numel()))[:count].reshape(shape)


def noise(tensor: Tensor) -> Tensor:
    """Random numbers of its shape, the same whatever its layout, which randn_like's are not."""
    return torch.randn(tensor.shape, dtype=tensor.dtype)


def strided(tensor: Tensor) -> Tensor:
    """With another number between each two."""
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def transposed(tensor: Tensor) -> Tensor:
    """With the first dimension the innermost one."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() > 1 else tensor


def offset(tensor: Tensor) -> Tensor:
    """One number after the beginning of its memory."""
    return torch.cat([tensor.reshape(-1)[:1], tensor.reshape(-1)])[1:].view(tensor.shape)


def expanded(tensor: Tensor) -> Tensor:
    """Its first entry everywhere, once in memory."""
    return tensor[:1].expand_as(tensor)


def nested(value: Any) -> Iterator[Tensor]:
    """All floating-point tensors in a value."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        yield from nested(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from nested(item)


def first(result: Any) -> Tensor:
    """A call's output, or a cell's new hidden state."""
    return next(nested(result))


def total(result: Any) -> Tensor:
    """A number that depends on every tensor of a call's result, and on each in its own way."""
    return sum(
        ((tensor + 0.1 * index).square().sum() for index, tensor in enumerate(nested(result))),
        start=torch.zeros(()),
    )


# --- Modules.


def recompute_every(module: torch.nn.Module, steps: int) -> None:
    """What only ours has, and what must not change the numbers."""
    if is_ours(module):
        module.recompute_every = steps  # type: ignore[assignment]


def with_lengths(module: torch.nn.RNNBase, x: Tensor, hx: Any, lengths: list[int]) -> Any:
    """Our ``lengths``; for torch's module the three calls that it replaces."""
    if is_ours(module):
        return module(x, hx, lengths=lengths)
    packed = pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted=False)
    output, last = module(packed, hx)
    steps = x.shape[1 if module.batch_first else 0]
    output, _ = pad_packed_sequence(output, module.batch_first, total_length=steps)
    return output, last


def scaled(module: torch.nn.Module, factor: float) -> dict[str, Tensor]:
    """Other weights, which depend on the module's own."""
    return {name: weight * factor for name, weight in module.named_parameters()}


def fast_weights(module: torch.nn.Module, gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """The weights after a step down their gradients, as a function of both."""
    wanted = [(name, w) for name, w in module.named_parameters() if w.requires_grad]
    pairs = zip(wanted, gradients, strict=True)
    return {name: w if g is None else w - 0.1 * g for (name, w), g in pairs}


class Squashed(torch.nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return 0.5 * torch.tanh(weight)


class Noisy(torch.nn.Module):
    """A parametrization that is another whenever it is evaluated."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + 0.1 * noise(weight)


class Stopped(torch.autograd.Function):
    """A value as it is, which gives no gradient back, not even zeros."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(*_: Any) -> Any:
        return None


# --- Hooks.


def renewed(tensor: Tensor) -> Tensor:
    """The tensor, knowing its node: torch dies of a hook on a view that was changed elsewhere."""
    _ = tensor.grad_fn
    return tensor


def replaced(gradient: Tensor) -> Tensor:
    """Ones in its place."""
    return torch.ones_like(gradient).expand_as(gradient)


def watched(tensor: Tensor) -> list[Tensor]:
    """The gradients that arrive at a tensor, as they come."""
    seen: list[Tensor] = []
    renewed(tensor).register_hook(lambda gradient: seen.append(gradient.detach().clone()))
    return seen


def doubled(value: Any) -> Any:
    """Every floating-point tensor in a value twice as large."""
    if isinstance(value, Tensor):
        return 2 * value if value.is_floating_point() else value
    if isinstance(value, PackedSequence):
        return value._replace(data=2 * value.data)
    if isinstance(value, list | tuple):
        return type(value)(doubled(item) for item in value)
    return value


def backwards_hook(seen: list[Any], factor: float) -> Callable[[Any, Any, Any], Any]:
    """A full backward hook that notes what it sees and scales the inputs' gradients."""

    def hook(_: Any, into: Any, out: Any) -> Any:
        seen.append([None if g is None else g.detach().clone() for g in (*into, *out)])
        return tuple(None if g is None else factor * g for g in into)

    return hook


def to_bytes(tensor: Tensor) -> bytes:
    kept = io.BytesIO()
    torch.save(tensor.detach(), kept)
    return kept.getvalue()


def from_bytes(kept: bytes) -> Tensor:
    return torch.load(io.BytesIO(kept))


# --- Derivatives.


def grad(outputs: Any, inputs: Any, **options: Any) -> tuple[Tensor | None, ...]:
    """``torch.autograd.grad``, by default of what may not be used and with a graph to go on."""
    inputs = [x for x in nested(inputs) if x.requires_grad]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        outputs, inputs, **{"allow_unused": True, **options}
    )
    return found


def squared(gradients: Any) -> Tensor:
    """The sum of the squares of all gradients that there are."""
    return sum((g.square().sum() for g in nested(gradients)), start=torch.zeros(()))


def dot(gradients: Any, seed: int = 0) -> Tensor:
    """Their product with random numbers, as for a product with the Hessian."""
    draw = torch.Generator().manual_seed(seed)
    return sum(
        (
            (g * torch.randn(g.shape, generator=draw, dtype=g.dtype)).sum()
            for g in nested(gradients)
        ),
        start=torch.zeros(()),
    )


def forward_by_backward(output: Tensor, inputs: Any) -> Any:
    """The derivative along ones, as the gradient of the gradient by what it was multiplied with."""
    given = torch.zeros_like(output, requires_grad=True)
    gradients = [*nested(grad(output, inputs, grad_outputs=given, create_graph=True))]
    return grad(gradients, given, grad_outputs=[*map(torch.ones_like, gradients)])


def by_sample(function: Callable[[Tensor], Any], samples: Tensor, module: torch.nn.Module) -> Any:
    """``torch.vmap``, which torch's modules refuse: for theirs a loop."""
    if is_ours(module):
        return tuple(nested(torch.vmap(function)(samples)))
    results = [list(nested(function(sample))) for sample in samples]
    return tuple(torch.stack(column) for column in zip(*results, strict=True))


def dual(function: Callable[[Tensor], Any], x: Tensor, tangent: Tensor) -> list[Tensor | None]:
    """The values and the derivatives along a tangent, by forward-mode differentiation."""
    with forward_ad.dual_level():
        both = forward_ad.make_dual(x.detach(), tangent)
        unpack: Any = forward_ad.unpack_dual
        return [part for result in nested(function(both)) for part in unpack(result)]

"""Ours and torch's module on the same weights and input, and whether they say the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled.nn
from shapes import Shape


@dataclass
class Contender:
    """One module and the call that is measured."""

    module: nn.Module
    input: Tensor
    call: Callable[[nn.Module, Tensor], Any]

    def forward(self) -> list[Tensor]:
        with torch.inference_mode():
            return tensors(self.call(self.module, self.input))

    def step(self) -> list[Tensor]:
        outputs = tensors(self.call(self.module, self.input))
        gradients = torch.autograd.grad(outputs[0].sum(), [*self.module.parameters()])
        return [*outputs, *gradients]


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, in order."""
    return [value] if isinstance(value, Tensor) else [t for item in value for t in tensors(item)]


def contenders(shape: Shape) -> tuple[Contender, Contender]:
    """Ours and torch's, with the same weights, input and lengths."""
    options = {**shape.options, "dtype": shape.dtype}
    theirs = getattr(nn, shape.module)(shape.inputs, shape.hidden, **options)
    ours = getattr(unrolled.nn, shape.module)(shape.inputs, shape.hidden, **options)
    ours.load_state_dict(theirs.state_dict())
    sizes = (shape.steps, shape.batch) if shape.steps else (shape.batch,)
    x = torch.randn(*sizes, shape.inputs, dtype=shape.dtype)
    if shape.least == 1:
        return Contender(ours, x, nn.Module.__call__), Contender(theirs, x, nn.Module.__call__)
    lengths = shape.lengths()

    def by_lengths(module: nn.Module, x: Tensor) -> Any:
        return module(x, lengths=lengths)

    def by_packing(module: nn.Module, x: Tensor) -> Any:
        output, last = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=shape.steps)[0], last

    return Contender(ours, x, by_lengths), Contender(theirs, x, by_packing)


def insist_on_agreement(shape: Shape, ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Ends the script where a tensor differs, as a share of its largest entry, by too much."""
    allowed = 1e-4 if shape.dtype == torch.float32 else 1e-10
    worst = max(
        ((our - their).abs().max() / their.abs().max().clamp(min=1)).item()
        for our, their in zip(ours, theirs, strict=True)
    )
    if not worst <= allowed:
        sys.exit(f"{shape.module} {shape}: the two differ by {worst:.1e}, over {allowed}")

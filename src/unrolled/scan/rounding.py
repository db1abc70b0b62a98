"""Products of numbers rounded to bfloat16, in plain torch.

With r rounding to bfloat16 (to the nearest, and of two equally near to the even one), a product is
r(W)·r(x) with the sum in float32. On the way back the derivative by the product is rounded before
it is multiplied: the gradients are r(W)ᵀ·r(d) of x and r(d)·r(x)ᵀ of W, sums in float32 again, and
no gradient is rounded for having come through r. Nothing else of a pass is rounded: no bias or its
gradient, no state, no gate, no gradient that is handed on from step to step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def rounded(x: Tensor) -> Tensor:
    """The nearest number in bfloat16, as float32."""
    # torch has no types for it, here and below.
    return _There.apply(x)  # type: ignore[no-untyped-call, no-any-return]


def linear(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """``torch.nn.functional.linear`` with products of rounded numbers."""
    product: Tensor = _Back.apply(functional.linear(rounded(x), rounded(matrix)))  # type: ignore[no-untyped-call]
    return product if bias is None else product + bias


class _There(torch.autograd.Function):
    """Rounds a number, and hands its gradient on as it is."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.to(torch.bfloat16).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - torch hands it
        return gradient

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # noqa: ARG004 - torch hands it
        return tangent.clone()


class _Back(torch.autograd.Function):
    """Hands a number on as it is, and rounds its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - torch hands it
        return rounded(gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # noqa: ARG004 - torch hands it
        return tangent.view_as(tangent)

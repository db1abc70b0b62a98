"""Products of whole numbers in 8 bits, in plain torch.

Of numbers x the scale is s = max |x| / 127, and q = round(x / s), to the nearest and of two equally
near to the even one, lies between −127 and 127. A matrix has a scale for each of its rows, and what
it multiplies one for each row of the batch, at each step anew. A product is the sum of q·q, which
is exact, times both scales. Nothing else of a pass is in 8 bits: no bias, no state, no gate.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 127
"""The largest of the whole numbers."""

NOTHING = 1e-30
"""Where no number is as far from 0 as this, all count as 0."""


def quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """The whole numbers, in the dtype of ``x`` [..., n], and their scales [..., 1].

    A row with an infinity or NaN is NaN.
    """
    most = x.detach().abs().amax(-1, keepdim=True) if x.shape[-1] else x.new_zeros(*x.shape[:-1], 1)
    scale = torch.where(most < NOTHING, 0.0, most / MOST)
    # A number divided by a tensor is for torch the number times the reciprocal: rounded twice.
    inverse = torch.where(most < NOTHING, 0.0, torch.full_like(most, MOST) / most)
    return (x * inverse).round(), scale


def linear(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """``torch.nn.functional.linear`` with products in 8 bits."""
    (rows, of_rows), (columns, of_columns) = quantized(x), quantized(matrix)
    exact = (rows.double() @ columns.double().mT).to(x.dtype)
    product = exact * (of_rows * of_columns.mT)
    return product if bias is None else product + bias

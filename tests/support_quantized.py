"""What the tests of quantized modules share."""

from __future__ import annotations

from typing import Any

import torch

import unrolled
from unrolled.nn.quantized import Quantized


def quantized(kind: str, *sizes: int, **options: Any) -> Quantized:
    torch.manual_seed(sum(sizes))
    return unrolled.quantize(getattr(unrolled, kind)(*sizes, **options))

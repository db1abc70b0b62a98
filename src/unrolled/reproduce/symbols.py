"""Today's networks on sequences of very many symbols: an embedding reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.model import Network
from unrolled.tasks import Batch
from unrolled.tasks.lag import VeryLongLag


@dataclass(frozen=True)
class SymbolLag(VeryLongLag):
    """The very long lag, read as symbols [n, T], int64, instead of one-hot vectors.

    A thousand symbols by a thousand steps by 32 sequences would be 128 MB.
    """

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        whole = torch.from_numpy(self._whole(n, rng))
        lengths = (whole >= 0).sum(1) - 1
        mask = torch.arange(whole.shape[1] - 1) == lengths[:, None] - 1
        target = torch.where(mask, whole[:, 1:2] - (self.inputs - 2), 0)
        return Batch(whole[:, :-1].clamp(min=0), target, lengths, mask)


class Embedded(torch.nn.Module):
    """An embedding of symbols below a network."""

    def __init__(self, symbols: int, network: Network) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(symbols, network.config.input_size)
        self.network = network

    def forward(self, input: Tensor, hx: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """Symbols [B, T] to outputs [B, T, O] and the last state, as :class:`Network`."""
        output, last = self.network(self.embedding(input), hx, lengths)
        return output, last

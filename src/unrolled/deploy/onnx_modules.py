"""What the standard's nodes can do and torch.nn's modules can't, as modules in plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from unrolled.nn.checks import Lengths, checked_lengths


class Reversed(nn.Module):
    """A recurrent module that reads every row from its end: ONNX's direction ``reverse``.

    It is called as ``module`` is, a batch with its states and lengths; output t is again that of
    step t, and ``h_n`` the state after step 0.

    Args:
        module: an :class:`~unrolled.RNN`, :class:`~unrolled.LSTM`, :class:`~unrolled.GRU` or
            :class:`ResetFirstGRU` in one direction.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input: Tensor, hx: Any = None, lengths: Lengths | None = None) -> Any:
        """As the module's own."""
        batch_first = bool(self.module.batch_first)
        ends = _ends(input, lengths, batch_first)
        output, last = self.module(_turned(input, ends, batch_first), hx, ends)
        return _turned(output, ends, batch_first), last


class ResetFirstGRU(nn.Module):
    """A GRU whose reset gate stands before the product: ONNX's ``linear_before_reset=0``.

    It differs from :class:`~unrolled.GRU` in the candidate alone::

        n_t = tanh(W_in·x_t + b_in + W_hn·(r_t ⊙ h_{t−1}) + b_hn)

    which is how Cho et al. 2014, arXiv 1406.1078, have it. No choice of weights makes the one the
    other. The weights have the names and shapes of torch's; it runs step by step in plain torch.

    Args:
        input_size: I.
        hidden_size: H.
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are [B, T, ·] instead of [T, B, ·].
        bidirectional: whether it also reads from the end.

    Call:
        ``output, h_n = gru(input, hx=None, lengths=None)`` as :class:`~unrolled.GRU`, on a batch.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        like = nn.GRU(input_size, hidden_size, bias=bias, bidirectional=bidirectional)
        for name, weight in like.named_parameters():
            self.register_parameter(name, nn.Parameter(weight.detach().clone()))

    def forward(
        self, input: Tensor, hx: Tensor | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs every direction; see the class."""
        ends = _ends(input, lengths, self.batch_first)
        rows = input.transpose(0, 1) if self.batch_first else input
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        if hx is None:
            hx = rows.new_zeros(len(suffixes), rows.shape[1], self.hidden_size)
        outputs, last = [], []
        for suffix, h in zip(suffixes, hx, strict=True):
            read = _turned(rows, ends, False) if suffix else rows
            output, h = self._run(read, h, ends, suffix)
            outputs.append(_turned(output, ends, False) if suffix else output)
            last.append(h)
        joined = torch.cat(outputs, dim=-1)
        return joined.transpose(0, 1) if self.batch_first else joined, torch.stack(last)

    def _run(self, rows: Tensor, h: Tensor, ends: Tensor, suffix: str) -> tuple[Tensor, Tensor]:
        w_ih, w_hh = (getattr(self, f"weight_{kind}_l0{suffix}") for kind in ("ih", "hh"))
        b_ih, b_hh = (getattr(self, f"bias_{kind}_l0{suffix}", None) for kind in ("ih", "hh"))
        gates = 2 * self.hidden_size
        outputs = []
        for t, x in enumerate(linear(rows, w_ih, b_ih)):
            both = linear(h, w_hh[:gates], None if b_hh is None else b_hh[:gates])
            r, z = torch.sigmoid(x[:, :gates] + both).chunk(2, dim=-1)
            of_state = linear(r * h, w_hh[gates:], None if b_hh is None else b_hh[gates:])
            n = torch.tanh(x[:, gates:] + of_state)
            is_real = (t < ends).unsqueeze(1)
            h = torch.where(is_real, (1 - z) * n + z * h, h)
            outputs.append(torch.where(is_real, h, 0.0))
        return torch.stack(outputs), h


def _ends(input: Tensor, lengths: Lengths | None, batch_first: bool) -> Tensor:
    """Each row's number of steps [B]."""
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    if lengths is None:
        return torch.full((batch,), steps, device=input.device)
    return checked_lengths(lengths, batch=batch, steps=steps).to(input.device)


def _turned(rows: Tensor, ends: Tensor, batch_first: bool) -> Tensor:
    """Every row's real steps in reverse order; padding stays where it is."""
    rows = rows.transpose(0, 1) if batch_first else rows
    steps = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1)
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    turned = rows.gather(0, places.unsqueeze(-1).expand_as(rows))
    return turned.transpose(0, 1) if batch_first else turned

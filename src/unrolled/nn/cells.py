"""RNNCell, LSTMCell and GRUCell: torch.nn's cells on this package's recurrent step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled import scan
from unrolled.cells import elman, gru, lstm
from unrolled.nn.checks import (
    NOT_A_TENSOR,
    STATES,
    is_traced,
    is_well_formed_cell,
    meets,
    no_tensor,
)
from unrolled.nn.tools import ForTools
from unrolled.scan import State, of_kernel

BY_NONLINEARITY: dict[str, str] = {cell.nonlinearity: m for m, cell in elman.KERNELS.items()}
(LSTM_MODE,), (GRU_MODE,) = lstm.KERNELS, gru.KERNELS


class _RecurrentCell(ForTools, torch.nn.RNNCellBase):
    """What the three cells share; construction, weights and ``repr`` are torch's own."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        states = 0 if is_traced() else STATES.get(self._mode(), 0)
        weights: list[Tensor] = []
        if states and is_well_formed_cell(self, input, hx, states):
            # Each once: a parametrization computes one whenever it is read.
            names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))
            weights = [getattr(self, name) for name in names]
        if not weights or not meets(input, weights[0]):
            try:
                return super().forward(input, hx)  # raises torch's own error
            except NOT_A_TENSOR as error:
                if words := no_tensor(self, input, hx):
                    raise type(error)(words) from error
                raise
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            state: State = (zeros,) * states
        else:
            state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        spec = of_kernel(self._mode(), self.input_size, self.hidden_size, bias=self.bias)
        if input.dim() == 1:
            rows = tuple(s.unsqueeze(0) for s in state)
            last = scan.run_cell(spec, input.unsqueeze(0), rows, weights)
            last = tuple(s.squeeze(0) for s in last)
        else:
            last = scan.run_cell(spec, input, state, weights)
        return last if len(last) > 1 else last[0]

    def _mode(self) -> str:
        """The cell in torch's words, its mode; empty where torch has an error for what is set."""
        raise NotImplementedError


class RNNCell(_RecurrentCell, torch.nn.RNNCell):
    """One step of an Elman network; the arguments, weights and errors of :class:`torch.nn.RNNCell`.

    ``h_1 = cell(input, hx=None)`` with ``input`` [B, I] or [I], and ``hx`` and ``h_1`` [B, H] or
    [H]; the equation is that of :class:`~unrolled.nn.RNN`.
    """

    def _mode(self) -> str:
        return BY_NONLINEARITY.get(self.nonlinearity, "")


class LSTMCell(_RecurrentCell, torch.nn.LSTMCell):
    """One step of an LSTM; the arguments, weights and errors of :class:`torch.nn.LSTMCell`.

    ``h_1, c_1 = cell(input, hx=None)`` with ``input`` [B, I] or [I], ``hx`` a pair of [B, H] or
    [H] like the result; the equations are those of :class:`~unrolled.nn.LSTM`.
    """

    def _mode(self) -> str:
        return LSTM_MODE


class GRUCell(_RecurrentCell, torch.nn.GRUCell):
    """One step of a GRU; the arguments, weights and errors of :class:`torch.nn.GRUCell`.

    ``h_1 = cell(input, hx=None)`` with ``input`` [B, I] or [I], and ``hx`` and ``h_1`` [B, H] or
    [H]; the equations are those of :class:`~unrolled.nn.GRU`.
    """

    def _mode(self) -> str:
        return GRU_MODE

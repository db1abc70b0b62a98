"""RNNCell, LSTMCell and GRUCell: torch.nn's cells on this package's recurrent step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled import scan
from unrolled.cells import elman, gru, lstm
from unrolled.nn.checks import NOT_A_TENSOR, is_traced, is_well_formed_cell, meets, no_tensor
from unrolled.nn.tools import ForTools
from unrolled.scan import CELLS, State, Weights

BY_NONLINEARITY: dict[str, str] = {cell.nonlinearity: m for m, cell in elman.KERNELS.items()}
(LSTM_MODE,), (GRU_MODE,) = lstm.KERNELS, gru.KERNELS


class _RecurrentCell(ForTools, torch.nn.RNNCellBase):
    """What the three cells share; construction, weights and ``repr`` are torch's own."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        cell = None if is_traced() else CELLS.get(self._mode())
        weights = None
        if cell is not None and is_well_formed_cell(self, input, hx, len(cell.states)):
            # Each once: a parametrization computes one whenever it is read.
            weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if cell is None or weights is None or not meets(input, weights.ih):
            try:
                return super().forward(input, hx)  # raises torch's own error
            except NOT_A_TENSOR as error:
                if words := no_tensor(self, input, hx):
                    raise type(error)(words) from error
                raise
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            state: State = (zeros,) * len(cell.states)
        else:
            state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if input.dim() == 1:
            rows = tuple(s.unsqueeze(0) for s in state)
            last = scan.run_cell(cell, input.unsqueeze(0), rows, weights)
            last = tuple(s.squeeze(0) for s in last)
        else:
            last = scan.run_cell(cell, input, state, weights)
        return last if len(last) > 1 else last[0]

    def _mode(self) -> str:
        """The cell's name in :data:`CELLS`; empty where torch has an error for what is set."""
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

"""RNN, LSTM and GRU: torch.nn's modules on this package's recurrent pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled import scan
from unrolled.nn.checks import (
    Lengths,
    checked_lengths,
    is_traced,
    is_well_formed,
    refuse_what_crashes_torch,
)
from unrolled.scan import CELLS, Sequences, Spec, State


class _Recurrent(torch.nn.RNNBase):
    """What the three modules share; construction, weights and ``repr`` are torch's own."""

    def forward(self, input: Any, hx: Any = None, lengths: Lengths | None = None) -> Any:
        if lengths is not None and isinstance(input, PackedSequence):
            raise ValueError(
                "lengths was given with a PackedSequence, which carries its own lengths. "
                "Pass the padded tensor with lengths, or the PackedSequence alone"
            )
        if (is_traced() and lengths is None) or not is_well_formed(self, input, hx):
            refuse_what_crashes_torch(self, input, hx)
            result = super().forward(input, hx)  # raises torch's own error
            if lengths is not None:
                raise RuntimeError("lengths was given with an input that only torch.nn accepts")
            return result
        state = hx if hx is None or self.mode == "LSTM" else (hx,)
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, state)
        if input.dim() == 3:
            output, last = self._forward_padded(input, state, lengths)
        else:
            batch_dim = 0 if self.batch_first else 1
            state = state and tuple(s.unsqueeze(1) for s in state)
            output, last = self._forward_padded(input.unsqueeze(batch_dim), state, lengths)
            output, last = output.squeeze(batch_dim), tuple(s.squeeze(1) for s in last)
        return output, self._as_hx(last)

    def _forward_padded(
        self, input: Tensor, state: State | None, lengths: Lengths | None
    ) -> tuple[Tensor, State]:
        """``input`` [T, B, I] (or [B, T, I]); the output likewise, and the last states."""
        batch, steps = input.shape[:2] if self.batch_first else reversed(input.shape[:2])
        if state is None:
            state = self._zeros(input, batch)
        if lengths is None:
            output, last = self._run(scan.dense(input, batch_first=self.batch_first), state)
            return output.transpose(0, 1) if self.batch_first else output, last
        lengths = checked_lengths(lengths, batch=batch, steps=steps)
        rows = scan.ragged(input, lengths, batch_first=self.batch_first)
        output, last = self._run(rows.sequences, _reordered(state, rows.order))
        return rows.pad(output), _reordered(last, rows.inverse)

    def _forward_packed(self, input: PackedSequence, state: State | None) -> Any:
        if state is None:
            state = self._zeros(input.data, int(input.batch_sizes[0]))
        elif input.sorted_indices is not None:
            state = _reordered(state, input.sorted_indices)
        data, last = self._run(Sequences(input.data, input.batch_sizes), state)
        if input.unsorted_indices is not None:
            last = _reordered(last, input.unsorted_indices)
        return input._replace(data=data), self._as_hx(last)

    def _run(self, sequences: Sequences, state: State) -> tuple[Tensor, State]:
        spec = Spec(
            cell=CELLS[self.mode],
            num_layers=self.num_layers,
            bias=self.bias,
            bidirectional=self.bidirectional,
            projected=self.proj_size > 0,
            dropout=self.dropout if self.training else 0.0,
        )
        # By name, so that weights which are computed (parametrizations) or swapped
        # (torch.func.functional_call) are the ones that run.
        flat = [getattr(self, name) for name in self._flat_weights_names]
        return scan.run(spec, sequences, state, flat)

    def _zeros(self, like: Tensor, batch: int) -> State:
        depth = self.num_layers * (2 if self.bidirectional else 1)
        widths = {"hidden": self.proj_size or self.hidden_size, "cell": self.hidden_size}
        return tuple(like.new_zeros(depth, batch, widths[name]) for name in CELLS[self.mode].states)

    def _as_hx(self, state: State) -> Tensor | State:
        return state if self.mode == "LSTM" else state[0]


class RNN(_Recurrent, torch.nn.RNN):
    """An Elman network with tanh or relu; the arguments and weights of :class:`torch.nn.RNN`."""


class LSTM(_Recurrent, torch.nn.LSTM):
    """A long short-term memory; the arguments and weights of :class:`torch.nn.LSTM`."""


class GRU(_Recurrent, torch.nn.GRU):
    """A gated recurrent unit; the arguments and weights of :class:`torch.nn.GRU`."""


def _reordered(state: State, order: Tensor) -> State:
    return tuple(s.index_select(1, order) for s in state)

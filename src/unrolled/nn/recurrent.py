"""RNN, LSTM and GRU: torch.nn's modules on this package's recurrent pass."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.nn import calls
from unrolled.nn.checks import (
    NOT_A_TENSOR,
    STATES,
    Lengths,
    checked_recompute_every,
    is_traced,
    is_traced_to_torch,
    is_well_formed,
    meets,
    no_tensor,
    refuse_what_crashes_torch,
)
from unrolled.nn.tools import ForTools
from unrolled.scan import Spec, State, of_kernel

STEPS_OF_TORCHS_FORWARD = (
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
)
"""What torch's forward looks up on the module, and ours does not."""


def has_own(cls: type, name: str) -> bool:
    """Whether the class has another method of this name than torch.nn's."""
    found = next((base for base in cls.__mro__ if name in vars(base)), None)
    return found is not None and found.__module__ != torch.nn.RNNBase.__module__


class _Recurrent(ForTools, torch.nn.RNNBase):
    """What the three modules share; weights, their initial values and ``repr`` are torch's own."""

    recompute_every: int | None = None
    _has_own_steps: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._has_own_steps = any(has_own(cls, name) for name in STEPS_OF_TORCHS_FORWARD)

    def __init__(self, *args: Any, recompute_every: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recompute_every = checked_recompute_every(recompute_every)

    def extra_repr(self) -> str:
        more = "" if self.recompute_every is None else f", recompute_every={self.recompute_every}"
        return super().extra_repr() + more

    def forward(self, input: Any, hx: Any = None, lengths: Lengths | None = None) -> Any:
        is_ragged = lengths is not None or isinstance(input, PackedSequence)
        if is_ragged and torch.compiler.is_compiling():
            # How many steps there are is in the numbers, which a compiler does not see.
            run = torch.compiler.disable(self._forward)  # type: ignore[no-untyped-call]
            return run(input, hx, lengths)
        return self._forward(input, hx, lengths)

    def _forward(self, input: Any, hx: Any, lengths: Lengths | None) -> Any:
        if lengths is not None and isinstance(input, PackedSequence):
            raise ValueError(
                "lengths was given with a PackedSequence, which carries its own lengths. "
                "Pass the padded tensor with lengths, or the PackedSequence alone"
            )
        if lengths is not None and is_traced():
            return self._forward_traced(input, hx, lengths)
        flat: list[Tensor] = []
        is_torchs = self._has_own_steps or is_traced_to_torch(input)
        if not is_torchs and is_well_formed(self, input, hx):
            flat = self._weights()
        if not flat or not meets(input, flat[0]):
            refuse_what_crashes_torch(self, input, hx)
            try:
                result = super().forward(input, hx)  # raises torch's own error
            except NOT_A_TENSOR as error:
                if words := no_tensor(self, input, hx):
                    raise type(error)(words) from error
                raise
            if lengths is not None:
                raise RuntimeError(
                    "lengths was given where torch.nn's own forward runs, which does not take it: "
                    "to a class with a check or another step of its own, or with an input that "
                    "only torch.nn accepts"
                )
            return result
        state = hx if hx is None or self._has_several_states else (hx,)
        is_row = isinstance(input, Tensor) and input.dim() == 2
        batch_dim = 0 if self.batch_first else 1
        given = input.unsqueeze(batch_dim) if is_row else input
        if is_row:
            state = state and tuple(s.unsqueeze(1) for s in state)
        dropout = self.dropout if self.training else 0.0
        call = calls.Call(given, lengths, self.batch_first, state, (), flat, dropout)
        output, last = self._run_call(call)
        if is_row:
            output, last = output.squeeze(batch_dim), tuple(s.squeeze(1) for s in last)
        return output, last if self._has_several_states else last[0]

    def _run_call(self, call: calls.Call) -> tuple[Any, State]:
        return calls.run(self._spec(), call)

    def _forward_traced(self, input: Tensor, hx: Any, lengths: Lengths) -> Any:
        """By torch's own operators: a trace would keep our results as if they were constant."""
        lengths = torch.as_tensor(lengths)
        packed = pack_padded_sequence(input, lengths, self.batch_first, enforce_sorted=False)
        output, last = super().forward(packed, hx)
        steps = input.shape[1 if self.batch_first else 0]
        return pad_packed_sequence(output, self.batch_first, total_length=steps)[0], last

    def _weights(self) -> list[Tensor]:
        """The weights in torch's order: by name, since they may be swapped or computed.

        torch.func.functional_call swaps them. A parametrization computes them whenever they are
        read, and may be another each time (spectral_norm in training, noise). So they are read as
        often, and in the same order, as by torch's forward.
        """
        plain: Any = self._parameters
        try:
            return [plain[name] for name in self._flat_weights_names]  # __getattr__ is slow
        except KeyError:
            self._update_flat_weights()
            return self._flat_weights  # type: ignore[return-value]  # None stands for what is deleted

    def _spec(self) -> Spec:
        """What a call runs, as it would now."""
        return of_kernel(
            self.mode,
            self.input_size,
            self.hidden_size,
            self.proj_size,
            self.bias,
            self.num_layers,
            self.bidirectional,
            self.training,
            checked_recompute_every(self.recompute_every),
        )

    @property
    def _has_several_states(self) -> bool:
        """Torch hands one by itself, and several as a tuple."""
        return STATES[self.mode] > 1


class RNN(_Recurrent, torch.nn.RNN):
    """An Elman network: h_t = tanh(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh), or max(0, ·) for tanh.

    Elman 1990, "Finding structure in time". The arguments, weights, shapes and errors are those of
    :class:`torch.nn.RNN`; the call takes ``lengths`` besides.

    Args:
        input_size: I, the numbers that stand at each step of the input.
        hidden_size: H, the numbers that the state has.
        num_layers: L; each layer reads the outputs of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are [B, T, ·] instead of [T, B, ·].
        dropout: the probability with which an output between two layers is zeroed in training.
        bidirectional: whether each layer also reads its input from the end (D = 2, else 1).
        device: where the weights are made.
        dtype: of the weights.
        recompute_every: None, or K: between the forward and the backward pass the compiled core
            keeps the states at every K-th step alone, and then repeats K steps at a time. Memory
            falls from O(T) to O(T/K + K), beside the input and the output (and, with dropout, its
            masks; in a bidirectional stack, the outputs between the layers); time grows by about a
            forward pass; the results are the same to the last bit. About √T is a good choice. A
            pass that does not run on the compiled core ignores it.

    Call:
        ``output, h_n = rnn(input, hx=None, lengths=None)`` with ``input`` [T, B, I], unbatched
        [T, I], or a PackedSequence; ``hx`` [L·D, B, H], zeros if None; ``lengths`` [B], integers
        from 0 to T in any order: how many steps of each row are real. Padding is never read.
        ``output`` is [T, B, D·H], zero past a row's length, and ``h_n`` [L·D, B, H] each row's
        state after its own last step, which for length 0 is ``hx``.

    Raises:
        ValueError, RuntimeError, TypeError: as :class:`torch.nn.RNN` does, in its words; and for
            ``lengths`` that are no integers, not one for each row, or outside 0 … T.
    """


class LSTM(_Recurrent, torch.nn.LSTM):
    """A long short-term memory: a cell state behind an input, a forget and an output gate.

    With the gates' weights stacked in the order i, f, g, o::

        i_t, f_t, o_t = σ(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh)   input, forget and output gate
        g_t = tanh(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh)          candidate
        c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t                            cell state
        h_t = o_t ⊙ tanh(c_t)                                      hidden state, W_hr·h_t projected

    Hochreiter & Schmidhuber 1997; the forget gate is Gers, Schmidhuber & Cummins 2000, the
    projection Sak, Senior & Beaufays 2014, arXiv 1402.1128. The arguments, weights, shapes and
    errors are those of :class:`torch.nn.LSTM`; the call takes ``lengths`` besides.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: as in :class:`RNN`.
        batch_first: as in :class:`RNN`.
        dropout: as in :class:`RNN`.
        bidirectional: as in :class:`RNN`.
        proj_size: P, the size that the hidden state is projected to; 0 for none (then P = H).
        device: where the weights are made.
        dtype: of the weights.
        recompute_every: as in :class:`RNN`.

    Call:
        ``output, (h_n, c_n) = lstm(input, hx=None, lengths=None)`` as in :class:`RNN`, with
        ``hx`` the pair ``h_0`` [L·D, B, P] and ``c_0`` [L·D, B, H], and ``output`` [T, B, D·P].

    Raises:
        ValueError, RuntimeError, TypeError: as in :class:`RNN`, in torch's words.
    """


class GRU(_Recurrent, torch.nn.GRU):
    """A gated recurrent unit, with the reset gate after the product, as in cuDNN.

    With the gates' weights stacked in the order r, z, n::

        r_t, z_t = σ(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh)        reset and update gate
        n_t = tanh(W_ih·x_t + b_ih + r_t ⊙ (W_hh·h_{t−1} + b_hh))  candidate
        h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t−1}                      hidden state

    Cho et al. 2014, arXiv 1406.1078. The arguments, weights, shapes and errors are those of
    :class:`torch.nn.GRU`; the call takes ``lengths`` besides.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: as in :class:`RNN`.
        batch_first: as in :class:`RNN`.
        dropout: as in :class:`RNN`.
        bidirectional: as in :class:`RNN`.
        device: where the weights are made.
        dtype: of the weights.
        recompute_every: as in :class:`RNN`.

    Call:
        ``output, h_n = gru(input, hx=None, lengths=None)``, as in :class:`RNN`.

    Raises:
        ValueError, RuntimeError, TypeError: as in :class:`RNN`, in torch's words.
    """


MODULES: dict[str, type[RNN | LSTM | GRU]] = {cls.__name__: cls for cls in (RNN, LSTM, GRU)}
"""By the names of their cells."""

"""The compiled core: one layer in one direction, forward and backward.

The only file that calls the core. It checks what it hands over (type, device, layout) and owns
every buffer; csrc/contract.h says what each of them is. float32 and float64 on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, State, Weights

try:
    from unrolled import _core
except ImportError:  # built without a compiler
    _core = None  # type: ignore[assignment]


class _Numbers(NamedTuple):
    """A cell in the core: its number, and how many numbers a unit and step keep and derive."""

    cell: int
    kept: int
    derived: int


NUMBERS = {
    "RNN_TANH": _Numbers(0, kept=0, derived=1),
    "RNN_RELU": _Numbers(1, kept=0, derived=1),
    "LSTM": _Numbers(2, kept=4, derived=4),
    "GRU": _Numbers(3, kept=4, derived=4),
}
PLAIN = (Tensor, Parameter)
"""The types whose numbers lie in memory; a subclass may compute them."""


def is_built() -> bool:
    """Whether the compiled core is there."""
    return _core is not None


def isas() -> list[str]:
    """The instruction sets that this machine and build have, the best last."""
    return _core.isas() if is_built() else []


@cache
def isa() -> int:
    """The place in :func:`isas` of the one that runs: ``UNROLLED_ISA``, or the best.

    Raises:
        RuntimeError: ``UNROLLED_ISA`` names one that this machine or build does not have.
    """
    names = isas()
    wanted = os.environ.get("UNROLLED_ISA")
    if not wanted:
        return len(names) - 1
    if wanted not in names:
        raise RuntimeError(
            f"UNROLLED_ISA={wanted}: this machine and build have {', '.join(names)}. "
            "Name one of these, or unset it"
        )
    return names.index(wanted)


def obstacle(data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why the core can't run a pass over these tensors, or None where it can."""
    if not is_built():
        return "the package was built without a compiler"
    if torch.compiler.is_compiling():
        return "torch.compile is tracing"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func is active"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch._C._len_torch_dispatch_stack() > 0:
        return "a torch dispatch mode is active"
    return _not_in_memory(data, others)


def _not_in_memory(data: Tensor, others: Sequence[Tensor]) -> str | None:
    """Why these are not all numbers of one kind that lie in this machine's memory."""
    dtype = data.dtype
    if dtype not in (torch.float32, torch.float64):
        return f"the core computes in float32 and float64, not {dtype}"
    for tensor in (data, *others):
        if tensor.dtype is not dtype or not tensor.is_cpu:
            return "input, states and weights differ in dtype or device"
        if tensor.is_neg():
            return "a tensor is negated when it is read, and not in memory"
        if type(tensor) not in PLAIN or tensor.layout is not torch.strided:
            return f"a tensor is a {type(tensor).__name__} with layout {tensor.layout}"
    return None


def has_memory(tensor: Tensor) -> bool:
    """Whether the tensor is numbers in memory, and not a stand-in for many, as under vmap."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True


class Rows(NamedTuple):
    """Where the steps of the rows lie in memory; holds the index arrays of ragged ones alive.

    ``offsets`` and ``sizes`` are None where every row has every step.
    """

    steps: int
    batch: int
    offsets: Tensor | None
    sizes: Tensor | None
    batch_first: bool

    @classmethod
    def of(cls, sequences: Sequences, batch: int) -> Rows:
        """The rows of these sequences, of which there are ``batch``, those without a step too.

        Raises:
            RuntimeError: ragged sequences don't say of themselves what they are.
        """
        data, sizes = sequences.data, sequences.batch_sizes
        if sizes is not None:
            sizes = sizes.to("cpu", torch.int64).contiguous()
            ends = sizes.cumsum(0)
            bounds = torch.cat([sizes.new_tensor([batch]), sizes, sizes.new_zeros(1)])
            if int(ends[-1]) != data.shape[0] or bool((bounds.diff() > 0).any()):
                raise RuntimeError(
                    f"batch_sizes should fall from at most {batch} and add up to the "
                    f"{data.shape[0]} rows of data, got {sizes.tolist()[:20]}"
                )
            return cls(len(sizes), batch, ends - sizes, sizes, False)
        # A transposed [B, T, F] is read as it lies.
        batch_first = not data.is_contiguous() and data.transpose(0, 1).is_contiguous()
        return cls(data.shape[0], batch, None, None, batch_first)

    def layout(self, *, reverse: bool) -> Any:
        """The same for the core."""
        step, stride = (1, self.steps) if self.batch_first else (self.batch, 1)
        offsets, sizes = _address(self.offsets), _address(self.sizes)
        return _core.Layout(self.steps, self.batch, offsets, sizes, step, stride, reverse)

    def flat(self, data: Tensor) -> Tensor:
        """``data`` [T, B, F] or [N, F] as the matrix [N, F] that lies in memory in our order."""
        if data.dim() == 3:
            data = (data.transpose(0, 1) if self.batch_first else data).flatten(0, 1)
        return data.contiguous()

    def unflat(self, data: Tensor) -> Tensor:
        """The way back."""
        if self.sizes is not None:
            return data
        if self.batch_first:
            return data.view(self.batch, self.steps, data.shape[-1]).transpose(0, 1)
        return data.view(self.steps, self.batch, data.shape[-1])

    def empty(self, like: Tensor) -> Tensor:
        """New numbers for ``like`` [N, F], the steps outermost whatever way the rows lie."""
        return like.new_empty(self.unflat(like).shape)


class Kept(NamedTuple):
    """What a forward scan leaves for the backward one, where there is such a thing.

    ``gates`` [N, S·H], ``cells`` [N, H], and the hidden states before projection ``raw`` [N, H].
    """

    gates: Tensor | None = None
    cells: Tensor | None = None
    raw: Tensor | None = None


class Scan:
    """One layer in one direction with its weights."""

    def __init__(self, cell: Cell, w: Weights, index: int, *, reverse: bool) -> None:
        """``index`` is the place of the layer and direction in the states.

        Raises:
            RuntimeError: the weights' shapes don't fit each other.
        """
        self.weights = Weights._make([t if t is None else t.contiguous() for t in w])
        self.index = index
        self.reverse = reverse
        self.numbers = NUMBERS[cell.name]
        self.has_cell = "cell" in cell.states
        self.shares_differ = cell.name == "GRU"
        self.hidden = w.hh.shape[0] // len(cell.gates)
        self.width = w.hh.shape[1]
        rows = len(cell.gates) * self.hidden
        _check_shape("weight_ih", w.ih, (rows, w.ih.shape[-1]))
        _check_shape("weight_hh", w.hh, (rows, self.hidden if w.hr is None else w.hr.shape[0]))
        _check_shape("bias_ih", w.bias_ih, (rows,))
        _check_shape("bias_hh", w.bias_hh, (rows,))
        _check_shape("weight_hr", w.hr, (self.width, self.hidden))
        kind = _core.PassF32 if w.ih.dtype == torch.float32 else _core.PassF64
        projection = 0 if w.hr is None else self.width
        self.core = kind(isa(), self.numbers.cell, w.ih.shape[1], self.hidden, projection)

    def forward(
        self, rows: Rows, data: Tensor, initial: State, output: Tensor, last: State, *, keep: bool
    ) -> Kept:
        """Writes ``output`` (columns of a matrix over N) and its slice of the states ``last``.

        Args:
            rows: where the steps lie.
            data: the layer's input [N, I].
            initial: each state of all layers and directions [L·D, B, ·].
            output: [N, P], rows perhaps further apart than P.
            last: as ``initial``.
            keep: whether a backward pass may follow.

        Raises:
            RuntimeError: the input or a state does not fit the weights.
        """
        inputs, depth = self.weights.ih.shape[1], initial[0].shape[0]
        _check_shape("the input", data, (data.shape[0], inputs))
        for state, width in zip(initial, (self.width, self.hidden), strict=False):
            _check_shape("a state", state, (depth, rows.batch, width))
        kept = Kept()
        if keep:
            count = data.shape[0]
            kept = Kept(
                self._empty(data, count, self.numbers.kept * self.hidden),
                self._empty(data, count, self.hidden if self.has_cell else 0),
                self._empty(data, count, self.hidden if self.weights.hr is not None else 0),
            )
        packed = data.new_empty(self.core.forward_size)
        self.core.pack(*map(_address, self.weights), packed.data_ptr(), 0)
        self.core.forward(
            rows.layout(reverse=self.reverse),
            packed.data_ptr(),
            data.data_ptr(),
            *self._addresses(initial),
            output.data_ptr(),
            output.stride(0),
            *self._addresses(last),
            *map(_address, kept),
            torch.get_num_threads(),
        )
        return kept

    def backward(
        self,
        rows: Rows,
        data: Tensor,
        initial: State,
        output: Tensor,
        kept: Kept,
        d_output: Tensor | None,
        d_last: Sequence[Tensor | None],
        d_initial: State,
        *,
        wants_input: bool,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Writes its slice of ``d_initial``; returns the gradients of the input and the weights.

        ``d_output`` is laid out as ``output`` is; None stands for zero, there and in ``d_last``.
        """
        count = data.shape[0]
        d_gates = data.new_empty(count, self.numbers.derived * self.hidden)
        before = data.new_empty(count, self.width)
        d_projected = None if kept.raw is None else data.new_empty(count, self.width)
        packed = data.new_empty(self.core.backward_size)
        self.core.pack(*map(_address, self.weights), 0, packed.data_ptr())
        self.core.backward(
            rows.layout(reverse=self.reverse),
            packed.data_ptr(),
            *self._addresses(initial),
            output.data_ptr(),
            output.stride(0),
            _address(kept.gates),
            _address(kept.cells),
            _address(d_output),
            0 if d_output is None else d_output.stride(0),
            *self._addresses(d_last),
            d_gates.data_ptr(),
            *self._addresses(d_initial),
            _address(d_projected),
            before.data_ptr(),
            torch.get_num_threads(),
        )
        by_input, by_hidden = self._shares(d_gates)
        d_weights = [self._in_order(by_input.t().mm(data)), by_hidden.t().mm(before)]
        if self.weights.bias_ih is not None:
            d_bias = self._in_order(by_input.sum(0))
            d_weights += [d_bias, by_hidden.sum(0) if self.shares_differ else d_bias.clone()]
        if d_projected is not None and kept.raw is not None:
            d_weights.append(d_projected.t().mm(kept.raw))
        if not wants_input:
            return None, d_weights
        ih = self.weights.ih
        return by_input.mm(ih.roll(self.hidden, 0) if self.shares_differ else ih), d_weights

    def _addresses(self, states: Sequence[Tensor | None]) -> tuple[int, int]:
        """Those of this layer and direction in the hidden and the cell state, 0 for none."""
        found = [
            0 if s is None else s.data_ptr() + self.index * s.stride(0) * s.element_size()
            for s in states
        ]
        return (found[0], found[1] if self.has_cell else 0)

    def _shares(self, d_gates: Tensor) -> tuple[Tensor, Tensor]:
        """The gates' gradient as the input's weights meet it, and as the hidden state's do.

        They differ for the GRU alone. It is kept as candidate (input's share), reset, update,
        candidate (hidden state's share); the input's share is then out of order, see _in_order.
        """
        if not self.shares_differ:
            return d_gates, d_gates
        return d_gates[:, : 3 * self.hidden], d_gates[:, self.hidden :]

    def _in_order(self, by_input: Tensor) -> Tensor:
        """What was computed from the input's share, with the gates in the weights' order."""
        return by_input.roll(-self.hidden, 0) if self.shares_differ else by_input

    @staticmethod
    def _empty(like: Tensor, count: int, width: int) -> Tensor | None:
        return like.new_empty(count, width) if width else None


def _check_shape(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    """The core reads as far as the sizes say: what is smaller would be read past its end."""
    if tensor is not None and tensor.shape != shape:
        raise RuntimeError(
            f"{name} has shape {list(tensor.shape)}, and {list(shape)} was expected to fit the "
            "other weights. Was a weight replaced?"
        )


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()

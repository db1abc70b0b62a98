"""A recurrent module and the sequence that it is to run over, for running stretches of it as rows.

Here time comes first, and a state is a tuple, whatever the module has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import InputError
from unrolled.nn import Recurrent
from unrolled.summary import short

State = tuple[Tensor, ...]
"""Each [L, R, ·], of R rows."""


class System:
    """A module with its input and first state.

    Attributes:
        input: [T, B, I].
        initial: each state [L, B, ·], None for zero.
    """

    def __init__(
        self, module: torch.nn.Module, input: Tensor, hx: Any, constants: Mapping[str, Tensor]
    ) -> None:
        """See :func:`unrolled.deploy.in_time.parallel_in_time`."""
        self.module = module
        self._batch_first = bool(module.batch_first) and input.dim() == 3
        self._is_row = input.dim() == 2
        self._has_tuples = isinstance(module, torch.nn.LSTM | Recurrent)
        state = None if hx is None else hx if isinstance(hx, tuple | list) else (hx,)
        if self._is_row:
            state = state and [each.unsqueeze(1) for each in state]
            constants = {name: value.unsqueeze(0) for name, value in constants.items()}
        self.input = self._time_first(input)
        self.initial: State | None = None if state is None else tuple(state)
        self._constants = constants

    def _time_first(self, data: Tensor) -> Tensor:
        if self._is_row:
            return data.unsqueeze(1)
        return data.transpose(0, 1) if self._batch_first else data

    @property
    def steps(self) -> int:
        """T."""
        return self.input.shape[0]

    @property
    def batch(self) -> int:
        """B."""
        return self.input.shape[1]

    def run(self, data: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The output [n, R, ·] and the last state over ``data`` [n, R, I]; R = B times a number."""
        times = data.shape[1] // self.batch
        hx = state if state is None or self._has_tuples else state[0]
        constants = {name: value.repeat(times, 1) for name, value in self._constants.items()}
        is_turned = bool(self.module.batch_first)
        output, last = self.module(data.transpose(0, 1) if is_turned else data, hx, **constants)
        if is_turned:
            output = output.transpose(0, 1)
        return output, last if self._has_tuples else (last,)

    def beginning(self, pieces: int) -> State:
        """The states of so many pieces, the first one's its own and the others' zero."""
        _, like = self.run(self.input[:1], self.initial)
        first = self.initial or tuple(torch.zeros_like(each) for each in like)
        zeros = [torch.zeros_like(each).repeat(1, pieces - 1, 1) for each in like]
        return tuple(torch.cat(pair, dim=1) for pair in zip(first, zeros, strict=True))

    def stretches(self, begins: Sequence[int], steps: int) -> Tensor:
        """The input from each of these steps on, as rows beside each other, [n, P·B, I]."""
        if self.batch == 1 and (gap := _gap(begins)) is not None:
            step, _, column = self.input.stride()
            size = steps, len(begins), self.input.shape[2]
            first = self.input.storage_offset() + begins[0] * step
            return self.input.as_strided(size, (step, gap * step, column), first)
        return torch.cat([self.input[begin : begin + steps] for begin in begins], dim=1)

    def given(self, output: Tensor, last: State) -> tuple[Tensor, Any]:
        """The results as the module gives them."""
        if self._is_row:
            output, last = output.squeeze(1), tuple(each.squeeze(1) for each in last)
        elif self._batch_first:
            output = output.transpose(0, 1)
        return output, last if self._has_tuples else last[0]


def _gap(begins: Sequence[int]) -> int | None:
    """How far they are apart, if that is the same for all."""
    gaps = {after - before for before, after in pairwise(begins)}
    return gaps.pop() if len(gaps) == 1 else None


def system(module: torch.nn.Module, input: Any, hx: Any, constants: Mapping[str, Tensor]) -> System:
    """What is run, held against what can be.

    Raises:
        InputError: see :func:`unrolled.deploy.in_time.parallel_in_time`.
    """
    if not isinstance(module, torch.nn.RNNBase | Recurrent):
        raise InputError(
            "module: an RNN, LSTM, GRU or Recurrent was expected, got "
            f"{type(module).__name__}. Hand over the recurrent part of the model, and run the rest "
            "on its output"
        )
    if module.bidirectional:
        raise InputError(
            "module: one direction was expected, got bidirectional=True. Such a layer reads the "
            "whole sequence before it gives anything out: call the module itself"
        )
    drops = (module.dropout and module.num_layers > 1) or (
        isinstance(module, Recurrent) and module.cell.draws
    )
    if module.training and drops:
        raise InputError(
            "module: eval mode was expected, got training mode with random numbers in it, each of "
            "which would be another in pieces. Call eval() first"
        )
    if not isinstance(input, Tensor) or input.dim() not in (2, 3):
        raise InputError(
            f"input: a tensor [T, B, I] or [T, I] was expected, got {short(input)}. Sequences of "
            "several lengths are called one by one"
        )
    states = hx if isinstance(hx, tuple | list) else [hx]
    for tensor in (input, *states, *constants.values()):
        if isinstance(tensor, Tensor) and tensor.requires_grad and torch.is_grad_enabled():
            raise InputError(
                "input, hx and constants: tensors without a graph were expected, got one that "
                "requires a gradient, which does not go through the pieces. Detach it, or call "
                "the module"
            )
    return System(module, input, hx, constants)

"""Argument and shape checks, in one place.

The modules subclass torch's. What a check here does not recognise as well formed is handed to
torch's own ``forward``, which raises torch's own exception in torch's own words: there is no
second copy of them to go stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled import scan
from unrolled.cells.built_in import BUILT_IN
from unrolled.masked import count_masked

Lengths = Tensor | Sequence[int]

STATES = {mode: len(cell.states) for mode, cell in BUILT_IN.items()}
"""How many states a cell has, by torch's mode. Torch hands one by itself, and several as a tuple.

Counted at once: Dynamo can't trace what is made when it is asked for.
"""


def is_traced() -> bool:
    """Whether torch.jit.trace is watching."""
    return torch._C._get_tracing_state() is not None


def is_traced_to_torch(input: Any) -> bool:
    """Whether torch.jit.trace is watching, and is to see torch's own forward.

    The trace of one kernel holds for any number of steps, that of a loop in Python would not. Our
    operator does as well, but a trace with it loads only where unrolled does, never in C++: that
    has to be asked for, by forcing the native backend.
    """
    return is_traced() and not (isinstance(input, Tensor) and scan.is_native_forced())


def is_well_formed(module: torch.nn.RNNBase, input: Any, hx: Any) -> bool:
    """Whether a recurrent module's forward may run as it is asked to.

    Beside this the input has to meet its weights, see :func:`meets`.
    """
    data = input.data if isinstance(input, PackedSequence) else input
    if not isinstance(data, Tensor) or data.shape[-1:] != (module.input_size,):
        return False
    batch = _batch_shape(input, batch_first=module.batch_first)
    if batch is None:
        return False
    if hx is None:
        return True
    hidden = module.proj_size or module.hidden_size
    widths = [hidden, module.hidden_size][: STATES[module.mode]]
    depth = module.num_layers * (2 if module.bidirectional else 1)
    return _states_fit(hx, [(depth, *batch, width) for width in widths], data)


def is_well_formed_cell(module: torch.nn.RNNCellBase, input: Any, hx: Any, states: int) -> bool:
    """The same of a cell, with that many ``states``."""
    if not isinstance(input, Tensor) or input.dim() not in (1, 2):
        return False
    if input.shape[-1] != module.input_size:
        return False
    if hx is None:
        return True
    return _states_fit(hx, [(*input.shape[:-1], module.hidden_size)] * states, input)


def meets(input: Tensor | PackedSequence, weight: Tensor) -> bool:
    """Whether the input can be multiplied by the weight: one device, one dtype or autocast."""
    return _same_kind(input.data if isinstance(input, PackedSequence) else input, weight)


def refuse_what_crashes_torch(module: torch.nn.RNNBase, input: Any, hx: Any) -> None:
    """Torch's own error where torch would take its process down instead.

    Its LSTM checks the states that come with a tensor, but not those that come with a
    PackedSequence; its kernel then reads past the end of states with a dimension too many, and of
    a cell state for fewer layers than the hidden state.
    """
    has_cell = STATES[module.mode] > 1
    if not has_cell or not isinstance(input, PackedSequence):
        return
    match hx:
        case [Tensor() as hidden, Tensor() as cell]:
            if max(hidden.dim(), cell.dim()) > 3 or hidden.shape[:1] > cell.shape[:1]:
                module.check_forward_args(input.data, hx, input.batch_sizes)


NOT_A_TENSOR = (AttributeError, IndexError, KeyError, RuntimeError, TypeError)
"""What torch raises, by chance, where it is given something that is no tensor."""


def no_tensor(module: torch.nn.RNNBase | torch.nn.RNNCellBase, input: Any, hx: Any) -> str | None:
    """What was expected in place of an argument that is no tensor, and what came, in words.

    torch's own words for a NumPy array are that it has no attribute ``dim``.
    """
    if isinstance(module, torch.nn.RNNCellBase):
        rows, read = "", f"[B, {module.input_size}] or [{module.input_size}]"
        width = module.hidden_size
    else:
        batched = "B, T" if module.batch_first else "T, B"
        read = f"[{batched}, {module.input_size}] or [T, {module.input_size}], or a PackedSequence"
        rows = f"{module.num_layers * (2 if module.bidirectional else 1)}, "
        width = module.proj_size or module.hidden_size
    if not isinstance(input, PackedSequence) and not _is_like_a_tensor(input):
        return f"input should be a tensor {read}, got {_described(input)}{_repair(input, module)}"
    if hx is None:
        return None
    if isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell):
        pair = f"h_0 [{rows}B, {width}] and c_0 [{rows}B, {module.hidden_size}]"
        return _no_pair(module, hx, pair)
    if _is_like_a_tensor(hx):
        return None
    return f"hx should be a tensor [{rows}B, {width}], got {_described(hx)}{_repair(hx, module)}"


def _no_pair(module: torch.nn.Module, hx: Any, expected: str) -> str | None:
    """The same for the states of an LSTM."""
    came, repair = _described(hx), ""
    if isinstance(hx, tuple | list):
        wrong = [state for state in hx if not _is_like_a_tensor(state)]
        if not wrong and len(hx) >= 2:
            return None  # torch counts them in clear words itself
        if len(hx) == 2:
            came = f"({', '.join(map(_described, hx))})"
            repair = _repair(wrong[0], module)
    return f"hx should be a pair of tensors, {expected}, got {came}{repair}"


def _is_like_a_tensor(value: Any) -> bool:
    """A tensor, or what stands for one, such as torch.fx's Proxy."""
    return hasattr(type(value), "__torch_function__")


def _described(value: Any) -> str:
    if value is None:
        return "None"
    cls = type(value)
    name = cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{name} {list(shape)}"
    return f"{name} of {len(value)}" if isinstance(value, tuple | list) else name


def _repair(value: Any, module: torch.nn.Module) -> str:
    """How to make a tensor of it, where there is a way."""
    if not isinstance(value, list) and not hasattr(value, "__array__"):
        return ""
    dtype = next(module.parameters()).dtype
    if count := count_masked(value):
        return (
            f", of which {count} are masked. Fill them in, with 0.0 for example, and make it a "
            f"tensor: torch.as_tensor(x.filled(0.0), dtype={dtype})"
        )
    return f". Make it a tensor: torch.as_tensor(numpy.asarray(x), dtype={dtype})"


def checked_lengths(lengths: Lengths, *, batch: int, steps: int) -> Tensor:
    """``lengths`` as a CPU tensor of int64 [B].

    Raises:
        TypeError: they are not integers, or no list or tensor of them.
        ValueError: there is not one for each row, or one is masked, below 0 or above the steps.
    """
    if count := count_masked(lengths):
        raise ValueError(
            f"lengths: {count} of them are masked. Give a number of steps for every row"
        )
    try:
        # Not on torch's default device, if one is set: they are read here.
        given = lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths, device="cpu")
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"lengths should be integers in a list or a tensor, got {lengths!r}"
        ) from error
    if given.numel() == 0 and not isinstance(lengths, Tensor):
        given = given.to(torch.int64)
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        raise TypeError(
            f"lengths should be integers, got {given.dtype}. Convert them: lengths.long()"
        )
    if given.shape != (batch,):
        raise ValueError(
            f"lengths should have one entry for each of the {batch} rows of the input, "
            f"shape [{batch}], got shape {list(given.shape)}"
        )
    given = given.to("cpu", torch.int64)
    wrong = ((given < 0) | (given > steps)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"lengths should lie between 0 and the input's {steps} steps, "
            f"got {int(given[wrong[0]])} for row {wrong[0]}"
        )
    return given


def checked_recompute_every(every: int | None) -> int | None:
    """``every``, a number of steps, or None.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 1.
    """
    if every is None:
        return None
    if not isinstance(every, int) or isinstance(every, bool):
        raise TypeError(f"recompute_every should be a number of steps or None, got {every!r}")
    if every < 1:
        raise ValueError(f"recompute_every should be at least 1 step, or None, got {every}")
    return every


def _batch_shape(input: Tensor | PackedSequence, *, batch_first: bool) -> tuple[int, ...] | None:
    """The batch dimensions of the input, (B,) or () if unbatched; None where it has no step."""
    if isinstance(input, PackedSequence):
        return (int(input.batch_sizes[0]),) if input.data.dim() == 2 else None
    if input.dim() == 2:
        return () if input.shape[0] > 0 else None
    if input.dim() != 3:
        return None
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    return (batch,) if steps > 0 else None


def _same_kind(tensor: Tensor, weight: Tensor) -> bool:
    same_dtype = tensor.dtype == weight.dtype or torch._C._is_any_autocast_enabled()
    return same_dtype and tensor.device == weight.device


def _states_fit(hx: Any, shapes: Sequence[tuple[int, ...]], like: Tensor) -> bool:
    """Whether ``hx`` is a tensor of the only shape, or a pair of tensors of the two shapes."""
    if len(shapes) == 1:
        hx = (hx,)
    elif not isinstance(hx, tuple | list) or len(hx) != len(shapes):
        return False
    return all(
        isinstance(state, Tensor) and state.shape == shape and _same_kind(state, like)
        for state, shape in zip(hx, shapes, strict=True)
    )

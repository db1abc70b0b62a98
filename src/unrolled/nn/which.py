"""Which backend a module would run on."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
from unrolled.nn.described import Recurrent
from unrolled.nn.quantized import Quantized
from unrolled.nn.recurrent import GRU, LSTM, RNN
from unrolled.scan import engine, native


def which_backend(module: torch.nn.Module, input: Any) -> str:
    """Says in words what would run if ``module`` were called on ``input`` now, and why.

    Args:
        module: one of this package's recurrent modules or cells, or a quantized one.
        input: what it would be called on.

    Returns:
        ``native (avx512): nothing speaks against it``, for example.

    Raises:
        TypeError: the module is none of this package's.
        RuntimeError: the native backend is forced and can't run this.
    """
    data = input.data if isinstance(input, PackedSequence) else input
    if isinstance(module, RNNCell | LSTMCell | GRUCell):
        name, why = engine.choose_cell(data)
    elif isinstance(module, Quantized):
        name, why = engine.choose(module.spec(), data, module.in_floats())
    elif isinstance(module, Recurrent | RNN | LSTM | GRU):
        spec = module.spec() if isinstance(module, Recurrent) else module._spec()
        name, why = engine.choose(spec, data, list(module.parameters()))
    else:
        raise TypeError(
            "module should be one of unrolled's RNN, LSTM, GRU, their cells, Recurrent, or what "
            "quantize made of one, "
            f"got {type(module).__name__}"
        )
    return (
        f"{name} ({native.isas()[native.isa()]}): {why}" if name == "native" else f"{name}: {why}"
    )

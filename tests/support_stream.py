"""What the tests of streams share: runs, modules of every kind, stacks, and rows for them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

import unrolled
from unrolled.deploy.serve import serve
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, save_run

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "RNN-relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM-projected": ("LSTM", {"proj_size": 3}),
    "GRU": ("GRU", {}),
}
NUMBERS = {"float32": torch.float32, "float64": torch.float64}


def make_run(
    cell: Any = "lstm",
    *,
    num_layers: int = 1,
    input_size: int = 2,
    sizes: Mapping[str, int] = MappingProxyType({}),
    **table: Any,
) -> Run:
    """A run with random weights and scalers, always the same: two inputs, three targets.

    ``cell`` is a name, or a cell that is written down, with the ``sizes`` of its own.
    """
    size = {"input_size": input_size, "hidden_size": 5, "output_size": 3, "sizes": dict(sizes)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(NetworkConfig(cell=cell, num_layers=num_layers, **size))
    names = {"inputs": ["a", "b"], "targets": ["b", "y", "z"], "window": 4}
    rng = np.random.default_rng(0)
    scalers = [Scaler(rng.normal(size=n), rng.uniform(0.1, 9.0, size=n)) for n in (input_size, 3)]
    return Run(network.eval(), TableConfig(**names | table), *scalers)


def write_run(folder: Path, run: Run) -> Path:
    folder.mkdir(exist_ok=True)
    save_run(run, folder)
    return folder


def answer(
    text: str | bytes, run: Run | None = None, *, has_header: bool | None = None
) -> tuple[list[str], list[str]]:
    """What stands on stdout and stderr after these lines."""
    out = io.BytesIO()
    complaints: list[str] = []
    source = io.BytesIO(text.encode() if isinstance(text, str) else text)
    stream = unrolled.Stream(run or make_run())
    serve(stream, source, out, complaints.append, has_header=has_header)
    return out.getvalue().decode().splitlines(), complaints


def rows(count: int, *shape: int, dtype: DTypeLike = np.float64) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(dtype)


def through(stack: nn.Sequential, x: Tensor) -> np.ndarray:
    """The stack over whole sequences [T, B, I], a recurrent module handing on its output."""
    with torch.no_grad():
        for module in stack:
            found = module(x)
            x = found[0] if isinstance(found, tuple) else found
    return x.numpy()


def module(kind: str, hidden=7, layers=1, dtype=torch.float32, inputs=3, **options) -> nn.RNNBase:
    name, of_kind = KINDS[kind]
    made = getattr(unrolled, name)(
        inputs, hidden, num_layers=layers, dtype=dtype, **of_kind, **options
    )
    return made.eval()

"""ONNX files as ``import_onnx`` reads them: refused in one line, or modules that run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import unrolled
from support_onnx_files import HOSTILE, SOUND
from unrolled.deploy.onnx_modules import Reversed
from unrolled.errors import InputError

SUFFIX = ".onnx"
LARGEST = 2**20
"""Weights of a module that is also run: others take their time, and it is no more than torch's."""
DICTIONARY = [
    *(b"LSTM", b"GRU", b"RNN", b"If", b"Loop", b"Identity", b"Concat", b"ConstantOfShape"),
    *(b"Expand", b"Tile", b"Pad", b"Range", b"Reshape", b"Squeeze", b"Transpose", b"Cast"),
    *(b"MatMul", b"Constant", b"RandomNormal", b"hidden_size", b"direction", b"layout", b"clip"),
    *(b"bidirectional", b"reverse", b"forward", b"linear_before_reset", b"activations", b"Relu"),
    *(b"then_branch", b"location", b"unrolled.digest", b"\xff", b"\n"),
]


def _exported(cell: type[torch.nn.Module], layers: int) -> Callable[[], bytes]:
    """A file of ours, with its digest."""

    def build() -> bytes:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.onnx"
            unrolled.export_onnx(cell(2, 3, num_layers=layers, bidirectional=True), path)
            return path.read_bytes()

    return build


def _name(what: str) -> str:
    return re.sub(r"\W+", "_", what)


SEEDS: Mapping[str, Callable[[], bytes]] = {
    **{f"sound_{_name(what)}": build for what, build in SOUND.items()},
    **{f"past_{_name(what)}": build for what, (build, _) in HOSTILE.items()},
    "exported_lstm": _exported(unrolled.LSTM, 1),
    "exported_gru_of_two_layers": _exported(unrolled.GRU, 2),
}


def run(data: bytes) -> None:
    """Reads a file; runs the modules that come of it.

    Raises:
        AssertionError: what is refused is not named in one line, or a module is not what it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(data)
        try:
            modules = unrolled.import_onnx(path)
        except InputError as error:
            words = str(error)
            assert words.startswith(f"{path}: "), words
            assert words.isprintable(), words
            assert len(words) < 1000, words
            return
    assert modules
    for name, module in modules.items():
        assert isinstance(name, str)
        _run(module)


def _run(module: torch.nn.Module) -> None:
    if sum(weight.numel() for weight in module.parameters()) > LARGEST:
        return
    inner = module.module if isinstance(module, Reversed) else module
    assert isinstance(inner, torch.nn.Module)
    weight = inner.weight_ih_l0
    assert isinstance(weight, torch.Tensor)
    with torch.no_grad():
        output, _ = module(torch.zeros(2, 2, weight.shape[1], dtype=weight.dtype))
    directions = 2 if inner.bidirectional else 1
    assert output.shape == (2, 2, directions * int(str(inner.hidden_size)))

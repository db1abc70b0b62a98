"""Weights in 8 bits against our float32, and ONNX Runtime's: python benchmarks/int8.py, and --help.

``of float32`` is how long a quantized module takes, as a share of the module that it was made of:
below 1 it is faster. ``ort/ours`` is the time of ONNX Runtime's 8-bit LSTM in the quantized
module's: above 1 ours is faster; of the GRU ONNX Runtime has none. Both are medians over pairs of
runs in one process, of a whole call in inference mode. Both have packed their weights before: ours
in its first call, ONNX Runtime when the session was made.

``off`` is how far the outputs are from those of the module in float32, as a share of their size
(root of the mean square), and ``ort off`` the same of ONNX Runtime's.

The second table is a stream's step of one row in the core, by ``step_many`` over 200 rows, on one
thread.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import typer
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

import ort
import unrolled
from report import Only, Pairs, Threads, measured, table, versions, wide_console
from shapes import SHAPES, Shape, chosen
from timing import Times, timed_pairs
from unrolled.scan import native

GRID = [
    shape
    for shape in SHAPES
    if shape.steps and shape.least == 1 and shape.dtype == torch.float32 and not shape.options
]
GRID += [Shape(kind, 64, 256, 32, 100) for kind in ("LSTM", "GRU")]


@dataclass(frozen=True)
class Row:
    """A line of the table; what ONNX Runtime lacks is None."""

    shape: Shape
    threads: int
    share: float
    off: float
    peer: float | None = None
    peer_off: float | None = None

    def cells(self) -> list[str]:
        digits = (self.share, 2), (self.peer, 2), (self.off, 4), (self.peer_off, 4)
        numbers = ["" if number is None else f"{number:.{count}f}" for number, count in digits]
        return [self.shape.module, str(self.shape), str(self.threads), *numbers]


def quantized_onnx(module: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(ort.as_onnx(module))
        quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)
        return target.read_bytes()


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def measure(shape: Shape, threads: int, pairs: int) -> list[Row]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = getattr(unrolled, shape.module)(shape.inputs, shape.hidden)
    narrow = unrolled.quantize(module)
    x = torch.randn(shape.steps, shape.batch, shape.inputs)
    with torch.inference_mode():
        expected = module(x)[0]
        off = apart(narrow(x)[0], expected)
        if not off < 0.05:
            sys.exit(f"{shape.module} {shape}: outputs are {off:.3f} apart")
        share = 1 / timed_pairs(lambda: narrow(x), lambda: module(x), pairs).ratio
        if shape.module != "LSTM":
            return [Row(shape, threads, share, off)]
        peer = ort.Peer(module, x, threads, quantized_onnx)
        pause = ort.ASLEEP if threads > 1 else 0.0
        ratio = timed_pairs(lambda: narrow(x), peer.forward, pairs, pause).ratio
        peer.forward()
        return [Row(shape, threads, share, off, ratio, apart(peer.tensors()[0], expected))]


STREAMED = [(16, 32), (32, 64), (32, 128), (64, 256), (64, 512)]
"""The sizes of the streams: I and H."""


def streamed(kind: str, inputs: int, hidden: int, pairs: int) -> Times:
    """Seconds a step in float32, and in 8 bits as ours."""
    module = getattr(unrolled, kind)(inputs, hidden)
    rows = np.random.default_rng(0).normal(size=(200, inputs)).astype(np.float32)
    narrow, whole = unrolled.Stream(module, int8=True), unrolled.Stream(module)
    times = timed_pairs(lambda: narrow.step_many(rows), lambda: whole.step_many(rows), pairs)
    return Times(times.theirs / len(rows), times.ours / len(rows), times.ratio)


def main(threads: Threads = None, pairs: Pairs = 7, only: Only = "") -> None:
    console = wide_console()
    shapes = chosen(only, GRID)
    result = table(
        "Ours in 8 bits against ours in float32, and ONNX Runtime's in 8 bits",
        ("module", "shape", "threads"),
        ("of float32", "ort/ours", "off", "ort off"),
    )
    for row in measured(
        console, shapes, threads, lambda shape, count: measure(shape, count, pairs)
    ):
        result.add_row(*row.cells())
    console.print(result)
    steps = table(
        "A stream's step, microseconds", ("module", "sizes"), ("float32", "8 bits", "of float32")
    )
    for kind in ("LSTM", "GRU"):
        for inputs, hidden in STREAMED:
            times = streamed(kind, inputs, hidden, pairs)
            seconds = [f"{each * 1e6:.2f}" for each in (times.theirs, times.ours)]
            steps.add_row(kind, f"I{inputs} H{hidden}", *seconds, f"{1 / times.ratio:.2f}")
    console.print(steps)
    ways = native.core.products(native.isa(), "int8")
    console.print(f"products here: {ways[-1]}")
    console.print(versions(f"onnxruntime {onnxruntime.__version__}", f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

"""What an exported file costs in ONNX Runtime: python benchmarks/export.py.

A file of ``unrolled export`` with float32 and with int8 weights, and ONNX Runtime's own 8-bit LSTM
(``quantize_dynamic``), each in turn with the bare RNN node that ``ort.py`` writes, on one thread.
``apart`` is how far the outputs are from those with float32 weights, root mean square.
"""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich.console import Console
from rich.table import Table

import unrolled
from ort import as_onnx
from timing import timed_pairs
from unrolled.deploy.onnx_export import build
from unrolled.deploy.parts import parts_of

SHAPES = [(1, 32, 1, 1), (1, 32, 32, 100), (32, 128, 32, 100), (64, 256, 32, 100)]
PAIRS = 15


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def in_eight_bits(model: bytes) -> bytes:
    """By ONNX Runtime's own quantisation, which takes files."""
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        whole.write_bytes(model)
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8, per_channel=True)
        return small.read_bytes()


def main() -> None:
    logging.getLogger().setLevel(logging.ERROR)  # quantize_dynamic advises each time
    table = Table(title="µs in ONNX Runtime, one thread")
    for column in ("module", "shape", "kind", "bare node", "this", "this/bare", "apart"):
        table.add_column(column)
    for name in ("LSTM", "GRU"):
        for i, h, b, t in SHAPES:
            torch.manual_seed(0)
            module = getattr(unrolled, name)(i, h)
            bare = session(as_onnx(module))
            x = np.random.default_rng(0).normal(size=(t, b, i)).astype(np.float32)
            states = {f"{s}_0": np.zeros((1, b, h), np.float32) for s in ("h", "c")}
            states = states if name == "LSTM" else {"h_0": states["h_0"]}
            fed = {"input": x, "lengths": np.array([-1], np.int32), **states}
            whole = build(parts_of(module), stateful=True).SerializeToString()
            kinds = {
                "float32": whole,
                "int8": build(parts_of(module), stateful=True, storage="int8").SerializeToString(),
            }
            if name == "LSTM":
                kinds["quantize_dynamic"] = in_eight_bits(whole)
            exact = session(whole).run(["output"], fed)[0]
            for kind, model in kinds.items():
                ours = session(model)
                apart = np.sqrt(np.square(ours.run(["output"], fed)[0] - exact).mean())
                times = timed_pairs(
                    partial(ours.run, None, fed), partial(bare.run, None, {"x": x}), PAIRS
                )
                shape = f"I{i} H{h} B{b} T{t}"
                microseconds = (f"{1e6 * s:,.0f}" for s in (times.theirs, times.ours))
                ratio = f"{1 / times.ratio:.2f}"
                table.add_row(name, shape, kind, *microseconds, ratio, f"{apart:.1e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

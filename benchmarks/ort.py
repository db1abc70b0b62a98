"""Our modules against ONNX Runtime's LSTM and GRU: python benchmarks/ort.py, and --help.

How to read the table: ``ort/ours`` above 1 means that ours is faster, below 1 that it is slower.
As in modules.py it is the median over pairs of runs in one process, and only ratios travel. Both
compute the same outputs from the same float32 weights, forward only, ours in inference mode;
outputs are compared before anything is timed, and if they differ the script ends there with exit
code 1. The rows are the dense float32 ones of the grid; there are no projections, which ONNX's
LSTM does not have.

What ONNX Runtime is given is its best case. The weights are constants of the graph, so that they
are packed once, when the session is made. Input and outputs are bound to buffers once (IO binding:
faster than feeding NumPy arrays, by up to half where a call is short), while ours takes a tensor
and makes its outputs at each call. The last layer's output keeps the axes that the node gives it,
[T, D, B, H], which spares a copy. Graph optimisations are all on.

Each has its own threads, and those wait for the next call by spinning, ours for some 10 ms and
ONNX Runtime's for some 50, on the core that the other then needs. Neither's spinning is turned
off, as both are quicker with it in a run of calls; at more than one thread each waits before its
turn until the other's threads are asleep, and then wakes its own, untimed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
import typer
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from contenders import contenders, insist_on_agreement
from report import (
    Only,
    Pairs,
    Threads,
    name_cells,
    summary,
    table,
    time_cells,
    versions,
    wide_console,
)
from shapes import SHAPES, Shape, chosen
from timing import Times, timed_pairs

# Which of torch's gates come in ONNX's order: i, o, f, c of i, f, g, o; and z, r, h of r, z, n.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
STATES = {"LSTM": ("h", "c"), "GRU": ("h",)}
ATTRIBUTES: dict[str, dict[str, Any]] = {"LSTM": {}, "GRU": {"linear_before_reset": 1}}
PEERS = [
    shape
    for shape in SHAPES
    if shape.module in GATES
    and shape.least == 1
    and shape.dtype == torch.float32
    and "proj_size" not in shape.options
]
# An opset with all that is used, and the version of the format that came with it, so that an
# ONNX newer than the runtime does no harm.
OPSET, FORMAT = 14, 7
ASLEEP = 0.1  # seconds after which neither's threads spin


def stacked(module: nn.RNNBase, name: str, layer: int) -> Tensor:
    """That weight or bias of each direction, [D, ...], its gates in ONNX's order."""
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    order = GATES[module.mode]
    of_directions = []
    for suffix in suffixes:
        gates = getattr(module, f"{name}_l{layer}{suffix}").detach().chunk(len(order))
        of_directions.append(torch.cat([gates[gate] for gate in order]))
    return torch.stack(of_directions)


def as_onnx(module: nn.RNNBase) -> bytes:
    """The module as an ONNX model from ``x`` [T, B, I] to its output and each layer's states."""
    constants: dict[str, Tensor] = {}
    nodes: list[NodeProto] = []
    states: list[str] = []
    read = "x"
    for layer in range(module.num_layers):
        names = [f"{name}{layer}" for name in ("W", "R", "B")]
        biases = [stacked(module, name, layer) for name in ("bias_ih", "bias_hh")]
        weights = [stacked(module, name, layer) for name in ("weight_ih", "weight_hh")]
        constants |= dict(zip(names, [*weights, torch.cat(biases, dim=1)], strict=True))
        last = [f"{state}{layer}" for state in STATES[module.mode]]
        if layer:
            constants["flat"] = torch.tensor([0, 0, -1])  # keeps two axes and joins the others
            nodes += [
                helper.make_node("Transpose", [read], [f"rows{layer}"], perm=(0, 2, 1, 3)),
                helper.make_node("Reshape", [f"rows{layer}", "flat"], [f"x{layer}"]),
            ]
            read = f"x{layer}"
        output = f"y{layer}"  # [T, D, B, H]
        node = helper.make_node(
            module.mode,
            [read, *names],
            [output, *last],
            hidden_size=module.hidden_size,
            direction="bidirectional" if module.bidirectional else "forward",
            **ATTRIBUTES[module.mode],
        )
        nodes.append(node)
        states += last
        read = output
    graph = helper.make_graph(
        nodes,
        module.mode,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", module.input_size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in (read, *states)],
        [numpy_helper.from_array(value.numpy(), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=FORMAT).SerializeToString()


class Peer:
    """A session of ONNX Runtime on the module's weights, bound to one input."""

    def __init__(
        self,
        module: nn.RNNBase,
        x: Tensor,
        threads: int,
        written: Callable[[nn.RNNBase], bytes] = as_onnx,
    ):
        """``written`` makes an ONNX model of the module."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.states = len(STATES[module.mode])
        self.session = onnxruntime.InferenceSession(
            written(module), options, providers=["CPUExecutionProvider"]
        )
        first = self.session.run(None, {"x": x.numpy()})
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        # Zeros, so that what is compared later was written through the binding.
        self.outputs = [value(np.zeros_like(output)) for output in first]
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", value(x.numpy()))
        for output, bound in zip(self.session.get_outputs(), self.outputs, strict=True):
            self.binding.bind_ortvalue_output(output.name, bound)

    def forward(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def tensors(self) -> list[Tensor]:
        """What the last forward gave, with torch's axes."""
        output, *states = [torch.from_numpy(bound.numpy()) for bound in self.outputs]
        of_kind = [torch.cat(states[kind :: self.states]) for kind in range(self.states)]
        return [output.transpose(1, 2).flatten(2), *of_kind]


def measure(shape: Shape, threads: int, pairs: int) -> Times:
    torch.set_num_threads(threads)
    ours, _ = contenders(shape)
    assert isinstance(ours.module, nn.RNNBase)
    ours.module.eval()  # ONNX Runtime has no dropout when it infers
    theirs = Peer(ours.module, ours.input, threads)
    theirs.forward()
    insist_on_agreement(shape, ours.forward(), theirs.tensors())
    return timed_pairs(ours.forward, theirs.forward, pairs, pause=ASLEEP if threads > 1 else 0)


def main(threads: Threads = None, pairs: Pairs = 5, only: Only = "") -> None:
    console = wide_console()
    rows: list[tuple[float, Shape, int]] = []
    result = table(
        "Our modules against ONNX Runtime's, forward",
        ("module", "shape", "dtype", "threads"),
        ("ort µs", "ours µs", "ort/ours"),
    )
    for shape in chosen(only, PEERS):
        for count in threads or [1, 2]:
            with console.status(f"{shape.module} {shape}"):
                times = measure(shape, count, pairs)
            result.add_row(*name_cells(shape, count), *time_cells(times))
            rows.append((times.ratio, shape, count))
    console.print(result)
    for module in GATES:
        if of_it := [row for row in rows if row[1].module == module]:
            console.print(summary(f"{module} forward", of_it), markup=False)
    console.print(versions(f"onnxruntime {onnxruntime.__version__}", f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

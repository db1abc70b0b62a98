"""ONNX files with recurrent nodes, sound and hostile, by their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OPSET = 17


def computed(*before: Any, **tensors: Any) -> File:
    """A file whose node reads, instead of W, ``big``: what these nodes make of these tensors."""
    return File(before=before, tensors=tensors, inputs=("x", "big", "R", "B"))


def nothing(model: Any) -> None:
    """Changes nothing."""


@dataclass(frozen=True)
class File:
    """A file with one recurrent node ``n``, which reads ``x`` [T, B, 2].

    Attributes:
        operator: LSTM, GRU or RNN.
        size: H.
        directions: D.
        tensors: initializers by name, beside or instead of W, R and B.
        inputs: what the node reads.
        before: nodes that stand before it.
        options: its attributes, beside hidden_size.
        change: what is done to the model in the end.
    """

    operator: str = "LSTM"
    size: int = 3
    directions: int = 1
    tensors: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ("x", "W", "R", "B")
    before: Sequence[Any] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Any], object] = nothing

    @property
    def weights(self) -> dict[str, Any]:
        """W, R and B, the same at every call."""
        drawn, rows = np.random.default_rng(0), GATES[self.operator] * self.size
        shapes = {"W": (rows, 2), "R": (rows, self.size), "B": (2 * rows,)}
        return {
            name: drawn.standard_normal((self.directions, *shape), dtype=np.float32) / 2
            for name, shape in shapes.items()
        }

    def model(self) -> Any:
        """As an ``onnx.ModelProto``."""
        tensors = self.weights | dict(self.tensors)
        node = helper.make_node(
            self.operator,
            self.inputs,
            ["y", "h_n"],
            "n",
            **{"hidden_size": self.size, **self.options},
        )
        free = [name for name in self.inputs if name and name not in tensors]
        made = {name for each in self.before for name in each.output}
        graph = helper.make_graph(
            [*self.before, node],
            "graph",
            [port(name) for name in dict.fromkeys(["x", *free]) if name not in made],
            [port("y", 4), port("h_n")],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in tensors.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        self.change(model)
        return model

    def __call__(self) -> bytes:
        """As bytes."""
        data: bytes = self.model().SerializeToString()
        return data


def port(name: str, axes: int = 3) -> Any:
    """An input or output of any size."""
    if name == "lengths":
        return helper.make_tensor_value_info(name, TensorProto.INT32, [None])
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes)


def node(operator: str, inputs: Sequence[str], output: str, **options: Any) -> Any:
    """A node with one output."""
    return helper.make_node(operator, inputs, [output], **options)


def chain(operator: str, first: str, last: str, length: int, **options: Any) -> list[Any]:
    """Nodes one after the other, each of which reads the one before."""
    names = [first, *(f"{last}.{at}" for at in range(length - 1)), last]
    return [node(operator, [read], made, **options) for read, made in pairwise(names)]


def doubling(times: int) -> list[Any]:
    """W, doubled so often along its first axis, as ``many``."""
    names = ["W", *(f"W.{at}" for at in range(times - 1)), "many"]
    return [node("Concat", [a, a], b, axis=0) for a, b in pairwise(names)]


def in_branches(path: Sequence[str] = ("then_branch",)) -> Callable[[Any], None]:
    """Moves all nodes and tensors into a branch of an If, and that into another one's."""

    def change(model: Any) -> None:
        for at, branch in enumerate(path):
            _wrap(model.graph, branch, f"if{at}")

    return change


def _wrap(graph: Any, branch: str, name: str) -> None:
    names, ranks = [value.name for value in graph.output], (4, 3)
    inside = helper.make_graph(graph.node, name, [], graph.output, graph.initializer)
    zeros = [
        helper.make_node(
            "Constant",
            [],
            [f"{name}.{each}"],
            value=numpy_helper.from_array(np.zeros((1,) * rank, np.float32)),
        )
        for each, rank in zip(names, ranks, strict=True)
    ]
    ends = [port(f"{name}.{each}", rank) for each, rank in zip(names, ranks, strict=True)]
    other = helper.make_graph(zeros, f"{name} else", [], ends)
    branches = {"then_branch": inside, "else_branch": other}
    if branch == "else_branch":
        branches = {"then_branch": other, "else_branch": inside}
    made = [f"{each}.{name}" for each in names]
    whole = helper.make_node("If", ["condition"], made, name, **branches)
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.append(whole)
    graph.output.extend(port(each, rank) for each, rank in zip(made, ranks, strict=True))
    if "condition" not in {value.name for value in graph.input}:
        graph.input.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))


def without_shapes(model: Any) -> None:
    """The outputs keep their types."""
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def without_types(model: Any) -> None:
    """The outputs are names alone."""
    for value in model.graph.output:
        value.ClearField("type")


def external(model: Any, location: str = "weights.bin", length: int | None = None) -> None:
    """The tensor W lies in another file."""
    tensor = next(each for each in model.graph.initializer if each.name == "W")
    onnx.external_data_helper.set_external_data(tensor, location, 0, length or len(tensor.raw_data))
    tensor.ClearField("raw_data")


def raw(old: bytes, new: bytes, file: File = File()) -> Callable[[], bytes]:
    """A file some of whose bytes are others."""

    def build() -> bytes:
        data = file()
        assert old in data
        return data.replace(old, new)

    return build


def _many_nodes(model: Any) -> None:
    """A thousand nodes that share one tensor of a megabyte."""
    size, (first, *_) = 256, model.graph.node
    for name, shape in (("W", (1, 4 * size, 2)), ("R", (1, 4 * size, size))):
        tensor = next(each for each in model.graph.initializer if each.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    first.attribute[0].i = size
    first.input[3] = ""
    for at in range(1000):
        again = model.graph.node.add()
        again.CopyFrom(first)
        again.name = f"n{at}"
        again.output[:] = [f"y{at}", f"h{at}"]


def _function(domain: str, name: str, nodes: Sequence[Any]) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        opset = helper.make_opsetid("", OPSET)
        model.functions.append(helper.make_function(domain, name, ["a"], ["b"], nodes, [opset]))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def _remove(name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)

    return change


def _dims(*dims: int) -> Callable[[Any], None]:
    """W has these sizes and the data that it had."""

    def change(model: Any) -> None:
        model.graph.initializer[0].dims[:] = dims

    return change


def _opset(version: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.opset_import[0].version = version

    return change


def _type_of(at: int, kind: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.input[at].type.tensor_type.elem_type = kind

    return change


def _shape(*sizes: int) -> Any:
    return np.array(sizes, np.int64)


BIG = 2**40
SOUND: dict[str, Callable[[], bytes]] = {
    **{operator: File(operator) for operator in GATES},
    "two directions": File(directions=2, options={"direction": "bidirectional"}),
    "layout 1": File(options={"layout": 1}),
    "outputs without shape": File(change=without_shapes),
    "outputs without type": File(change=without_types),
    "in a branch": File(change=in_branches()),
    "in branches of branches": File(change=in_branches(("then_branch", "else_branch"))),
    "weights through a long chain": File(
        before=chain("Identity", "W", "far", 3000), inputs=("x", "far", "R", "B")
    ),
    "weights through two thousand transpositions": File(
        before=chain("Transpose", "W", "far", 2000, perm=[0, 2, 1]), inputs=("x", "far", "R", "B")
    ),
    "a Constant as weights": File(
        before=[
            helper.make_node(
                "Constant", [], ["V"], value=numpy_helper.from_array(File().weights["W"])
            )
        ],
        inputs=("x", "V", "R", "B"),
    ),
    "zeros as first states": File(
        tensors={"h": np.zeros((1, 2, 3), np.float32)}, inputs=("x", "W", "R", "B", "", "h")
    ),
}
"""Files that are read, by what they have."""

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "direction": (File(options={"direction": "x"}), "has the direction 'x', and one of forward"),
    "direction in capitals": (
        File(options={"direction": "Forward"}),
        "has the direction 'Forward'",
    ),
    "direction that is no text": (File(options={"direction": b"\xff"}), "is no UTF-8 text"),
    "hidden_size of others": (File(options={"hidden_size": 4}), r"W have the shape \[1, 12, 2\]"),
    "hidden_size 0": (File(options={"hidden_size": 0}), "has hidden_size=0, and a number above 0"),
    "no hidden_size": (
        File(change=lambda model: model.graph.node[0].ClearField("attribute")),
        "has hidden_size=None",
    ),
    "layout": (File(options={"layout": 5}), "has layout=5, and 0 or 1 was expected"),
    "linear_before_reset": (File("GRU", options={"linear_before_reset": 2}), "0 or 1 was expected"),
    "clip": (File(options={"clip": 0.0}), "has clip=0, which bounds"),
    "an RNN's activation in small letters": (
        File("RNN", options={"activations": ["relu"]}),
        "has the activations relu, and Tanh or Relu",
    ),
    "W of rank 2": (File(tensors={"W": np.ones((12, 2), np.float32)}), "W have the shape"),
    "W of rank 0": (File(tensors={"W": np.float32(1)}), r"W have the shape \[\]"),
    "W of nothing": (File(tensors={"W": np.ones((1, 12, 0), np.float32)}), "W have the shape"),
    "W of a hundred axes": (File(change=_dims(*[1] * 100)), "can't be read"),
    "W of negative sizes": (File(change=_dims(-1, 12, 2)), "can't be read|not a whole"),
    "W larger than its data": (File(change=_dims(1, 12, 2**40)), "can't be read|not a whole"),
    "W of whole numbers": (File(tensors={"W": np.ones((1, 12, 2), np.int32)}), "W are int32"),
    "W and R of two types": (
        File(tensors={"R": np.ones((1, 12, 3), np.float64)}),
        "W are float32 and R float64",
    ),
    "R of other sizes": (File(tensors={"R": np.ones((1, 12, 4), np.float32)}), "R have the shape"),
    "B of one bias": (File(tensors={"B": np.ones((1, 12), np.float32)}), "B have the shape"),
    "B for two directions": (File(tensors={"B": np.ones((2, 24), np.float32)}), "B have the shape"),
    "one direction for two": (
        File(options={"direction": "bidirectional"}),
        r"W have the shape \[1, 12, 2\], and \[2, 12, any\] was expected",
    ),
    "no R": (File(inputs=("x", "W", "", "B")), "not a whole ONNX file"),
    "X of another type": (File(change=_type_of(0, TensorProto.DOUBLE)), "'x' is DOUBLE, and FLOAT"),
    "X of no type that there is": (File(change=_type_of(0, 66)), "unknown type 66"),
    "X of rank 2": (
        File(change=lambda model: model.graph.input[0].type.tensor_type.shape.dim.pop()),
        "says that 'x' has the shape",
    ),
    "a name that is no text": (raw(b"h_n", b"h\xffn"), "not a whole ONNX file|not UTF-8"),
    "a tensor that is not there": (File(change=_remove("W")), "not a whole ONNX file"),
    "weights in a file that is not there": (
        File(change=external),
        "there is no file 'weights.bin'",
    ),
    "weights in a file elsewhere": (
        File(change=lambda model: external(model, "../../etc/passwd")),
        "not a whole ONNX file|can't be read",
    ),
    "an old operator set": (File(change=_opset(6)), "not a whole ONNX file|of operator set 6"),
    "an operator set to come": (File(change=_opset(9999)), "of operator set 9999"),
    "transpositions without end": (
        File(
            before=chain("Transpose", "W", "far", 20_000, perm=[0, 2, 1]),
            inputs=("x", "far", "R", "B"),
        ),
        "what is computed from constants comes to",
    ),
    "concatenations that double": (
        File(before=doubling(60), inputs=("x", "many", "R", "B")),
        r"what is computed from constants comes to [\d,]+ bytes",
    ),
    "a ConstantOfShape of terabytes": (
        computed(node("ConstantOfShape", ["s"], "big"), s=_shape(1, BIG, 2)),
        "what is computed from constants comes to",
    ),
    "an Expand of terabytes": (
        computed(node("Expand", ["W", "s"], "big"), s=_shape(BIG, 1, 1)),
        "what is computed from constants comes to",
    ),
    "a Tile of terabytes": (
        computed(node("Tile", ["W", "s"], "big"), s=_shape(1, BIG, 1)),
        "what is computed from constants comes to",
    ),
    "a Pad of terabytes": (
        computed(node("Pad", ["W", "s"], "big"), s=_shape(0, BIG, 0, 0, 0, 0)),
        "what is computed from constants comes to",
    ),
    "a Range of terabytes": (
        computed(
            node("Range", ["a", "b", "c"], "big"), a=np.int64(0), b=np.int64(BIG), c=np.int64(1)
        ),
        "what is computed from constants comes to",
    ),
    "a product of ten thousand columns": (
        computed(
            node("MatMul", ["a", "b"], "big"),
            a=np.ones((9999, 1), np.float32),
            b=np.ones((1, 9999), np.float32),
        ),
        "what is computed from constants comes to",
    ),
    "a sum of a small and a large type": (
        computed(node("Add", ["W", "s"], "big"), s=np.ones(2, np.float64)),
        "Add node 'big': can't be computed from constants",
    ),
    "random numbers as weights": (
        computed(node("RandomNormal", [], "big", shape=[1, 12, 2])),
        "RandomNormal node 'big' is not computed here",
    ),
    "weights of a thousand nodes in one tensor": (File(change=_many_nodes), "its modules: what is"),
    "an LSTM in a function": (
        File(change=_function("own", "f", [helper.make_node("LSTM", ["a", "a", "a"], ["b"])])),
        "its function 'own.f' has an RNN, LSTM or GRU node",
    ),
    "a function in the place of LSTM": (
        File(change=_function("", "LSTM", [node("Relu", ["a"], "b")])),
        "its function '.LSTM' replaces an operator of the standard",
    ),
    "a sparse tensor": (
        File(
            change=lambda model: model.graph.sparse_initializer.append(
                helper.make_sparse_tensor(
                    numpy_helper.from_array(np.ones(1, np.float32), "big"),
                    numpy_helper.from_array(_shape(0)),
                    [1, 12, 2],
                )
            ),
            inputs=("x", "big", "R", "B"),
        ),
        "'big' is sparse|not a whole ONNX file",
    ),
    "half a file": (lambda: File()()[:200], "not a whole ONNX file"),
}
"""Files that are refused, by what is wrong with them; and the words that say so."""

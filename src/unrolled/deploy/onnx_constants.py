"""Which values of an ONNX graph are constants, and what they are: bounded in memory and in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_scope import STANDARD, Value, called
from unrolled.deploy.onnx_soundness import is_external
from unrolled.deploy.onnx_tensor import read_tensor
from unrolled.deploy.onnx_words import first_words, shown
from unrolled.errors import InputError

Array = Any
"""A NumPy array; bfloat16 and the like are types of ml_dtypes."""

AT_LEAST, TIMES = 64 * 2**20, 16
"""How many bytes may be computed from constants: some for every file, and so many times its size.
Four bits that become float64 are the sixteenfold."""
A_NODE = 2**14
"""Bytes that a node is counted for beside its outputs: as long as any takes, however small."""
SMALL = 256
"""Elements of an input whose values shape inference is given: shapes, axes and limits."""
REDUCTIONS = frozenset(f"Reduce{kind}" for kind in ("Sum", "Mean", "Max", "Min", "L1", "L2"))
_BY_ELEMENT = frozenset(
    {"Abs", "Add", "Cast", "CastLike", "Clip", "DequantizeLinear", "Div", "Equal", "Exp", "Greater"}
    | {"Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "Pow", "QuantizeLinear", "Reciprocal"}
    | {"Sqrt", "Sub", "Sum", "Where"}
)
_MOVING = frozenset(
    {"Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Pad"}
    | {"Range", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Tile", "Transpose"}
    | {"Unsqueeze"}
)
COMPUTED = REDUCTIONS | _BY_ELEMENT | _MOVING | {"MatMul"}
"""Operators that are computed here: none draws numbers or loops, and all take as long as their
sizes say."""


class Constants:
    """Computes constants of one file, each once.

    Args:
        folder: where files with weights lie, relative to which the graph names them.
        size: bytes of the file.
        opset: the version of the standard's operators.
    """

    def __init__(self, folder: Path, size: int, opset: int) -> None:
        self._folder, self._size, self._opset = folder, size, opset
        self._taken = 0
        self._known: dict[Value, Array] = {}
        self._reasons: dict[Value, str] = {}

    def why_not(self, value: Value) -> str:
        """Why a value is no constant, as the end of a sentence; empty if it is one."""
        _in_order(value, self._reasons, self._reason)
        return self._reasons[value]

    def get(self, value: Value | None) -> Array:
        """The constant as an array; None if it is none.

        Raises:
            InputError: it can't be computed, or would be too large.
        """
        if value is None or self.why_not(value):
            return None
        _in_order(value, self._known, self._compute)
        return self._known[value]

    def take(self, size: int, what: str) -> None:
        """Counts bytes that are about to be made.

        Raises:
            InputError: they are too many for a file of this size.
        """
        limit = AT_LEAST + TIMES * self._size
        if self._taken + size > limit:
            raise InputError(
                f"{what}: what is computed from constants comes to {self._taken + size:,} bytes "
                f"here, and {limit:,} are allowed for a file of {self._size:,}. Store the weights "
                "as they are"
            )
        self._taken += size

    def _reason(self, value: Value) -> str:
        scope, node = value.scope, value.maker
        name = shown(value.name)
        if value.name in scope.tensors:
            return ""
        if value.name in scope.sparse:
            return f"{name} is sparse"
        if node is None:
            return (
                f"{name} is an input of the graph"
                if value.name in scope.inputs
                else (f"{name} is made nowhere")
            )
        if not _is_computed(node):
            return f"{called(node)} is not computed here"
        if any(attribute.name == "sparse_value" for attribute in node.attribute):
            return f"{called(node)} is sparse"
        reasons = (self._reasons.get(read, f"{name} reads itself") for read in value.read())
        return next(filter(None, reasons), "")

    def _compute(self, value: Value) -> Array:
        tensor, node = value.scope.tensors.get(value.name), value.maker
        if tensor is not None:
            return self._stored(tensor, f"tensor {shown(value.name)}{value.scope.within}")
        where = f"{called(node)}{value.scope.within}"
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    return self._stored(attribute.t, where)
        given = [value.scope.find(name) for name in node.input]
        inputs = [None if each is None else self._known[each] for each in given]
        if node.op_type == "Identity":
            return inputs[0]
        made = zip(filter(None, node.output), self._run(node, inputs, where), strict=True)
        self._known.update({Value(value.scope, name): array for name, array in made})
        return self._known[value]

    def _stored(self, tensor: Any, what: str) -> Array:
        array = read_tensor(tensor, self._folder, what)
        if is_external(tensor):
            self._size += array.nbytes
        return array

    def _run(self, node: Any, inputs: Sequence[Array], where: str) -> list[Array]:
        """What a node makes, by ONNX's own readable implementation."""
        try:
            single = _Single(node, inputs, self._opset)
            sizes = single.sizes()
        except Exception as error:  # onnx has no exception of its own for what does not fit
            raise InputError(_not_computed(where, error)) from error
        read = sum(array.nbytes for array in inputs if array is not None)
        self.take(A_NODE + sum(sizes) + (read if node.op_type in REDUCTIONS else 0), where)
        if node.op_type == "MatMul":
            self.take(sizes[0] * inputs[0].shape[-1], where)  # each element is a sum of so many
        try:
            arrays = single.run()
        except Exception as error:  # as above
            raise InputError(_not_computed(where, error)) from error
        if [array.nbytes for array in arrays] != sizes:
            raise InputError(_not_computed(where, ValueError("it is not what its types say")))
        for array, size in zip(arrays, sizes, strict=True):
            if any(np.may_share_memory(array, other) for other in inputs if other is not None):
                self._taken -= size
        return arrays


class _Single:
    """A node alone, with its inputs at hand."""

    def __init__(self, node: Any, inputs: Sequence[Array], opset: int) -> None:
        onnx = need("onnx")
        self._opset = opset
        self._node = onnx.NodeProto()
        self._node.CopyFrom(node)
        self._node.domain = ""
        if any(is_external(attribute.t) for attribute in node.attribute):
            raise ValueError("an attribute is stored in another file")
        names = {name: f"i{at}" for at, name in enumerate(filter(None, node.input))}
        del self._node.input[:], self._node.output[:]
        self._node.input.extend(names.get(name, "") for name in node.input)
        self._node.output.extend(f"o{at}" * bool(name) for at, name in enumerate(node.output))
        self._outputs = list(filter(None, self._node.output))
        self._feed = {
            names[name]: array for name, array in zip(node.input, inputs, strict=True) if name
        }

    def sizes(self) -> list[int]:
        """How many bytes each output will have, by shape inference, which also checks types."""
        helper = need("onnx.helper")
        ports, constants = [], []
        for name, array in self._feed.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            ports.append(helper.make_tensor_value_info(name, kind, array.shape))
            if array.size <= SMALL:
                constants.append(need("onnx.numpy_helper").from_array(array, name))
        graph = helper.make_graph([self._node], "single", ports, [], constants)
        opset = helper.make_opsetid("", self._opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        infer = need("onnx.shape_inference").infer_shapes
        found = infer(model, check_type=True, strict_mode=True).graph.value_info
        types = {value.name: value.type.tensor_type for value in found}
        return [_bytes(types[name]) for name in self._outputs]

    def run(self) -> list[Array]:
        """The outputs; those that nobody reads as well."""
        helper = need("onnx.helper")
        empty = helper.make_empty_tensor_value_info
        graph = helper.make_graph(
            [self._node], "single", list(map(empty, self._feed)), list(map(empty, self._outputs))
        )
        runner = need("onnx.reference").ReferenceEvaluator(graph, opsets={"": self._opset})
        with np.errstate(all="ignore"):
            return [np.asarray(array) for array in runner.run(self._outputs, self._feed)]


def _is_computed(node: Any) -> bool:
    return node.op_type in COMPUTED and node.domain in STANDARD


def _in_order(value: Value, done: dict[Value, Any], make: Callable[[Value], Any]) -> None:
    """Fills ``done`` for a value, after all that it hangs on. Chains are long: no recursion."""
    pending, begun = [value], set()
    while pending:
        last = pending[-1]
        ready = last in done or last in begun
        rest = [] if ready else [read for read in _hangs_on(last) if read not in done]
        begun.add(last)
        pending += rest
        if not rest:
            pending.pop()
            if last not in done:
                done[last] = make(last)


def _hangs_on(value: Value) -> list[Value]:
    is_leaf = value.name in value.scope.tensors or value.maker is None
    return [] if is_leaf or not _is_computed(value.maker) else value.read()


def _bytes(kind: Any) -> int:
    """Of a tensor type with all its sizes."""
    if not all(size.HasField("dim_value") and size.dim_value >= 0 for size in kind.shape.dim):
        raise ValueError("how large it will be can't be told beforehand")
    dtype = need("onnx.helper").tensor_dtype_to_np_dtype(kind.elem_type)
    if dtype.kind == "O":
        raise ValueError("it makes texts")
    return int(math.prod(size.dim_value for size in kind.shape.dim) * dtype.itemsize)


def _not_computed(where: str, error: BaseException) -> str:
    return f"{where}: can't be computed from constants ({first_words(error)}). Write the file again"

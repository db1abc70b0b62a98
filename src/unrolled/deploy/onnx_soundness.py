"""Whether an ONNX model is sound: the checker of the onnx package, on what ONNX Runtime admits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_words import shown


def check_soundness(model: Any) -> None:
    """Checks an ``onnx.ModelProto``, and leaves it as it was.

    Inputs and outputs may lack their shape, and outputs their type, which ONNX Runtime infers.
    Weights in other files are not looked at.

    Raises:
        Exception: it is not sound. The checker raises its own, protobuf's, and ValueError.
    """
    _check_ports(model.graph)
    with _filled_in(model.graph), _without_files(model.graph):
        need("onnx.checker").check_model(model)


def graphs_within(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs that a node holds, by the attribute's name."""
    for attribute in node.attribute:
        for graph in (*[attribute.g] * attribute.HasField("g"), *attribute.graphs):
            yield attribute.name, graph


def is_external(tensor: Any) -> bool:
    """Whether its data are in another file."""
    return bool(tensor.data_location == need("onnx").TensorProto.EXTERNAL)


def _check_ports(graph: Any) -> None:
    """That tensors which go in and out are of some type, which the checker does not look at."""
    known = set(need("onnx").TensorProto.DataType.values()) - {0}
    for port in (*graph.input, *graph.output):
        kind = port.type.tensor_type
        if port.type.HasField("tensor_type") and kind.elem_type not in known:
            raise ValueError(f"{shown(port.name)} is of the unknown type {kind.elem_type}")


@contextmanager
def _filled_in(graph: Any) -> Iterator[None]:
    """With types and shapes where there are none, which the checker asks for."""
    filled: list[tuple[Any, str]] = []
    for port in graph.output:
        if port.type.WhichOneof("value") is None:
            port.type.tensor_type.elem_type = need("onnx").TensorProto.FLOAT
            filled.append((port, "type"))
    for port in (*graph.input, *graph.output):
        kind = port.type.tensor_type
        if port.type.HasField("tensor_type") and not kind.HasField("shape"):
            kind.shape.SetInParent()
            filled.append((kind, "shape"))
    try:
        yield
    finally:
        for message, field in reversed(filled):
            message.ClearField(field)


@contextmanager
def _without_files(graph: Any) -> Iterator[None]:
    """With nothing in tensors of other files, which the checker looks for in the current folder."""
    hidden = [(tensor, list(tensor.dims)) for tensor in _tensors(graph) if is_external(tensor)]
    for tensor, _ in hidden:
        tensor.data_location = need("onnx").TensorProto.DEFAULT
        tensor.dims[:] = [0]
    try:
        yield
    finally:
        for tensor, dims in hidden:
            tensor.data_location = need("onnx").TensorProto.EXTERNAL
            tensor.dims[:] = dims


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*[attribute.t] * attribute.HasField("t"), *attribute.tensors)
        for _, within in graphs_within(node):
            yield from _tensors(within)

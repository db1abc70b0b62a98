"""Which recurrent nodes of an ONNX graph are the layers of one module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.deploy.onnx_constants import Constants
from unrolled.deploy.onnx_recurrent import Layer
from unrolled.deploy.onnx_scope import STANDARD, Value, called
from unrolled.errors import InputError


def stacked(layers: Sequence[Layer], constants: Constants) -> list[list[Layer]]:
    """The layers of each module, from below, in the order of their first nodes.

    Raises:
        InputError: a node's weights are for another width than that of the node that it reads.
    """
    stacks: list[list[Layer]] = []
    tops: dict[Value, list[Layer]] = {}
    makers = {each.y: each for each in layers if each.y is not None}
    for layer in layers:
        source = _source(layer, makers, constants)
        below = None if source is None else tops.get(source)
        if source is not None and below is not None and _continues(below[-1], layer):
            stack = tops.pop(source)
            stack.append(layer)
        else:
            stack = [layer]
            stacks.append(stack)
        if layer.y is not None:
            tops[layer.y] = stack
    return stacks


def _continues(below: Layer, layer: Layer) -> bool:
    """Whether one can be the next layer of the other's module."""
    return (
        below.kind == layer.kind
        and layer.direction != "reverse"
        and not layer.reset_first
        and not any(
            value.scope is layer.scope and value.depends_on(below.node)
            for value in layer.given.values()
        )
    )


def _source(layer: Layer, makers: dict[Value, Layer], constants: Constants) -> Value | None:
    """The output Y of another that it reads with its directions joined and nothing else done."""
    joined = layer.x.origin()
    unjoined = _unjoined(joined, layer.batch_first, constants)
    below = None if unjoined is None else makers.get(unjoined.origin())
    if below is None or below.batch_first != layer.batch_first:
        return None
    is_squeezed = joined.maker.op_type == "Squeeze"
    if not is_squeezed and not _joins(joined, below, constants):
        return None
    width = below.w.shape[0] * below.hidden_size
    if width != layer.w.shape[-1] or (is_squeezed and below.w.shape[0] > 1):
        raise InputError(
            f"{called(layer.node)}{layer.scope.within}: its weights W are for "
            f"{layer.w.shape[-1]} inputs, and what it reads of {called(below.node)} has {width}"
            f"{' in two directions' * is_squeezed}. Write the file again"
        )
    return below.y


def _unjoined(value: Value, batch_first: bool, constants: Constants) -> Value | None:
    """Of what [T, B, D·H] is made, if it is made as of an output Y."""
    node = _standard(value, "Squeeze", "Reshape")
    if node is None:
        return None
    rows = value.scope.find(node.input[0])
    if node.op_type == "Squeeze":
        axes = _axes(value, constants)
        return (
            rows
            if _is(axes, [2 - (not batch_first)]) or _is(axes, [-2 - (not batch_first)])
            else None
        )
    if any(each.name == "allowzero" and each.i for each in node.attribute):
        return None
    if batch_first or rows is None:
        return rows
    rows = rows.origin()
    turned = _standard(rows, "Transpose")
    if turned is None or not _is(_integers(turned, "perm"), [0, 2, 1, 3]):
        return None
    return rows.scope.find(turned.input[0])


def _joins(joined: Value, below: Layer, constants: Constants) -> bool:
    """Whether a Reshape leaves the first two axes: by zeros, or by the sizes that they have."""
    shape = constants.get(joined.scope.find(joined.maker.input[1]))
    if shape is None or np.shape(shape) != (3,):
        return False
    said = below.x.scope.types.get(below.x.name)
    sizes = [] if said is None else [size.dim_value or None for size in said.shape.dim]
    first, second, last = shape.tolist()
    return (
        (first == 0 or first in sizes[:1])
        and (second == 0 or second in sizes[1:2])
        and last in (-1, below.w.shape[0] * below.hidden_size)
    )


def _standard(value: Value, *operators: str) -> Any:
    """The node that makes a value, if it is one of these operators."""
    node = value.maker
    found = node is not None and node.op_type in operators and node.domain in STANDARD
    return node if found else None


def _axes(value: Value, constants: Constants) -> Any:
    """A Squeeze's axes: an input since operator set 13, before it an attribute."""
    node = value.maker
    if len(node.input) > 1:
        return constants.get(value.scope.find(node.input[1]))
    return _integers(node, "axes")


def _integers(node: Any, name: str) -> list[int] | None:
    return next((list(each.ints) for each in node.attribute if each.name == name), None)


def _is(value: Any, expected: list[int]) -> bool:
    return value is not None and np.array_equal(value, expected)

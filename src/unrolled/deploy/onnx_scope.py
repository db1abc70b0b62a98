"""The values of an ONNX graph and of the graphs within it: who makes each, and what can see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from unrolled.deploy.onnx_gates import ORDER
from unrolled.deploy.onnx_soundness import graphs_within
from unrolled.deploy.onnx_words import shown
from unrolled.errors import InputError

STANDARD = ("", "ai.onnx")
"""The domain of the standard's own operators, by both of its names."""
PASSING = ("Identity", "Dropout")
"""Operators that hand on their first input as it is; Dropout does where nothing is trained."""


def is_recurrent(node: Any) -> bool:
    """Whether it is an RNN, LSTM or GRU of the standard."""
    return node.op_type in ORDER and node.domain in STANDARD


def called(node: Any) -> str:
    """A node in a message."""
    name = node.name or next(filter(None, node.output), "")
    return f"{shown(node.op_type)[1:-1]} node {shown(name)}"


def nodes_within(nodes: Iterable[Any]) -> Iterator[Any]:
    """All nodes, and those of the graphs within them."""
    for node in nodes:
        yield node
        yield from _within(node)


def _within(node: Any) -> Iterator[Any]:
    for _, graph in graphs_within(node):
        yield from nodes_within(graph.node)


class Scope:
    """A graph, or one within a node of another, whose values it can read.

    Attributes:
        nodes: in their order.
        inputs: the names of its own inputs.
        types: what it says of values as tensors, by name; of some it says nothing, or not all.
        tensors: its initializers, by name.
        sparse: the names of those that are sparse.
        makers: the node that makes each value, by the value's name.
        path: the nodes around it, as the name of each's first output and of the attribute.
        within: the same for messages; empty for the whole graph.
    """

    def __init__(self, graph: Any, outer: Scope | None = None, at: tuple[Any, str] | None = None):
        self.outer = outer
        self.path: tuple[str, ...] = ()
        self.within = ""
        if outer is not None and at is not None:
            node, attribute = at
            self.path = (*outer.path, next(filter(None, node.output), ""), attribute)
            self.within = f", within {attribute} of {called(node)}{outer.within}"
        self.nodes = list(graph.node)
        self.inputs = {value.name for value in graph.input}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        ports = (*graph.value_info, *graph.output, *graph.input)
        self.types = {value.name: value.type.tensor_type for value in ports}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.order = {id(node): at for at, node in enumerate(self.nodes)}
        self._check_names()

    def _check_names(self) -> None:
        """Protobuf gives a text that is not UTF-8 as bytes."""
        texts: list[Any] = [*self.inputs, *self.tensors, *self.sparse]
        for node in self.nodes:
            texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
        broken = next((text for text in texts if not isinstance(text, str)), None)
        if broken is not None:
            raise InputError(
                f"a name is not UTF-8 text ({shown(broken)}){self.within}. The file is damaged: "
                "write it again"
            )

    def walk(self) -> Iterator[tuple[Scope, Any]]:
        """Every node with its scope, those within a node right after it."""
        for node in self.nodes:
            yield self, node
            for name, graph in graphs_within(node):
                yield from Scope(graph, self, (node, name)).walk()

    def find(self, name: str) -> Value | None:
        """The value that a node in here reads by this name; None for one left out."""
        if not name:
            return None
        home: Scope = self
        while not home._has(name) and home.outer is not None:
            home = home.outer
        return Value(home, name)

    def _has(self, name: str) -> bool:
        return (
            name in self.makers
            or name in self.inputs
            or name in self.tensors
            or name in self.sparse
        )


@dataclass(frozen=True)
class Value:
    """A value, by its name and the graph that it belongs to."""

    scope: Scope
    name: str

    @property
    def maker(self) -> Any:
        """The node that makes it, or None."""
        return self.scope.makers.get(self.name)

    def read(self) -> list[Value]:
        """What its maker reads."""
        found = (self.scope.find(name) for name in self.maker.input)
        return [value for value in found if value is not None]

    def origin(self) -> Value:
        """The value that reaches this place unchanged."""
        value: Value = self
        while (node := value.maker) is not None and _passes(node, value.name):
            source = value.scope.find(node.input[0])
            if source is None:
                break
            value = source
        return value

    def depends_on(self, node: Any) -> bool:
        """Whether numbers of a node of the same graph go into it; a mere shape does not count."""
        order, makers = self.scope.order, self.scope.makers
        pending, seen = [self.name], set()
        while pending:
            name = pending.pop()
            maker = makers.get(name)
            # A value that was made before it can't hang on it.
            if name in seen or maker is None or order[id(maker)] < order[id(node)]:
                continue
            seen.add(name)
            if maker is node:
                return True
            if maker.op_type not in ("Shape", "Size"):
                pending += maker.input
                pending += [name for each in _within(maker) for name in each.input]
        return False


def _passes(node: Any, name: str) -> bool:
    if node.op_type not in PASSING or node.domain not in STANDARD or name != node.output[0]:
        return False
    # A third input turns a Dropout's training mode on.
    return bool(node.input) and (node.op_type == "Identity" or not any(node.input[2:]))

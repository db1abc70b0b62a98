"""A layer of any described cell as a ``Scan`` of standard operators, on [T, B, F].

A line stands in the body of the Scan only if it depends on the states. What depends on the input
is computed beforehand for all steps at once, and all else once: no runtime would do that by itself.
Names in brackets are those of no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import Bias, Description, Line, Product, Sum, reads
from unrolled.cells.equations import equations
from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_graph import Graph
from unrolled.deploy.onnx_operators import add_operation, number
from unrolled.deploy.onnx_rows import BATCH, are_real
from unrolled.scan.equations import Parts


class Stage(IntEnum):
    """What a value depends on, and so where it is computed: an earlier one depends on less."""

    ONCE = 0
    """On weights and constants: [·], [B, ·]."""
    EVERY_STEP = 1
    """On the input as well: for all steps at once, [T, B, ·]."""
    STATES = 2
    """On the states: in the body, [B, ·]."""


@dataclass(frozen=True)
class Layer:
    """One layer in one direction.

    Attributes:
        cell: the description, at rest.
        units: how many numbers each size has.
        parts: what multiplies, and biases, in their parts.
        plain: vectors and scalars, by name.
        reverse: whether it goes from each row's last step to its first.
    """

    cell: Description
    units: Mapping[str, int]
    parts: Parts
    plain: Mapping[str, Tensor]
    reverse: bool


def add_scan(
    graph: Graph,
    name: str,
    layer: Layer,
    read: str,
    initial: Mapping[str, str],
    constants: Mapping[str, str],
) -> tuple[str, list[str]]:
    """One Scan.

    Args:
        graph: where to.
        name: of the node, and before those of all values.
        layer: what it computes.
        read: the input [T, B, I].
        initial: by name each state before the first step [B, ·]; empty for zeros.
        constants: by name each constant [B, ·].

    Returns:
        The outputs [T, B, ·], and each state after every row's own last step [B, ·].
    """
    return _Scan(graph, name, layer, read, constants).add(initial)


class _Scan:
    def __init__(
        self, graph: Graph, name: str, layer: Layer, read: str, constants: Mapping[str, str]
    ) -> None:
        self.graph, self.body = graph, graph.within()
        self.name, self.here = name, f"{name}."
        self.layer, self.cell = layer, layer.cell
        self.stepped: dict[str, str] = {}  # what the body reads a step of, and as what
        self.names = {self.cell.input.name: read, **constants}  # the graph's, by the equations'
        self.stages = dict.fromkeys(constants, Stage.ONCE)
        self.stages[self.cell.input.name] = Stage.EVERY_STEP
        used = {name for line in self.cell.lines for name in reads(line)} | {*self.cell.next}
        for weight, values in layer.plain.items():
            if weight in used:
                # With an axis in any case, over which there can be a mean.
                constant = graph.constant(f"{self.here}{weight}", values.reshape(-1))
                self._is(weight, Stage.ONCE, constant)
        for draw in self.cell.draws:
            vector = torch.full((layer.units[draw.size],), draw.resting)
            self._is(draw.name, Stage.ONCE, graph.constant(f"{self.here}{draw.name}", vector))
        for state in self.cell.states:
            self._is(state.name, Stage.STATES, f"{self.here}{state.name}")

    def add(self, initial: Mapping[str, str]) -> tuple[str, list[str]]:
        for line in self.cell.lines:
            stage = max((self.stages[name] for name in reads(line)), default=Stage.ONCE)
            added = self._sum(line) if isinstance(line, Sum) else self._line(line, stage)
            self._is(line.name, stage, added)
        after, output = self._ends()
        states, here = [state.name for state in self.cell.states], self.here
        before = [initial[name] if initial else self._zeros(name) for name in states]
        last = [f"{here}{name}.last" for name in states]
        outputs = f"{here}[outputs]"
        directions = [int(self.layer.reverse)]
        self.graph.add(
            self.name,
            "Scan",
            [*before, *self.stepped],
            [*last, outputs],
            body=self._as_body([*after, output]),
            num_scan_inputs=len(self.stepped),
            scan_input_directions=directions * len(self.stepped),
            scan_output_directions=directions,
        )
        return outputs, last

    def _is(self, name: str, stage: Stage, value: str) -> None:
        self.stages[name], self.names[name] = stage, value

    def _value(self, name: str, stage: Stage) -> str:
        """A value as a line of that stage reads it."""
        value = self.names[name]
        if stage is Stage.STATES and self.stages[name] is Stage.EVERY_STEP:
            return self._step_of(value)
        return value

    def _step_of(self, value: str) -> str:
        """One step of what there is for all, in the body."""
        return self.stepped.setdefault(value, f"{self.here}[{len(self.stepped)}]")

    def _line(self, line: Line, stage: Stage) -> str:
        graph = self.body if stage is Stage.STATES else self.graph
        operands = [
            self._value(o, stage) if isinstance(o, str) else number(graph, o) for o in line.operands
        ]
        return add_operation(graph, line.operation, operands, f"{self.here}{line.name}")

    def _sum(self, line: Sum) -> str:
        """Biases and products; those with states in the body, each added by its own operator."""
        name = f"{self.here}{line.name}"
        outer = [p for p in line.products if self.stages[p.of] is not Stage.STATES]
        inner = [p for p in line.products if self.stages[p.of] is Stage.STATES]
        total = self._outside(outer, line.biases, f"{name}.given" if inner else name)
        if inner and any(self.stages[p.of] is Stage.EVERY_STEP for p in outer):
            total = self._step_of(total)
        for place, product in enumerate(inner):
            read = [self.names[product.of], self._weight(product), *([total] if total else [])]
            output = name if place == len(inner) - 1 else f"{name}.{place}"
            total = self.body.node("Gemm", read, output, transB=1)
        return total

    def _outside(self, products: list[Product], biases: Iterable[Bias], name: str) -> str:
        """What a sum adds up outside the body; "" for nothing."""
        parts = [self.layer.parts[bias.weight, bias.part] for bias in biases]
        terms = [
            self.graph.node("MatMul", [self.names[p.of], self._turned(p)], f"{name}.product{place}")
            for place, p in enumerate(products)
        ]
        if parts:
            terms.append(self.graph.constant(f"{name}.bias", torch.stack(parts).sum(0)))
        if not terms:
            return ""
        total = terms[0]
        for place, term in enumerate(terms[1:]):
            output = name if place == len(terms) - 2 else f"{name}.{place}"
            total = self.graph.node("Add", [total, term], output)
        return total

    def _weight(self, product: Product) -> str:
        """A part of a matrix, [rows, columns]."""
        name = f"{self.here}{product.weight}.{product.part}"
        if not self.graph.has(name):
            self.graph.weight(name, self.layer.parts[product.weight, product.part])
        return name

    def _turned(self, product: Product) -> str:
        name = f"{self._weight(product)}.T"
        if not self.graph.has(name):
            self.graph.node("Transpose", [self._weight(product)], name, perm=(1, 0))
        return name

    def _ends(self) -> tuple[list[str], str]:
        """In the body: each state after the step, and the output; a row that has ended stays."""
        is_real, after = self._step_of(are_real(self.graph)), []
        for state, following in zip(self.cell.states, self.cell.next, strict=True):
            new, old = self._value(following, Stage.STATES), self.names[state.name]
            after.append(self.body.node("Where", [is_real, new, old], f"{old}.after"))
        first = self._value(self.cell.next[0], Stage.STATES)
        nothing = number(self.graph, 0.0)
        output = self.body.node("Where", [is_real, first, nothing], f"{self.here}[output]")
        return after, output

    def _zeros(self, state: str) -> str:
        """A state that begins as zeros, [B, ·]."""
        units = self._units(state)
        name = f"zeros.{units}"
        if not self.graph.has(name):
            width = self.graph.indices(f"{name}.width", [units])
            shape = self.graph.node("Concat", [BATCH, width], f"{name}.shape", axis=0)
            self.graph.node("Expand", [number(self.graph, 0.0), shape], name)
        return name

    def _units(self, state: str) -> int:
        return next(self.layer.units[s.size] for s in self.cell.states if s.name == state)

    def _as_body(self, outputs: list[str]) -> Any:
        helper = need("onnx.helper")
        is_real = self._step_of(are_real(self.graph))

        def port(name: str, shape: Any = None) -> Any:
            kind = need("onnx").TensorProto.BOOL if name == is_real else self.graph.kind
            return helper.make_tensor_value_info(name, kind, shape)

        states = [
            port(self.names[s.name], ["batch", self.layer.units[s.size]]) for s in self.cell.states
        ]
        return helper.make_graph(
            self.body.nodes,
            f"{self.here}body",
            [*states, *[port(name) for name in self.stepped.values()]],
            [port(name) for name in outputs],
            doc_string=equations(self.cell),
        )

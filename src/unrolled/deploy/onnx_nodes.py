"""Each kind of module as ONNX nodes, on [T, B, F] as the standard's recurrent nodes have it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolled.cells.built_in import BUILT_IN
from unrolled.deploy.onnx_described import add_described
from unrolled.deploy.onnx_graph import Graph
from unrolled.deploy.onnx_rows import Ran
from unrolled.deploy.onnx_standard import add_standard, of_module
from unrolled.deploy.parts import Module
from unrolled.nn import Recurrent

STATES = {"hidden": "h", "cell": "c"}
OPERATORS: dict[type[nn.Module], str] = {
    nn.Tanh: "Tanh",
    nn.Sigmoid: "Sigmoid",
    nn.ReLU: "Relu",
    nn.LeakyReLU: "LeakyRelu",
    nn.ELU: "Elu",
}
"""Of the activations, those that the operator set in use has."""


class StateOf(NamedTuple):
    """One state of a module: its name in the graph, its numbers in each layer, and in words."""

    name: str
    units: int
    doc: str


def states_of(part: Module) -> list[StateOf]:
    """A module's states: h or h and c, or those of its cell by their own names."""
    if isinstance(part, Recurrent):
        return [
            StateOf(state.name, part.units[state.size], f"the state {state.name}")
            for state in part.cell.states
        ]
    return [
        StateOf(STATES[name], part.hidden_size, f"the {name} state")
        for name in BUILT_IN[part.mode].states
    ]


def add_recurrent(
    graph: Graph,
    prefix: str,
    part: Module,
    read: str,
    given: dict[str, str],
    constants: dict[str, str],
) -> Ran:
    """A recurrent module.

    Args:
        graph: where to.
        prefix: of the names.
        part: the module.
        read: its input [T, B, I].
        given: by name the states before the first step [L·D, B, ·]; empty for zeros.
        constants: by name the constants of a cell [B, ·].
    """
    if isinstance(part, Recurrent):
        return add_described(graph, prefix, part, read, given, constants)
    states = [state.name for state in states_of(part)]
    return add_standard(graph, prefix, of_module(part), states, read, given)


def add_end(graph: Graph, prefix: str, ran: Ran) -> str:
    """Each row's last state in the top layer, in all directions [B, D·H]."""
    by_row = graph.node("Transpose", [ran.last["h"][-1]], f"{prefix}ends", perm=(1, 0, 2))
    return graph.node("Reshape", [by_row, graph.indices("axes.two", [0, -1])], f"{prefix}end")


def add_plain(graph: Graph, prefix: str, part: nn.Module, read: str) -> str:
    """A module that treats every step alike; gives what it makes of ``read`` [..., F]."""
    output = f"{prefix}output"
    bias: Tensor | None = getattr(part, "bias", None)
    if isinstance(part, nn.Linear):
        weight = graph.weight(f"{prefix}weight", part.weight)
        turned = graph.node("Transpose", [weight], f"{prefix}weight.T", perm=(1, 0))
        if bias is None:
            return graph.node("MatMul", [read, turned], output)
        product = graph.node("MatMul", [read, turned], f"{prefix}product")
        return graph.node("Add", [product, graph.constant(f"{prefix}bias", bias)], output)
    if isinstance(part, nn.LayerNorm):
        ones = torch.ones(part.normalized_shape)
        scale = ones if part.weight is None else part.weight
        given = [read, graph.constant(f"{prefix}weight", scale)]
        if bias is not None:
            given.append(graph.constant(f"{prefix}bias", bias))
        return graph.node("LayerNormalization", given, output, axis=-1, epsilon=float(part.eps))
    more: dict[str, Any] = {}
    if isinstance(part, nn.LeakyReLU):
        more["alpha"] = float(part.negative_slope)
    elif isinstance(part, nn.ELU):
        more["alpha"] = float(part.alpha)
    operator = next(operator for kind, operator in OPERATORS.items() if isinstance(part, kind))
    return graph.node(operator, [read], output, **more)

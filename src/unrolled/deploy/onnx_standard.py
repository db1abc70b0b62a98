"""Layers as the standard's RNN, LSTM and GRU nodes, on [T, B, F] as these have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.deploy.onnx_gates import CELLS, to_onnx
from unrolled.deploy.onnx_graph import Graph
from unrolled.deploy.onnx_rows import LENGTHS, Ran, are_empty


@dataclass(frozen=True)
class Weights:
    """A layer's in all directions: the node's W and R [D, G·H, ·], B [D, 2·G·H] and P [D, 3·H]."""

    w: Tensor
    r: Tensor
    b: Tensor | None = None
    p: Tensor | None = None


@dataclass(frozen=True)
class Standard:
    """A module as nodes of one operator, one for each layer.

    Attributes:
        operator: RNN, LSTM or GRU.
        hidden_size: H.
        layers: the weights.
        attributes: what the nodes have besides.
    """

    operator: str
    hidden_size: int
    layers: Sequence[Weights]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def of_module(part: nn.RNNBase) -> Standard:
    """A module of torch's, or ours."""
    suffixes = ("", "_reverse")[: 1 + part.bidirectional]
    cell = CELLS[part.mode]
    attributes: dict[str, Any] = {**cell.attributes}
    if cell.own_activations is not None:
        attributes["activations"] = [*cell.own_activations] * len(suffixes)

    def stacked(name: str, layer: int) -> Tensor:
        """That weight or bias of each direction [D, …], its gates in ONNX's order."""
        weights = [getattr(part, f"{name}_l{layer}{suffix}").detach() for suffix in suffixes]
        return torch.stack([to_onnx(weight, part.mode) for weight in weights])

    layers = [
        Weights(
            stacked("weight_ih", layer),
            stacked("weight_hh", layer),
            torch.cat([stacked(name, layer) for name in ("bias_ih", "bias_hh")], dim=1)
            if part.bias
            else None,
        )
        for layer in range(part.num_layers)
    ]
    return Standard(cell.operator, part.hidden_size, layers, attributes)


def add_standard(
    graph: Graph,
    prefix: str,
    standard: Standard,
    states: Sequence[str],
    read: str,
    given: Mapping[str, str],
) -> Ran:
    """One node for each layer.

    Args:
        graph: where to.
        prefix: of the names.
        standard: the layers.
        states: the names of the states, the output first.
        read: the input [T, B, I].
        given: by name the states before the first step [L·D, B, H]; empty for zeros.
    """
    last: dict[str, list[str]] = {state: [] for state in states}
    for layer, weights in enumerate(standard.layers):
        here, directions = f"{prefix}l{layer}.", weights.w.shape[0]
        whole = len(standard.layers) == 1
        initial = {
            state: name
            if whole
            else graph.slice(name, f"{here}{state}_0", layer * directions, (layer + 1) * directions)
            for state, name in given.items()
        }
        ends = {state: f"{here}{state}_end" for state in states}
        inputs = [read, *_constants(graph, here, weights), LENGTHS, *initial.values()]
        if weights.p is not None:
            inputs += [""] * (7 - len(inputs)) + [graph.constant(f"{here}P", weights.p)]
        graph.add(
            f"{prefix}l{layer}",
            standard.operator,
            inputs,
            [f"{here}Y", *ends.values()],
            hidden_size=standard.hidden_size,
            direction="bidirectional" if directions == 2 else "forward",
            **standard.attributes,
        )
        for state, end in ends.items():
            # The standard does not say what the last state of a row without steps is.
            begin = initial[state] if initial else graph.constant("no.state", 0.0)
            kept = graph.node("Where", [are_empty(graph), begin, end], f"{here}{state}_n")
            last[state].append(kept)
        read = _joined(graph, f"{here}Y", f"{here}output", directions)
    return Ran(read, last)


def _constants(graph: Graph, here: str, weights: Weights) -> list[str]:
    """The node's inputs W, R and B."""
    products = [graph.weight(f"{here}W", weights.w), graph.weight(f"{here}R", weights.r)]
    return [*products, "" if weights.b is None else graph.constant(f"{here}B", weights.b)]


def _joined(graph: Graph, y: str, output: str, directions: int) -> str:
    """[T, D, B, H] to [T, B, D·H]."""
    if directions == 1:
        return graph.node("Squeeze", [y, graph.indices("axis.1", [1])], output)
    graph.node("Transpose", [y], f"{y}.rows", perm=(0, 2, 1, 3))
    return graph.node("Reshape", [f"{y}.rows", graph.indices("axes.three", [0, 0, -1])], output)

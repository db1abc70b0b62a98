"""Each kind of module as ONNX nodes, on [T, B, F] as the standard's recurrent nodes have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.deploy.onnx_gates import MODES, to_onnx
from unrolled.deploy.onnx_graph import Graph
from unrolled.scan import CELLS

STATES = {"hidden": "h", "cell": "c"}
OPERATORS: dict[type[nn.Module], str] = {
    nn.Tanh: "Tanh",
    nn.Sigmoid: "Sigmoid",
    nn.ReLU: "Relu",
    nn.LeakyReLU: "LeakyRelu",
    nn.ELU: "Elu",
}
"""Of the activations, those that the operator set in use has."""
LENGTHS, IS_EMPTY = "sequence_lens", "is_empty"
"""Values that the recurrent nodes read: each row's steps [B], and whether it has none [B, 1]."""


def states_of(part: nn.RNNBase) -> list[str]:
    """The letters of a module's states, h or h and c."""
    return [STATES[name] for name in CELLS[part.mode].states]


def directions_of(part: nn.RNNBase) -> int:
    """D."""
    return 2 if part.bidirectional else 1


@dataclass(frozen=True)
class Ran:
    """What a recurrent module gives: its output [T, B, D·H], and by state each layer's last."""

    output: str
    last: dict[str, list[str]]


def add_recurrent(
    graph: Graph, prefix: str, part: nn.RNNBase, read: str, given: dict[str, str]
) -> Ran:
    """One node for each layer.

    Args:
        graph: where to.
        prefix: of the names.
        part: the module.
        read: its input [T, B, I].
        given: by letter the states before the first step [L·D, B, H]; empty for zeros.
    """
    directions = directions_of(part)
    last: dict[str, list[str]] = {state: [] for state in states_of(part)}
    more: dict[str, Any] = {"linear_before_reset": 1} if part.mode == "GRU" else {}
    if part.mode == "RNN_RELU":
        more["activations"] = ["Relu"] * directions
    for layer in range(part.num_layers):
        here = f"{prefix}l{layer}."
        initial = {
            state: _of_layer(graph, name, part, layer, f"{here}{state}_0")
            for state, name in given.items()
        }
        ends = {state: f"{here}{state}_end" for state in last}
        graph.add(
            f"{prefix}l{layer}",
            MODES[part.mode],
            [
                read,
                graph.weight(f"{here}W", _stacked(part, "weight_ih", layer)),
                graph.weight(f"{here}R", _stacked(part, "weight_hh", layer)),
                _bias(graph, part, layer, here),
                LENGTHS,
                *initial.values(),
            ],
            [f"{here}Y", *ends.values()],
            hidden_size=part.hidden_size,
            direction="bidirectional" if part.bidirectional else "forward",
            **more,
        )
        for state, end in ends.items():
            # The standard does not say what the last state of a row without steps is.
            begin = initial[state] if initial else graph.constant("no_state", 0.0)
            last[state].append(graph.node("Where", [IS_EMPTY, begin, end], f"{here}{state}_n"))
        read = _joined(graph, f"{here}Y", f"{here}output", directions)
    return Ran(read, last)


def add_end(graph: Graph, prefix: str, ran: Ran) -> str:
    """Each row's last state in the top layer, in all directions [B, D·H]."""
    by_row = graph.node("Transpose", [ran.last["h"][-1]], f"{prefix}ends", perm=(1, 0, 2))
    return graph.node("Reshape", [by_row, graph.indices("two_axes", [0, -1])], f"{prefix}end")


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


def _of_layer(graph: Graph, states: str, part: nn.RNNBase, layer: int, name: str) -> str:
    """One layer's share [D, B, H] of all states."""
    if part.num_layers == 1:
        return states
    directions = directions_of(part)
    return graph.slice(states, name, layer * directions, (layer + 1) * directions)


def _bias(graph: Graph, part: nn.RNNBase, layer: int, here: str) -> str:
    if not part.bias:
        return ""
    both = [_stacked(part, name, layer) for name in ("bias_ih", "bias_hh")]
    return graph.constant(f"{here}B", torch.cat(both, dim=1))


def _stacked(part: nn.RNNBase, name: str, layer: int) -> Tensor:
    """That weight or bias of each direction [D, …], its gates in ONNX's order."""
    suffixes = ("", "_reverse") if part.bidirectional else ("",)
    weights = [getattr(part, f"{name}_l{layer}{suffix}").detach() for suffix in suffixes]
    return torch.stack([to_onnx(weight, part.mode) for weight in weights])


def _joined(graph: Graph, y: str, output: str, directions: int) -> str:
    """[T, D, B, H] to [T, B, D·H]."""
    if directions == 1:
        return graph.node("Squeeze", [y, graph.indices("one", [1])], output)
    graph.node("Transpose", [y], f"{y}.rows", perm=(0, 2, 1, 3))
    return graph.node("Reshape", [f"{y}.rows", graph.indices("three_axes", [0, 0, -1])], output)

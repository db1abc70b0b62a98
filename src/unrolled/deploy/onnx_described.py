"""A module of a described cell: as the standard's nodes where it is one of them, else as Scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import Bias, Description
from unrolled.cells.layers import names
from unrolled.cells.resting import at_rest
from unrolled.deploy.onnx_graph import Graph
from unrolled.deploy.onnx_patterns import Added, Recognised, recognised
from unrolled.deploy.onnx_rows import Ran
from unrolled.deploy.onnx_scan import Layer, add_scan
from unrolled.deploy.onnx_standard import Standard, Weights, add_standard
from unrolled.nn import Recurrent
from unrolled.scan import equations, forms
from unrolled.scan.reference import PLAIN
from unrolled.scan.spec import Kind, Spec


def add_described(
    graph: Graph,
    prefix: str,
    part: Recurrent,
    read: str,
    given: Mapping[str, str],
    constants: Mapping[str, str],
) -> Ran:
    """The module in ``eval()``.

    Args:
        graph: where to.
        prefix: of the names.
        part: the module.
        read: its input [T, B, I].
        given: by name the states before the first step [L·D, B, ·]; empty for zeros.
        constants: by name the cell's constants [B, ·].
    """
    cell = at_rest(part.cell)
    layers = [_layer(part, cell, kind, index) for index, kind in enumerate(_kinds(part))]
    # ONNX Runtime's RNN, LSTM and GRU compute in float32 alone.
    found = None if graph.double else recognised(cell)
    if found is None:
        return _add_scans(graph, prefix, part, layers, read, given, constants)
    hidden = part.units[part.cell.output.size]
    directions = 1 + part.bidirectional
    weights = [
        _weights(found, layers[at : at + directions], hidden)
        for at in range(0, len(layers), directions)
    ]
    attributes: dict[str, Any] = dict(found.attributes)
    if found.activations is not None:
        attributes["activations"] = [*found.activations] * directions
    standard = Standard(found.operator, hidden, weights, attributes)
    return add_standard(graph, prefix, standard, [s.name for s in cell.states], read, given)


def count_weights(part: Recurrent) -> int:
    """How many numbers multiply and are added: of a matrix in blocks more than are learned."""
    return sum(
        sum(kind.units[p.size] for p in weight.parts)
        * (1 if weight.columns is None else kind.units[weight.columns])
        for kind in _kinds(part)
        for weight in part.cell.weights
    )


def _kinds(part: Recurrent) -> tuple[Kind, ...]:
    """The layers and directions, in the order of the states."""
    units = tuple(part.units.items())
    return Spec(part.cell, units, part.num_layers, part.bidirectional).kinds


def _layer(part: Recurrent, cell: Description, kind: Kind, index: int) -> Layer:
    """One layer in one direction, with the weights as they multiply."""
    suffix = f"_l{index // (1 + part.bidirectional)}{'_reverse' * kind.reverse}"
    learned = {name: getattr(part, name + suffix).detach().cpu() for name in names(part.cell)}
    weights = forms.multiplies(part.cell, learned, kind.units)
    plain = {w.name: weights[w.name] for w in part.cell.weights if w.kind in PLAIN}
    parts = equations.parts(part.cell, weights, kind.units)
    return Layer(cell, kind.units, parts, plain, kind.reverse)


def _add_scans(
    graph: Graph,
    prefix: str,
    part: Recurrent,
    layers: Sequence[Layer],
    read: str,
    given: Mapping[str, str],
    constants: Mapping[str, str],
) -> Ran:
    """One Scan for each layer and direction."""
    last: dict[str, list[str]] = {state.name: [] for state in part.cell.states}
    outputs: list[str] = []
    for index, layer in enumerate(layers):
        number = index // (1 + part.bidirectional)
        name = f"{prefix}l{number}{'_reverse' * layer.reverse}"
        initial = {
            state: graph.node(
                "Gather",
                [states, graph.indices(f"index.{index}", index)],
                f"{name}.{state}.first",
                axis=0,
            )
            for state, states in given.items()
        }
        output, ends = add_scan(graph, name, layer, read, initial, constants)
        for state, end in zip(last, ends, strict=True):
            axis = graph.indices("axis.0", [0])
            last[state].append(graph.node("Unsqueeze", [end, axis], f"{name}.{state}.end"))
        outputs.append(output)
        if len(outputs) > part.bidirectional:
            read = outputs[0]
            if part.bidirectional:
                read = graph.node("Concat", outputs, f"{prefix}l{number}.[output]", axis=-1)
            outputs = []
    return Ran(read, last)


def _weights(found: Recognised, directions: Sequence[Layer], hidden: int) -> Weights:
    """A layer's weights as the node has them: its gates one below the other."""
    of_all = [_of_direction(found, layer, hidden) for layer in directions]
    w, r, b, p = (torch.stack(of_each) for of_each in zip(*of_all, strict=True))
    has_biases = any(gate and gate.w_bias + gate.r_bias for gate in found.gates)
    return Weights(w, r, b if has_biases else None, p if found.peepholes else None)


def _of_direction(
    found: Recognised, layer: Layer, hidden: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W, R, B and P of one direction; zeros for a gate that the cell does not have."""
    present = next(gate for gate in found.gates if gate is not None)
    like = layer.parts[present.w.weight, present.w.part]
    nothing = like.new_zeros(hidden)
    w, r, biases = [], [], []
    for gate in found.gates:
        w.append(layer.parts[gate.w.weight, gate.w.part] if gate else torch.zeros_like(like))
        r.append(layer.parts[gate.r.weight, gate.r.part] if gate else nothing.expand(hidden, -1))
    for added in ("w_bias", "r_bias"):
        for gate in found.gates:
            bias = nothing
            for one in getattr(gate, added, ()):
                bias = bias + _added(one, layer)
            biases.append(bias)
    peepholes = [layer.plain[name] for name in found.peepholes]
    p = torch.cat(peepholes) if peepholes else nothing
    return torch.cat(w), torch.cat(r), torch.cat(biases), p


def _added(one: Added, layer: Layer) -> Tensor | float:
    if isinstance(one, Bias):
        return layer.parts[one.weight, one.part]
    return layer.plain[one] if isinstance(one, str) else one

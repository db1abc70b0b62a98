"""``unrolled.import_onnx``: the RNN, LSTM and GRU nodes of an ONNX file as modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import unrolled.nn
from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_gates import ORDER, from_onnx
from unrolled.deploy.onnx_modules import ResetFirstGRU, Reversed
from unrolled.errors import InputError

OPERATORS = tuple(ORDER)
DEFAULTS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}
PRECISIONS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def import_onnx(path: str | Path) -> dict[str, nn.Module]:
    """Reads the RNN, LSTM and GRU nodes of an ONNX file into modules.

    Nodes that feed one another directly and are alike become the layers of one module. The rest of
    the graph (scalers, linear layers) is not read, and what the graph feeds a node as
    ``sequence_lens`` and initial states is what the module takes as ``lengths`` and ``hx``. A node
    with ``layout=1`` becomes a batch-first module. Weights may be computed in the graph, from
    constants alone, as those of ``unrolled export --int8`` are.

    Args:
        path: the file.

    Returns:
        For each module the name of its first node and the module, in the order of the graph: an
        :class:`~unrolled.RNN`, :class:`~unrolled.LSTM` or :class:`~unrolled.GRU`, in evaluation
        mode; where torch.nn has no such module, a
        :class:`~unrolled.deploy.onnx_modules.Reversed` (direction ``reverse``) or a
        :class:`~unrolled.deploy.onnx_modules.ResetFirstGRU` (``linear_before_reset=0``).

    Raises:
        InputError: it is no ONNX file or has no such node; or a node has what can't be had here:
            peepholes (P), ``clip``, ``input_forget``, other activations, weights or a first state
            that are not what a module can hold. It names the node.
    """
    graph = _Graph(_load(Path(path)))
    nodes = [_read(graph, node) for node in graph.nodes if _is_recurrent(node)]
    if not nodes:
        found = sorted({node.op_type for node in graph.nodes})
        raise InputError(
            f"{path}: an RNN, LSTM or GRU node was expected in the graph, and it has "
            f"{', '.join(found) or 'no node'}. Nodes within If, Loop and functions are not read"
        )
    stacks: list[list[_Node]] = []
    for node in nodes:
        below = next((s for s in stacks if node.reads == s[-1].outputs[0]), None)
        if below is not None and below[-1].kind == node.kind and node.can_stack:
            below.append(node)
        else:
            stacks.append([node])
    names = [stack[0].name for stack in stacks]
    if len(set(names)) < len(names):  # a node's name need not be its own, its outputs' are
        names = [next(filter(None, stack[0].outputs)) for stack in stacks]
    return {name: _module(stack) for name, stack in zip(names, stacks, strict=True)}


def _load(path: Path) -> Any:
    onnx, errors = need("onnx"), need("google.protobuf.message")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Name an ONNX file, as unrolled export writes")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (errors.DecodeError, onnx.checker.ValidationError, OSError) as error:
        first = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a whole ONNX file ({first}). Write it again") from error
    return model


def _is_recurrent(node: Any) -> bool:
    return node.op_type in OPERATORS and node.domain in ("", "ai.onnx")


class _Graph:
    """The nodes of a model, who makes each value, and the values that are constants."""

    def __init__(self, model: Any) -> None:
        self.nodes = list(model.graph.node)
        self.opsets = list(model.opset_import)
        self.maker = {output: node for node in self.nodes for output in node.output if output}
        to_array = need("onnx.numpy_helper").to_array
        self.known = {value.name: to_array(value) for value in model.graph.initializer}

    def constant(self, name: str) -> Any:
        """The value as an array, if it is a constant or computed from constants; else None."""
        if not name:
            return None
        if name not in self.known:
            self.known[name] = self._computed(name)
        return self.known[name]

    def _computed(self, name: str) -> Any:
        node = self.maker.get(name)
        if node is None or _is_recurrent(node):
            return None
        given = {each: self.constant(each) for each in node.input if each}
        if any(value is None for value in given.values()):
            return None
        # One node at a time, by ONNX's own readable implementation.
        helper = need("onnx.helper")
        made = helper.make_empty_tensor_value_info
        graph = helper.make_graph([node], "one", list(map(made, given)), [made(name)])
        model = helper.make_model(graph, opset_imports=self.opsets)
        run = need("onnx.reference").ReferenceEvaluator(model).run
        return run([name], given)[0]


@dataclass(frozen=True)
class _Node:
    """One node's weights, and what it reads: another's output Y, or None for something else.

    ``kind`` is what the layers of one module have in common: the mode, H, the directions, whether
    there are biases, whether the batch comes first, and the precision.
    """

    name: str
    kind: tuple[Any, ...]
    weights: dict[str, Tensor]
    reads: str | None
    outputs: list[str]
    is_reverse: bool
    is_reset_first: bool

    @property
    def can_stack(self) -> bool:
        return not (self.is_reverse or self.is_reset_first)


def _read(graph: _Graph, node: Any) -> _Node:
    helper = need("onnx.helper")
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = [*node.input, *[""] * (8 - len(node.input))]
    name = node.name or next(filter(None, node.output))
    called = f"{node.op_type} node {name!r}"
    arrays = []
    for letter, source in zip("WRB", inputs[1:4], strict=True):
        value = graph.constant(source)
        if source and value is None:
            raise InputError(
                f"{called}: its weights {letter} ({source!r}) are an input of the graph or "
                "computed from one, and constants were expected. Make them initializers"
            )
        arrays.append(value)
    w, r, b = arrays
    direction = options.get("direction", b"forward").decode().lower()
    directions = 2 if direction == "bidirectional" else 1
    precision = PRECISIONS.get(str(w.dtype))
    if precision is None:
        raise InputError(
            f"{called}: its weights are {w.dtype}, and one of {', '.join(PRECISIONS)} was expected"
        )
    mode = _mode(called, node.op_type, options, directions)
    _refuse(called, options, inputs, graph)
    hidden = int(r.shape[-1])
    batch_first = options.get("layout", 0) == 1
    return _Node(
        name=name,
        kind=(mode, hidden, directions, b is not None, batch_first, precision),
        weights=_weights(mode, w, r, b, precision),
        reads=_source(graph, inputs[0], directions, batch_first),
        outputs=list(node.output),
        is_reverse=direction == "reverse",
        is_reset_first=node.op_type == "GRU" and options.get("linear_before_reset", 0) == 0,
    )


def _mode(called: str, operator: str, options: dict[str, Any], directions: int) -> str:
    """The cell's name, by the operator and its activations."""
    default = DEFAULTS.get(operator, ["tanh"]) * directions
    found = [a.decode().lower() for a in options.get("activations", [])] or default
    if found == default:
        return "RNN_TANH" if operator == "RNN" else operator
    if operator == "RNN" and found == ["relu"] * directions:
        return "RNN_RELU"
    known = "tanh or relu, in both directions alike" if operator == "RNN" else ", ".join(default)
    raise InputError(
        f"{called}: has the activations {', '.join(found)}, and {known} was expected: torch.nn's "
        "modules and ours have no others"
    )


def _refuse(called: str, options: dict[str, Any], inputs: Sequence[str], graph: _Graph) -> None:
    """What a module of torch's kind can't do, by name."""
    peepholes = graph.constant(inputs[7])
    if inputs[7] and (peepholes is None or np.any(peepholes)):
        raise InputError(
            f"{called}: has peepholes (P), from the cell state to the gates, which torch.nn's LSTM "
            "and ours have not. Train one without"
        )
    for option, why in (
        ("clip", "bounds what goes into the activations"),
        ("input_forget", "couples the input gate to the forget gate"),
    ):
        if options.get(option, 0):
            raise InputError(
                f"{called}: has {option}={options[option]:g}, which {why}; torch.nn's modules and "
                "ours do no such thing. Export it without"
            )
    for place, what in ((4, "sequence_lens"), (5, "initial_h"), (6, "initial_c")):
        value = graph.constant(inputs[place])
        if value is not None and (what == "sequence_lens" or np.any(value)):
            raise InputError(
                f"{called}: its {what} is a constant of the graph, which a module does not hold. "
                "Make it an input of the graph, and give it to the module's call"
            )


def _weights(mode: str, w: Any, r: Any, b: Any, precision: torch.dtype) -> dict[str, Tensor]:
    """By torch's names, of layer 0."""
    found: dict[str, Tensor] = {}
    for direction, suffix in zip(range(w.shape[0]), ("", "_reverse"), strict=False):
        parts = {"weight_ih": w[direction], "weight_hh": r[direction]}
        if b is not None:
            parts["bias_ih"], parts["bias_hh"] = np.split(b[direction], 2)
        for name, array in parts.items():
            # By way of float64, which holds them all; torch does not read NumPy's bfloat16.
            values = torch.from_numpy(array.astype(np.float64)).to(precision)
            found[f"{name}_l0{suffix}"] = from_onnx(values, mode)
    return found


def _source(graph: _Graph, name: str, directions: int, batch_first: bool) -> str | None:
    """The output Y that reaches a node with its directions joined and nothing else done to it."""
    node = graph.maker.get(name)
    if node is None:
        return None
    if node.op_type in ("Identity", "Dropout"):
        return _source(graph, node.input[0], directions, batch_first)
    if node.op_type == "Squeeze" and directions == 1:
        is_directions = _is(_axes(graph, node), [2 if batch_first else 1])
        return str(node.input[0]) if is_directions else None
    if node.op_type != "Reshape" or not _is(graph.constant(node.input[1]), [0, 0, -1]):
        return None
    if batch_first:
        return str(node.input[0])
    turned = graph.maker.get(node.input[0])
    if turned is None or turned.op_type != "Transpose":
        return None
    perm = next((list(a.ints) for a in turned.attribute if a.name == "perm"), None)
    return str(turned.input[0]) if _is(perm, [0, 2, 1, 3]) else None


def _axes(graph: _Graph, node: Any) -> Any:
    """A Squeeze's axes: an input since operator set 13, before it an attribute."""
    if len(node.input) > 1:
        return graph.constant(node.input[1])
    return next((list(a.ints) for a in node.attribute if a.name == "axes"), None)


def _is(value: Any, expected: list[int]) -> bool:
    return value is not None and np.array_equal(value, expected)


def _module(stack: Sequence[_Node]) -> nn.Module:
    first = stack[0]
    mode, hidden, directions, bias, batch_first, precision = first.kind
    options: dict[str, Any] = {
        "input_size": first.weights["weight_ih_l0"].shape[1],
        "hidden_size": hidden,
        "bias": bias,
        "batch_first": batch_first,
        "bidirectional": directions == 2,
    }
    module: nn.Module
    if first.is_reset_first:
        module = ResetFirstGRU(**options)
    elif mode.startswith("RNN"):
        nonlinearity = mode.removeprefix("RNN_").lower()
        module = unrolled.nn.RNN(**options, num_layers=len(stack), nonlinearity=nonlinearity)
    else:
        kind = unrolled.nn.LSTM if mode == "LSTM" else unrolled.nn.GRU
        module = kind(**options, num_layers=len(stack))
    state = {
        name.replace("_l0", f"_l{layer}"): weight
        for layer, node in enumerate(stack)
        for name, weight in node.weights.items()
    }
    module.to(precision).load_state_dict(state)
    return (Reversed(module) if first.is_reverse else module).eval()

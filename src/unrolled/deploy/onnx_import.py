"""``unrolled.import_onnx``: the RNN, LSTM and GRU nodes of an ONNX file as modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.cells.built_in import BUILT_IN
from unrolled.deploy.onnx_constants import Constants
from unrolled.deploy.onnx_file import load
from unrolled.deploy.onnx_gates import from_onnx
from unrolled.deploy.onnx_modules import ResetFirstGRU, Reversed
from unrolled.deploy.onnx_recurrent import Layer, read_layer
from unrolled.deploy.onnx_scope import STANDARD, Scope, is_recurrent, nodes_within
from unrolled.deploy.onnx_stack import stacked
from unrolled.deploy.onnx_words import shown
from unrolled.errors import InputError
from unrolled.nn.recurrent import MODULES

LISTED = 20
"""Kinds of nodes that a message names at most."""
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
    with ``layout=1`` becomes a batch-first module. Nodes in the branches of an ``If`` and in other
    graphs within the graph are read as well. Weights may be computed in the graph, from constants
    alone, as those of ``unrolled export --int8`` are.

    Args:
        path: the file.

    Returns:
        For each module the name of its first node and the module, in the order of the graph: an
        :class:`~unrolled.RNN`, :class:`~unrolled.LSTM` or :class:`~unrolled.GRU`, in evaluation
        mode; where torch.nn has no such module, a
        :class:`~unrolled.deploy.onnx_modules.Reversed` (direction ``reverse``) or a
        :class:`~unrolled.deploy.onnx_modules.ResetFirstGRU` (``linear_before_reset=0``). Where
        nodes share names, the modules have those of their first outputs instead; where branches
        share these as well, the path to the branch in front.

    Raises:
        InputError: it is no ONNX file, is damaged, or has no such node; a node is not what ONNX
            Runtime admits (``layout=1`` apart, which it does not run); or it has what can't be had
            here: peepholes (P), ``clip``, ``input_forget``, other activations, weights or a first
            state that are not what a module can hold. It names the file and the node.
    """
    path = Path(path)
    model = load(path)
    try:
        return _modules(model, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (MemoryError, RecursionError) as error:
        raise InputError(f"{path}: is too large for this machine's memory") from error


def _modules(model: Any, path: Path) -> dict[str, nn.Module]:
    opset = next(each.version for each in model.opset_import if each.domain in STANDARD)
    constants = Constants(path.parent, path.stat().st_size, opset)
    _refuse_functions(model)
    found = list(Scope(model.graph).walk())
    layers = [read_layer(*each, constants) for each in found if is_recurrent(each[1])]
    if not layers:
        kinds = sorted({node.op_type for _, node in found})
        kinds[LISTED:] = ["…"] * (len(kinds) > LISTED)
        listed = ", ".join(shown(kind)[1:-1] for kind in kinds)
        raise InputError(
            "an RNN, LSTM or GRU node was expected in the graph, and it has "
            f"{listed or 'no node'}. Name a file with such a network"
        )
    stacks = stacked(layers, constants)
    for stack in stacks:
        for layer in stack:
            weights = [array.nbytes for array in (layer.w, layer.r, layer.b) if array is not None]
            constants.take(sum(weights), "its modules")
    return dict(zip(_names(stacks), map(_module, stacks), strict=True))


def _refuse_functions(model: Any) -> None:
    """Those that hold recurrent nodes, or are called like the standard's operators."""
    for function in model.functions:
        name = shown(f"{function.domain}.{function.name}")
        if function.domain in STANDARD:
            raise InputError(
                f"its function {name} replaces an operator of the standard. Give it a domain of "
                "its own"
            )
        if any(map(is_recurrent, nodes_within(function.node))):
            raise InputError(
                f"its function {name} has an RNN, LSTM or GRU node, and functions are not read. "
                "Put its nodes in place of the calls: onnx.inliner.inline_local_functions"
            )


def _names(stacks: Sequence[Sequence[Layer]]) -> list[str]:
    """One for each module: as short as will tell them apart."""
    firsts = [stack[0] for stack in stacks]
    outputs = [next(filter(None, each.node.output), each.node.op_type) for each in firsts]
    paths = ["/".join((*e.scope.path, o)) for e, o in zip(firsts, outputs, strict=True)]
    names = [each.node.name or output for each, output in zip(firsts, outputs, strict=True)]
    for found in (names, outputs, paths):
        if len(set(found)) == len(found):
            return found
    return [f"{at}:{path}" for at, path in enumerate(paths)]  # nodes that have no outputs


def _module(stack: Sequence[Layer]) -> nn.Module:
    first = stack[0]
    options: dict[str, Any] = {
        "input_size": first.w.shape[-1],
        "hidden_size": first.hidden_size,
        "bias": first.b is not None,
        "batch_first": first.batch_first,
        "bidirectional": first.direction == "bidirectional",
    }
    module: nn.Module
    with torch.device("meta"):  # so that no weights are drawn, which the file's would replace
        if first.reset_first:
            module = ResetFirstGRU(**options)
        else:
            cell = BUILT_IN[first.mode]
            module = MODULES[cell.name](**options, **cell.settings, num_layers=len(stack))
    state = {name: weight for at, layer in enumerate(stack) for name, weight in _weights(layer, at)}
    module.load_state_dict(state, assign=True)
    return (Reversed(module) if first.direction == "reverse" else module).eval()


def _weights(layer: Layer, at: int) -> Iterator[tuple[str, Tensor]]:
    """By torch's names, as those of the module's layer ``at``."""
    for direction, suffix in zip(range(len(layer.w)), ("", "_reverse"), strict=False):
        parts = {"weight_ih": layer.w[direction], "weight_hh": layer.r[direction]}
        if layer.b is not None:
            parts["bias_ih"], parts["bias_hh"] = np.split(layer.b[direction], 2)
        for name, array in parts.items():
            # A copy in a type that holds all others; torch does not read NumPy's bfloat16.
            plain = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
            values = torch.from_numpy(plain).to(PRECISIONS[str(array.dtype)])
            yield f"{name}_l{at}{suffix}", from_onnx(values, layer.mode)

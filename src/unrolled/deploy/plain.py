"""A run folder as a plan, without torch and pydantic: config.json and model.safetensors by hand.

What :func:`unrolled.load_run` refuses is refused here, in much the same words; a test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.deploy.held import Header, NotWholeError, Tensor, read_arrays, read_header
from unrolled.deploy.plan import (
    CELLS,
    SCALERS,
    Array,
    Linear,
    Plan,
    Recurrent,
    Scales,
    Weights,
    fault_of_scalers,
)
from unrolled.deploy.unpack import is_text
from unrolled.errors import InputError, clip
from unrolled.runfile import CONFIG, WEIGHTS, read_config

REVERSE = (
    "is bidirectional, and its reverse direction reads from a sequence's last step, which a stream "
    "has not seen"
)
MODES = {"rnn": "RNN_TANH", "lstm": "LSTM", "gru": "GRU"}
"""torch's ``mode`` for each of a run's cells."""


def read_run(folder: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        InputError: the folder or a file is missing, cut short, damaged or of another version, or
            the network can't stream.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder. Make one with: unrolled train")
    config = _read_config(folder / CONFIG)
    network, table = config["network"], config["table"]
    if network["bidirectional"]:
        raise InputError(
            f"{folder}: can't be streamed: the network {REVERSE}. "
            "Train without --bidirectional, or predict whole tables with: unrolled predict"
        )
    arrays = _read_arrays(folder / WEIGHTS, network)
    weights = tuple(
        Weights(*[arrays[f"network.recurrent.{name}_l{layer}"] for name in _PARTS])
        for layer in range(network["num_layers"])
    )
    readout = Linear(arrays["network.readout.weight"], arrays["network.readout.bias"])
    return Plan(
        dtype="float32",
        input_size=network["input_size"],
        output_size=network["output_size"],
        layers=(Recurrent(MODES[network["cell"]], weights), readout),
        scales=scales_of(
            {name.removeprefix("scaler."): array for name, array in arrays.items()},
            table["inputs"],
            table["targets"],
            difference=table["difference"],
        ),
        inputs=tuple(table["inputs"]),
        targets=tuple(table["targets"]),
        group=table["group"],
        ahead=table["ahead"],
    )


def scales_of(
    scalers: Mapping[str, Array], inputs: list[str], targets: list[str], *, difference: bool
) -> Scales:
    """A run's scalers, ``input.mean`` and so on, with the columns that are changes."""
    differs = tuple(difference and name in targets for name in inputs)
    base = tuple(inputs.index(name) if difference and name in inputs else -1 for name in targets)
    return Scales.of(scalers, differs, base)


_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NETWORK = {
    "cell": str,
    "input_size": int,
    "hidden_size": int,
    "output_size": int,
    "num_layers": int,
    "bidirectional": bool,
    "dropout": float,
}
_TABLE = {
    "inputs": list,
    "targets": list,
    "group": (str, type(None)),
    "window": int,
    "ahead": int,
    "difference": bool,
    "missing": str,
}
_DEFAULTS: dict[str, Any] = {
    "num_layers": 1,
    "bidirectional": False,
    "dropout": 0.0,
    "group": None,
    "ahead": 0,
    "difference": False,
    "missing": "error",
}
_CHOICES = {"cell": tuple(MODES), "missing": ("error", "drop", "interpolate")}
_LEAST = {
    "input_size": 1,
    "hidden_size": 1,
    "output_size": 1,
    "num_layers": 1,
    "window": 1,
    "ahead": 0,
    "dropout": 0,
}
"""All as in ``NetworkConfig`` and ``TableConfig``."""


def _read_config(path: Path) -> dict[str, Any]:
    content = read_config(path)
    read = {}
    for part, fields in (("network", _NETWORK), ("table", _TABLE)):
        given = content.get(part)
        defaults = {name: value for name, value in _DEFAULTS.items() if name in fields}
        read[part] = defaults | (given if isinstance(given, dict) else {})
        for name in fields | read[part]:
            if fault := _fault_of(read[part], name, fields):
                raise InputError(
                    f"{path}: {part}.{name}: {fault}. Restore the file, or train again"
                )
    network, table = read["network"], read["table"]
    sizes = (network["input_size"], network["output_size"])
    if sizes != (len(table["inputs"]), len(table["targets"])):
        raise InputError(
            f"{path}: the table has {len(table['inputs'])} inputs and {len(table['targets'])} "
            f"targets, the network {sizes[0]} and {sizes[1]}. Restore the file, or train again"
        )
    return read


def _fault_of(read: dict[str, Any], name: str, fields: dict[str, Any]) -> str | None:
    if name not in fields:
        return "there is no such setting"
    if name not in read:
        return "is missing"
    value, kind = read[name], fields[name]
    of_kind = isinstance(value, (int, float) if kind is float else kind)
    if not of_kind or (kind in (int, float) and isinstance(value, bool)):
        return f"{clip(repr(value), 60)} does not belong there"
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"one of {', '.join(_CHOICES[name])} was expected, got {clip(repr(value), 60)}"
    if name in _LEAST and not value >= _LEAST[name]:  # NaN is not either
        return f"at least {_LEAST[name]} was expected, got {clip(value, 60)}"
    if name == "dropout" and value > 1:
        return f"at most 1 was expected, got {clip(value, 60)}"
    if kind is list and not (value and all(isinstance(column, str) for column in value)):
        return f"names of columns were expected, got {clip(repr(value), 60)}"
    if not all(map(is_text, [value] if isinstance(value, str) else value if kind is list else [])):
        return f"{clip(repr(value), 60)} is no text"
    return None


def _read_arrays(path: Path, network: dict[str, Any]) -> dict[str, Array]:
    """What the file holds, if its header and its numbers are those of such a network."""
    try:
        header = read_header(path)
        fault = _fault_of_header(header, network)
        arrays = {} if fault else read_arrays(path)
    except FileNotFoundError:
        raise InputError(f"{path}: missing. Restore the whole folder, or train again") from None
    except (NotWholeError, OSError) as error:
        raise InputError(
            f"{path}: cut short or damaged ({clip(error)}). Restore the file, or train again"
        ) from error
    if fault := fault or _fault_of_numbers(arrays):
        raise InputError(
            f"{path}: does not hold what {CONFIG} describes: {fault}. "
            "Restore the whole folder, or train again"
        )
    return arrays


def _fault_of_header(header: Header, network: dict[str, Any]) -> str | None:
    """The first difference from the names, shapes and types that the network's file has."""
    known = set()
    for name, wanted in _expected(network):  # as far as the file goes, whatever its config says
        if name not in header.tensors:
            return f"{name} is missing"
        if (held := header.tensors[name]) != wanted:
            return (
                f"{name} is {held.dtype} {list(held.shape)}, "
                f"{wanted.dtype} {clip(list(wanted.shape), 60)} was expected"
            )
        known.add(name)
    for name in header.tensors:
        if name not in known:
            return f"{clip(name, 60)} belongs to another network"
    return None


def _expected(network: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    hidden, outputs = network["hidden_size"], network["output_size"]
    rows = CELLS[MODES[network["cell"]]] * hidden
    for layer in range(network["num_layers"]):
        inputs = hidden if layer else network["input_size"]
        for name, shape in zip(
            _PARTS, ((rows, inputs), (rows, hidden), (rows,), (rows,)), strict=True
        ):
            yield f"network.recurrent.{name}_l{layer}", Tensor("F32", shape)
    yield "network.readout.weight", Tensor("F32", (outputs, hidden))
    yield "network.readout.bias", Tensor("F32", (outputs,))
    for side, columns in (("input", network["input_size"]), ("target", outputs)):
        for part in ("mean", "scale"):
            yield f"scaler.{side}.{part}", Tensor("F64", (columns,))


def _fault_of_numbers(arrays: dict[str, Array]) -> str | None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            return f"{name} is not finite"
    return fault_of_scalers({name: arrays[f"scaler.{name}"] for name in SCALERS})

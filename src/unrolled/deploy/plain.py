"""A run folder as a plan, without torch and pydantic: config.json and model.safetensors by hand.

What :func:`unrolled.load_run` refuses is refused here, in much the same words; a test holds the two
together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from unrolled.cells.built_in import OF_RUNS
from unrolled.cells.in_runs import Layers, equations_of, usable
from unrolled.cells.layers import names
from unrolled.cells.stored import from_json
from unrolled.deploy.described import described
from unrolled.deploy.plan import (
    SCALERS,
    Array,
    Described,
    Linear,
    Plan,
    Recurrent,
    Scales,
    Weights,
    fault_of_scalers,
)
from unrolled.deploy.unpack import is_text
from unrolled.errors import InputError
from unrolled.files import short
from unrolled.runfile import (
    CONFIG,
    WEIGHTS,
    check_config,
    check_size,
    consistent,
    read_config,
    read_weights,
)

REVERSE = (
    "is bidirectional, and its reverse direction reads from a sequence's last step, which a stream "
    "has not seen"
)
REPAIR = "Restore the file, or train again"


def read_run(folder: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        InputError: the folder or a file is missing, cut short, damaged or of another version, or
            the network can't stream.
    """
    return consistent(folder, _read)


def _read(folder: Path) -> Plan:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder. Make one with: unrolled train")
    path = folder / CONFIG
    content = read_config(path)
    config = _checked(path, content)
    network, table = config["network"], config["table"]
    if network["bidirectional"]:
        raise InputError(
            f"{folder}: can't be streamed: the network {REVERSE}. "
            "Train without --bidirectional, or predict whole tables with: unrolled predict"
        )
    layers = _layers(path, network)
    check_config(path, content)
    arrays = _read_arrays(folder, content | config, layers)
    readout = Linear(arrays["network.readout.weight"], arrays["network.readout.bias"])
    return Plan(
        dtype="float32",
        input_size=network["input_size"],
        output_size=network["output_size"],
        layers=(_recurrent(path, network, layers, arrays), readout),
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


def _layers(path: Path, network: dict[str, Any]) -> Layers:
    """The recurrent layers as they stand in the file."""
    cell = network["cell"]
    if isinstance(cell, dict):
        cell = from_json(cell, f"{path}: network.cell", REPAIR)
    sizes = (network["input_size"], network["hidden_size"], network["num_layers"])
    try:
        layers = Layers(
            usable(equations_of(cell)), *sizes, network["bidirectional"], network["sizes"]
        )
        layers.check()
    except InputError as error:
        raise InputError(f"{path}: network.cell: {error}. {REPAIR}") from error
    return layers


def _recurrent(
    path: Path, network: dict[str, Any], layers: Layers, arrays: Mapping[str, Array]
) -> Recurrent | Described:
    def of_layer(names: Iterable[str], layer: int) -> dict[str, Array]:
        return {name: arrays[f"network.recurrent.{name}_l{layer}"] for name in names}

    learned = [of_layer(names(layers.cell), layer) for layer in range(network["num_layers"])]
    if isinstance(network["cell"], str):
        weights = tuple(Weights(*[of_each[part] for part in _PARTS]) for of_each in learned)
        return Recurrent(OF_RUNS[network["cell"]], weights)
    try:
        return described(layers.cell, layers.units, learned)
    except ValueError as error:
        raise InputError(f"{path.parent}: can't be streamed: {error}") from error


def scales_of(
    scalers: Mapping[str, Array], inputs: list[str], targets: list[str], *, difference: bool
) -> Scales:
    """A run's scalers, ``input.mean`` and so on, with the columns that are changes."""
    differs = tuple(difference and name in targets for name in inputs)
    base = tuple(inputs.index(name) if difference and name in inputs else -1 for name in targets)
    return Scales.of(scalers, differs, base)


_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NETWORK = {
    "cell": (str, dict),
    "input_size": int,
    "hidden_size": int,
    "sizes": dict,
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
    "sizes": {},
    "num_layers": 1,
    "bidirectional": False,
    "dropout": 0.0,
    "group": None,
    "ahead": 0,
    "difference": False,
    "missing": "error",
}
_CHOICES = {"cell": tuple(OF_RUNS), "missing": ("error", "drop", "interpolate")}
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


def _checked(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
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
    if kind is float and isinstance(value, int):
        value = float(min(value, sys.maxsize))  # a larger one is as wrong
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(read[name], bool)):
        return f"{short(value)} does not belong there"
    return _fault_of_value(value, name)


def _fault_of_value(value: Any, name: str) -> str | None:
    """What is wrong with a setting's value, which is of the right type."""
    if name == "sizes":
        return next(filter(None, map(_fault_of_size, value.values())), None)
    if isinstance(value, dict):
        return None  # a cell that is written down, which its own reader looks at
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"one of {', '.join(_CHOICES[name])} was expected, got {short(value)}"
    if name in _LEAST and value < _LEAST[name]:
        return f"at least {_LEAST[name]} was expected, got {short(value)}"
    if name == "dropout" and value > 1:
        return f"at most 1 was expected, got {short(value)}"
    if isinstance(value, int) and (fault := check_size(value, name)):
        return fault
    if isinstance(value, list) and not (value and all(map(_is_name, value))):
        return f"names of columns were expected, got {short(value)}"
    if isinstance(value, str) and not _is_name(value):
        return f"a name was expected, got {short(value)}"
    return None


def _fault_of_size(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        return f"numbers of at least 1 were expected, got {short(value)}"
    return check_size(value, "sizes")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and is_text(value)


def _read_arrays(folder: Path, content: dict[str, Any], layers: Layers) -> dict[str, Array]:
    path = folder / WEIGHTS
    try:
        arrays = load(read_weights(folder, content, layers.tensors(), layers.width))
    except SafetensorError as error:
        raise InputError(
            f"{path}: cut short or damaged ({error}). Restore the file, or train again"
        ) from error
    if fault := _fault_of_numbers(arrays):
        raise InputError(
            f"{path}: does not hold what {CONFIG} describes: {fault}. "
            "Restore the whole folder, or train again"
        )
    return arrays


def _fault_of_numbers(arrays: dict[str, Array]) -> str | None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            return f"{name} is not finite"
    return fault_of_scalers({name: arrays[f"scaler.{name}"] for name in SCALERS})

"""A plan out of a file: the reverse of :func:`unrolled.deploy.plan.pack`, which trusts nothing.

Each size is held against the arrays that are there, from the first layer to the last, so that no
number in the file decides how much memory or time is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unrolled.cells.built_in import BUILT_IN, PROJECTED
from unrolled.cells.description import INPUT, ONE
from unrolled.cells.layers import shape, units_of
from unrolled.cells.stored import from_json
from unrolled.deploy.described import check, without_forms
from unrolled.deploy.plan import (
    ACTIVATIONS,
    SCALERS,
    Activation,
    Array,
    Described,
    Layer,
    LayerNorm,
    Linear,
    Plan,
    Recurrent,
    Scales,
    Weights,
)
from unrolled.files import short
from unrolled.resources import LARGEST_SIZE

KEYS = {"dtype", "input_size", "output_size", "inputs", "targets", "group", "ahead", "layers"}
KEYS_OF_SCALES = {"differs", "base"}


def unpack(described: Any, arrays: Mapping[str, Array]) -> Plan:
    """The plan that ``pack`` took apart.

    Raises:
        ValueError: something is missing, of another type, or does not fit the rest. An
            :class:`~unrolled.errors.InputError` has the repair in its words.
    """
    given = _object(described, "the model")
    has_scales = not KEYS_OF_SCALES.isdisjoint(given)
    _insist_on_keys(given, KEYS | KEYS_OF_SCALES if has_scales else KEYS, "the model")
    dtype = _one_of(given["dtype"], ("float32", "float64"), "dtype")
    inputs, outputs = _size(given["input_size"], "input_size"), _size(given["output_size"], "it")
    store = _Store(arrays, np.dtype(dtype))
    layers: list[Layer] = []
    width = inputs
    for place, layer in enumerate(_list(given["layers"], "layers")):
        made = _layer(layer, f"layers.{place}", width, store)
        width = _width_after(made, width)
        layers.append(made)
    if width != outputs:
        raise ValueError(f"output_size is {outputs}, and the layers make {width}")
    scales = _scales(given, inputs, outputs, store) if has_scales else None
    plan = Plan(
        dtype,
        inputs,
        outputs,
        tuple(layers),
        scales,
        _columns(given["inputs"], inputs, "inputs"),
        _columns(given["targets"], outputs, "targets"),
        None if given["group"] is None else _text(given["group"], "group"),
        _size(given["ahead"], "ahead", least=0),
    )
    store.insist_on_all_used()
    if not plan.recurrent:
        raise ValueError("a recurrent layer was expected, got none")
    names = [layer.name for layer in plan.recurrent]
    if len(set(names)) < len(names):
        raise ValueError("two recurrent layers have the same name")
    return plan


class _Store:
    """The arrays, each of which is taken once."""

    def __init__(self, arrays: Mapping[str, Array], number: np.dtype[Any]):
        self.arrays, self.number = arrays, number
        self.used: set[str] = set()

    def take(self, name: str, *shape: int, dtype: str | None = None) -> Array:
        array = self.arrays.get(name)
        if array is None:
            raise ValueError(f"{name} is missing")
        self._check(name, array, shape, dtype)
        self.used.add(name)
        return array

    def take_or_none(self, name: str, *shape: int) -> Array | None:
        return self.take(name, *shape) if name in self.arrays else None

    def rows_and_columns(self, name: str) -> tuple[int, int]:
        """The shape of a matrix of which neither size is known yet."""
        array = self.arrays.get(name)
        if array is None:
            raise ValueError(f"{name} is missing")
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name} is {list(array.shape)}, a matrix was expected")
        return array.shape[0], array.shape[1]

    def _check(self, name: str, array: Array, shape: tuple[int, ...], dtype: str | None) -> None:
        wanted = np.dtype(dtype) if dtype else self.number
        if (array.shape, array.dtype) != (shape, wanted):
            raise ValueError(
                f"{name} is {array.dtype} {list(array.shape)}, {wanted} {list(shape)} was expected"
            )

    def insist_on_all_used(self) -> None:
        for name in self.arrays:
            if name not in self.used:
                raise ValueError(f"{short(name)} belongs to no layer")


def _layer(described: Any, name: str, width: int, store: _Store) -> Layer:
    given = _object(described, name)
    match sorted(given):
        case ["cell", "depth", "name"] | ["cell", "depth", "int8", "name"]:
            int8 = given.get("int8", False)
            if not isinstance(int8, bool) or (int8 and store.number != np.float32):
                raise ValueError(f"{name}.int8: true, of float32, or false was expected")
            cell = _one_of(given["cell"], tuple(BUILT_IN), f"{name}.cell")
            depth = _size(given["depth"], f"{name}.depth")
            weights = tuple(_weights(cell, name, depth, width, store))
            return Recurrent(cell, weights, _text(given["name"], f"{name}.name"), int8)
        case ["depth", "equations", "name", "units"]:
            return _described(given, name, width, store)
        case ["linear"]:
            outputs, _ = store.rows_and_columns(f"{name}.weight")
            matrix = store.take(f"{name}.weight", outputs, width)
            return Linear(matrix, store.take_or_none(f"{name}.bias", outputs))
        case ["epsilon", "layer_norm"]:
            size = _size(given["layer_norm"], f"{name}.layer_norm")
            if size != width:
                raise ValueError(f"{name}.layer_norm is {size}, and what comes before {width}")
            weight, bias = (store.take_or_none(f"{name}.{p}", width) for p in ("weight", "bias"))
            return LayerNorm(size, weight, bias, _real(given["epsilon"], f"{name}.epsilon"))
        case ["activation", "parameter"]:
            kind = _one_of(given["activation"], ACTIVATIONS, f"{name}.activation")
            return Activation(kind, _real(given["parameter"], f"{name}.parameter"))
    raise ValueError(f"{name}: no such layer")


def _weights(cell: str, name: str, depth: int, width: int, store: _Store) -> Iterator[Weights]:
    """Layer by layer: the first that is missing ends it, whatever ``depth`` says."""
    gates = len(BUILT_IN[cell].gates)
    for layer in range(depth):
        called = f"{name}.{layer}"
        rows, state = store.rows_and_columns(f"{called}.hh")
        hidden = rows // gates
        rows = gates * hidden
        is_projected = f"{called}.hr" in store.arrays
        if hidden == 0 or (is_projected and cell not in PROJECTED):
            raise ValueError(f"{called}: no weights of a layer of cell {cell}")
        of_x, of_h = (store.take_or_none(f"{called}.bias_{part}", rows) for part in ("ih", "hh"))
        if (of_x is None) != (of_h is None):
            raise ValueError(f"{called}: two biases or none were expected, got one")
        yield Weights(
            store.take(f"{called}.ih", rows, width),
            store.take(f"{called}.hh", rows, state if is_projected else hidden),
            of_x,
            of_h,
            store.take(f"{called}.hr", state, hidden) if is_projected else None,
        )
        width = state


def _described(given: dict[str, Any], name: str, width: int, store: _Store) -> Described:
    cell = from_json(given["equations"], f"{name}.equations", "Restore the file")
    if cell != without_forms(cell):
        raise ValueError(f"{name}.equations: what multiplies was expected, got what is learned")
    sizes = _object(given["units"], f"{name}.units")
    _insist_on_keys(sizes, set(cell.sizes), f"{name}.units")
    units = {size: _size(sizes[size], f"{name}.units.{size}") for size in sizes}
    for size, count in units.items():
        if count > LARGEST_SIZE:
            raise ValueError(
                f"{name}.units.{size}: at most {LARGEST_SIZE} was expected, got {short(count)}"
            )
    if units[INPUT] != width:
        raise ValueError(f"{name}.units.{INPUT} is {units[INPUT]}, and what comes before {width}")
    depth, place = _size(given["depth"], f"{name}.depth"), _text(given["name"], f"{name}.name")
    units[ONE] = 1
    check(cell, units, depth, is_alone=not place)
    weights = []
    for layer in range(depth):
        of_layer, at = units_of(cell, units, layer), f"{name}.{layer}"
        shapes = {weight.name: shape(weight, of_layer) for weight in cell.weights}
        weights.append({w: store.take(f"{at}.{w}", *of_it) for w, of_it in shapes.items()})
    return Described(cell, units, tuple(weights), place)


def _width_after(layer: Layer, width: int) -> int:
    match layer:
        case Recurrent() | Described():
            return layer.output_size
        case Linear(weight, _):
            return len(weight)
    return width


def _scales(given: dict[str, Any], inputs: int, outputs: int, store: _Store) -> Scales:
    differs, base = _list(given["differs"], "differs"), _list(given["base"], "base")
    if len(differs) != inputs or not all(isinstance(value, bool) for value in differs):
        raise ValueError(f"differs: {inputs} times true or false was expected")
    if len(base) != outputs or not all(type(v) is int and -1 <= v < inputs for v in base):
        raise ValueError(f"base: {outputs} columns from -1 to {inputs - 1} were expected")
    sizes = (inputs, inputs, outputs, outputs)
    scalers = {
        name: store.take(f"scaler.{name}", size, dtype="float64")
        for name, size in zip(SCALERS, sizes, strict=True)
    }
    return Scales.of(scalers, differs, base)


def _columns(values: Any, count: int, name: str) -> tuple[str, ...]:
    columns = tuple(_text(value, name) for value in _list(values, name))
    if columns and len(columns) != count:
        raise ValueError(f"{name}: {count} columns or none were expected, got {len(columns)}")
    return columns


def _insist_on_keys(given: dict[str, Any], expected: set[str], name: str) -> None:
    for key in sorted(expected ^ given.keys()):
        raise ValueError(f"{name}: {short(key)} {'is missing' if key in expected else '?'}")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: an object was expected, got {short(value)}")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: a list was expected, got {short(value)}")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not is_text(value):
        raise ValueError(f"{name}: a text was expected, got {short(value)}")
    return value


def is_text(value: str) -> bool:
    """Whether UTF-8 can say it: JSON can hold half a letter, one surrogate of two."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(value: Any, name: str, *, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(
            f"{name}: a whole number of at least {least} was expected, got {short(value)}"
        )
    return value


def _real(value: Any, name: str) -> float:
    if type(value) is int:
        value = float(value) if abs(value) < 2**63 else math.inf
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{name}: a finite number was expected, got {short(value)}")
    return value


def _one_of(value: Any, known: tuple[str, ...], name: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: one of {', '.join(known)} was expected, got {short(value)}")
    return value

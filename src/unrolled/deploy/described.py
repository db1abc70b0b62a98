"""Modules of cells that are written down, as a stream has them: their layers in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from unrolled.cells.description import ONE, Description, Form, Weight
from unrolled.cells.layers import MASK, SIGN, fault_of_layers, units_of
from unrolled.deploy.plan import Array, Described
from unrolled.resources import MOST_LAYERS

RESERVED = ("steps", "last")
"""What the state of a stream has beside those of the cells."""
MOST_UNHELD = 1 << 16
"""So many numbers a size may have that no weight has: nothing else in a file says how many."""


def described(
    cell: Description,
    units: Mapping[str, int],
    learned: Sequence[Mapping[str, Array]],
    name: str = "",
) -> Described:
    """The module with what multiplies in place of what is learned.

    Args:
        cell: the cell.
        units: how many numbers each size has in the first layer.
        learned: of each layer the weights, their signs and masks, by their names.
        name: the module's place.

    Raises:
        ValueError: no stream can have it.
    """
    weights = []
    for layer, values in enumerate(learned):
        of_layer = units_of(cell, units, layer)
        weights.append({w.name: multiplied(w, values, of_layer) for w in cell.weights})
    made = Described(without_forms(cell), {**units, ONE: 1}, tuple(weights), name)
    check(made.cell, made.units, len(made.weights), is_alone=not name)
    return made


def check(cell: Description, units: Mapping[str, int], num_layers: int, *, is_alone: bool) -> None:
    """That a stream can have so many layers of the cell.

    Args:
        cell: the cell.
        units: how many numbers each size has in the first layer.
        num_layers: how many layers.
        is_alone: whether the names of the states are those in the cell.

    Raises:
        ValueError: it can't.
    """
    if num_layers > MOST_LAYERS:
        raise ValueError(f"at most {MOST_LAYERS} layers were expected, got {num_layers}")
    if fault := fault_of_layers(cell, units, num_layers):
        raise ValueError(fault)
    for state in cell.states:
        if is_alone and state.name in RESERVED:
            raise ValueError(
                f"{cell.name} has a state named {state.name}, which is something else in the state "
                "of a stream. Give the state another name"
            )
    held = {part.size for weight in cell.weights for part in weight.parts}
    held |= {weight.columns for weight in cell.weights if weight.columns is not None}
    for size in cell.sizes:
        if size not in held and units[size] > MOST_UNHELD:
            raise ValueError(
                f"{size}_size: at most {MOST_UNHELD} was expected of a size that no weight has, "
                f"got {units[size]}"
            )


def without_forms(cell: Description) -> Description:
    """The cell whose weights are what multiplies."""
    return replace(cell, weights=tuple(replace(w, form=Form()) for w in cell.weights))


def multiplied(weight: Weight, values: Mapping[str, Array], units: Mapping[str, int]) -> Array:
    """What stands in the equations for what is learned: [rows, columns] of a matrix.

    The same, to the last bit, as the module's (``scan.forms``), in NumPy.

    Args:
        weight: which.
        values: what is learned, signs [columns] and masks [rows, columns], by name.
        units: how many numbers each size has.
    """
    found, form = values[weight.name], weight.form
    if form == Form():
        return found
    ends = np.cumsum([units[part.size] for part in weight.parts])[:-1]
    found = np.concatenate([_part(part, form) for part in np.split(found, ends)])
    if form.excitatory is not None:
        found = np.abs(found) * values[SIGN + weight.name]
    if form.masked:
        found = found * values[MASK + weight.name]
    return found


def _part(learned: Array, form: Form) -> Array:
    if form.antisymmetric:
        learned = learned - learned.T
    if form.blocks == 1:
        return learned
    apart = np.split(learned, form.blocks)
    rows, columns = apart[0].shape
    whole = np.zeros((rows * form.blocks, columns * form.blocks), learned.dtype)
    for i, block in enumerate(apart):
        whole[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = block
    return whole

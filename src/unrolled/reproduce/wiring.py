"""Where the weights of several small networks stand in the matrices of one module.

The networks lie side by side in it as blocks along the diagonals: one pass runs them all, and none
reads another. What stands beside the blocks is 0 and stays so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.cells.description import INPUT, Sum, Weight
from unrolled.cells.layers import shape
from unrolled.reproduce.architecture import CANDIDATE, Architecture

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Wiring:
    """A pair of places for every number of the module that is some network's weight.

    Attributes:
        inside: the places among the module's learned parameters, one after the other.
        own: the places among the networks' weights [K, W], of which some are there several times:
            the cells of a block have a gate each here, and share one there.
    """

    inside: Whole
    own: Whole


def wire(architecture: Architecture, lanes: int, *, reads_input: bool) -> Wiring:
    """The wiring of so many networks of a kind.

    A network's weights stand in this order: for each line of :attr:`Architecture.units`, the matrix
    of its units by all that is read, in the order of :attr:`Architecture.reads`; then the biases;
    then those of the outputs, which are not in the module.

    Args:
        architecture: the networks'.
        lanes: K, how many of them there are.
        reads_input: whether the weights of the input are learned in the module.
    """
    cell = architecture.description
    hidden = lanes * architecture.cells
    units = dict.fromkeys(cell.sizes, hidden) | {INPUT: lanes * architecture.inputs}
    offsets, total = {}, 0
    for weight in cell.weights:
        offsets[weight.name] = total
        if reads_input or weight.columns != INPUT:
            total += int(np.prod(shape(weight, units)))
    # A layer that reads the input alone, elsewhere multiplied, has nothing to learn in the module.
    inside: list[Whole] = [np.empty(0, dtype=np.int64)]
    own: list[Whole] = [np.empty(0, dtype=np.int64)]
    for line in cell.lines:
        if not isinstance(line, Sum):
            continue
        for product in line.products:
            name = architecture.source(product.of)
            if name == cell.input.name and not reads_input:
                continue
            weight = cell.weights_by_name[product.weight]
            label, begin = _rows(weight, product.part, hidden)
            rows, row_units = _copies(architecture, lanes, label)
            columns, column_units = _read(architecture, lanes, name)
            width = shape(weight, units)[1]
            places = (begin + rows)[:, :, None] * width + columns[:, None, :]
            inside.append(offsets[weight.name] + places)
            own.append(_places(architecture, lanes, label, name, row_units, column_units))
        for bias in line.biases:
            label, begin = _rows(cell.weights_by_name[bias.weight], bias.part, hidden)
            if not architecture.biases[label]:
                continue
            rows, row_units = _copies(architecture, lanes, label)
            inside.append(offsets[bias.weight] + begin + rows)
            first = np.arange(lanes)[:, None] * architecture.weights
            own.append(first + bias_place(architecture, label) + row_units)
    return Wiring(
        np.concatenate([places.ravel() for places in inside]),
        np.concatenate([places.ravel() for places in own]),
    )


def copies(architecture: Architecture, lanes: int) -> Whole:
    """Which of the units of all networks [K·U] stands at each place of a sum in the module.

    The module has the lines one after the other, each of all cells.
    """
    units, begin, found = sum(architecture.units.values()), 0, []
    for label, count in architecture.units.items():
        _, own = _copies(architecture, lanes, label)
        found.append((np.arange(lanes)[:, None] * units + begin + own).ravel())
        begin += count
    return np.concatenate(found)


def place(architecture: Architecture, label: str, name: str) -> tuple[int, int]:
    """Where in a network's weights a line's matrix of what has this name begins.

    And how many numbers lie between two of its rows.
    """
    row = sum(architecture.reads.values())
    begin = 0
    for other, count in architecture.units.items():
        if other == label:
            break
        begin += count * row
    column = 0
    for other, count in architecture.reads.items():
        if other == name:
            break
        column += count
    return begin + column, row


def bias_place(architecture: Architecture, label: str) -> int:
    """Where in a network's weights a line's biases begin."""
    begin = sum(architecture.units.values()) * sum(architecture.reads.values())
    for other, count in architecture.biases.items():
        if other == label:
            break
        begin += count
    return begin


def _rows(weight: Weight, part: int, hidden: int) -> tuple[str, int]:
    """Whose rows they are, and where they begin in the weight; all parts are of all cells."""
    return weight.parts[part].label, part * hidden


def _copies(architecture: Architecture, lanes: int, label: str) -> tuple[Whole, Whole]:
    """The cells of each network among all [K, N], and which unit of a line each has [N]."""
    cells = np.arange(architecture.cells)
    all_of_them = np.arange(lanes)[:, None] * architecture.cells + cells
    return all_of_them, cells if label == CANDIDATE else cells // architecture.size


def _read(architecture: Architecture, lanes: int, name: str) -> tuple[Whole, Whole]:
    """The columns of each network for what is read [K, ·], and which of its units they are."""
    count = architecture.reads[name]
    is_input = name == architecture.description.input.name
    stride = architecture.inputs if is_input else architecture.cells
    units = np.arange(count)
    # Of the copies of a block's gate the first is read.
    columns = units * architecture.size if name in architecture.units else units
    return np.arange(lanes)[:, None] * stride + columns, units


def _places(
    architecture: Architecture,
    lanes: int,
    label: str,
    name: str,
    row_units: Whole,
    column_units: Whole,
) -> Whole:
    begin, row = place(architecture, label, name)
    within = begin + row_units[:, None] * row + column_units[None, :]
    first: Whole = np.arange(lanes)[:, None, None] * architecture.weights
    return first + within

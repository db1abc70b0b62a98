"""Which cell a network has: one of torch's by its name, or any other by its description."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import PlainSerializer, PlainValidator

from unrolled.cells import Cell, Description, options
from unrolled.cells.description import HIDDEN, INPUT, ONE, Weight
from unrolled.cells.stored import from_json, to_json
from unrolled.errors import InputError
from unrolled.files import Kind, short
from unrolled.scan import forms
from unrolled.scan.described import Pass

CellName = Literal["rnn", "lstm", "gru"]
NAMES: tuple[CellName, ...] = get_args(CellName)


def chosen(value: Any) -> CellName | Description:
    """The cell that a value says: a name, a cell, its class, its description, or that as JSON's.

    Raises:
        InputError: it says none, or one that a network can't have.
    """
    if isinstance(value, str):
        if value in NAMES:
            return next(name for name in NAMES if name == value)
    elif isinstance(value, Mapping):
        return _usable(from_json(value))
    elif isinstance(value, Description | Cell) or _is_cell_class(value):
        return _usable(options.described(value))
    raise InputError(
        f"{', '.join(NAMES)}, or a cell that is written down as equations was expected, got "
        f"{short(value)}"
    )


def _is_cell_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Cell)


def _written(cell: CellName | Description) -> Any:
    return to_json(cell) if isinstance(cell, Description) else cell


Choice = Annotated[CellName | Description, PlainValidator(chosen), PlainSerializer(_written)]
"""A setting that is a cell: in a file it is the name, or the description in JSON's values."""


def title(cell: CellName | Description) -> str:
    """What to call it: LSTM, PeepholeLSTM."""
    return cell.name if isinstance(cell, Description) else cell.upper()


def _usable(cell: Description) -> Description:
    """The cell, if all it needs is an input and a number of hidden units.

    Raises:
        InputError: it needs more.
    """
    if cell.constants:
        raise InputError(
            f"{cell.name} reads {cell.constants[0].name} beside the input, and a network here has "
            "nothing for it. Choose a cell without constants"
        )
    others = [size for size in cell.sizes if size not in (INPUT, HIDDEN)]
    if others:
        raise InputError(
            f"{cell.name} has a size of its own, {others[0]}, and a network here has hidden_size "
            "alone. Choose a cell without it"
        )
    for state in cell.states:
        if state.size != HIDDEN:
            raise InputError(
                f"{cell.name} has the state {state.name} of {state.size}_size numbers, and a "
                "network here has states of hidden_size. Choose a cell with such states"
            )
    names = [name for weight in cell.weights for name in (weight.name, *forms.given(weight))]
    if len(set(names)) < len(names):
        raise InputError(f"{cell.name} has two weights of one name. Give one another name")
    return cell


@dataclass(frozen=True)
class Layers:
    """The layers of a described cell, as they stand in a file; nothing is built."""

    cell: Description
    inputs: int
    hidden: int
    num_layers: int
    bidirectional: bool

    def tensors(self) -> Iterator[tuple[str, Kind]]:
        """All tensors, one after the other, with their names."""
        for suffix, units in self._each():
            for weight in self.cell.weights:
                for name, shape in _tensors(weight, units):
                    yield f"network.recurrent.{name}{suffix}", Kind("F32", shape)

    def count_weights(self) -> int:
        """How many numbers there are to learn: signs and masks are none."""
        return sum(
            math.prod(forms.shape(weight, units))
            for _, units in self._each()
            for weight in self.cell.weights
        )

    def check(self) -> None:
        """That the sizes go together, which the first two layers tell.

        Raises:
            InputError: they don't.
        """
        try:
            for _ in replace(self, num_layers=min(self.num_layers, 2)).tensors():
                pass
        except ValueError as error:
            raise InputError(f"{self.cell.name}: {error}. Choose other sizes") from error

    def _each(self) -> Iterator[tuple[str, dict[str, int]]]:
        """What stands behind the names in a layer and direction, and how large its sizes are."""
        sizes = {INPUT: self.inputs, HIDDEN: self.hidden, ONE: 1}
        layers = Pass(self.cell, tuple(sizes.items()), self.num_layers, self.bidirectional)
        for layer in range(self.num_layers):
            for direction in ("", "_reverse")[: layers.directions]:
                yield f"_l{layer}{direction}", layers.units_of(layer)


def _tensors(weight: Weight, units: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A weight and what it has beside what is learned, each with its shape."""
    yield weight.name, forms.shape(weight, units)
    for name in forms.given(weight):
        assert weight.columns is not None
        rows, columns = sum(units[part.size] for part in weight.parts), units[weight.columns]
        yield name, (rows, columns) if name.startswith(forms.MASK) else (columns,)

"""Which cell a network has: one of torch's by its name, or any other by its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from unrolled.cells import Cell, Description, options
from unrolled.cells.built_in import BUILT_IN, OF_RUNS
from unrolled.cells.in_runs import usable
from unrolled.cells.stored import from_json, to_json
from unrolled.errors import InputError
from unrolled.files import short

CellName = str
"""One of :data:`NAMES`: what says a cell is checked by :func:`chosen`."""
NAMES: tuple[CellName, ...] = tuple(OF_RUNS)


def chosen(value: Any) -> CellName | Description:
    """The cell that a value says: a name, a cell, its class, its description, or that as JSON's.

    Raises:
        InputError: it says none, or one that a network can't have.
    """
    if isinstance(value, str):
        if value in NAMES:
            return value
    elif isinstance(value, Mapping):
        return usable(from_json(value))
    elif isinstance(value, Description | Cell) or _is_cell_class(value):
        return usable(options.described(value))
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
    return cell.name if isinstance(cell, Description) else BUILT_IN[OF_RUNS[cell]].name

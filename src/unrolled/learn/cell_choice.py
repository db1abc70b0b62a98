"""Which cell is to be trained: by a name, by a class in a Python file, or as it is."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled import cells
from unrolled.cells import Cell, Description
from unrolled.cells.options import described
from unrolled.errors import InputError, clip
from unrolled.files import read_file, short
from unrolled.model.choice import NAMES, CellName, chosen

SHIPPED: dict[str, type[Cell]] = {
    name: found
    for name in cells.__all__
    if isinstance(found := getattr(cells, name), type)
    and issubclass(found, Cell)
    and found is not Cell
}
"""The cells of ``unrolled.cells`` by their names."""

LARGEST_FILE = 8 * 2**20
MODULE = "unrolled_cell_file"
"""What a file calls itself while it is read: dataclasses look their module up."""


def cell_of(
    value: Any, called: str = "Input", own: str = "a Cell of your own"
) -> CellName | Description:
    """The cell that a setting says.

    ``RNN``, ``LSTM`` and ``GRU`` are those with the lower-case names: the same numbers, and they
    can be streamed and exported.

    Args:
        value: "rnn", "lstm", "gru", the name of a cell in ``unrolled.cells``, a cell, its class or
            its description.
        called: what to call the setting in a message.
        own: how to name one that is not among ours, in a message.

    Raises:
        InputError: it is none of these, or a cell that a network can't have.
    """
    if isinstance(value, str):
        if value in NAMES or (value in SHIPPED and value.lower() in NAMES):
            return chosen(value.lower())
        if value in SHIPPED:
            return chosen(SHIPPED[value])
    elif isinstance(value, Cell | Description | type):
        return chosen(value)
    raise InputError(
        f"{called} should be {', '.join(NAMES)}, a cell of unrolled.cells ({', '.join(_usable())}) "
        f"or {own}, got {short(value)}"
    )


def _usable() -> Iterator[str]:
    """The names of our cells that a network can have, but for torch's."""
    for name in sorted(SHIPPED):
        if name.lower() not in NAMES:
            with suppress(InputError):
                chosen(SHIPPED[name])
                yield name


def cell_or_file(value: Any) -> CellName | Description:
    """The same, where a text may also say ``mycell.py:MyCell``: that file is executed.

    Raises:
        InputError: as :func:`cell_of`, or there is no such file or class, or the file fails.
    """
    if isinstance(value, str) and (".py:" in value or value.endswith(".py")):
        return chosen(_described_in(value))
    return cell_of(value, own="a class of your own, mycell.py:MyCell")


def _described_in(place: str) -> Description:
    """The description of what a file has under a name."""
    path, _, name = place.rpartition(":")
    if not path.endswith(".py") or not name:
        raise InputError(f"{place}: the cell's class is missing. Name it: {place}:MyCell")
    # Registered while the step is read as well: what it calls may look for its own module.
    module = sys.modules[MODULE] = ModuleType(MODULE)
    try:
        _execute(Path(path), module)
        return _described(path, module, name)
    finally:
        del sys.modules[MODULE]


def _execute(path: Path, module: ModuleType) -> None:
    try:
        source = read_file(path, LARGEST_FILE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check --cell") from None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: can't be read: {words}. Check --cell") from error
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # what the user named to be run
    except InputError:  # a cell's own, which names the line
        raise
    except (Exception, SystemExit) as error:
        raise InputError(_failed(str(path), error)) from error


def _described(path: str, module: ModuleType, name: str) -> Description:
    found: Any = getattr(module, name, None)
    if not isinstance(found, Description | Cell) and not _is_own_cell(found):
        there = [key for key, value in vars(module).items() if _is_own_cell(value)]
        raise InputError(
            f"{path}: there is no cell named {name}. "
            + (f"It has {', '.join(there)}" if there else "Derive a class from unrolled.Cell in it")
        )
    try:
        return described(found)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{_failed(path, error)}, or make an instance with all that it needs, and name that"
        ) from error


def _is_own_cell(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Cell) and value is not Cell


def _failed(path: str, error: BaseException) -> str:
    """Where in the file and why it failed, in a line."""
    if isinstance(error, SyntaxError):
        line, words = error.lineno, error.msg
    else:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        line, words = (lines[-1] if lines else None), f"{type(error).__name__}: {clip(error)}"
    return f"{path}{'' if line is None else f', line {line}'}: {words}. Correct the file"

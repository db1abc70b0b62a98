"""What is asked of a table, and what is read of it: columns of numbers, and a column of labels."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.resources import LONGEST_LABEL, check_memory

Array = NDArray[np.float64]

COPIES = 4
"""A table is held so many times in double precision until its windows are cut."""
LONGEST_CELL = 131_072
"""Characters in a cell, at most: the limit of Python's own csv module."""
LABEL = 64
"""Bytes that a label takes, about."""
SHOWN = 12
"""So many of a table's columns are listed where one is not found."""
COMPARED = 10_000
"""A name that is not found is compared with so many of the table's names at most."""


@dataclass(frozen=True)
class Wanted:
    """The columns to read: of ``numbers``, of which the ``optional`` may be lacking; of labels."""

    numbers: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    group: str | None = None

    def places(self, name: str, names: Sequence[Any]) -> dict[str, int]:
        """Where in a table with the columns ``names`` stand those that are wanted.

        Raises:
            InputError: one is missing, or stands there twice.
        """
        first: dict[Any, int] = {}
        twice = set()
        for place, found in enumerate(names):
            if first.setdefault(found, place) != place:
                twice.add(found)
        wanted = [*self.numbers, *([] if self.group is None else [self.group])]
        for column in wanted:
            if column in twice:
                raise InputError(
                    f"{name}: two columns are named {shown(column)}. Rename one in the header"
                )
            if column not in first and column not in self.optional:
                raise InputError(f"{name}: no column {shown(column)}. {_hint(column, names)}")
        return {column: first[column] for column in wanted if column in first}

    def check_memory(self, name: str, rows: int, texts: int = 0) -> None:
        """That so many rows fit into memory, with so many bytes of labels that differ.

        Raises:
            InputError: they don't.
        """
        columns = len(self.numbers)
        size = rows * (COPIES * 8 * columns + (0 if self.group is None else LABEL)) + texts
        check_memory(
            size,
            f"{name}: {rows:,} rows of {columns} {'column' if columns == 1 else 'columns'}",
            "Take fewer rows or columns",
        )


@dataclass(frozen=True)
class Columns:
    """What was read: ``count`` rows, the numbers [count] with NaN where missing, and the labels."""

    count: int
    numbers: dict[str, Array]
    labels: list[Any] | None


class Labels:
    """A group's labels as they are read: each text is held once, however many rows repeat it."""

    def __init__(self, name: str, column: str):
        self.where = f"{name}: group column {shown(column)}"
        self.rows: list[Any] = []
        self.size = 0
        self._texts: dict[str, str] = {}

    def extend(self, labels: Iterable[Any]) -> None:
        """Those of the next rows.

        Raises:
            InputError: one is too long.
        """
        for label in labels:
            self.rows.append(self._once(label) if isinstance(label, str) else label)

    def _once(self, label: str) -> str:
        known = self._texts.get(label)
        if known is not None and type(known) is type(label):
            return known
        if len(label) > LONGEST_LABEL:
            raise InputError(
                f"{self.where}, row {len(self.rows) + 1}: a label of at most {LONGEST_LABEL:,} "
                f"letters was expected, got {len(label):,}. Shorten it"
            )
        self.size += sys.getsizeof(label)
        self._texts[label] = label
        return label


def shown(text: Any, most: int = 40) -> str:
    """A cell, a name or a type in a message: what can't be seen escaped, what is long cut."""
    if not isinstance(text, str):
        text = str(text)
        plain = text if text.isprintable() else repr(text)
        return plain if len(plain) <= 60 else f"{plain[:60]}…"
    return repr(text) if len(text) <= most else f"{text[:most]!r}…"


def separator_hint(header: str) -> str | None:
    """What to do about a header that holds another separator than the one it was read with."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if mark in header:
            repair = ", or name the file .tsv" if mark == "\t" else ""
            return f"Its columns seem to be separated by {name}: save it with commas{repair}"
    return None


def _hint(column: str, names: Sequence[Any]) -> str:
    """What may have been meant by a column that a table lacks."""
    if column in map(str, names):
        return "Its columns' names are not text: make them text"
    if len(names) == 1 and (hint := separator_hint(str(names[0]))):
        return hint
    if str(names[0] if names else "").startswith("#"):
        return "Its first line begins with #, as a comment does: begin the file with the header"
    texts = [name for name in names[:COMPARED] if isinstance(name, str) and len(name) < 100]
    if near := get_close_matches(column[:100], texts, n=1):
        return f"Did you mean {near[0]!r}?"
    if len(texts) == len(names) and all(map(is_number, texts)):
        return "Its first line holds numbers: put a header with the columns' names above it"
    listed = ", ".join(_plain(name) for name in names[:SHOWN])
    return f"It has: {listed}" + (f" and {len(names) - SHOWN:,} more" if names[SHOWN:] else "")


def _plain(name: Any) -> str:
    """A column's name in a list: without quotes, where it can do without."""
    return (
        name if isinstance(name, str) and name.isprintable() and 0 < len(name) < 40 else shown(name)
    )


def is_number(text: str) -> bool:
    """Whether Python reads a text as a number, NaN and infinity included."""
    try:
        float(text)
    except ValueError:
        return False
    return True

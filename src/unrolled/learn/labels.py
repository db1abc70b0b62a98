"""Labels of a group's series: what may be one, asked before the work that they are written with.

Each is written beside its predictions, and read again from the run's own table, both as text: a
label that would be cut on the way, or can't be written, is refused with its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from unrolled.errors import InputError, clip, fault_of_text
from unrolled.learn.cells import is_missing
from unrolled.learn.columns import is_number

KINDS = (str, bool, int, float, Decimal, date, time)
"""What may tell apart the series of a table."""
NUMPY = (np.bool_, np.integer, np.floating)
"""What a column of objects may hold, and Python has as well."""
DIGITS = 38
"""Of a column of decimals, from the first before the point to the last behind it: polars'."""
AT_ONCE = 1024
"""Dates of so many rows become Python's at once."""


def checked(where: str, labels: list[Any]) -> list[Any]:
    """Labels that a table can be written with: none empty, and all of one kind.

    Args:
        where: the table and its column, for messages.
        labels: of each row.

    Raises:
        InputError: one is none.
    """
    kinds: dict[type, int] = {}
    labels = [label.item() if isinstance(label, NUMPY) else label for label in labels]
    gaps = _gaps(labels)
    for row, label in enumerate(labels, start=1):
        if is_missing(label) or (isinstance(label, str) and label in gaps):
            raise InputError(f"{where}, row {row}: empty. Name the series that the row belongs to")
        kinds.setdefault(type(label), row)
    for kind, row in kinds.items():
        if not issubclass(kind, KINDS):
            raise InputError(
                f"{where}, row {row}: holds a {kind.__name__}, which is not a label. Make it text"
            )
    if len(kinds) > 1:
        several = " and ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{where} holds labels of several kinds, {several}. Make all of them text")
    if int in kinds and not all(-(2**63) <= label < 2**63 for label in labels):
        raise InputError(f"{where} holds whole numbers beyond 64 bits. Make them text")
    several_of_one = dict.fromkeys(labels)
    for label in several_of_one:
        if fault := _fault(label):
            raise InputError(f"{where}, row {labels.index(label) + 1}: {fault}")
    if Decimal in kinds and _digits(several_of_one) > DIGITS:
        raise InputError(
            f"{where} holds decimals of more than {DIGITS} digits, from the first before the point "
            "to the last behind it. Make them text"
        )
    return labels


def _gaps(labels: list[Any]) -> set[str]:
    """The texts that name no series: the empty one, and among numbers NaN, as floats write it."""
    texts = {label for label in labels if isinstance(label, str)}
    not_numbers = {text for text in texts if text.lower().lstrip("+-") == "nan"}
    numbers = texts - not_numbers - {""}
    return {"", *(not_numbers if numbers and all(map(is_number, numbers)) else ())}


def _fault(label: Any) -> str | None:
    """Why a label of an allowed kind can't be written as it is, with the repair."""
    if isinstance(label, str) and (fault := fault_of_text(label)):
        return f"holds {fault}. Take it out"
    if isinstance(label, Decimal) and not label.is_finite():
        return f"holds {label}, which is not a label. Make it text"
    if getattr(label, "nanosecond", 0):  # a pandas time's, which would be cut
        return f"holds {label}, a time of less than a microsecond. Make it text"
    return None


def _digits(labels: Iterable[Decimal]) -> int:
    """How many digits a column has that holds all of these, which have one scale there."""
    before = behind = 0
    for label in labels:
        _, digits, exponent = label.as_tuple()
        assert isinstance(exponent, int)  # finite
        before, behind = max(before, len(digits) + exponent), max(behind, -exponent)
    return before + behind


def times(where: str, column: pa.Array | pa.ChunkedArray) -> Iterator[list[Any]]:
    """The dates or times of a column as Python's, in parts.

    Raises:
        InputError: Python has no such: of less than a microsecond, or outside the years 1 to 9999.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("us", kind.tz))
        elif pa.types.is_time(kind):
            column = column.cast(pa.time64("us"))
        for start in range(0, len(column), AT_ONCE):
            yield column.slice(start, AT_ONCE).to_pylist()
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise InputError(
            f"{where} holds dates or times that can't be told to the microsecond, in the years "
            f"1 to 9999, of a known time zone ({clip(error)}). Make them text"
        ) from error

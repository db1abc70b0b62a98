"""Reads a table and takes its columns as numbers, or says which row can't be one."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.typing import IntoDataFrame
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.learn.frame import read_frame, separator_hint

Array = NDArray[np.float64]
Span = tuple[int, int]
"""Rows start … stop − 1 of a table, consecutive in time."""

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "nil", "none", "-nan", "#n/a", "<na>")
"""What is read as a missing number, in lower case: pandas' words, and nil."""

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    """The columns of a table that a model meets, one series after the other.

    ``inputs`` [N, I] and ``targets`` [N, O] are in the table's units, with NaN where a value is
    missing. ``rows`` [N] gives each row's place in the file, from 1, the header not counted.
    ``spans`` lists the series, and ``groups`` their labels (one unnamed series without a group).
    """

    name: str
    inputs: Array
    targets: Array
    rows: NDArray[np.int64]
    spans: tuple[Span, ...]
    groups: tuple[Any, ...]


def read_table(
    source: str | Path | IntoDataFrame,
    *,
    inputs: list[str],
    targets: list[str],
    group: str | None = None,
    targets_optional: bool = False,
) -> Table:
    """The named columns of a table as numbers; rows of one group follow each other in time.

    With ``targets_optional``, a target column that the table lacks is NaN throughout.

    Raises:
        InputError: as in :func:`~unrolled.learn.frame.read_frame`, or a column is missing, stands
            there twice, or is not numeric.
    """
    name, frame = read_frame(source)
    optional = set(targets) - set(inputs) if targets_optional else set()
    columns = {
        column: np.full(len(frame), np.nan)
        if column in optional and column not in frame.columns
        else _numbers(name, frame, column)
        for column in dict.fromkeys([*inputs, *targets])
    }
    order, spans, groups = _series(name, frame, group)
    return Table(
        name=name,
        inputs=np.column_stack([columns[column] for column in inputs])[order],
        targets=np.column_stack([columns[column] for column in targets])[order],
        rows=order + 1,
        spans=spans,
        groups=groups,
    )


def _series(
    name: str, frame: nw.DataFrame[Any], group: str | None
) -> tuple[NDArray[np.int64], tuple[Span, ...], tuple[Any, ...]]:
    """The rows in the order of their groups' first appearance, each group's span, its label."""
    count = len(frame)
    if group is None:
        return np.arange(count), ((0, count),), (None,)
    column = _column(name, frame, group)
    if column.dtype.is_nested():
        raise InputError(f"{name}: group column {group!r} holds {column.dtype}, not labels")
    labels = [None if label != label else label for label in column.to_list()]  # NaN is no label
    if None in labels:
        raise InputError(
            f"{name}: group column {group!r}, row {labels.index(None) + 1}: empty. "
            "Name the series that the row belongs to"
        )
    names = list(dict.fromkeys(labels))
    place = {label: index for index, label in enumerate(names)}
    codes = np.array([place[label] for label in labels])
    order = np.argsort(codes, kind="stable")
    stops = np.cumsum(np.bincount(codes)).tolist()
    return order, tuple(zip([0, *stops[:-1]], stops, strict=True)), tuple(names)


def _column(name: str, frame: nw.DataFrame[Any], column: str) -> nw.Series[Any]:
    names = frame.columns
    if f"{column}_duplicated_0" in names:  # what the CSV reader calls the second one
        raise InputError(f"{name}: two columns are named {column!r}. Rename one in the header")
    if column in names:
        return frame[column]
    near = get_close_matches(column, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(names[:12])}"
    if len(names) == 1:
        hint = separator_hint(names[0]) or hint
    raise InputError(f"{name}: no column {column!r}. {hint}")


def _numbers(name: str, frame: nw.DataFrame[Any], column: str) -> Array:
    """The column as float64 [N], NaN where it is missing."""
    numbers = _parsed(name, column, _column(name, frame, column))
    large = np.isfinite(numbers) & (np.abs(numbers) > LARGEST)
    if large.any():
        row = int(np.argmax(large))
        raise InputError(
            f"{name}: column {column!r}, row {row + 1}: {numbers[row]:g} is too large for single "
            f"precision, which ends at {LARGEST:.1e}. Correct it, or change the column's unit"
        )
    return numbers


def _parsed(name: str, column: str, series: nw.Series[Any]) -> Array:
    if series.dtype.is_numeric():
        return series.cast(nw.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    if series.dtype in (nw.Boolean, nw.Unknown):
        filled = [float("nan") if value is None else float(value) for value in series.to_list()]
        return np.array(filled, dtype=np.float64)
    if series.dtype not in (nw.String, nw.Object):
        raise InputError(
            f"{name}: column {column!r} holds {series.dtype}, not numbers. "
            "Convert it, or leave it out"
        )
    return np.array(
        [_number(name, column, row, text) for row, text in enumerate(series.to_list(), start=1)]
    )


def _number(name: str, column: str, row: int, text: Any) -> float:
    word = "" if text is None else str(text).strip()
    if word.lower() in MISSING_WORDS:
        return float("nan")
    try:
        # Python's 1_000 is nobody's number in a table, but may well be somebody's typing error.
        return float(word.replace("_", "?"))
    except ValueError:
        raise InputError(
            f"{name}: column {column!r}, row {row}: {word!r} is not a number. "
            "Correct it, or leave the cell empty and choose --missing drop or interpolate"
        ) from None

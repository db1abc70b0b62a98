"""Reads a table and takes its columns as numbers, or says which row can't be one."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.typing import IntoDataFrame
from numpy.typing import NDArray

from unrolled.errors import InputError

Array = NDArray[np.float64]
Span = tuple[int, int]
"""Rows start … stop − 1 of a table, consecutive in time."""

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "nil", "none", "-nan", "#n/a", "<na>")
"""What is read as a missing number, in lower case: pandas' words, and nil."""


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


def read_frame(source: str | Path | IntoDataFrame) -> tuple[str, nw.DataFrame[Any]]:
    """A CSV or Parquet file, or a data frame (pandas, polars, pyarrow), and a name for messages.

    Raises:
        InputError: the file is missing, empty, not a table, or of a kind that is not read.
    """
    if not isinstance(source, str | Path):
        return "the table", nw.from_native(source, eager_only=True)
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty. A header and rows were expected")
    kind = path.suffix.lower()
    try:
        if kind in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        elif kind in (".csv", ".tsv", ".txt"):
            separator = "\t" if kind == ".tsv" else ","
            frame = pl.read_csv(path, infer_schema_length=None, separator=separator)
        else:
            raise InputError(f"{path}: a .csv, .tsv or .parquet file was expected, got {kind!r}")
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())[:160]
        raise InputError(f"{path}: can't be read as a table: {reason}") from error
    if frame.height == 0:
        raise InputError(f"{path}: has a header but no rows")
    return str(path), nw.from_native(frame, eager_only=True)


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
        InputError: as in :func:`read_frame`, or a column is missing or not numeric.
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
    labels = _column(name, frame, group).to_list()
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
    if column in frame.columns:
        return frame[column]
    near = get_close_matches(column, frame.columns, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(frame.columns[:12])}"
    raise InputError(f"{name}: no column {column!r}. {hint}")


def _numbers(name: str, frame: nw.DataFrame[Any], column: str) -> Array:
    """The column as float64 [N], NaN where it is missing."""
    series = _column(name, frame, column)
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
        return float(word)
    except ValueError:
        raise InputError(
            f"{name}: column {column!r}, row {row}: {word!r} is not a number. "
            "Correct it, or leave the cell empty and choose --missing drop or interpolate"
        ) from None

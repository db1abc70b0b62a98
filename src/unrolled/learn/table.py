"""Reads a table and takes its columns as numbers, or says which row can't be one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from narwhals.typing import IntoDataFrame
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.learn.cells import LARGEST, too_large
from unrolled.learn.columns import COPIES, Array, Columns, Wanted, shown
from unrolled.learn.labels import checked
from unrolled.learn.source import read_columns
from unrolled.resources import check_memory

Span = tuple[int, int]
"""Rows start … stop − 1 of a table, consecutive in time."""


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
        InputError: the source is not a table, or larger than memory; or a column is missing,
            stands there twice, or holds what is not a number.
    """
    optional = frozenset(targets) - frozenset(inputs) if targets_optional else frozenset()
    wanted = Wanted(tuple(dict.fromkeys([*inputs, *targets])), optional, group)
    name, columns = read_columns(source, wanted)
    for column, numbers in columns.numbers.items():
        _check_range(name, column, numbers)
    values = {column: np.full(columns.count, np.nan) for column in targets} | columns.numbers
    order, spans, groups = _series(name, group, columns)
    return Table(
        name=name,
        inputs=np.column_stack([values[column] for column in inputs])[order],
        targets=np.column_stack([values[column] for column in targets])[order],
        rows=order + 1,
        spans=spans,
        groups=groups,
    )


def _series(
    name: str, group: str | None, columns: Columns
) -> tuple[NDArray[np.int64], tuple[Span, ...], tuple[Any, ...]]:
    """The rows in the order of their groups' first appearance, each group's span, its label."""
    if group is None or columns.labels is None:
        return np.arange(columns.count), ((0, columns.count),), (None,)
    labels = checked(f"{name}: group column {shown(group)}", columns.labels)
    names = list(dict.fromkeys(labels))
    place = {label: index for index, label in enumerate(names)}
    codes = np.array([place[label] for label in labels])
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    widths = [len(label.encode()) if isinstance(label, str) else 0 for label in names]
    check_memory(
        COPIES * int(counts @ np.array(widths)),
        f"{name}: the labels of {len(codes):,} rows",
        "Shorten them",
    )
    stops = np.cumsum(counts).tolist()
    return order, tuple(zip([0, *stops[:-1]], stops, strict=True)), tuple(names)


def _check_range(name: str, column: str, numbers: Array) -> None:
    large = np.isfinite(numbers) & (np.abs(numbers) > LARGEST)
    if large.any():
        row = int(np.argmax(large))
        raise InputError(
            f"{name}: column {shown(column)}, row {row + 1}: {too_large(f'{numbers[row]:g}')}"
        )

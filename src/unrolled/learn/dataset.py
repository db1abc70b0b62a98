"""A table made ready for training: its parts in time, its goals, the windows that are scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError
from unrolled.learn.cells import only_rounding
from unrolled.learn.columns import Array
from unrolled.learn.features import base, features
from unrolled.learn.settings import TrainSettings
from unrolled.learn.table import Span, Table, read_table
from unrolled.learn.windows import Part, Rows, check_complete, goals_of, prepare, split
from unrolled.model import TableConfig
from unrolled.model.scaler import is_rounding, moments

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Dataset:
    """A table in three parts, consecutive in time.

    ``goals`` [N, O] is the target of the prediction made at each row, NaN where there is none;
    ``ends`` has for each part the rows that a window ends in and whose goal is known;
    ``learned`` [n] are the rows that training sees; ``test_spans`` the test part, one span for
    each series.
    """

    table: Table
    goals: Array
    ends: tuple[Rows, Rows, Rows]
    learned: Rows
    test_spans: tuple[Span, ...]


def read_dataset(source: str | Path | IntoDataFrame, settings: TrainSettings) -> Dataset:
    """Reads a table and cuts it up.

    Raises:
        InputError: the table can't be used as it is.
    """
    table = read_table(source, inputs=settings.input, targets=settings.target, group=settings.group)
    _check_known(table, settings.input, table.inputs)
    _check_known(table, settings.target, table.targets)
    if settings.missing == "error":
        check_complete(table, settings.input, settings.target, with_targets=True)
    rest = 1.0 - settings.validation - settings.test
    spans = split(table.spans, (rest, settings.validation, settings.test))
    parts = prepare(table, spans, settings.missing)
    goals = goals_of(parts, settings.ahead)
    config = settings.table()
    train, validation, test = (_scored(part, goals, config.history) for part in parts)
    dataset = Dataset(
        table=parts[0].table,
        goals=goals,
        ends=(train, validation, test),
        learned=_rows(parts[0], skip=int(config.difference)),
        test_spans=tuple(spans[2]),
    )
    _check_enough(dataset, parts, settings)
    _check_goals(dataset, settings.target)
    _check_varied(table, settings.input, dataset.table.inputs[dataset.learned])
    _check_varied(table, settings.target, goals[dataset.learned])
    if config.difference:
        _check_changes(dataset, config)
    return dataset


def _scored(part: Part, goals: Array, history: int) -> Rows:
    ends = part.ends(history)
    return ends[np.isfinite(goals[ends]).any(axis=1)]


def _rows(part: Part, *, skip: int) -> Rows:
    """The part's rows, without the first ``skip`` of each stretch."""
    stretches = [np.arange(start + skip, stop) for start, stop in part.spans]
    return np.concatenate([np.empty(0, dtype=np.int64), *stretches])


def _check_known(table: Table, names: list[str], values: Array) -> None:
    for name, column in zip(names, values.T, strict=True):
        if not np.isfinite(column).any():
            raise InputError(
                f"{table.name}: column {name!r} has no known value in any row. Leave it out"
            )


def _check_enough(dataset: Dataset, parts: list[Part], settings: TrainSettings) -> None:
    for name, part in zip(PARTS, parts, strict=True):
        longest = max((stop - start for start, stop in part.spans), default=0)
        extra = settings.ahead + settings.difference
        if longest < settings.window + extra:
            more = f" and {extra} more" if extra else ""
            shorten = "--window or --ahead" if settings.ahead else "--window"
            larger = "" if name == PARTS[0] else f", raise --{name}"
            raise InputError(
                f"{dataset.table.name}: the longest stretch in the {name} part has {longest} rows, "
                f"fewer than a window of {settings.window}{more}. "
                f"Shorten {shorten}{larger}, or give more rows"
            )


def _check_goals(dataset: Dataset, targets: list[str]) -> None:
    """That each target is known at the end of some window, in each part."""
    for name, ends in zip(PARTS, dataset.ends, strict=True):
        for target, known in zip(targets, np.isfinite(dataset.goals[ends]).T, strict=True):
            if not known.any():
                raise InputError(
                    f"{dataset.table.name}: target column {target!r} has no known value at the end "
                    f"of a window in the {name} part. Leave it out, shorten --window, or give more "
                    "rows"
                )


def _check_varied(table: Table, names: list[str], values: Array) -> None:
    for name, column in zip(names, values.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known) == 0:
            raise InputError(
                f"{table.name}: column {name!r} has no known value in the training part. "
                "Leave it out, or give more rows"
            )
        if known.min() == known.max():
            raise InputError(
                f"{table.name}: column {name!r} is constant in the training part "
                f"(always {known[0]:g}): there is nothing to learn from it. Leave it out"
            )
        if is_rounding(*moments(known[:, np.newaxis])).any():
            said = only_rounding(known, " in the training part")
            raise InputError(f"{table.name}: column {name!r} {said}")


def _check_changes(dataset: Dataset, config: TableConfig) -> None:
    """That the changes of a column are more than what rounding leaves of its values."""
    table = dataset.table
    read = features(table.inputs, config)
    change = dataset.goals - base(table.inputs, config)
    for names, changes, values in (
        (config.inputs, read, table.inputs),
        (config.targets, change, dataset.goals),
    ):
        for column, name in enumerate(names):
            known = changes[dataset.learned, column]
            known = known[np.isfinite(known)]
            if name not in config.inputs or name not in config.targets or len(known) == 0:
                continue
            level = np.nanmean(np.abs(values[dataset.learned, column]))
            spread = moments(known[:, np.newaxis])[1]
            if known.min() < known.max() and is_rounding(level, spread).any():
                raise InputError(
                    f"{table.name}: the changes of column {name!r} differ in the last digits of "
                    f"its values alone in the training part ({known.min():.17g} to "
                    f"{known.max():.17g}). Leave out --difference, or subtract what all its values "
                    "have in common"
                )

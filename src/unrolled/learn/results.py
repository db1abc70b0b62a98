"""Writes what a command found: the run folder with its metrics, predictions and picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from unrolled.cells.built_in import DEFAULT
from unrolled.learn.baselines import beaten_by
from unrolled.learn.columns import Array
from unrolled.learn.plot import Panel, draw_result
from unrolled.learn.table import Span, Table
from unrolled.learn.train import Training
from unrolled.learn.watch_files import save_watch
from unrolled.learn.wave import SETTLING, WaveResult
from unrolled.learn.windows import Rows
from unrolled.model import TableConfig, save_run
from unrolled.model.choice import title
from unrolled.runfile import METRICS, PICTURE, PREDICTIONS, SAMPLE

MARK = "\ufeff"
"""Of byte order: what some programs begin a text file with."""
SAMPLE_ROWS, SAMPLE_SERIES = 400, 8
"""At most so many last rows, of each of at most so many series."""


def save_wave(results: Sequence[WaveResult], folder: Path) -> None:
    """The demo's files, into a folder that is there: a cell's run, the metrics of all."""
    by_cell = {result.cell: result for result in results}
    kept = by_cell[DEFAULT]
    write_json(folder / METRICS, {cell: _wave_metrics(r) for cell, r in by_cell.items()})
    predictions = pl.DataFrame(
        {
            "t": kept.t,
            "sin": np.sin(kept.t),
            "cos": kept.truth,
            **{f"cos_{cell}": result.predicted for cell, result in by_cell.items()},
            "scored": np.arange(len(kept.t)) >= SETTLING,
        }
    )
    _write_csv(folder / PREDICTIONS, predictions)
    _write_csv(folder / SAMPLE, pl.DataFrame({"sin": np.sin(kept.t), "cos": kept.truth}))
    save_run(kept.run, folder, beside=[SAMPLE])
    steps = np.arange(SETTLING + 90, dtype=np.float64)
    truth, predicted = kept.truth[: len(steps)], kept.predicted[: len(steps)]
    label = "step of a stretch at phases that training never met"
    draw_result(
        folder / PICTURE,
        f"cos t from sin t, by the {title(kept.cell)} (mean squared error {kept.error:.1e})",
        [Panel("cos t", steps, truth, predicted, label, settling=SETTLING)],
        {title(cell): result.history.train for cell, result in by_cell.items()},
        curve_label="training error",
    )


def save_training(training: Training, folder: Path | str) -> None:
    """The files of ``unrolled train``, into a folder that is there."""
    folder = Path(folder)
    config = training.run.table
    write_json(folder / METRICS, _train_metrics(training))
    frame = predictions_frame(
        training.table, config, training.test_rows, training.predicted, training.truth
    )
    _write_csv(folder / PREDICTIONS, frame)
    _write_csv(folder / SAMPLE, sample_frame(training.table, config, training.test_spans))
    save_run(training.run, folder, beside=[SAMPLE])
    draw_result(
        folder / PICTURE,
        f"{config.targets[0] if len(config.targets) == 1 else 'Targets'} on the test rows: "
        f"{training.run.network.config.title}",
        [_test_panel(training, column) for column in range(min(len(config.targets), 4))],
        {"training": training.history.train, "validation": training.history.validation},
        curve_label="error (scaled)",
    )
    if training.watched:
        save_watch(training.watched, folder)


def _write_csv(path: Path, frame: pl.DataFrame) -> None:
    """By Python's own hand, whose errors name the file."""
    text = frame.write_csv()
    # A reader takes the first mark of byte order away, here that of the first column's name.
    path.write_bytes((MARK + text if text.startswith(MARK) else text).encode())


def predictions_frame(
    table: Table, config: TableConfig, ends: Rows, predicted: Array, truth: Array | None = None
) -> pl.DataFrame:
    """One row for each prediction, in the order of the table.

    ``row`` is the last row that the prediction has seen, counted from 1 without the header;
    ``for_row`` the row it is about, if that is a later one.

    Args:
        table: the table.
        config: its columns.
        ends: the rows, of ``table``, that the predictions were made at [n].
        predicted: [n, O].
        truth: [n, O], if it is known.
    """
    order = np.argsort(table.rows[ends])
    ends, predicted = ends[order], predicted[order]
    columns: dict[str, Any] = {"row": table.rows[ends]}
    if config.ahead:
        columns["for_row"] = _rows_ahead(table, ends, config.ahead)
    if config.group is not None:
        starts = [start for start, _ in table.spans]
        places = np.searchsorted(starts, ends, side="right") - 1
        columns[config.group] = [table.groups[place] for place in places]
    for column, name in enumerate(config.targets):
        if truth is not None:
            columns[name] = truth[order, column]
        columns[f"{name}_predicted"] = predicted[:, column]
    return _frame(columns)


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    """Null where there is NaN, by a way that needs no thread of polars.

    In a forked process, such as a server's worker, polars has none, and waits for them for ever.
    """
    return pl.DataFrame(columns, nan_to_null=True)


def sample_frame(table: Table, config: TableConfig, spans: Sequence[Span]) -> pl.DataFrame:
    """The last of the rows ``spans``, with the columns that the network reads and predicts.

    Args:
        table: the table.
        config: its columns.
        spans: one for each series; of many series the longest are taken.
    """
    by_length = sorted(range(len(spans)), key=lambda place: spans[place][0] - spans[place][1])
    chosen = sorted(by_length[:SAMPLE_SERIES])
    parts = [np.arange(*spans[place])[-SAMPLE_ROWS:] for place in chosen]
    rows = np.concatenate(parts)
    columns: dict[str, Any] = {}
    if config.group is not None:
        columns[config.group] = [
            table.groups[place] for place, part in zip(chosen, parts, strict=True) for _ in part
        ]
    columns |= dict(zip(config.inputs, table.inputs[rows].T, strict=True))
    columns |= dict(zip(config.targets, table.targets[rows].T, strict=True))
    return _frame(columns)


def _rows_ahead(table: Table, ends: Rows, ahead: int) -> list[int | None]:
    """The file's row that stands ``ahead`` rows on in the same series; None past its end."""
    stops = np.array([stop for _, stop in table.spans])
    stop = stops[np.searchsorted(stops, ends, side="right")]
    later = ends + ahead
    inside = later < stop
    rows = table.rows[np.where(inside, later, 0)]
    return [int(row) if known else None for row, known in zip(rows, inside, strict=True)]


def _test_panel(training: Training, column: int) -> Panel:
    """One target on the test rows, with a gap wherever rows are missing between two predictions."""
    ends = training.test_rows
    breaks = np.flatnonzero(np.diff(ends) != 1) + 1
    x = np.insert(training.table.rows[ends].astype(np.float64), breaks, np.nan)
    truth = np.insert(training.truth[:, column], breaks, np.nan)
    predicted = np.insert(training.predicted[:, column], breaks, np.nan)
    return Panel(training.run.table.targets[column], x, truth, predicted, "last row seen")


def _wave_metrics(result: WaveResult) -> dict[str, Any]:
    return {
        "unseen_mse": result.error,
        "weights": result.run.network.count_weights(),
        "epochs": len(result.history.train),
        "best_epoch": result.history.best_epoch + 1,
        "seconds": round(result.seconds, 2),
        "training_mse": result.history.train,
        "validation_mse": result.history.validation,
    }


def _train_metrics(training: Training) -> dict[str, Any]:
    history = training.history
    return {
        "test": {
            name: {key: score and asdict(score) for key, score in scores.items()}
            for name, scores in training.scores.items()
        },
        "beaten_by": {name: beaten_by(scores) for name, scores in training.scores.items()},
        "windows": training.counts,
        "weights": training.run.network.count_weights(),
        "epochs": len(history.validation),
        "best_epoch": history.best_epoch + 1,
        "interrupted": history.interrupted,
        "seconds": round(training.seconds, 2),
        "training_mse": history.train,
        "validation_mse": history.validation,
        "gradient_norm": history.gradient_norm,
        "settings": training.settings.model_dump(),
    }


def write_json(path: Path, content: Any) -> None:
    """Indented, and without the NaN that JSON does not know."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

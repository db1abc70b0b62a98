"""Predictions of a trained run on a new table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError
from unrolled.learn.features import check_read, predict_ends
from unrolled.learn.results import predictions_frame
from unrolled.learn.table import read_table
from unrolled.learn.windows import Part, Rows, check_complete, goals_of, prepare
from unrolled.model import Run
from unrolled.model.folder import Missing


@dataclass(frozen=True)
class Predictions:
    """``frame`` has one row for each prediction; ``without`` rows of the table have none."""

    frame: pl.DataFrame
    without: int


def predict_table(
    run: Run, source: str | Path | IntoDataFrame, *, missing: Missing | None = None
) -> Predictions:
    """Predicts at every row of a table that has a whole window behind it, in the table's units.

    It also works in a forked process, such as a server's worker, on one thread. polars itself does
    not: there take the frame's values by ``iter_rows`` or ``to_dicts``.

    Args:
        run: a trained run; see :func:`unrolled.model.load_run`.
        source: a CSV or Parquet file, or a data frame, with the run's input columns.
        missing: what to do about missing inputs; as in training if None.

    Raises:
        InputError: the table can't be used as it is.
    """
    part, ends = read_ends(run, source, missing)
    predicted = predict_ends(run, part.table.inputs, ends)
    truth = goals_of([part], run.table.ahead)[ends]
    known = truth if np.isfinite(truth).any() else None
    frame = predictions_frame(part.table, run.table, ends, predicted, known)
    return Predictions(frame, without=len(part.table.rows) - len(ends))


def read_ends(
    run: Run, source: str | Path | IntoDataFrame, missing: Missing | None
) -> tuple[Part, Rows]:
    """A table as :func:`predict_table` reads it, and the rows that a whole window ends in."""
    config = run.table
    missing = config.missing if missing is None else missing
    table = read_table(
        source,
        inputs=config.inputs,
        targets=config.targets,
        group=config.group,
        targets_optional=True,
    )
    if missing == "error":
        check_complete(table, config.inputs, config.targets, with_targets=False)
    (part,) = prepare(table, [table.spans], missing)
    ends = part.ends(config.history)
    if len(ends) == 0:
        longest = max((stop - start for start, stop in part.spans), default=0)
        raise InputError(
            f"{table.name}: the longest stretch without a gap has {longest} rows, fewer than the "
            f"{config.history} that the run needs. Give more rows before the first to predict"
        )
    check_read(part.table, config, run.input_scaler)
    return part, ends

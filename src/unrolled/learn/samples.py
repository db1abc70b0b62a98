"""Windows of a table whose targets are known: what a trained run's error is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError
from unrolled.learn.columns import Array
from unrolled.learn.features import predict_ends
from unrolled.learn.predict import read_ends
from unrolled.learn.windows import goals_of
from unrolled.model import Run
from unrolled.model.folder import Missing
from unrolled.summary import Summarised


@dataclass(frozen=True, repr=False)
class Sample(Summarised):
    """Whole windows, in the table's units.

    ``windows`` [n, W, I] are the inputs (with one row more in front for a run that reads changes),
    ``truth`` [n, O] the targets, NaN where they are not needed and none is known, and ``predicted``
    [n, O] what the run makes of the windows.
    """

    name: str
    windows: Array
    truth: Array
    predicted: Array


def sample_of(
    run: Run,
    source: str | Path | IntoDataFrame,
    *,
    missing: Missing | None = None,
    with_truth: bool = True,
) -> Sample:
    """Every whole window of a table whose targets are all known.

    Args:
        run: a trained run.
        source: a CSV or Parquet file, or a data frame, with the run's columns.
        missing: what to do about missing inputs; as in training if None.
        with_truth: whether targets are needed; else every whole window, where none has them.

    Raises:
        InputError: the table can't be used as it is, or no target is known that is needed.
    """
    part, ends = read_ends(run, source, missing)
    goals = goals_of([part], run.table.ahead)
    known = np.isfinite(goals[ends]).all(axis=1)
    if known.any():
        ends = ends[known]
    elif with_truth:
        raise InputError(
            f"{part.table.name}: no whole window has its targets "
            f"({', '.join(run.table.targets)}) known. Give a table that has them"
        )
    rows = ends[:, None] + np.arange(1 - run.table.history, 1)
    return Sample(
        name=part.table.name,
        windows=part.table.inputs[rows],
        truth=goals[ends],
        predicted=predict_ends(run, part.table.inputs, ends),
    )

"""A trained run on a stretch of a table, step by step: what ``unrolled inspect`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from narwhals.typing import IntoDataFrame
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.inspect.diagnose import LEAST_STEPS, diagnose
from unrolled.inspect.diagnosis import Diagnosis
from unrolled.inspect.record import record
from unrolled.inspect.scene import MOST_SERIES, MOST_STEPS, Scene, Series, scene
from unrolled.inspect.words import Language
from unrolled.learn.columns import Array
from unrolled.learn.features import base, check_goals, check_read, features
from unrolled.learn.inspection_words import Shown, note_of, title_of
from unrolled.learn.runtime import alone_where_forked
from unrolled.learn.table import Span, Table, read_table
from unrolled.learn.windows import Part, Rows, check_complete, goals_of, prepare
from unrolled.model import Run, TableConfig, load_run
from unrolled.model.folder import Missing, read_sample
from unrolled.runfile import name_of

STEPS = 200
"""How many of a table's last rows are shown."""
STRETCHES = 16
"""The memory is measured over so many stretches of the table at most."""


@alone_where_forked()
def inspect_run(
    run: Run | str | Path,
    source: str | Path | IntoDataFrame | None = None,
    *,
    steps: int = STEPS,
    end: int | None = None,
    group: str | None = None,
    missing: Missing | None = None,
    language: Language = "en",
) -> Scene:
    """Runs a network once over consecutive rows of a table, and keeps all that it did.

    The network starts from a zero state and carries it through the whole stretch, where
    :func:`~unrolled.predict_table` starts each window anew. The memory is measured on up to 16
    stretches of that length, from all over the table, by the mean squared error at their ends.

    Args:
        run: a trained run, or its folder.
        source: a CSV or Parquet file, or a data frame; None for the ``sample.csv`` that training
            left in the folder.
        steps: how many rows to show, 3 to 1000; fewer where the stretch without a gap is shorter.
        end: the last row to show, as ``predictions.csv`` counts: from 1, without the header. The
            last row of the series if None; with ``missing="drop"``, of its last stretch without
            a gap.
        group: which series, in a table of several; the longest if None.
        missing: what to do about missing inputs; as in training if None.
        language: of the title and the note, "en" or "zh".

    Returns:
        The scene for :func:`unrolled.inspect.report.html` and
        :func:`unrolled.inspect.pictures.save_pictures`. Its series are in the table's units, and a
        prediction stands at the row that it is about.

    Raises:
        InputError: the table can't be used as it is, or there is no such row or series.
    """
    if not LEAST_STEPS <= steps <= MOST_STEPS:
        raise InputError(
            f"--steps: {LEAST_STEPS} to {MOST_STEPS} rows can be shown, {steps} were asked for"
        )
    run, source = _opened(run, source)
    config = run.table
    table = read_table(
        source,
        inputs=config.inputs,
        targets=config.targets,
        group=config.group,
        targets_optional=True,
    )
    missing = config.missing if missing is None else missing
    if missing == "error":
        check_complete(table, config.inputs, config.targets, with_targets=False)
    place = _series_place(table, config, group)
    (part,) = prepare(table, [table.spans], missing)
    shown = _stretch(part, table.spans[place], config, steps, end)
    prepared = _Prepared.of(run, part)
    diagnosis = prepared.diagnosis(shown[1] - shown[0])
    trace = record(run.network, prepared.inputs(np.array([shown[0]]), shown[1] - shown[0]))
    output = trace.output[0][0].double().numpy()
    told = Shown(
        table=Path(table.name).name,
        series=None if config.group is None else name_of(table.groups[place]),
        first=int(table.rows[shown[0]]),
        last=int(table.rows[shown[1] - 1]),
        filled=int(part.filled[slice(*shown)].sum()),
    )
    return scene(
        trace,
        diagnosis=diagnosis,
        series=_series(run, part, shown, output),
        title=title_of(run, language),
        note=note_of(run, told, language),
    )


def _opened(
    run: Run | str | Path, source: str | Path | IntoDataFrame | None
) -> tuple[Run, str | Path | IntoDataFrame]:
    """The run, and the table to show it on."""
    if source is not None:
        return (run if isinstance(run, Run) else load_run(run)), source
    if isinstance(run, Run):
        raise InputError("a run without its folder has no sample.csv: give a table to show it on")
    loaded = load_run(run)
    return loaded, read_sample(Path(run))


def _series_place(table: Table, config: TableConfig, group: str | None) -> int:
    """Which of the table's series: the one named, or the longest."""
    if group is None:
        lengths = [stop - start for start, stop in table.spans]
        return int(np.argmax(lengths))
    if config.group is None:
        raise InputError(f"--group {group}: the run was trained without a group column. Leave it")
    labels = [name_of(label) for label in table.groups]
    if group not in labels and group.lower() in ("true", "false"):  # Python writes True
        alike = [label for label in labels if label.lower() == group.lower()]
        group = alike[0] if len(alike) == 1 else group
    if group not in labels:
        near = get_close_matches(group, labels, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(labels[:12])}"
        raise InputError(f"{table.name}: column {config.group!r} has no series {group!r}. {hint}")
    return labels.index(group)


def _stretch(part: Part, series: Span, config: TableConfig, steps: int, end: int | None) -> Span:
    """The rows to show [start, stop): consecutive, without a gap, at most ``steps``."""
    table = part.table
    # The first change of a stretch is not known.
    stretches = [
        (start + config.difference, stop)
        for start, stop in part.spans
        if series[0] <= start and stop <= series[1]
    ]
    if end is None:
        long = [(start, stop) for start, stop in stretches if stop - start >= LEAST_STEPS]
        if not long:
            most = max((stop - start for start, stop in stretches), default=0)
            raise InputError(
                f"{table.name}: the longest stretch without a gap has {max(most, 0)} rows that "
                f"can be shown, fewer than {LEAST_STEPS}. Give more rows"
            )
        start, stop = long[-1]
    else:
        start, stop = _up_to(table, series, stretches, end)
    return max(start, stop - steps), stop


def _up_to(table: Table, series: Span, stretches: Sequence[Span], end: int) -> Span:
    """The stretch that holds the row ``end`` of the file, as far as that row."""
    rows = table.rows[slice(*series)]
    place = series[0] + int(np.searchsorted(rows, end))
    if place == series[1] or table.rows[place] != end:
        many = len(table.spans) > 1
        raise InputError(
            f"--end {end}: a row from {rows[0]} to {rows[-1]} was expected"
            f"{', of the series that is shown' if many else ''}"
        )
    start = next((start for start, stop in stretches if start <= place < stop), place)
    if place + 1 - start < LEAST_STEPS:
        raise InputError(
            f"--end {end}: fewer than {LEAST_STEPS} rows without a gap lead up to this one. "
            "Name a later one"
        )
    return start, place + 1


@dataclass(frozen=True)
class _Prepared:
    """A table as the network meets it: ``read`` [N, I] and ``goals`` [N, O], scaled."""

    run: Run
    part: Part
    read: Array
    goals: Array

    @classmethod
    def of(cls, run: Run, part: Part) -> _Prepared:
        config, inputs = run.table, part.table.inputs
        goals = goals_of([part], config.ahead)
        check_read(part.table, config, run.input_scaler)
        check_goals(part.table, config, goals, run.target_scaler)
        change = goals - base(inputs, config)
        return cls(
            run,
            part,
            run.input_scaler.transform(features(inputs, config)),
            run.target_scaler.transform(change),
        )

    def inputs(self, starts: Rows, steps: int) -> torch.Tensor:
        """What the network reads from these rows on [B, T, I]."""
        return torch.from_numpy(self._stretches(self.read, starts, steps)).float()

    def _stretches(self, values: Array, starts: Rows, steps: int) -> Array:
        found: Array = values[starts[:, None] + np.arange(steps)]
        return found

    def diagnosis(self, steps: int) -> Diagnosis:
        """Of the network's memory, over ``steps`` rows, or as many as have a known target."""
        readable = np.asarray(np.isfinite(self.read).all(axis=1))
        known = readable & np.asarray(np.isfinite(self.goals).all(axis=1))
        longest = int(self._run_lengths(known).max())
        if longest < LEAST_STEPS:  # no target to speak of: what the outputs hang on
            starts = self._starts(readable, steps)
            return diagnose(self.run.network, self.inputs(starts, steps))
        steps = min(steps, longest)
        starts = self._starts(known, steps)
        goals = torch.from_numpy(self._stretches(self.goals, starts, steps)).float()
        return diagnose(
            self.run.network,
            self.inputs(starts, steps),
            target=goals,
            loss=torch.nn.functional.mse_loss,
        )

    def _starts(self, usable: NDArray[np.bool_], steps: int) -> Rows:
        """The first rows of stretches of usable rows, evenly over all that there are [B]."""
        starts = np.flatnonzero(self._run_lengths(usable) >= steps) - steps + 1
        chosen = np.linspace(0, len(starts) - 1, min(STRETCHES, len(starts)))
        picked: Rows = starts[chosen.round().astype(int)]
        return picked

    def _run_lengths(self, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many usable rows of its stretch end in each row, 0 in one that is not [N]."""
        lengths = np.zeros(len(usable), dtype=np.int64)
        for start, stop in self.part.spans:
            first = start + self.run.table.difference
            rows = np.arange(first, stop)
            unusable = np.where(usable[first:stop], first - 1, rows)
            lengths[first:stop] = rows - np.maximum.accumulate(unusable)
        return lengths


def _series(run: Run, part: Part, shown: Span, output: Array) -> list[Series]:
    """Inputs, targets and predictions over the rows shown, in the table's units.

    A prediction is made ``ahead`` rows before the one that it is about, and stands at the latter.
    """
    config, table, rows = run.table, part.table, slice(*shown)
    made = run.target_scaler.inverse(output) + base(table.inputs[rows], config)
    predicted = np.full_like(made, np.nan)
    predicted[config.ahead :] = made[: max(len(made) - config.ahead, 0)]
    found: list[Series] = []
    kinds: list[tuple[Any, list[str], Array]] = [
        ("input", config.inputs, table.inputs[rows]),
        ("target", config.targets, table.targets[rows]),
        ("prediction", config.targets, predicted),
    ]
    for kind, names, values in kinds:
        for name, column in zip(names[:MOST_SERIES], values.T, strict=False):
            if np.isfinite(column).any():
                finite = np.where(np.isfinite(column), column, np.nan)
                found.append(Series(name, kind, finite.astype(np.float32)))
    return found

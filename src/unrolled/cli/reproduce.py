"""``unrolled reproduce``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unrolled.cli.display import notes, screen
from unrolled.errors import InputError
from unrolled.reproduce.jobs import FAITHFUL, MODERN, Job, jobs
from unrolled.reproduce.machine import cores
from unrolled.reproduce.published import QUICK, ROWS
from unrolled.reproduce.results import Results, writing
from unrolled.reproduce.runner import run_all
from unrolled.reproduce.tables import Result

COLUMNS = (FAITHFUL, MODERN)


def run_reproduce(
    results: Path,
    rows: Sequence[str],
    columns: Sequence[str],
    trials: int | None,
    processes: int | None,
    *,
    quick: bool,
) -> None:
    """Runs what is not in the file yet, and adds it there."""
    _check(rows, columns)
    at_once = processes or cores()
    if quick and (rows or trials is not None):
        raise InputError("--quick: chooses rows and trials itself. Leave out --row and --trials")
    wanted, each = (QUICK, 3) if quick else (rows, trials)
    with writing(results, Result) as file:
        left = jobs(file.done, columns=columns or COLUMNS, keys=wanted, trials=each)
        _announce(left, file, at_once)
        if left:
            _run(left, file, results, at_once)
    screen.print(f"{results}: {len(file.all):,} trials", soft_wrap=True)


def list_rows() -> None:
    """Prints the rows, a line each."""
    width = max(len(row.key) for row in ROWS)
    for row in ROWS:
        screen.print(
            f"{row.key:{width}}  {row.setting}; published: {row.sequences:,} sequences, "
            f"{row.solved}%",
            soft_wrap=True,
        )


def _check(rows: Sequence[str], columns: Sequence[str]) -> None:
    keys = [row.key for row in ROWS]
    for key in rows:
        if key not in keys:
            raise InputError(f"--row: one of {', '.join(keys)} was expected, got {key!r}")
    for column in columns:
        if column not in COLUMNS:
            raise InputError(f"--column: {' or '.join(COLUMNS)} was expected, got {column!r}")


def _announce(left: Sequence[Job], file: Results[Result], processes: int) -> None:
    trials = sum(len(job.seeds) for job in left)
    if not left:
        notes.print("All of it is there.")
        return
    seconds = max(sum(job.seconds for job in left) / processes, left[0].seconds)
    before = f" ({len(file.done):,} are there)" if file.done else ""
    notes.print(
        f"{trials:,} trials{before}, in {processes} processes: about {_in_words(seconds)}. "
        "Ctrl-C ends it; the same command goes on from there.",
        soft_wrap=True,
    )


def _in_words(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{minutes / 60:.1f} hours"


def _run(left: list[Job], file: Results[Result], results: Path, processes: int) -> None:
    bar = Progress(
        BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeElapsedColumn(),
        TextColumn("left:"), TimeRemainingColumn(), console=notes,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=sum(job.seconds for job in left))

        def watch(done: float, result: Result | None) -> None:
            bar.update(task, completed=done)
            if result is not None:
                ending = "solved" if result.solved else "not solved"
                bar.console.print(
                    f"{result.row} {result.network}, seed {result.seed}: {ending} after "
                    f"{result.sequences:,} sequences",
                    soft_wrap=True,
                )

        aside = results.with_name(f".{results.name}.under-way")
        run_all(left, file, aside, processes, watch)

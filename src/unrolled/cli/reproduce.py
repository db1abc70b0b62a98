"""``unrolled reproduce``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unrolled.cli.display import notes, screen
from unrolled.errors import InputError
from unrolled.reproduce.machine import cores
from unrolled.reproduce.modern import NETWORKS
from unrolled.reproduce.page import PAGE, write_page
from unrolled.reproduce.parts import PARTS, Job, Trial, named
from unrolled.reproduce.published import QUICK, ROWS
from unrolled.reproduce.results import Record, Results, writing
from unrolled.reproduce.runner import run_all
from unrolled.reproduce.tables import FAITHFUL, MODERN, OF_1997

COLUMNS = (FAITHFUL, MODERN)

QUICK_TRIALS = 3
"""So many trials of each row has ``--quick``."""


@dataclass(frozen=True)
class Selection:
    """Which trials of the tables are wanted; nothing named is all."""

    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    networks: Sequence[str] = ()
    trials: int | None = None

    def __post_init__(self) -> None:
        keys = [row.key for row in ROWS]
        _check_known("--row", self.rows, keys)
        _check_known("--column", self.columns, COLUMNS)
        _check_known("--network", self.networks, (OF_1997, *NETWORKS))

    def has(self, trial: Trial) -> bool:
        """Whether a trial is wanted."""
        row, column, network, seed = trial
        return (
            (not self.rows or row in self.rows)
            and (not self.columns or column in self.columns)
            and (not self.networks or network in self.networks)
            and (self.trials is None or int(seed) < self.trials)
        )


def run_reproduce(
    folder: Path,
    parts: Sequence[str],
    selection: Selection,
    processes: int | None,
    *,
    quick: bool,
) -> None:
    """Runs what is not in the folder's files yet, and adds it there."""
    _check_known("--part", parts, PARTS)
    if quick:
        if parts or selection != Selection():
            raise InputError("--quick: chooses the trials itself. Leave out what else does")
        parts, selection = ["tables"], Selection(rows=QUICK, trials=QUICK_TRIALS)
    elif selection != Selection():
        if parts and list(parts) != ["tables"]:
            raise InputError(
                "--row, --column, --network and --trials: are of the part tables. Name it alone"
            )
        parts = ["tables"]
        if not _left("tables", set(), selection):
            raise InputError(
                "--row, --column and --network: no trial of the tables is of all that they name. "
                "Leave one of them out"
            )
    with ExitStack() as stack:
        files = {
            part: stack.enter_context(writing(folder / f"{part}.csv", named(part).RECORD))
            for part in parts or PARTS
        }
        left = [job for part, file in files.items() for job in _left(part, file.done, selection)]
        left.sort(key=lambda job: -job.seconds)
        at_once = processes or cores()
        _announce(left, sum(len(file.done) for file in files.values()), at_once)
        if left:
            _run(left, files, folder, at_once)
    for part, file in files.items():
        screen.print(f"{folder / f'{part}.csv'}: {_counted(len(file.all))}", soft_wrap=True)


def _check_known(flag: str, given: Sequence[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{flag}: one of {'; '.join(known)} was expected, got {name!r}")


@dataclass(frozen=True)
class _Skipped:
    """The trials that are not run: those that are done, and those that nobody wants."""

    done: set[Trial]
    wants: Callable[[Trial], bool]

    def __contains__(self, trial: object) -> bool:
        return trial in self.done or (isinstance(trial, tuple) and not self.wants(trial))


def _left(part: str, done: set[Trial], selection: Selection) -> list[Job]:
    wants = selection.has if part == "tables" else lambda _: True
    return named(part).jobs(_Skipped(done, wants))


def run_page(folder: Path, docs: Path) -> None:
    """Writes the page and its pictures from the folder's files."""
    if not any((folder / f"{part}.csv").exists() for part in PARTS):
        raise InputError(
            f"{folder}: has no results, of which a page could be. Name another with --results, or "
            "leave out --page to have some"
        )
    write_page(folder, docs)
    screen.print(f"Wrote {docs / PAGE} and its pictures", soft_wrap=True)


def list_rows() -> None:
    """Prints the rows of the tables, a line each."""
    width = max(len(row.key) for row in ROWS)
    for row in ROWS:
        screen.print(
            f"{row.key:{width}}  {row.setting}; published: {row.sequences:,} sequences, "
            f"{row.solved}%",
            soft_wrap=True,
        )


def _announce(left: Sequence[Job], done: int, processes: int) -> None:
    trials = sum(len(job.trials) for job in left)
    if not left:
        notes.print("All of it is there.")
        return
    seconds = max(sum(job.seconds for job in left) / processes, left[0].seconds)
    before = f" ({done:,} {'is' if done == 1 else 'are'} there)" if done else ""
    notes.print(
        f"{_counted(trials)}{before}, {processes} at once: about {_in_words(seconds)}. "
        "Ctrl-C ends it; the same command goes on from there.",
        soft_wrap=True,
    )


def _counted(trials: int) -> str:
    return f"{trials:,} trial{'s' if trials != 1 else ''}"


def _in_words(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{minutes / 60:.1f} hours"


def _run(
    left: Sequence[Job], files: dict[str, Results[Record]], folder: Path, processes: int
) -> None:
    bar = Progress(
        BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeElapsedColumn(),
        TextColumn("left:"), TimeRemainingColumn(), console=notes,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=sum(job.seconds for job in left))

        def watch(done: float, record: Record | None) -> None:
            bar.update(task, completed=done)
            if record is not None:
                bar.console.print(str(record), soft_wrap=True)

        run_all(left, files, folder / ".under-way", processes, watch)

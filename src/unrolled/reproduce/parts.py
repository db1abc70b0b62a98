"""What any part of the reproduction is made of: jobs, each some trials, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

Trial = tuple[str | int, ...]
"""Which trial it is: the first values of a record."""

Emit = Callable[[Any], None]
"""Is given each record, and now and then the share of the job that is done, a float."""


@dataclass(frozen=True)
class Job:
    """Trials that one process runs.

    Attributes:
        part: the part's name.
        name: the job's, for people and for a file's name.
        trials: which it runs.
        seconds: how long it may take, roughly, on the machine that the page names.
    """

    part: str
    name: str
    trials: tuple[Trial, ...]
    seconds: float


class Part(Protocol):
    """A part: a module with these."""

    RECORD: type[Any]
    """The records of its file."""

    def jobs(self, done: Container[Trial]) -> list[Job]:
        """What is left to do."""

    def run(self, job: Job, saved: Path, emit: Emit) -> None:
        """Runs the trials of a job.

        Args:
            job: which.
            saved: a file for the state of trials that take long; what it holds is gone on with.
            emit: see :data:`Emit`.
        """


PARTS = {
    "tables": "unrolled.reproduce.jobs",
    "continual": "unrolled.reproduce.continual",
    "variants": "unrolled.reproduce.variants",
    "languages": "unrolled.reproduce.languages",
    "initial": "unrolled.reproduce.initial",
}
"""The parts by their names, and the modules that they are."""


def named(part: str) -> Part:
    """The part of this name."""
    return cast("Part", import_module(PARTS[part]))

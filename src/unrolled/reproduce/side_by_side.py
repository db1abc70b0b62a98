"""Trials that run side by side until all are over, saved now and then, and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from unrolled.errors import InputError
from unrolled.learn.runtime import reproducible
from unrolled.output import writing
from unrolled.reproduce.parts import Emit

SAVED_EVERY = 20.0
"""After so many seconds the state of the trials is saved."""


class Trials(Protocol):
    """Trials side by side; what each comes to does not depend on the others.

    Attributes:
        seeds: of those that are not over.
    """

    seeds: list[int]

    def advance(self) -> Sequence[Any]:
        """Goes on for a while; returns what came of the trials that are over with it."""

    def state(self) -> dict[str, Any]:
        """All that changes, as JSON has it, the seeds among it."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`state` gave, of the same trials or of those of them that were left."""

    def keep(self, seeds: Sequence[int]) -> None:
        """Goes on with the trials of these seeds alone."""


T = TypeVar("T", bound=Trials)


@dataclass(frozen=True)
class Course(Generic[T]):
    """How trials are run.

    Attributes:
        begin: makes the trials of some seeds.
        record: of what came of a trial, and of the seconds that it took, its record.
        share: how much of the trials is done, a number from 0 to 1.
    """

    begin: Callable[[Sequence[int]], T]
    record: Callable[[Any, float], Any]
    share: Callable[[T], float]


def run(course: Course[T], seeds: Sequence[int], saved: Path, emit: Emit) -> None:
    """Runs the trials of these seeds.

    Args:
        course: what they are.
        seeds: theirs.
        saved: a file for their state; if it is there, they go on from it.
        emit: see :data:`~unrolled.reproduce.parts.Emit`.

    Raises:
        InputError: the state in the file can't be gone on with.
    """
    with reproducible(0, threads=1):
        new = list(seeds)
        if saved.exists():
            trials, seconds = _restored(course, saved)
            trials.keep([seed for seed in trials.seeds if seed in seeds])  # some have ended since
            new = [seed for seed in seeds if seed not in trials.seeds]
            _run_to_the_end(course, trials, seconds, saved, emit)
        if new:
            _run_to_the_end(course, course.begin(new), 0.0, saved, emit)
    saved.unlink(missing_ok=True)


def _restored(course: Course[T], saved: Path) -> tuple[T, float]:
    """The trials as they were saved, and how long they had taken."""
    try:
        state = json.loads(saved.read_text(encoding="utf-8"))
        trials = course.begin(state["trials"]["seeds"])
        trials.restore(state["trials"])
        return trials, float(state["seconds"])
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{saved}: can't be gone on with ({type(error).__name__}: {error}). Delete it, and "
            "these trials are begun anew"
        ) from error


def _run_to_the_end(course: Course[T], trials: T, seconds: float, saved: Path, emit: Emit) -> None:
    """Runs trials that have taken so many seconds before."""
    began = last = time.perf_counter()
    while trials.seeds:
        count = len(trials.seeds)
        for outcome in trials.advance():
            now = time.perf_counter()
            emit(course.record(outcome, (seconds + now - began) / count))
        now = time.perf_counter()
        if now - last > SAVED_EVERY:
            _save(saved, {"trials": trials.state(), "seconds": seconds + now - began})
            last = now
        emit(course.share(trials))


def _save(path: Path, state: object) -> None:
    with writing(path, overwrite=True, flag="--results") as draft:
        draft.write_text(json.dumps(state))

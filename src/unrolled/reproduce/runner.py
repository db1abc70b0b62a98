"""Jobs side by side, each in a process of its own; one process writes what comes of them."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from unrolled.errors import InputError
from unrolled.reproduce.parts import Job, named
from unrolled.reproduce.results import Record, Results


@dataclass(frozen=True)
class Failed:
    """A job's process met an error.

    Attributes:
        text: what the user can mend; of any other error where it came from.
        is_users: whether it is the user's.
    """

    text: str
    is_users: bool


@dataclass
class Running:
    """A job's process, and how much of the job is done."""

    job: Job
    process: BaseProcess
    connection: Connection
    share: float = 0.0


Watch = Callable[[float, Record | None], None]
"""Is told the seconds of work that are done, by the jobs' own reckoning, and each new result."""


def run_all(
    jobs: Sequence[Job],
    results: Mapping[str, Results[Any]],
    aside: Path,
    processes: int,
    watch: Watch,
) -> None:
    """Runs the jobs, so many at once, and adds their results.

    Args:
        jobs: in the order in which they begin.
        results: the open files, by their parts.
        aside: a folder for the states of trials that are under way.
        processes: how many run at once.
        watch: see :data:`Watch`.

    Raises:
        InputError: a process was killed or could not be started, ``aside`` can't be written, or a
            job met something that the user can mend.
        RuntimeError: a job failed; its traceback is in the message.
    """
    _make(aside)
    waiting, done = list(reversed(jobs)), 0.0
    with _ended_with_this_one(aside) as running:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(_begun(waiting.pop(), aside))
            for connection in wait([each.connection for each in running]):
                each = next(each for each in running if each.connection is connection)
                said = _received(each)
                if said is None:
                    running.remove(each)
                    done += each.job.seconds
                elif isinstance(said, float):
                    each.share = said
                else:
                    results[each.job.part].add(said)
                shares = sum(each.share * each.job.seconds for each in running)
                watch(done + shares, None if isinstance(said, float) else said)


def _make(aside: Path) -> None:
    try:
        aside.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{aside}: can't be made a folder ({error.strerror or error}), and is one for trials "
            "that are under way. Move away what is there, or name another folder with --results"
        ) from None


@contextmanager
def _ended_with_this_one(aside: Path) -> Iterator[list[Running]]:
    running: list[Running] = []
    try:
        yield running
    finally:
        for each in running:
            each.process.terminate()
        for each in running:
            each.process.join()
        with suppress(OSError):  # it holds what is gone on with
            aside.rmdir()


def _begun(job: Job, aside: Path) -> Running:
    context = multiprocessing.get_context("spawn")
    saved = aside / f"{job.name}.json"
    try:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(job, saved, theirs), daemon=True)
        process.start()
    except OSError as error:
        raise InputError(
            f"{job.name}: no process could be started for it ({error.strerror or error}). "
            "Let fewer run at once with --processes"
        ) from error
    theirs.close()
    return Running(job, process, ours)


def _received(each: Running) -> Record | float | None:
    """What a job says; None once it has ended well."""
    try:
        said = each.connection.recv()
    except EOFError:
        each.process.join()
        raise InputError(
            f"{each.job.name}: its process was killed (exit code {each.process.exitcode}). Is the "
            "memory enough? The same command goes on from here; --processes 1 takes less"
        ) from None
    if isinstance(said, Failed):
        if said.is_users:
            raise InputError(said.text)
        raise RuntimeError(f"{each.job.name}:\n{said.text}")
    if said is None:
        each.process.join()
    found: Record | float | None = said
    return found


def _work(job: Job, saved: Path, connection: Connection) -> None:
    """A job's process; it ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who began it
    try:
        named(job.part).run(job, saved, connection.send)
        connection.send(None)
    except BrokenPipeError:
        return
    except InputError as error:
        connection.send(Failed(str(error), is_users=True))
    except Exception:
        connection.send(Failed(traceback.format_exc(), is_users=False))

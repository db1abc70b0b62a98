"""The process that a target runs in: with little memory, and its last words in a file."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

TELL = signal.SIGUSR1
"""Asks the process where it is: every thread's stack goes to its last words."""


def serve(connection: Connection, module: str, words: str, mebibytes: int, first: bytes) -> None:
    """Hands each input that comes in to the target, and answers with what it raised, if anything.

    Args:
        connection: Where inputs come in as bytes, and an :class:`Answer` goes out.
        module: The target, as it is imported.
        words: The file that standard output and error go to.
        mebibytes: How much memory there is beyond what the target takes once it has read ``first``.
        first: An input to begin with: libraries are loaded and threads started at the first use.
    """
    out = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.enable()
    faulthandler.register(TELL, all_threads=True)
    run = importlib.import_module(module).run
    with contextlib.suppress(Exception):  # whether it may be read is not the question here
        run(first)
    limit = limit_memory(mebibytes)
    connection.send(Answer())
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        os.ftruncate(out, 0)
        raised = None
        try:
            run(data)
        except KeyboardInterrupt:
            return
        except BaseException as error:  # polars' panics are no Exceptions, nor is an exit
            raised = describe(error)
        connection.send(Answer(raised, worn=limit - taken() < mebibytes * 2**19))


class Raised(NamedTuple):
    """An exception: its type, the innermost place of ours that it passed, and its traceback."""

    kind: str
    place: str
    words: str


class Answer(NamedTuple):
    """What an input came to.

    ``worn`` says that so much memory was left behind (by an allocator, a cache) that the next input
    would not have what it may have.
    """

    raised: Raised | None = None
    worn: bool = False


def taken() -> int:
    """How many bytes of addresses this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit_memory(mebibytes: int) -> int:
    """No more addresses than are taken now, and so many MiB; no core dumps. Gives the limit."""
    limit = taken() + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return limit


def describe(error: BaseException) -> Raised:
    words = "".join(traceback.format_exception(error, limit=-50))
    return Raised(type(error).__name__, place_of(error.__traceback__), words)


def place_of(trace: TracebackType | None) -> str:
    """The innermost line within the package, or within whatever there is."""
    frames = [
        f"{trim(frame.f_code.co_filename)}:{line}" for frame, line in traceback.walk_tb(trace)
    ]
    ours = [frame for frame in frames if frame.startswith("unrolled/")]
    return (ours or frames or ["?"])[-1]


def trim(path: str) -> str:
    """The path from the package on, or from where it is imported."""
    _, inside, rest = path.rpartition("/unrolled/")
    if inside and "/tests/" not in rest:
        return "unrolled/" + rest
    for root in sorted(sys.path, key=len, reverse=True):
        if root and path.startswith(root + "/"):
            return path[len(root) + 1 :]
    return path

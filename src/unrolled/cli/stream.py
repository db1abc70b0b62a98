"""``unrolled stream``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from unrolled.deploy.serve import open_stream, serve
from unrolled.errors import InputError


def run_stream(run: Path, *, state: Path | None, save_every: int) -> None:
    """Answers the lines of stdin on stdout until they end."""
    for name, pipe in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if pipe is None:
            raise InputError(f"{name}: is closed. Rows are read from stdin, and answered on stdout")
    stream, goes_on = open_stream(run, state)
    if goes_on:
        steps = int(stream.state["steps"][0])
        _complain(f"goes on from {state}, after {steps} rows")
    try:
        serve(
            stream,
            sys.stdin.buffer,
            sys.stdout.buffer,
            _complain,
            state=state,
            save_every=save_every,
        )
    except BrokenPipeError:  # nobody reads any more
        _let_go_of_stdout()
        sys.exit(1)
    except InputError:
        _let_go_of_stdout()
        raise


def _let_go_of_stdout() -> None:
    # What could not be written is not saved either, and Python should not try once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(words: str) -> None:
    """Where nobody reads what is said of the rows, they are answered all the same."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"unrolled: {words}", file=sys.stderr, flush=True)

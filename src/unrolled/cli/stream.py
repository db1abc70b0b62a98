"""``unrolled stream``."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from unrolled.cli.process import say
from unrolled.deploy.serve import open_stream, serve
from unrolled.errors import InputError


def run_stream(run: Path, *, state: Path | None, save_every: int, has_header: bool | None) -> None:
    """Answers the lines of stdin on stdout until they end."""
    for name, pipe in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if pipe is None:
            raise InputError(f"{name}: is closed. Rows are read from stdin, and answered on stdout")
    from unrolled.deploy.stored import claimed  # with what reads and writes such files

    try:
        with nullcontext() if state is None else claimed(state):
            _serve(run, state, save_every, has_header)
    except BrokenPipeError:  # nobody reads any more
        _let_go_of_stdout()
        sys.exit(1)
    except InputError:
        _let_go_of_stdout()
        raise


def _serve(run: Path, state: Path | None, save_every: int, has_header: bool | None) -> None:
    stream, goes_on = open_stream(run, state)
    if goes_on:
        steps = int(stream.state["steps"][0])
        say(f"goes on from {state}, after {steps} rows")
    source, out = sys.stdin.buffer, sys.stdout.buffer
    serve(stream, source, out, say, state=state, save_every=save_every, has_header=has_header)


def _let_go_of_stdout() -> None:
    # What could not be written is not saved either, and Python should not try once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

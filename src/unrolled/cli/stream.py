"""``unrolled stream``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from unrolled.deploy.serve import open_stream, serve


def run_stream(run: Path, *, state: Path | None, save_every: int) -> None:
    """Answers the lines of stdin on stdout until they end."""
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
    except BrokenPipeError:
        # Nobody reads any more. What could not be written is not saved either, and Python should
        # not try to write it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _complain(words: str) -> None:
    print(f"unrolled: {words}", file=sys.stderr, flush=True)

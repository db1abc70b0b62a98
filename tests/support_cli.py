"""Runs the ``unrolled`` command: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from unrolled.cli.app import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Command:
    """Calls ``main`` as the shell would, and gives its exit code and what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *args: object) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, args)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        printed = self.capsys.readouterr()
        code = stop.value.code
        return Outcome(0 if code is None else int(code), printed.out, printed.err)


def program(*args: object) -> list[str]:
    """The command line of a process of its own that runs ``unrolled``."""
    start = "from unrolled.cli.app import main; main()"
    return [sys.executable, "-c", start, *map(str, args)]


def run(*args: object) -> Outcome:
    """Runs it in a process of its own."""
    done = subprocess.run(
        program(*args), capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    return Outcome(done.returncode, done.stdout, done.stderr)

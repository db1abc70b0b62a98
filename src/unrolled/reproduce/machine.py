"""The machine that runs the trials."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch

import unrolled


class Origin(TypedDict):
    """How long a trial took and where it was run: the last columns of every file of results."""

    seconds: float
    version: str
    processor: str


def origin(seconds: float) -> Origin:
    """That of a trial that took so long here."""
    return Origin(seconds=round(seconds, 1), version=unrolled.__version__, processor=processor())


def processor() -> str:
    """What it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def without_subnormals() -> Iterator[None]:
    """In the block numbers below 1.2e-38 count as zero.

    The derivative of a cell that has run full is such a number, and products of them take a hundred
    times as long.
    """
    was_on = _counts_as_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


def _counts_as_zero() -> bool:
    least = torch.tensor(1e-39)
    return bool((least * 1.0 == 0).item())

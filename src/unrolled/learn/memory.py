"""How much memory there is, asked before a table takes it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unrolled.errors import InputError


def check_memory(needed: int, what: str, repair: str) -> None:
    """That ``needed`` bytes are free.

    Raises:
        InputError: fewer are; ``what`` says what would take them.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{what} would take at least {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} "
            f"GB is free. {repair}"
        )


def available_memory() -> int | None:
    """Bytes that can still be taken; None where the system doesn't say."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(free.split()[1])
    return None

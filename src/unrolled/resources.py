"""How much memory there is, asked before it is taken; imports neither torch nor NumPy."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from unrolled.errors import InputError

LARGEST_SIZE = 2**31 - 1
"""No size, length or count is larger: beyond it, what is made of it no longer fits 64 bits."""

LONGEST_LABEL = 1000
"""Letters in a series' label, which stands in every row of what is written."""

MOST_LAYERS = 1000
"""torch's modules look up each layer's weights in a list of all, so that many take for ever."""

CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""What a container may use, what it does, and what of that is a cache: of version 2, and of 1."""


def check_memory(needed: int, what: str, repair: str) -> None:
    """That ``needed`` bytes are free, to be asked before any of them is taken.

    Where the system does not say how much is free, nothing is refused.

    Raises:
        InputError: fewer are free: "``what`` would take 3 TB …, and 8 GB is free. ``repair``".
    """
    free = available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{what} would take at least {in_words(needed)} of memory, and {in_words(free)} is "
            f"free. {repair}"
        )


def check_disk(folder: Path, needed: int, what: str, repair: str) -> None:
    """That ``needed`` bytes more can be written into ``folder``.

    Raises:
        InputError: there is not the room.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{what} would take {in_words(needed)} of disk, and {in_words(free)} is free. {repair}"
        )


def available_memory() -> int | None:
    """Bytes that this process can still take, by the machine, the container and ``ulimit -v``.

    None if the system says none of it.
    """
    known = [
        size
        for size in (_of_machine(), _of_container(Path("/sys/fs/cgroup")), _of_process())
        if size is not None
    ]
    return max(min(known), 0) if known else None


def in_words(size: int) -> str:
    """Bytes as people say them: 512 bytes, 1.5 GB."""
    if size < 1000:
        return f"{size} bytes"
    units = ("kB", "MB", "GB", "TB", "PB", "EB")
    power = min((len(str(size)) - 1) // 3, len(units))
    tenths = 10 * size // 1000**power  # in whole numbers: a size may be beyond any float
    return f"{tenths // 10:,}.{tenths % 10} {units[power - 1]}"


def _of_machine() -> int | None:
    if sys.platform == "win32":
        return _of_windows()
    with suppress(OSError, ValueError, KeyError):
        found = _numbers(Path("/proc/meminfo"))
        return 1024 * (found["MemAvailable:"] + found["SwapFree:"])
    with suppress(OSError, ValueError):  # macOS says how much there is, not how much is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container(root: Path) -> int | None:
    for limit, usage, cache in CGROUPS:
        with suppress(OSError, ValueError):
            most = int((root / limit).read_text())  # "max" where there is no limit
            used = int((root / usage).read_text())
            spare = _numbers((root / usage).with_name("memory.stat")).get(cache, 0)
            return most - used + spare
    return None


def _of_process() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return None
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return most - pages * os.sysconf("SC_PAGE_SIZE")
    return most


def _numbers(path: Path) -> dict[str, int]:
    """The second word of each line by its first."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in rows if len(words) > 1 and words[1].isdigit()}


def _of_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((f"size_{place}", ctypes.c_ulonglong) for place in range(7)),
        )

    status = Status(length=ctypes.sizeof(Status))
    library = getattr(ctypes, "windll").kernel32  # noqa: B009 - there on Windows only
    if not library.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.size_3)  # what the page file can still take, the machine's memory included

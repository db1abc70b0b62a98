"""A target with every fault that the harness is to find, each behind a word of its own."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

SEEDS = {"plain": lambda: b"a plain line", "number": lambda: b'{"size": 12}'}
SUFFIX = ".toy"
DICTIONARY = [b"CRASH", b"RAISE"]

_kept: list[bytes] = []


class PanicError(BaseException):
    """As polars' panics are."""


def spin() -> None:
    while True:
        pass


def leave() -> None:
    raise SystemExit(0)


def panic() -> None:
    raise PanicError


FAULTS: dict[bytes, Callable[[], object]] = {
    b"CRASH": lambda: ctypes.string_at(0),
    b"ABORT": os.abort,
    b"EXIT": lambda: os._exit(3),
    b"HANG": lambda: time.sleep(3600),
    b"SPIN": spin,
    b"SLOW": lambda: time.sleep(1.5),
    b"GIGABYTES": lambda: bytes(2**34),
    b"LEAK": lambda: _kept.append(bytes(300 * 2**20)),
    b"RAISE": lambda: int("RAISE"),
    b"OTHER": lambda: int("another place"),
    b"PANIC": panic,
    b"LEAVE": leave,
}


def run(data: bytes) -> None:
    for word, fault in FAULTS.items():
        if word in data:
            fault()

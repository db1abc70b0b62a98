"""Times of two contenders that alternate, so that what slows the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Work = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Median seconds a call of theirs and ours, and the median of the pairs' theirs/ours."""

    theirs: float
    ours: float
    ratio: float


def seconds(work: Work, repeats: int) -> float:
    """Seconds a call, over that many in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def repeats(work: Work, calls: int = 2) -> int:
    """How often to call it for 5 ms, judged by some calls that warm it up too."""
    return max(1, round(0.005 / seconds(work, calls)))


def timed_pairs(ours: Work, theirs: Work, pairs: int, pause: float = 0.0) -> Times:
    """Ours and right after it theirs, that many times; short calls are repeated to 5 ms.

    With a ``pause`` each waits that many seconds before its turn, and then takes the turn twice,
    of which the second counts: for two that don't share their threads, and whose idle threads
    keep a core busy for a while after the last call.
    """

    def turn(work: Work, repeats: int) -> float:
        if pause:
            time.sleep(pause)
            seconds(work, repeats)
        return seconds(work, repeats)

    ours_repeats, theirs_repeats = repeats(ours), repeats(theirs)
    times = [(turn(ours, ours_repeats), turn(theirs, theirs_repeats)) for _ in range(pairs)]
    our_time, their_time = (median(column) for column in zip(*times, strict=True))
    return Times(their_time, our_time, median(their / our for our, their in times))

"""Into how many pieces a sequence is cut, and how long they are warmed up: by a short trial."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch

from unrolled.deploy.in_time_rows import State, System

SHARE = 0.02
"""The trial may take so much of what the module takes for the whole sequence."""

PLACES = 4
"""So many places of the sequence are tried."""

CHUNK = 16
"""The states are compared first after so many steps."""

SHORTEST, SOONEST = 2048, 0.03
"""With fewer steps, or where all of them take fewer seconds, no trial is worth it."""

LEAST = 0.1
"""A row more takes at least so much of the time of a step, whatever was measured."""

GAIN = 1.5
"""So much faster the pieces have to be at least, or the module is called as it is."""

TWICE = 1.5
"""For each step of a warm-up so many are run besides those of the sequence: see ``in_time``."""


class Plan(NamedTuple):
    """How a sequence is cut.

    Attributes:
        pieces: how many there are; 1 to run one step after the other.
        warm_up: the steps before each.
        speedup: by how much that is expected to be faster; None where nothing was measured.
    """

    pieces: int
    warm_up: int
    speedup: float | None


NOT_TRIED, ONE_BY_ONE = Plan(1, 0, None), Plan(1, 0, 1.0)


def plan(system: System, tolerance: float) -> Plan:
    """Cuts a sequence so that it is run soonest.

    Args:
        system: the module and the sequence.
        tolerance: how far apart states may be that count as the same.
    """
    steps, batch = system.steps, system.batch
    if steps < SHORTEST:
        return NOT_TRIED
    few = max(CHUNK, int(steps * SHARE / 6))
    alone, typical = _timed(system, few)
    if steps * alone < SOONEST:
        return NOT_TRIED
    trial = _Trial(system, typical)
    trial.run(CHUNK)  # what is done once for a number of rows
    some = math.inf
    for _ in range(2):  # by turns, and the best counts: what else the machine does comes and goes
        begin = time.perf_counter()
        trial.run(few // 4)
        some = min(some, (time.perf_counter() - begin) / (few // 4))
        alone = min(alone, _timed(system, few // 2)[0])
    warm_up = trial.run(int(steps * SHARE / 3 * alone / some), tolerance)
    if warm_up is None:
        return ONE_BY_ONE
    of_row = max(alone * LEAST, (some - alone) / (trial.rows - batch))
    return _best(steps, batch, warm_up, alone, of_row)


def _timed(system: System, steps: int) -> tuple[float, State]:
    """The seconds that a step takes at the beginning of the sequence, and the state it leads to."""
    begin = time.perf_counter()
    _, state = system.run(system.input[:steps], system.initial)
    return (time.perf_counter() - begin) / steps, state


class _Trial:
    """Pairs of states at a few places, the one zero and the other one that the module comes to.

    Attributes:
        rows: how many are run.
    """

    def __init__(self, system: System, typical: State) -> None:
        self._system, self.rows = system, 2 * PLACES * system.batch
        pairs = [torch.cat([torch.zeros_like(each), each], dim=1) for each in typical]
        self._first = tuple(pair.repeat(1, PLACES, 1) for pair in pairs)

    def run(self, most: int, tolerance: float | None = None) -> int | None:
        """After how many steps all pairs are within ``tolerance``; None if not in ``most``.

        Without a tolerance all steps are run in one go.
        """
        system, gap = self._system, (self._system.steps - most) // PLACES
        begins = [place * gap for place in range(PLACES) for _ in range(2)]
        state, done, chunk = self._first, 0, most if tolerance is None else CHUNK
        while done < most:
            chunk = min(chunk, most - done)
            data = system.stretches([begin + done for begin in begins], chunk)
            _, state = system.run(data, state)
            done += chunk
            if tolerance is not None and _apart(state, system.batch) <= tolerance:
                return done
            chunk = max(CHUNK, done // 2)
        return None


def _apart(state: State, batch: int) -> float:
    """The largest difference within the pairs of rows, each of the batch; NaN is far apart."""
    found = 0.0
    for each in state:
        pairs = each.view(each.shape[0], -1, 2, batch, each.shape[-1])
        apart = (pairs[:, :, 0] - pairs[:, :, 1]).abs()
        found = max(found, apart.nan_to_num(math.inf).max().item())
    return found


def _best(steps: int, batch: int, warm_up: int, alone: float, of_row: float) -> Plan:
    """The number of pieces with which all is run soonest.

    Args:
        steps: T.
        batch: B.
        warm_up: W.
        alone: the seconds that a step takes with B rows,
        of_row: and so many more with each row besides.
    """
    best = ONE_BY_ONE
    for pieces in _candidates(steps, warm_up):
        step = alone + of_row * (pieces - 1) * batch
        expected = (steps / pieces + TWICE * warm_up) * step
        if (gain := steps * alone / expected) > max(best.speedup or 0.0, GAIN):
            best = Plan(pieces, warm_up, gain)
    return best


def _candidates(steps: int, warm_up: int) -> list[int]:
    """Numbers of pieces that are longer than what is run of them twice."""
    most = max(1, int(steps / (2 * TWICE * max(1, warm_up))))
    return [n for n in (2, 3, 4, 6, 8, 12, 16, 18, 24, 32, 36, 48, 64, 96, 128, 192) if n <= most]

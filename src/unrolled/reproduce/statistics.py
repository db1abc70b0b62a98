"""What the trials of a line of the tables come to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from unrolled.reproduce.modern import NETWORKS
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.results import lags_of
from unrolled.reproduce.tables import FAITHFUL, MODERN, OF_1997, Result

Array = NDArray[np.float64]

LEAST = 1e-30
"""A smaller share of the gradient counts as this one: it has a logarithm."""


@dataclass(frozen=True)
class Quartiles:
    """Of the sequences to success: a quarter of the solved trials took no more than ``low``."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Horizon:
    """The median horizon in steps, or, if ``is_open``, what it is at least."""

    steps: float
    is_open: bool


@dataclass(frozen=True)
class Statistics:
    """What the trials of one row, column and network come to.

    Attributes:
        trials: n, how many there are.
        solved: k of them.
        interval: of the success rate; see :func:`wilson`.
        sequences: the quartiles of the sequences to success, over the solved trials alone;
            None if there are none.
        mean: the mean of the same.
        wrong: the median share of wrong test sequences, over all trials.
        horizon: over all trials.
        weights: how many a network has; several numbers if trials differ.
        seeds: of all trials, as in "0–9".
    """

    trials: int
    solved: int
    interval: tuple[float, float]
    sequences: Quartiles | None
    mean: float | None
    wrong: float
    horizon: Horizon
    weights: tuple[int, ...]
    seeds: str


class Table:
    """The trials of a results file, by row, column and network."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._trials: defaultdict[tuple[str, str, str], list[Result]] = defaultdict(list)
        for result in results:
            self._trials[result.row, result.column, result.network].append(result)

    def faithful(self, row: Row) -> list[Result]:
        """The trials of the LSTM of 1997, in the order in which they were run."""
        return self._trials.get((row.key, FAITHFUL, OF_1997), [])

    def lacking(self, row: Row) -> set[int]:
        """The seeds of the faithful trials that were not run."""
        return set(row.seeds) - {trial.seed for trial in self.faithful(row)}

    def modern(self, row: Row, network: str) -> list[Result]:
        """Those of one of today's networks."""
        return self._trials.get((row.key, MODERN, network), [])

    def stray(self) -> Result | None:
        """A trial that stands in no table."""
        rows = [row.key for row in ROWS]
        known = {(row, FAITHFUL, OF_1997) for row in rows}
        known |= {(row, MODERN, network) for row in rows for network in NETWORKS}
        return next((self._trials[key][0] for key in self._trials if key not in known), None)


def statistics(trials: Sequence[Result]) -> Statistics | None:
    """None if there are no trials."""
    if not trials:
        return None
    sequences = [trial.sequences for trial in trials if trial.solved]
    return Statistics(
        trials=len(trials),
        solved=len(sequences),
        interval=wilson(len(sequences), len(trials)),
        sequences=Quartiles(*np.quantile(sequences, [0.25, 0.5, 0.75])) if sequences else None,
        mean=float(np.mean(sequences)) if sequences else None,
        wrong=float(np.median([trial.wrong / trial.tested for trial in trials])),
        horizon=horizon(trials),
        weights=tuple(sorted({trial.weights for trial in trials})),
        seeds=ranges(trial.seed for trial in trials),
    )


def wilson(solved: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a success rate p of which k successes in n trials are known.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), with p̂ = k/n and z the normal
    distribution's quantile, 1.96 for 95%.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22(158).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = solved / trials
    middle = rate + z**2 / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    low, high = ((middle + sign * half) / (1 + z**2 / trials) for sign in (-1, 1))
    # The formula gives 0 and 1 here, and rounding would make of them a little more or less.
    return 0.0 if solved == 0 else low, 1.0 if solved == trials else high


def horizon(trials: Sequence[Result]) -> Horizon:
    """The median horizon.

    A horizon at the largest lag that was measured may lie beyond it. If such a one is among the
    lower half, the median may be larger, too.
    """
    middle = np.quantile([t.horizon for t in trials], 0.5, method="higher")
    is_open = any(t.steps <= t.horizon <= middle for t in trials)
    return Horizon(float(np.median([t.horizon for t in trials])), is_open)


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers as in "0–3, 5, 7"."""
    ordered = sorted(set(numbers))
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), ordered[-1]]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"{low}–{high}" if low < high else f"{low}" for low, high in pairs)


def median_gradient(trials: Sequence[Result]) -> tuple[list[int], Array]:
    """The median of g(k)/g(0) over the trials, and the lags k: those of the shortest trial.

    Where a trial was measured at other lags, its logarithm is interpolated. A trial with g(0) = 0,
    or whose gradient is not finite, is left out; NaN if there are no others.
    """
    lags = lags_of(min(trial.steps for trial in trials))
    logarithms = []
    for trial in trials:
        gradient = np.array(trial.gradient_by_lag())
        if np.isfinite(gradient).all() and gradient[0] > 0:
            shares = np.log(np.maximum(gradient, LEAST * gradient[0])) - np.log(gradient[0])
            logarithms.append(np.interp(lags, lags_of(trial.steps), shares))
    if not logarithms:
        return lags, np.full(len(lags), np.nan)
    return lags, np.exp(np.median(logarithms, axis=0))

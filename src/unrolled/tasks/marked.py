"""Adding and multiplication: two marked values, far apart, whose sum or product is asked."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from unrolled.tasks.base import (
    Array,
    Batch,
    Chance,
    Kind,
    Task,
    Whole,
    at_the_end,
    check_length,
    to_batch,
)

RIGHT = 0.04
"""The error below which Hochreiter & Schmidhuber call a sequence processed correctly."""

EARLY = 10
"""The first mark is on one of so many pairs."""


@dataclass(frozen=True)
class _Marked(Task):
    """Pairs (value, marker), of which two are marked; the answer is due at the end."""

    length: int = 100

    kind: ClassVar[Kind] = "regression"
    measure: ClassVar[str] = f"sequences answered to within {RIGHT}"

    @property
    def inputs(self) -> int:
        """The value and its marker."""
        return 2

    @property
    def outputs(self) -> int:
        """The answer."""
        return 1

    @abstractmethod
    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Array, Array, Whole, Array]:
        """Values [n, T], markers [n, T], lengths [n] and the answers [n]."""

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        values, markers, lengths, answers = self._pairs(n, rng)
        mask = at_the_end(lengths, values.shape[1])
        target = np.where(mask, answers[:, None], 0.0)
        return to_batch(np.stack([values, markers], axis=2), target[..., None], lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return (given - asked).abs() < RIGHT


@dataclass(frozen=True)
class Adding(_Marked):
    """The sum of the two marked values.

    There are two forms in the literature, and their errors can't be compared. The default is the
    later one, which is what "the adding problem" has come to mean.

    ``form="unit"``, the default: Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent
    networks of rectified linear units", arXiv 1504.00941, section 4.1, and Arjovsky, Shah & Bengio
    2016, arXiv 1511.06464, section 4.2. Values are uniform in [0, 1]; markers are 1 at two pairs,
    one in each half, and 0 elsewhere; all sequences have T pairs, and the target is the sum itself.
    Published: T = 100 to 750, the mean squared error alone; 0.95 as solved is ours.
    Chance: always to answer 1. The error is twice the variance of a value, 2/12 = 0.1667 (Le et al.
    print 0.1767); right by luck are 0.08 − 0.04² = 7.84 %.

    ``form="hochreiter"``: Hochreiter & Schmidhuber 1997, "Long short-term memory",
    Neural Computation 9(8), experiment 4. Values are uniform in [−1, 1]. Markers are 1 at two
    pairs, −1 at the first and the last pair, 0 elsewhere; the first mark is on one of the first 10
    pairs, the second on one of the first T/2 − 1 that are still free, so that both have to be kept
    for T/2 steps and more. A sequence has T to T + T/10 pairs. The target is 0.5 + (X₁ + X₂)/4. If
    the first pair is marked, its marker is 1 and its value 0.
    Published: T = 100, 500 and 1000; solved when 2000 sequences in a row come out right, after
    which 1 of 2560 new ones was wrong at T = 100.
    Chance: always to answer 0.5. The error is the variance of (X₁ + X₂)/4, where each value has the
    variance 1/3 unless it is the first pair's: (2 − p)/48, with p = 1/10 + 9/10 / (T/2 − 1) the
    probability that the first pair is marked. 0.0392 at T = 100. Right by luck is who has
    |X₁ + X₂| < 0.16: 15.4 %.
    """

    form: Literal["unit", "hochreiter"] = "unit"

    def __post_init__(self) -> None:
        if self.form == "unit":
            check_length("adding", self.length, 2, "a marked value in each half")
        else:
            _check_marks("adding-hochreiter", self.length)

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        since = "" if self.form == "unit" else " (1997)"
        return f"the sum of two marked values among many{since}"

    @property
    def solved(self) -> float:
        """As published in Hochreiter's form, nearly 2000 in a row; ours in the other."""
        return 0.95 if self.form == "unit" else 0.999

    @property
    def chance(self) -> Chance:
        """Always to answer the mean; see the class."""
        if self.form == "unit":
            return Chance(loss=1 / 6, score=2 * RIGHT - RIGHT**2)
        first = _first_is_marked(self.length)
        width = 4 * RIGHT
        # |X₁ + X₂| < w, from the triangle of a sum of two, or from one value alone.
        return Chance(
            loss=(2 - first) / 48, score=(1 - first) * (width - width**2 / 4) + first * width
        )

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Array, Array, Whole, Array]:
        if self.form == "unit":
            rows, half = np.arange(n), self.length // 2
            values = rng.random((n, self.length))
            places = rng.integers(0, half, n), rng.integers(half, self.length, n)
            markers = np.zeros_like(values)
            for place in places:
                markers[rows, place] = 1.0
            answers = sum(values[rows, place] for place in places)
            return values, markers, np.full(n, self.length), np.asarray(answers)
        values, markers, lengths, (one, two) = _hochreiter(
            n, self.length, rng, lowest=-1.0, neutral=0.0
        )
        return values, markers, lengths, 0.5 + (one + two) / 4


@dataclass(frozen=True)
class Multiplication(_Marked):
    """The product of the two marked values: adding for those who suspect that LSTM only integrates.

    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 5. As in
    :class:`Adding`, with values uniform in [0, 1], the target X₁ · X₂, and the value 1 for the
    first pair if that is marked.
    Published: T = 100; training stops when fewer than 140, or fewer than 13, of the last 2000
    sequences are off by more than 0.04. Solved is the latter, 99.35 %.
    Chance: always to answer the mean. With p the probability that the first pair is marked (then
    the product is one uniform value), the mean is (1 − p)/4 + p/2 and the mean square
    (1 − p)/9 + p/3; the error, 0.0592 at T = 100, is the difference of the second and the square
    of the first. By luck most are right who always answer 0.04: (1 − p) · 0.08 (1 − ln 0.08) +
    p · 0.08, that is 25.8 %.
    """

    def __post_init__(self) -> None:
        _check_marks("multiplication", self.length)

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the product of two marked values among many"

    @property
    def solved(self) -> float:
        """As published."""
        return 1 - 13 / 2000

    @property
    def chance(self) -> Chance:
        """Always to answer one number; see the class."""
        first = _first_is_marked(self.length)
        mean = (1 - first) / 4 + first / 2
        square = (1 - first) / 9 + first / 3
        width = 2 * RIGHT
        lucky = (1 - first) * width * (1 - math.log(width)) + first * width
        return Chance(loss=square - mean**2, score=lucky)

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Array, Array, Whole, Array]:
        values, markers, lengths, (one, two) = _hochreiter(
            n, self.length, rng, lowest=0.0, neutral=1.0
        )
        return values, markers, lengths, one * two


def _hochreiter(
    n: int, length: int, rng: np.random.Generator, *, lowest: float, neutral: float
) -> tuple[Array, Array, Whole, tuple[Array, Array]]:
    """Values [n, T], markers [n, T], lengths [n], and the two marked values, [n] each."""
    rows = np.arange(n)
    lengths = rng.integers(length, length + length // 10, n, endpoint=True)
    values = rng.uniform(lowest, 1.0, (n, length + length // 10))
    one = rng.integers(0, EARLY, n)
    two = rng.integers(0, length // 2 - 1, n)
    two += two >= one  # the first is no longer free
    markers = np.zeros_like(values)
    markers[:, 0] = markers[rows, lengths - 1] = -1.0
    markers[rows, one] = markers[rows, two] = 1.0
    values[markers[:, 0] == 1.0, 0] = neutral
    return values, markers, lengths, (values[rows, one], values[rows, two])


def _first_is_marked(length: int) -> float:
    return 1 / EARLY + (1 - 1 / EARLY) / (length // 2 - 1)


def _check_marks(task: str, length: int) -> None:
    check_length(task, length, 2 * EARLY, f"marks among the first {EARLY} pairs and the first half")

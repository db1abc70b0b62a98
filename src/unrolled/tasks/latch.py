"""What came first, asked at the end: the noise-free long lag and the two-sequence problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.errors import InputError
from unrolled.tasks.base import (
    Batch,
    Chance,
    Kind,
    Task,
    at_the_end,
    check_length,
    one_hot,
    to_batch,
)

NOISE = math.sqrt(0.2)
"""The standard deviation of the two-sequence problem's noise, whose variance is published."""


@dataclass(frozen=True)
class NoiseFreeLag(Task):
    """To predict each next symbol of two sequences that differ in their ends alone.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8),
    experiment 2a. With p the length, the two sequences are (x, a₁, …, aₚ₋₁, x) and
    (y, a₁, …, aₚ₋₁, y), each with probability 1/2, over p + 1 symbols. The network reads all but
    the last symbol and predicts the next one at each step; the last can be told from the first
    alone, p steps before.
    Published: p = 4, 10 and 100; solved when 10,000 sequences in a row are wholly right.
    Chance: to know the a's, which tell their successors by themselves, and to have forgotten the
    first symbol. 1/2 of the sequences are wholly right; the cross-entropy is ln 2 at one step of p.
    """

    length: int = 100

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "sequences predicted wholly right"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_length("noise-free-lag", self.length, 2, "a symbol between the first and the last")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the first symbol again, after a fixed sequence"

    @property
    def inputs(self) -> int:
        """One for each symbol: a₁ … aₚ₋₁, x and y."""
        return self.length + 1

    @property
    def outputs(self) -> int:
        """One for each symbol."""
        return self.length + 1

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """All but the last symbol right."""
        return Chance(loss=math.log(2) / self.length, score=0.5)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        ends = rng.integers(self.length - 1, self.length, (n, 1), endpoint=True)
        between = np.broadcast_to(np.arange(self.length - 1), (n, self.length - 1))
        symbols = np.concatenate([ends, between, ends], axis=1)
        return to_batch(
            one_hot(symbols[:, :-1], self.inputs),
            symbols[:, 1:].copy(),
            np.full(n, self.length),
            np.ones((n, self.length), dtype=np.bool_),
        )

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked


@dataclass(frozen=True)
class TwoSequence(Task):
    """The sign of the first values, after many that are noise.

    Source: Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2), in the form
    of Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 3. The first
    ``relevant`` values are 1 in one class and −1 in the other; all later ones are Gaussian with
    mean 0 and variance 0.2. With ``noisy`` (experiment 3b) the same noise is added to the first
    values too. A sequence has T to T + T/10 values, and its class is asked at the end.
    (Experiment 3c, with noise on the targets, is not here.)
    Published: T = 100 with 3 or 1 relevant values, T = 1000 with 3. Solved (their first criterion):
    all of 256 test sequences right, or with ``noisy`` fewer than 6 wrong. With one noisy value
    1.3 % can't be told, since P(1 + noise < 0) = 0.0127.
    Chance: always the same class. 1/2 are right, and the cross-entropy is ln 2 = 0.693.
    """

    length: int = 100
    relevant: int = 3
    noisy: bool = False

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "sequences classified correctly"

    def __post_init__(self) -> None:
        if self.relevant < 1:
            raise InputError(
                f"relevant: at least 1 value was expected, got {self.relevant}. Give more"
            )
        check_length("two-sequence", self.length, self.relevant + 1, "noise after what matters")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return f"the sign of the first{', noisy' if self.noisy else ''} values, after noise"

    @property
    def inputs(self) -> int:
        """The value."""
        return 1

    @property
    def outputs(self) -> int:
        """One for each class."""
        return 2

    @property
    def solved(self) -> float:
        """As published."""
        return 1 - 5 / 256 if self.noisy else 1.0

    @property
    def chance(self) -> Chance:
        """Always the same class."""
        return Chance(loss=math.log(2), score=0.5)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        steps = self.length + self.length // 10
        lengths = rng.integers(self.length, steps, n, endpoint=True)
        classes = rng.integers(0, 2, n)
        values = rng.normal(0.0, NOISE, (n, steps))
        values[:, : self.relevant] *= self.noisy
        values[:, : self.relevant] += np.where(classes, 1.0, -1.0)[:, None]
        mask = at_the_end(lengths, steps)
        target = np.where(mask, classes[:, None], 0)
        return to_batch(values[..., None], target, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked

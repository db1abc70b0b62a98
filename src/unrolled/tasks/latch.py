"""The sign of the first values, asked at the end: the two-sequence problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import InputError
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

NOISE = math.sqrt(0.2)
"""The standard deviation of the two-sequence problem's noise, whose variance is published."""


TARGETS = (0.8, 0.2)
"""What is asked in experiment 3c where the first values are −1, and where they are 1."""

TARGET_NOISE = math.sqrt(0.1)
"""The standard deviation of these targets' noise, whose variance is published."""


@dataclass(frozen=True)
class _FirstValues(Task):
    """A stretch of noise behind a few values that tell the class."""

    length: int = 100
    relevant: int = 3

    def __post_init__(self) -> None:
        if self.relevant < 1:
            raise InputError(
                f"relevant: at least 1 value was expected, got {self.relevant}. Give more"
            )
        check_length("two-sequence", self.length, self.relevant + 1, "noise after what matters")

    @property
    def inputs(self) -> int:
        """The value."""
        return 1

    def _values(self, n: int, rng: np.random.Generator, noise: float) -> tuple[Array, Whole, Whole]:
        """Values [n, T], lengths [n] and classes [n]; ``noise`` scales that of the first values."""
        steps = self.length + self.length // 10
        lengths = rng.integers(self.length, steps, n, endpoint=True)
        classes = rng.integers(0, 2, n)
        values = rng.normal(0.0, NOISE, (n, steps))
        values[:, : self.relevant] *= noise
        values[:, : self.relevant] += np.where(classes, 1.0, -1.0)[:, None]
        return values, lengths, classes


@dataclass(frozen=True)
class TwoSequence(_FirstValues):
    """The sign of the first values, after many that are noise.

    Source: Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2), in the form
    of Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 3. The first
    ``relevant`` values are 1 in one class and −1 in the other; all later ones are Gaussian with
    mean 0 and variance 0.2. With ``noisy`` (experiment 3b) the same noise is added to the first
    values too. A sequence has T to T + T/10 values, and its class is asked at the end.
    There the network has one output, whose target is 1 where the first values are 1 and 0 where
    they are −1, and a sequence is right if the error is below 0.2; here it is the more likely of
    two classes. Experiment 3c is :class:`TwoSequenceTargets`.
    Published: T = 100 with 3 or 1 relevant values, and T = 1000 with 3, or with 1 if ``noisy``.
    Solved (their first criterion): all of 256 test sequences right, or with ``noisy`` fewer than 6
    wrong. The second asks for a mean absolute error below 0.01, or 0.04 with ``noisy``, too. With
    one noisy value 1.3 % can't be told, since P(1 + noise < 0) = 0.0127.
    Chance: always the same class. 1/2 are right, and the cross-entropy is ln 2 = 0.693.
    """

    noisy: bool = False

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "sequences classified correctly"

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return f"the sign of the first{', noisy' if self.noisy else ''} values, after noise"

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
        values, lengths, classes = self._values(n, rng, noise=float(self.noisy))
        mask = at_the_end(lengths, values.shape[1])
        target = np.where(mask, classes[:, None], 0)
        return to_batch(values[..., None], target, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked


@dataclass(frozen=True)
class TwoSequenceTargets(_FirstValues):
    """The two-sequence problem with noise on what is asked, so that its mean has to be learnt.

    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 3c. Values as in
    :class:`TwoSequence` without ``noisy``. The target is 0.2 where the first values are 1 and 0.8
    where they are −1, plus Gaussian noise of mean 0 and variance 0.1. An answer is right if it is
    within 0.1 of the target without its noise, which ``expected`` tells.
    Published: T = 100 with 3 or 1 relevant values. Training stops when all of 256 test sequences
    are right and :meth:`distance` is below 0.015; of 2560 new ones 0.558 % and 0.441 % are then
    wrong, so that 0.99 as solved is ours.
    Chance: always to answer 0.5; the error is 0.3² + 0.1 = 0.19. Right are 1/2 for who always
    answers 0.2.
    """

    kind: ClassVar[Kind] = "regression"
    measure: ClassVar[str] = "sequences answered to within 0.1 of the mean"

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the mean of a noisy target, told at the start"

    @property
    def outputs(self) -> int:
        """The answer."""
        return 1

    @property
    def solved(self) -> float:
        """Ours; see the class."""
        return 0.99

    @property
    def chance(self) -> Chance:
        """Always the same answer."""
        gap = (TARGETS[0] - TARGETS[1]) / 2
        return Chance(loss=gap**2 + TARGET_NOISE**2, score=0.5)

    def expected(self, batch: Batch) -> Tensor:
        """The targets of ``batch`` without their noise, [n, T, 1], zero where nothing is asked."""
        first = torch.where(batch.inputs[:, :1, 0] > 0, TARGETS[1], TARGETS[0])
        return (first * batch.mask).unsqueeze(2)

    def score(self, prediction: Tensor, batch: Batch) -> float:
        """The share of answers within 0.1 of what is expected.

        Args:
            prediction: what the network gives, [n, T, 1].
            batch: what it has read.

        Raises:
            InputError: ``prediction`` has another shape.
        """
        return super().score(prediction, batch._replace(target=self.expected(batch)))

    def distance(self, prediction: Tensor, batch: Batch) -> float:
        """The mean absolute difference from what is expected; training stops below 0.015.

        Args:
            prediction: what the network gives, [n, T, 1].
            batch: what it has read.

        Raises:
            InputError: ``prediction`` has another shape.
        """
        given, asked = self._masked(
            prediction.detach(), batch._replace(target=self.expected(batch))
        )
        return (given - asked).abs().double().mean().item()

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        values, lengths, classes = self._values(n, rng, noise=0.0)
        answers = np.take(TARGETS, classes) + rng.normal(0.0, TARGET_NOISE, n)
        mask = at_the_end(lengths, values.shape[1])
        target = np.where(mask, answers[:, None], 0.0)
        return to_batch(values[..., None], target[..., None], lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return (given - asked).abs() <= 0.1

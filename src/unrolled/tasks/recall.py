"""To say again what came: the copying task and the delay line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.tasks.base import (
    Batch,
    Chance,
    Kind,
    Task,
    check_length,
    explained,
    one_hot,
    to_batch,
)

ALPHABET, COPIED = 8, 10
"""The symbols that may have to be copied, and how many of them are."""

BLANK, DELIMITER = ALPHABET, ALPHABET + 1


@dataclass(frozen=True)
class Copying(Task):
    """Ten symbols, to be said again in their order after T blank steps.

    Source: Arjovsky, Shah & Bengio 2016, "Unitary evolution recurrent neural networks", arXiv
    1511.06464, section 4.1, after Hochreiter & Schmidhuber 1997. The inputs are 10 symbols, each
    one of 8 at random, then T − 1 blanks, the delimiter, and 10 blanks: T + 20 steps. The target
    is blank for T + 10 steps, and then the 10 symbols. All steps count.
    Published: T = 100, 200, 300 and 500, by the cross-entropy alone; 0.99 as solved is ours.
    Chance: blanks, and any symbol at the last 10 steps. The cross-entropy is 10 ln 8 / (T + 20),
    0.1733 at T = 100; 1/8 of the symbols are right.
    """

    length: int = 100

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "symbols recalled correctly"

    def __post_init__(self) -> None:
        check_length("copying", self.length, 1, "the delimiter's step")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "ten symbols, said again after a long pause"

    @property
    def inputs(self) -> int:
        """One for each symbol, the blank and the delimiter."""
        return ALPHABET + 2

    @property
    def outputs(self) -> int:
        """One for each symbol and the blank."""
        return ALPHABET + 1

    @property
    def solved(self) -> float:
        """Ours."""
        return 0.99

    @property
    def chance(self) -> Chance:
        """The blanks right, the symbols guessed."""
        loss = COPIED * math.log(ALPHABET) / (self.length + 2 * COPIED)
        return Chance(loss=loss, score=1 / ALPHABET)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        steps = self.length + 2 * COPIED
        copied = rng.integers(0, ALPHABET, (n, COPIED))
        symbols = np.full((n, steps), BLANK)
        symbols[:, :COPIED] = copied
        symbols[:, -COPIED - 1] = DELIMITER
        target = np.full((n, steps), BLANK)
        target[:, -COPIED:] = copied
        return to_batch(
            one_hot(symbols, self.inputs),
            target,
            np.full(n, steps),
            np.ones((n, steps), dtype=np.bool_),
        )

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        right = (given.argmax(dim=1) == asked).view(-1, self.length + 2 * COPIED)
        return right[:, -COPIED:]


@dataclass(frozen=True)
class DelayLine(Task):
    """The input of ``length`` steps ago, at every step: all of the last inputs have to be kept.

    Source: Jaeger 2001, "Short term memory in echo state networks", GMD report 152, which sums
    this task's score over all delays into the memory capacity. Inputs are uniform in [−0.5, 0.5]
    and independent. Here a sequence has twice as many steps as the delay, and its second half
    counts. The score is the share of the target's variance that the prediction explains (Jaeger's
    is that of its best linear rescaling), and is below 0 for what is worse than the mean.
    Published: delays up to 40 and more, with 20 to 400 units; 0.9 as solved is ours.
    Chance: always 0, since the inputs are independent. The error is the variance 1/12 = 0.0833,
    and nothing is explained.
    """

    length: int = 10

    kind: ClassVar[Kind] = "regression"
    measure: ClassVar[str] = "variance explained"

    def __post_init__(self) -> None:
        check_length("delay-line", self.length, 1, "a delay of nothing asks for no memory")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the input of so many steps ago, at every step"

    @property
    def inputs(self) -> int:
        """The value."""
        return 1

    @property
    def outputs(self) -> int:
        """The value of ``length`` steps ago."""
        return 1

    @property
    def solved(self) -> float:
        """Ours."""
        return 0.9

    @property
    def chance(self) -> Chance:
        """Always the mean."""
        return Chance(loss=1 / 12, score=0.0)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        steps = 2 * self.length
        values = rng.uniform(-0.5, 0.5, (n, steps, 1))
        target = np.zeros_like(values)
        target[:, self.length :] = values[:, : self.length]
        mask = np.broadcast_to(np.arange(steps) >= self.length, (n, steps)).copy()
        return to_batch(values, target, np.full(n, steps), mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return explained(given, asked)

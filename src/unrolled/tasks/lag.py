"""What came first, asked at the end of a sequence of symbols: three tasks with a long lag."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.errors import InputError
from unrolled.tasks.base import (
    Batch,
    Chance,
    Kind,
    Rng,
    Task,
    Whole,
    at_the_end,
    check_length,
    generator,
    one_hot,
    to_batch,
)

ENDING = 0.1
"""The probability with which the trigger comes at each step of :class:`VeryLongLag`'s suffix."""


@dataclass(frozen=True)
class _Lag(Task):
    """Sequences of symbols whose last one is that of the beginning."""

    length: int = 100

    kind: ClassVar[Kind] = "classification"

    def symbols(self, n: int, rng: Rng) -> Whole:
        """Whole sequences [n, S], their last symbols included, and −1 past their ends.

        :meth:`batch` has the same ones from the same seed. A network that looks its weights up by
        the symbol needs no one-hot inputs.

        Raises:
            InputError: ``n`` is less than 1.
        """
        return self._whole(n, generator(n, rng))

    @abstractmethod
    def _whole(self, n: int, rng: np.random.Generator) -> Whole: ...


@dataclass(frozen=True)
class _NextSymbol(_Lag):
    """(x, …, x) or (y, …, y), with p − 1 of the symbols a₁ … aₚ₋₁ between; all are predicted."""

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

    def _framed(self, between: Whole, rng: np.random.Generator) -> Whole:
        """``between`` [n, p − 1], a₁ as 0, with x or y before and after it."""
        ends = rng.integers(self.length - 1, self.length, (len(between), 1), endpoint=True)
        return np.concatenate([ends, between, ends], axis=1)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        symbols = self._whole(n, rng)
        return to_batch(
            one_hot(symbols[:, :-1], self.inputs),
            symbols[:, 1:].copy(),
            np.full(n, self.length),
            np.ones((n, self.length), dtype=np.bool_),
        )


@dataclass(frozen=True)
class NoiseFreeLag(_NextSymbol):
    """To predict each next symbol of two sequences that differ in their ends alone.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8),
    experiment 2a. With p the length, the two sequences are (x, a₁, …, aₚ₋₁, x) and
    (y, a₁, …, aₚ₋₁, y), each with probability 1/2, over p + 1 symbols. The network reads all but
    the last symbol and predicts the next one at each step; the last can be told from the first
    alone, p steps before.
    Published: p = 4, 10 and 100; solved when in 10,000 sequences in a row no output is off by 0.25
    or more at any step. Here a symbol is right if it is the most likely one.
    Chance: to know the a's, which tell their successors by themselves, and to have forgotten the
    first symbol. 1/2 of the sequences are wholly right; the cross-entropy is ln 2 at one step of p.
    """

    measure: ClassVar[str] = "sequences predicted wholly right"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_length("noise-free-lag", self.length, 2, "a symbol between the first and the last")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the first symbol again, after a fixed sequence"

    @property
    def chance(self) -> Chance:
        """All but the last symbol right."""
        return Chance(loss=math.log(2) / self.length, score=0.5)

    def _whole(self, n: int, rng: np.random.Generator) -> Whole:
        between = np.broadcast_to(np.arange(self.length - 1), (n, self.length - 1))
        return self._framed(between, rng)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked


@dataclass(frozen=True)
class NoisyLag(_NextSymbol):
    """The noise-free lag without local regularities: between the ends stands any sequence.

    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 2b. As in
    :class:`NoiseFreeLag`, but each of the p − 1 symbols between is any of a₁ … aₚ₋₁, all alike and
    independent. Each next symbol is to be predicted, and only the last can be: so the loss counts
    all steps, and the score the last.
    Published: p = 100; solved when in 10,000 sequences in a row no output is off by 0.25 or more at
    the end. Here the last symbol is right if it is the most likely one.
    Chance: to know which symbols come where, and to have forgotten the first. 1/2 are right; the
    cross-entropy is ln (p − 1) at p − 1 steps of p and ln 2 at the last. The first of these stays.
    """

    measure: ClassVar[str] = "sequences whose end is predicted"

    def __post_init__(self) -> None:
        check_length("noisy-lag", self.length, 2, "a symbol between the first and the last")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the first symbol again, after any sequence"

    @property
    def chance(self) -> Chance:
        """Any of the a's, and at the end one of two symbols."""
        between = self.length - 1
        return Chance(loss=(between * math.log(between) + math.log(2)) / self.length, score=0.5)

    def _whole(self, n: int, rng: np.random.Generator) -> Whole:
        return self._framed(rng.integers(0, self.length - 1, (n, self.length - 1)), rng)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return (given.argmax(dim=1) == asked).view(-1, self.length)[:, -1]


@dataclass(frozen=True)
class VeryLongLag(_Lag):
    """The second symbol again, when the trigger comes, after very many distractors.

    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 2c. With q the
    length and p the ``distractors``, there are p + 4 symbols: the distractors a₁ … aₚ, the trigger
    e, the start b, x and y. A sequence is (b, x, q + k distractors, e, x), or the same with y for
    x, each with probability 1/2. The distractors are any, all alike and independent; after q of
    them the trigger comes with probability 1/10 at each step, so that k is geometric. What follows
    the trigger is asked, at that step alone: the lag is q + 1 steps at least.
    A sequence has q + 13 symbols on average, 4 + q + 9 (the paper sums this to q + 14).
    Published: q = p = 50, 100, 200, 500 and 1000; q = 1000 with p = 500, 200, 100 and 50. Solved
    when in 10,000 sequences in a row neither output is off by 0.2 or more. Here the more likely
    output is the answer.
    Chance: always the same symbol. 1/2 are right, and the cross-entropy is ln 2.
    """

    distractors: int = 100

    measure: ClassVar[str] = "sequences whose end is predicted"

    def __post_init__(self) -> None:
        if self.distractors < 1:
            raise InputError(
                f"distractors: at least 1 symbol was expected, got {self.distractors}. Give more"
            )
        check_length("very-long-lag", self.length, 1, "a distractor")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the second symbol again, after distractors"

    @property
    def inputs(self) -> int:
        """One for each symbol: a₁ … aₚ, e, b, x and y."""
        return self.distractors + 4

    @property
    def outputs(self) -> int:
        """One for x and one for y."""
        return 2

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """Always the same symbol."""
        return Chance(loss=math.log(2), score=0.5)

    def _whole(self, n: int, rng: np.random.Generator) -> Whole:
        trigger, start, x, y = range(self.distractors, self.distractors + 4)
        rows = np.arange(n)
        at = 2 + self.length + rng.geometric(ENDING, n) - 1  # where the trigger stands
        told = rng.integers(x, y, n, endpoint=True)
        whole = rng.integers(0, self.distractors, (n, at.max() + 2))
        whole[:, 0], whole[:, 1] = start, told
        whole[rows, at], whole[rows, at + 1] = trigger, told
        whole[np.arange(whole.shape[1]) > at[:, None] + 1] = -1
        return whole

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        whole = self._whole(n, rng)
        lengths = (whole >= 0).sum(axis=1) - 1
        mask = at_the_end(lengths, whole.shape[1] - 1)
        target = np.where(mask, whole[:, 1:2] - (self.inputs - 2), 0)
        return to_batch(one_hot(whole[:, :-1], self.inputs), target, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked

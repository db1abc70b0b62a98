"""aⁿbⁿ and aⁿbⁿcⁿ: languages for which it is enough to count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

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


@dataclass(frozen=True)
class CounterLanguage(Task):
    """Whether a's, b's and perhaps c's come in equal numbers.

    Source: Weiss, Goldberg & Yahav 2018, "On the practical computational power of finite precision
    RNNs for language recognition", ACL, arXiv 1805.04908, section 5. With two ``letters`` the
    language is aⁿbⁿ, with three aⁿbⁿcⁿ. A string of the language has any n from 1 to the length,
    all alike. Any other has a number for each letter, drawn in the same way, not all of them equal.
    Half of the strings, on average, are of the language, which share is ours. Whether a string is
    (class 1) is asked at its last symbol.
    Published: n to 100 for aⁿbⁿ and to 50 for aⁿbⁿcⁿ, with 10 units; trained until all of a set
    kept apart are right. An LSTM then is right to n = 256, and for aⁿbⁿcⁿ to n = 100.
    Chance: always the same class. 1/2 are right, and the cross-entropy is ln 2. To count less
    exactly is worth more: most numbers differ by much.
    """

    length: int = 100
    letters: Literal[2, 3] = 2

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "strings classified correctly"

    def __post_init__(self) -> None:
        check_length("a counter language", self.length, 2, "numbers that differ")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return f"whether {' and '.join('abc'[: self.letters])} come equally often"

    @property
    def inputs(self) -> int:
        """One for each letter."""
        return self.letters

    @property
    def outputs(self) -> int:
        """One for each class."""
        return 2

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """Always the same class."""
        return Chance(loss=math.log(2), score=0.5)

    def of_length(self, n: int, length: int, rng: Rng) -> Batch:
        """Draws ``n`` strings of ``length`` a's each, longer than :meth:`batch`'s or not.

        Half of them, on average, are of the language. In the others the other letters' numbers are
        any from 1 to 2 ``length`` − 1, all alike, as far as not all letters' are equal.

        Raises:
            InputError: ``n`` is less than 1, or ``length`` less than 2.
        """
        check_length("a counter language", length, 2, "numbers that differ")
        rng = generator(n, rng)
        return self.of_runs(self._runs(np.full(n, length), 2 * length - 1, rng))

    def of_runs(self, runs: Whole | Sequence[Sequence[int]]) -> Batch:
        """The strings with these numbers of each letter, [n, ``letters``]: aⁿbⁿ⁺¹, say.

        Raises:
            InputError: ``runs`` has another shape, or a number that is less than 1.
        """
        counts = np.asarray(runs, dtype=np.int64)
        if counts.ndim != 2 or counts.shape[1] != self.letters or counts.size == 0:
            raise InputError(
                f"runs: a shape [n, {self.letters}] was expected, got {list(counts.shape)}. Give a "
                "number for each letter of each string"
            )
        if (least := counts.min()) < 1:
            raise InputError(f"runs: at least 1 of each letter was expected, got {least}")
        ends = counts.cumsum(axis=1)
        lengths = ends[:, -1]
        steps = np.arange(lengths.max())
        symbols = (steps[:, None] >= ends[:, None, :-1]).sum(axis=2)
        mask = at_the_end(lengths, steps.size)
        equal = (counts == counts[:, :1]).all(axis=1)
        target = np.where(mask, equal[:, None], 0)
        return to_batch(one_hot(symbols, self.inputs), target, lengths, mask)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        first = rng.integers(1, self.length, n, endpoint=True)
        return self.of_runs(self._runs(first, self.length, rng))

    def _runs(self, first: Whole, most: int, rng: np.random.Generator) -> Whole:
        """Numbers [n, letters], of which half are all ``first`` [n]; the others are up to most."""
        runs = np.repeat(first[:, None], self.letters, axis=1)
        others = rng.integers(0, 2, first.size) == 0
        while others.any():
            shape = (int(others.sum()), self.letters - 1)
            runs[others, 1:] = rng.integers(1, most, shape, endpoint=True)
            others &= (runs == runs[:, :1]).all(axis=1)
        return runs

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked

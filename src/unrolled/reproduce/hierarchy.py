"""The formal languages that the cells are tried on, and how far the strings go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np

from unrolled.tasks import (
    PUBLISHED,
    BinaryAddition,
    BinaryMultiplication,
    BracketedArithmetic,
    BucketSort,
    ComputeSqrt,
    CounterLanguage,
    CycleNavigation,
    DuplicateString,
    EvenPairs,
    MissingDuplicate,
    ModularArithmetic,
    OddsFirst,
    ParityCheck,
    ReverseString,
    SolveEquation,
    StackManipulation,
)
from unrolled.tasks.chomsky import Published, Transduction

RANGES = 5
"""The lengths beyond those that are learned are divided into so many ranges of equal width."""


@dataclass(frozen=True)
class Language:
    """A language, and how the cells are tried on it.

    Attributes:
        name: what ``make_task`` calls it.
        level: where it stands in the hierarchy.
        task: makes the task, whose ``length`` is the longest that is learned.
        least: the shortest,
        farthest: and the longest that is tested. Of aⁿbⁿ and aⁿbⁿcⁿ lengths are n.
        published: the accuracy in percent on the longer ones, NaN where none is known.
    """

    name: str
    level: str
    task: Callable[[], Transduction | CounterLanguage]
    least: int
    farthest: int
    published: Published

    def ranges(self) -> list[tuple[int, int]]:
        """The first and last length of those that are learned, then of each range beyond them."""
        length = self.task().length
        edges = np.linspace(length, self.farthest, RANGES + 1).round().astype(int).tolist()
        return [(self.least, length), *((before + 1, last) for before, last in pairwise(edges))]


def _formal(level: str, *tasks: type[Transduction]) -> list[Language]:
    return [Language(t.name, level, t, t.least, 500, PUBLISHED[t.name]) for t in tasks]


def _counter(name: str, letters: Literal[2, 3], length: int, farthest: int) -> Language:
    task = partial(CounterLanguage, length=length, letters=letters)
    published = Published(rnn=float("nan"), lstm=100.0)
    return Language(name, "counter", task, 2, farthest, published)


LANGUAGES = {
    language.name: language
    for language in [
        *_formal("regular", EvenPairs, ModularArithmetic, ParityCheck, CycleNavigation),
        _counter("anbn", 2, 100, 256),
        _counter("anbncn", 3, 50, 100),
        *_formal(
            "context-free",
            StackManipulation,
            ReverseString,
            BracketedArithmetic,
            SolveEquation,
        ),
        *_formal(
            "context-sensitive",
            DuplicateString,
            MissingDuplicate,
            OddsFirst,
            BinaryAddition,
            BinaryMultiplication,
            ComputeSqrt,
            BucketSort,
        ),
    ]
}
"""By their names.

Delétang et al. 2023 (arXiv 2207.02098) learn lengths to 40 and test those to 500. Weiss, Goldberg &
Yahav 2018 (arXiv 1805.04908) learn aⁿbⁿ to n = 100 and aⁿbⁿcⁿ to n = 50, and their LSTM is right to
256 and to 100.
"""

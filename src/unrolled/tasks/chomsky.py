"""What the tasks of "Neural networks and the Chomsky hierarchy" have in common, and their scores.

Delétang et al. 2023, ICLR, arXiv 2207.02098. The regular tasks are in ``regular``, those that need
a stack in ``context_free``, those that need a tape in ``context_sensitive`` and ``binary``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from unrolled.tasks.base import (
    Array,
    Batch,
    Chance,
    Kind,
    Rng,
    Task,
    Whole,
    check_length,
    generator,
    one_hot,
    to_batch,
)

MODULUS = 5
"""What the arithmetic tasks, and the cycle, count up to."""

SPREAD = 100
"""Frequencies are averaged over all lengths, or over so many, evenly spread, if there are more."""

DIGITS = tuple(str(digit) for digit in range(MODULUS))
BITS = ("0", "1")
END = 2
"""The place among BITS of the symbol that ends an answer whose length has to be found, too."""


class Strings(NamedTuple):
    """Strings of one length with their answers, as places in what a task reads and writes.

    Attributes:
        read: [n, ℓ].
        answer: [n, A], anything past an answer's end.
        asked: [n], the symbols of each answer.
    """

    read: Whole
    answer: Whole
    asked: Whole


class Published(NamedTuple):
    """Accuracy in percent over the lengths 41 to 500, that of the best of 10 seeds."""

    rnn: float
    lstm: float


PUBLISHED = {
    "even-pairs": Published(100.0, 100.0),
    "modular-arithmetic": Published(100.0, 100.0),
    "parity-check": Published(100.0, 100.0),
    "cycle-navigation": Published(100.0, 100.0),
    "stack-manipulation": Published(56.0, 59.1),
    "reverse-string": Published(62.0, 60.9),
    "bracketed-arithmetic": Published(41.3, 59.2),
    "solve-equation": Published(51.0, 67.8),
    "duplicate-string": Published(50.3, 57.6),
    "missing-duplicate": Published(52.3, 54.3),
    "odds-first": Published(51.0, 55.6),
    "binary-addition": Published(50.3, 55.5),
    "binary-multiplication": Published(50.0, 53.1),
    "compute-sqrt": Published(54.3, 57.5),
    "bucket-sort": Published(27.9, 99.3),
}
"""Delétang et al. 2023, table 2, by the names that ``make_task`` knows."""


@dataclass(frozen=True)
class Transduction(Task):
    """Reads a string of symbols, then says the answer, a symbol at each step.

    Source: Delétang et al. 2023, "Neural networks and the Chomsky hierarchy", ICLR, arXiv
    2207.02098, and the code published with it. Symbols are one-hot, and one more stands for the
    blank that is read while the answer is said. The steps of the answer count.
    Published: trained on strings of 1 to 40 symbols, all lengths alike, and tested on each length
    from 41 to 500; :data:`PUBLISHED` has the scores. Who has 90 % there has generalised, which here
    counts as solved. There all strings of an update have one length, as ``of_length`` draws them;
    ``batch`` draws a length for each. Lengths at which a task asks for nothing (a sum without a
    plus) are left out. Where an answer has an end of its own, what is past it does not count.
    Chance: always the same probabilities of the answer's symbols, their frequencies. Each class
    says how often they come.

    Attributes:
        length: the longest string that ``batch`` draws.
        name: what ``make_task`` calls it.
        asks: what is asked, in a line.
        reads: the symbols that are read.
        writes: those of the answer.
        least: the shortest string there is, and ``since`` why.
    """

    length: int = 40

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "symbols of the answer that are right"
    name: ClassVar[str]
    asks: ClassVar[str]
    reads: ClassVar[Sequence[str]]
    writes: ClassVar[Sequence[str]]
    least: ClassVar[int] = 1
    since: ClassVar[str] = "a symbol to read"

    def __post_init__(self) -> None:
        check_length(self.name, self.length, self.least, self.since)

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return self.asks

    @property
    def inputs(self) -> int:
        """One for each symbol that is read, and the blank."""
        return len(self.reads) + 1

    @property
    def outputs(self) -> int:
        """One for each symbol of the answer."""
        return len(self.writes)

    @property
    def solved(self) -> float:
        """As published."""
        return 0.9

    @property
    def chance(self) -> Chance:
        """The frequencies of the answer's symbols; see the class."""
        spread = np.linspace(self.least, self.length, min(self.length - self.least + 1, SPREAD))
        counts = np.sum([self.frequencies(round(length)) for length in spread], axis=0)
        share = counts / counts.sum()
        loss = -(share * np.log(np.where(share > 0, share, 1.0))).sum()
        return Chance(loss=float(loss), score=float(share.max()))

    def of_length(self, n: int, length: int, rng: Rng) -> Batch:
        """Draws ``n`` strings of ``length`` symbols each, longer than ``batch``'s or not.

        Raises:
            InputError: ``n`` is less than 1, or no string is as short or as long.
        """
        check_length(self.name, length, self.least, self.since)
        rng = generator(n, rng)
        return self._joined(n, [(np.arange(n), self._strings(n, length, rng))])

    def frequencies(self, length: int) -> Array:  # noqa: ARG002
        """How often each symbol comes in an answer to ``length`` symbols, on average [O].

        Unless a class says otherwise, an answer is one symbol, any as often as any other.
        """
        return uniform(self.outputs)

    @abstractmethod
    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings: ...

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        lengths = rng.integers(self.least, self.length, n, endpoint=True)
        parts = []
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            parts.append((rows, self._strings(rows.size, length, rng)))
        return self._joined(n, parts)

    def _joined(self, n: int, parts: Sequence[tuple[Whole, Strings]]) -> Batch:
        """One batch of ``n`` sequences, of strings that stand in the rows given with them."""
        steps = max(part.read.shape[1] + int(part.asked.max()) for _, part in parts)
        symbols = np.full((n, steps), len(self.reads))
        target, lengths = np.zeros_like(symbols), np.empty(n, dtype=np.int64)
        mask = np.zeros((n, steps), dtype=np.bool_)
        for rows, (read, answer, asked) in parts:
            start, end = read.shape[1], read.shape[1] + int(asked.max())
            counts = np.arange(end - start) < asked[:, None]
            symbols[rows, :start] = read
            mask[rows, start:end] = counts
            target[rows, start:end] = answer[:, : end - start] * counts
            lengths[rows] = start + asked
        return to_batch(one_hot(symbols, self.inputs), target, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked


def uniform(symbols: int, count: float = 1.0) -> Array:
    """``count`` symbols of an answer, each of ``symbols`` as often as any other."""
    return np.full(symbols, count / symbols)


def answered(read: Whole, answer: Whole) -> Strings:
    """Strings whose answers count from the first to the last of their symbols.

    ``answer`` is [n, A], or [n] where it is one symbol.
    """
    answer = answer.reshape(len(read), -1)
    return Strings(read, answer, np.full(len(read), answer.shape[1]))

"""Four regular tasks: a finite number of states is enough for strings of any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unrolled.tasks.base import Array
from unrolled.tasks.chomsky import (
    BITS,
    DIGITS,
    MODULUS,
    Strings,
    Transduction,
    answered,
    uniform,
)

POWERS = np.array([1, 2, 4, 3])
"""2⁰ … 2³ modulo 5: every digit but 0."""

LOGARITHMS = np.array([0, 0, 1, 3, 2])
"""To the base 2, of the digits 1 … 4; 0 stands for itself."""

TOTAL, FACTOR = np.divmod(np.arange(MODULUS**2), MODULUS)
"""The states of an evaluation from left to right: the sum so far, and the product under way."""


def _evaluation() -> Array:
    """The probabilities [25, 25] of what an operator and a digit make of each state."""
    moves = np.zeros((MODULUS**2, MODULUS**2))
    for digit in range(MODULUS):
        ended = MODULUS * ((TOTAL + FACTOR) % MODULUS)
        multiplied = MODULUS * TOTAL + FACTOR * digit % MODULUS
        for after in (ended + digit, ended + -digit % MODULUS, multiplied):
            moves[np.arange(MODULUS**2), after] += 1 / (3 * MODULUS)
    return moves


EVALUATION = _evaluation()


@dataclass(frozen=True)
class EvenPairs(Transduction):
    """Whether a string of bits has an even number of places at which the bit changes.

    Source: see :class:`Transduction`. The answer is 0 if it is even, which says that the first and
    the last bit are equal, and 1 if not.
    Chance: both answers are as frequent, but that a string of one bit has none of these places.
    """

    name: ClassVar[str] = "even-pairs"
    asks: ClassVar[str] = "whether the bits change an even number of times"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def frequencies(self, length: int) -> Array:
        """Both alike, from two bits on."""
        return uniform(2) if length > 1 else np.array([1.0, 0.0])

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 2, (n, length))
        return answered(read, (read[:, 1:] != read[:, :-1]).sum(axis=1) % 2)


@dataclass(frozen=True)
class ParityCheck(Transduction):
    """Whether a string of bits has an even number of ones: then 0, else 1.

    Source: see :class:`Transduction`.
    Chance: both answers are as frequent.
    """

    name: ClassVar[str] = "parity-check"
    asks: ClassVar[str] = "whether the number of ones is even"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 2, (n, length))
        return answered(read, read.sum(axis=1) % 2)


@dataclass(frozen=True)
class CycleNavigation(Transduction):
    """Where one stands on a circle of five places after so many steps back, none or on.

    Source: see :class:`Transduction`. One starts at 0; each move is as likely as any other.
    Chance: the places' probabilities after a random walk, which soon are alike.
    """

    name: ClassVar[str] = "cycle-navigation"
    asks: ClassVar[str] = "the place on a circle after many moves"
    reads: ClassVar[Sequence[str]] = ("back", "stay", "on")
    writes: ClassVar[Sequence[str]] = DIGITS

    def frequencies(self, length: int) -> Array:
        """The random walk's."""
        places = np.eye(MODULUS)
        move = (np.roll(places, -1, axis=1) + places + np.roll(places, 1, axis=1)) / 3
        walk: Array = np.linalg.matrix_power(move, length)[0]
        return walk

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 3, (n, length))
        return answered(read, (read - 1).sum(axis=1) % MODULUS)


@dataclass(frozen=True)
class ModularArithmetic(Transduction):
    """The value modulo 5 of digits with +, − and * between them, * first.

    Source: see :class:`Transduction`, "modular arithmetic (simple)". Digits and operators are any,
    all alike. An expression has an odd number of symbols; for an even ``length`` it has one less.
    Chance: 0 is the most frequent value, since a product is 0 more often than any other digit. The
    frequencies are summed exactly over what the sum so far, and the product under way, may be.
    """

    name: ClassVar[str] = "modular-arithmetic"
    asks: ClassVar[str] = "the value modulo 5 of digits with +, - and *"
    reads: ClassVar[Sequence[str]] = (*DIGITS, "+", "-", "*")
    writes: ClassVar[Sequence[str]] = DIGITS

    def frequencies(self, length: int) -> Array:
        """Over the states of a left-to-right evaluation."""
        begun = np.zeros(MODULUS**2)
        begun[:MODULUS] = 1 / MODULUS  # the first digit is any
        ended = begun @ np.linalg.matrix_power(EVALUATION, (length - 1) // 2)
        return np.bincount((TOTAL + FACTOR) % MODULUS, ended).astype(np.float64)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        pairs = (length - 1) // 2
        digits, operators = rng.integers(0, MODULUS, (n, pairs + 1)), rng.integers(0, 3, (n, pairs))
        read = np.empty((n, 2 * pairs + 1), dtype=np.int64)
        read[:, ::2], read[:, 1::2] = digits, MODULUS + operators
        # The product of a term by logarithms: all terms of all rows at once, whatever the length.
        starts = np.column_stack([np.ones(n, dtype=np.bool_), operators != 2])
        first = np.flatnonzero(starts)
        zero = np.add.reduceat(digits.ravel() == 0, first)
        product = POWERS[np.add.reduceat(LOGARITHMS[digits].ravel(), first) % len(POWERS)]
        sign = np.column_stack([np.ones(n, dtype=np.int64), 1 - 2 * operators])[starts]
        terms = np.where(zero, 0, sign * product)
        return answered(read, np.bincount(np.nonzero(starts)[0], terms).astype(np.int64) % MODULUS)

"""Four context-sensitive tasks on strings: for any length they need a tape, or counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unrolled.tasks.base import Array
from unrolled.tasks.chomsky import BITS, DIGITS, Strings, Transduction, answered, uniform

MISSING, PADDING = 2, 3
"""The places of these symbols among what :class:`MissingDuplicate` reads."""


@dataclass(frozen=True)
class DuplicateString(Transduction):
    """A string of bits, twice.

    Source: see :class:`Transduction`.
    Chance: both bits are as frequent.
    """

    name: ClassVar[str] = "duplicate-string"
    asks: ClassVar[str] = "a string of bits, twice"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def frequencies(self, length: int) -> Array:
        """Both alike."""
        return uniform(2, 2 * length)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 2, (n, length))
        return answered(read, np.concatenate([read, read], axis=1))


@dataclass(frozen=True)
class MissingDuplicate(Transduction):
    """A string of bits that comes twice, with one bit missing: which?

    Source: see :class:`Transduction`. The missing one may be in either copy, any place alike. A
    string of odd length ends with a symbol that means nothing. The two copies can be told from each
    other, but need not be: the parity of all the bits that are there is the one that is missing, so
    that a regular language does.
    Chance: both bits are as frequent.
    """

    name: ClassVar[str] = "missing-duplicate"
    asks: ClassVar[str] = "the bit that is missing in a string said twice"
    reads: ClassVar[Sequence[str]] = (*BITS, "missing", "padding")
    writes: ClassVar[Sequence[str]] = BITS
    least: ClassVar[int] = 2
    since: ClassVar[str] = "a bit twice"

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        half = rng.integers(0, 2, (n, length // 2))
        read = np.concatenate([half, half, np.full((n, length % 2), PADDING)], axis=1)
        rows, places = np.arange(n), rng.integers(0, length // 2 * 2, n)
        answer = read[rows, places]
        read[rows, places] = MISSING
        return answered(read, answer)


@dataclass(frozen=True)
class OddsFirst(Transduction):
    """The bits at odd places of a string, then those at even places; the first place is 0.

    Source: see :class:`Transduction`.
    Chance: both bits are as frequent.
    """

    name: ClassVar[str] = "odds-first"
    asks: ClassVar[str] = "every second bit, then the others"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def frequencies(self, length: int) -> Array:
        """Both alike."""
        return uniform(2, length)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 2, (n, length))
        return answered(read, np.concatenate([read[:, 1::2], read[:, ::2]], axis=1))


@dataclass(frozen=True)
class BucketSort(Transduction):
    """A string of the digits 0 to 4, sorted: to count each digit is enough.

    Source: see :class:`Transduction`.
    Chance: all digits are as frequent. (Who knows how much of the answer is said has more.)
    """

    name: ClassVar[str] = "bucket-sort"
    asks: ClassVar[str] = "a string of digits, sorted"
    reads: ClassVar[Sequence[str]] = DIGITS
    writes: ClassVar[Sequence[str]] = DIGITS

    def frequencies(self, length: int) -> Array:
        """All alike."""
        return uniform(len(DIGITS), length)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, len(DIGITS), (n, length))
        return answered(read, np.sort(read, axis=1))

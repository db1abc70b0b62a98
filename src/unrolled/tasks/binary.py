"""Three context-sensitive tasks on binary numbers: a sum, a product, a square root."""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from unrolled.tasks.base import Array, Whole
from unrolled.tasks.chomsky import BITS, END, Strings, Transduction, answered

COUNTED = 100
"""The strings of each length over which the answers' symbols are counted."""


@dataclass(frozen=True)
class _Counted(Transduction):
    """A task the frequencies of whose answers have no simple form."""

    def frequencies(self, length: int) -> Array:
        """Counted over 100 strings, the same ones each time."""
        return _counted(self, length)


@dataclass(frozen=True)
class _Operation(_Counted):
    """Two binary numbers, least bit first, with an operator between."""

    writes: ClassVar[Sequence[str]] = (*BITS, "end")
    least: ClassVar[int] = 3
    since: ClassVar[str] = "two numbers and the operator between"

    @abstractmethod
    def _result(self, one: int, two: int) -> int: ...

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        drawn = random.Random(int(rng.integers(2**63)))  # whose numbers may be of any length
        read = np.empty((n, length), dtype=np.int64)
        answer, asked = np.full((n, length + 1), END), np.empty(n, dtype=np.int64)
        for row, bits in enumerate(rng.integers(1, length - 1, n).tolist()):
            one = drawn.randrange(1, 2**bits)
            two = drawn.randrange(1, 2 ** (length - 1 - bits))
            result = self._result(one, two)
            read[row, :bits] = _bits(one, bits)
            read[row, bits] = len(BITS)
            read[row, bits + 1 :] = _bits(two, length - 1 - bits)
            answer[row, : result.bit_length()] = _bits(result, result.bit_length())
            asked[row] = result.bit_length() + 1
        return Strings(read, answer, asked)


@dataclass(frozen=True)
class BinaryAddition(_Operation):
    """The sum of two binary numbers.

    Source: see :class:`Transduction`. Numbers have their least bit first. The first has any number
    of bits from 1 to ℓ − 2, all alike, and the second the rest; each is any that is not 0. The sum
    comes without zeros behind its highest bit, and then its end.
    Chance: the frequencies of 0, 1 and the end, counted over 100 strings of each length.
    """

    name: ClassVar[str] = "binary-addition"
    asks: ClassVar[str] = "the sum of two binary numbers"
    reads: ClassVar[Sequence[str]] = (*BITS, "+")

    def _result(self, one: int, two: int) -> int:
        return one + two


@dataclass(frozen=True)
class BinaryMultiplication(_Operation):
    """The product of two binary numbers.

    Source: see :class:`Transduction`. As in :class:`BinaryAddition`, with the product for the sum.
    Chance: the frequencies of 0, 1 and the end, counted over 100 strings of each length.
    """

    name: ClassVar[str] = "binary-multiplication"
    asks: ClassVar[str] = "the product of two binary numbers"
    reads: ClassVar[Sequence[str]] = (*BITS, "*")

    def _result(self, one: int, two: int) -> int:
        return one * two


@dataclass(frozen=True)
class ComputeSqrt(_Counted):
    """The square root of a binary number, rounded down.

    Source: see :class:`Transduction`. Here numbers have their highest bit first. A number of ℓ bits
    is any that is not 0; its root has ⌈ℓ/2⌉ bits, zeros in front of it included.
    Chance: the frequencies of 0 and 1, counted over 100 strings of each length.
    """

    name: ClassVar[str] = "compute-sqrt"
    asks: ClassVar[str] = "the square root of a binary number"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        drawn = random.Random(int(rng.integers(2**63)))
        numbers = [drawn.randrange(1, 2**length) for _ in range(n)]
        read = np.stack([_bits(number, length) for number in numbers])
        roots = np.stack([_bits(math.isqrt(number), (length + 1) // 2) for number in numbers])
        return answered(read[:, ::-1], roots[:, ::-1])


def _bits(number: int, count: int) -> Whole:
    """The lowest ``count`` bits, the least first."""
    text = f"{number:0{count}b}".encode()
    return np.frombuffer(text, dtype=np.uint8)[::-1].astype(np.int64) - ord("0")


@cache
def _counted(task: Transduction, length: int) -> Array:
    target = task.of_length(COUNTED, length, rng=length)
    answers = target.target[target.mask].numpy()
    return np.bincount(answers, minlength=task.outputs) / COUNTED

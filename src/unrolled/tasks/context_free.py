"""Four deterministic context-free tasks: for strings of any length they need a stack."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from unrolled.tasks.base import Array
from unrolled.tasks.chomsky import (
    BITS,
    DIGITS,
    END,
    MODULUS,
    Strings,
    Transduction,
    answered,
    uniform,
)

POP = 2
"""The place of this action among what :class:`StackManipulation` reads; pushes come after it."""


@dataclass(frozen=True)
class StackManipulation(Transduction):
    """A stack of bits from the bottom up, then pushes and pops: what is on the stack in the end?

    Source: see :class:`Transduction`. The stack at the beginning has any number of bits from 1 to
    ℓ − 1, all alike; each action is to pop, to push 0 or to push 1, all alike. A pop of the empty
    stack does nothing. The answer is the stack from the top down, and then its end.
    Chance: both bits are as frequent, as many as the stack is high on average, and the end comes
    once. The height is summed exactly over the actions.
    """

    name: ClassVar[str] = "stack-manipulation"
    asks: ClassVar[str] = "what is on a stack after pushes and pops"
    reads: ClassVar[Sequence[str]] = (*BITS, "pop", "push 0", "push 1")
    writes: ClassVar[Sequence[str]] = (*BITS, "end")

    def frequencies(self, length: int) -> Array:
        """The bits of a stack of the average height, and an end."""
        later = np.arange(length + 1.0)  # the height in the end, from each height now
        heights = []
        for _ in range(length - 1):
            later = (2 * later[1:] + np.append(later[0], later[:-2])) / 3
            heights.append(later[-1])  # of a stack that leaves room for just these actions
        return np.append(uniform(2, float(np.mean(heights or 1.0))), 1.0)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        given = rng.integers(1, max(length, 2), (n, 1))
        read = np.where(
            np.arange(length) < given,
            rng.integers(0, 2, (n, length)),
            rng.integers(POP, POP + 3, (n, length)),
        )
        pushes = read != POP
        walk = np.where(pushes, 1, -1).cumsum(axis=1)
        # A pop of the empty stack does nothing: what the walk falls below 0 has no effect.
        height = walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)
        rows, steps = np.nonzero(pushes)
        stack = np.zeros((n, length + 1), dtype=np.int64)
        # In their order, so that at each height the last push stays.
        stack[rows, height[rows, steps] - 1] = read[rows, steps] % (POP + 1)
        final = height[:, -1:]
        down = final - 1 - np.arange(length + 1)
        answer = np.where(down >= 0, np.take_along_axis(stack, np.maximum(down, 0), axis=1), END)
        return Strings(read, answer, final[:, 0] + 1)


@dataclass(frozen=True)
class ReverseString(Transduction):
    """A string of bits from its last to its first.

    Source: see :class:`Transduction`.
    Chance: both bits are as frequent.
    """

    name: ClassVar[str] = "reverse-string"
    asks: ClassVar[str] = "a string of bits, backwards"
    reads: ClassVar[Sequence[str]] = BITS
    writes: ClassVar[Sequence[str]] = BITS

    def frequencies(self, length: int) -> Array:
        """Both alike."""
        return uniform(2, length)

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        read = rng.integers(0, 2, (n, length))
        return answered(read, read[:, ::-1])


@dataclass(frozen=True)
class BracketedArithmetic(Transduction):
    """The value modulo 5 of an expression with +, −, * and brackets.

    Source: see :class:`Transduction`, "modular arithmetic". An expression of up to four symbols is
    d, -d, (d) or (-d) with any digit d; a longer one is (left operator right), where any length of
    the left part is as likely as any other, and so is any operator.
    Chance: 0 is the most frequent value, since a product is 0 more often than any other digit. The
    frequencies are summed exactly over the lengths of the parts.
    """

    name: ClassVar[str] = "bracketed-arithmetic"
    asks: ClassVar[str] = "the value modulo 5 of nested brackets"
    reads: ClassVar[Sequence[str]] = (*DIGITS, *"+-*()")
    writes: ClassVar[Sequence[str]] = DIGITS

    def frequencies(self, length: int) -> Array:
        """Over the lengths of the parts."""
        known: Array = _values(1 << length.bit_length())[length]  # few tables for many lengths
        return known

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        drawn = _any_of(rng)
        pairs = [_expression(length, "+-*", drawn) for _ in range(n)]
        read = np.array([[self.reads.index(symbol) for symbol in text] for text, _ in pairs])
        return answered(read, np.array([value for _, value in pairs]))


@dataclass(frozen=True)
class SolveEquation(Transduction):
    """The digit that x stands for in an equation modulo 5.

    Source: see :class:`Transduction`. The left side is an expression as in
    :class:`BracketedArithmetic`, with + and − alone, so that there is one solution. One of its
    digits is x: the next one from a place that is any, beginning again after the end. The right
    side is the value.
    Chance: all digits are as frequent.
    """

    name: ClassVar[str] = "solve-equation"
    asks: ClassVar[str] = "the x of an equation modulo 5"
    reads: ClassVar[Sequence[str]] = (*DIGITS, *"+-()x=")
    writes: ClassVar[Sequence[str]] = DIGITS
    least: ClassVar[int] = 3
    since: ClassVar[str] = "x, = and a value"

    def _strings(self, n: int, length: int, rng: np.random.Generator) -> Strings:
        drawn, texts, answers = _any_of(rng), [], []
        for _ in range(n):
            text, value = _expression(length - 2, "+-", drawn)
            place = drawn(len(text))
            while not text[place].isdigit():
                place = (place + 1) % len(text)
            texts.append(f"{text[:place]}x{text[place + 1 :]}={value}")
            answers.append(int(text[place]))
        read = np.array([[self.reads.index(symbol) for symbol in text] for text in texts])
        return answered(read, np.array(answers))


def _any_of(rng: np.random.Generator) -> Callable[[int], int]:
    """Draws a whole number below its argument: Python's generator is fast at one at a time."""
    return random.Random(int(rng.integers(2**63))).randrange


def _expression(length: int, operators: str, drawn: Callable[[int], int]) -> tuple[str, int]:
    """An expression of ``length`` symbols and its value; see :class:`BracketedArithmetic`."""
    if length <= 4:
        digit = drawn(MODULUS)
        text, value = (f"{digit}", digit) if length % 2 else (f"-{digit}", -digit % MODULUS)
        return (f"({text})", value) if length > 2 else (text, value)
    left = 1 + drawn(length - 4)
    one, first = _expression(left, operators, drawn)
    two, second = _expression(length - 3 - left, operators, drawn)
    operator = operators[drawn(len(operators))]
    values = {"+": first + second, "-": first - second, "*": first * second}
    return f"({one}{operator}{two})", values[operator] % MODULUS


@cache
def _values(longest: int) -> Array:
    """The probabilities [ℓ, 5] of the values of expressions; see :class:`BracketedArithmetic`."""
    values = np.full((longest + 1, MODULUS), 1 / MODULUS)
    one, two = np.indices((MODULUS, MODULUS))
    results = [(value % MODULUS).ravel() for value in (one + two, one - two, one * two)]
    for length in range(5, longest + 1):
        left = values[1 : length - 3]  # the right part has what the left one leaves
        both = (left.T @ left[::-1] / len(left)).ravel()
        values[length] = np.mean([np.bincount(result, both) for result in results], axis=0)
    return values

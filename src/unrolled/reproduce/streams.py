"""Streams of embedded Reber strings without end, side by side, a symbol of each at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unrolled.reproduce.stepwise import Floats
from unrolled.tasks.reber import END, LEGAL, MOVES, SYMBOLS

Whole = NDArray[np.int64]

BEGIN = 0
"""The state of a stream that has not begun."""

MARGIN = 0.49
"""A prediction is right if every output is less than so much from its target."""

_MOVES = MOVES.copy()
_MOVES[END] = MOVES[BEGIN]  # after a string comes the next one
_AFTER = _MOVES[..., 1].ravel()
_INPUTS = np.eye(len(SYMBOLS), dtype=np.float32)[:, _MOVES[..., 0].ravel()]
_TARGETS = LEGAL[_AFTER].T.astype(np.float32)


class Streams:
    """The streams of as many networks as there are states.

    Attributes:
        states: of the grammar, [width]; :data:`~unrolled.tasks.reber.END` at a string's end.
        targets: 1 for each symbol that may come next, else 0, [7, width].
    """

    def __init__(self, states: Whole) -> None:
        self.states = states
        self.targets = np.empty((len(SYMBOLS), len(states)), dtype=np.float32)
        self._far = np.empty_like(self.targets)

    def read(self, forks: Whole, into: Floats) -> None:
        """Goes on by a symbol.

        Args:
            forks: which of two symbols comes, 0 or 1, [width].
            into: the symbols' one-hot vectors are put here, [7, width].
        """
        moves = 2 * self.states + forks
        np.take(_AFTER, moves, out=self.states, mode="clip")
        np.take(_INPUTS, moves, axis=1, out=into, mode="clip")
        np.take(_TARGETS, moves, axis=1, out=self.targets, mode="clip")

    def are_right(self, given: Floats) -> NDArray[np.bool_]:
        """Whether the predictions [7, width] are; one that is not a number is not."""
        np.subtract(given, self.targets, out=self._far)
        np.abs(self._far, out=self._far)
        found: NDArray[np.bool_] = np.logical_and.reduce(self._far < MARGIN, axis=0)
        return found


def forks(rngs: list[np.random.Generator], steps: int, width: int) -> Whole:
    """Random bits for each stream, [steps, width]; 0 for those without a generator.

    Args:
        rngs: a generator for each of the first streams.
        steps: a multiple of 8.
        width: how many streams there is room for.
    """
    drawn = b"".join([rng.bytes(steps // 8) for rng in rngs])
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8).reshape(len(rngs), -1), axis=1)
    found = np.zeros((steps, width), dtype=np.int64)
    found[:, : len(rngs)] = bits.T
    return found

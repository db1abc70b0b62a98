"""Temporal order: which symbols came, and in which order, among many that mean nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from unrolled.tasks.base import (
    Batch,
    Chance,
    Kind,
    Task,
    at_the_end,
    check_length,
    one_hot,
    to_batch,
)

SYMBOLS = "abcdXYEB"
"""The rows of the one-hot inputs: four distractors, two that matter, the start and the trigger."""

X, Y, START, TRIGGER = (SYMBOLS.index(symbol) for symbol in "XYEB")

WINDOWS = {2: ((0.10, 0.20), (0.50, 0.60)), 3: ((0.10, 0.20), (0.33, 0.43), (0.66, 0.76))}
"""Where the symbols that matter stand, as shares of the length."""


@dataclass(frozen=True)
class TemporalOrder(Task):
    """The order of two or of three symbols X and Y.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8),
    experiments 6a (``relevant=2``: four classes) and 6b (``relevant=3``: eight). A sequence starts
    with E, ends with the trigger B and holds random symbols of a, b, c, d but for two or three that
    are X or Y, each with probability 1/2. The class counts in binary, X as 0, Y as 1, the first
    symbol foremost, and is asked at the trigger.
    Published: lengths 100 to 110, the symbols at random places in 10–20 and 50–60, or in 10–20,
    33–43 and 66–76; other lengths scale these. Solved when 2000 sequences in a row are right (and
    the average error below 0.1); of 2560 new ones 1 or 2 are then wrong. There a sequence is right
    if every output is off by less than 0.3, here if the most likely class is the right one.
    Chance: always the same class. 1/4 are right and the cross-entropy is ln 4 = 1.386; with three
    symbols 1/8 and ln 8 = 2.079.
    """

    length: int = 100
    relevant: Literal[2, 3] = 2

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "sequences classified correctly"

    def __post_init__(self) -> None:
        check_length("temporal-order", self.length, 10, "a place for each symbol")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return f"the order of {self.relevant} symbols among many"

    @property
    def inputs(self) -> int:
        """One for each symbol."""
        return len(SYMBOLS)

    @property
    def outputs(self) -> int:
        """One for each class."""
        return 2**self.relevant

    @property
    def solved(self) -> float:
        """As published, or nearly: 2000 in a row."""
        return 0.999

    @property
    def chance(self) -> Chance:
        """Always the same class."""
        return Chance(loss=math.log(self.outputs), score=1 / self.outputs)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        rows = np.arange(n)
        steps = self.length + self.length // 10
        lengths = rng.integers(self.length, steps, n, endpoint=True)
        symbols = rng.integers(0, X, (n, steps))  # the distractors stand before X
        symbols[:, 0] = START
        symbols[rows, lengths - 1] = TRIGGER
        classes = np.zeros(n, dtype=np.int64)
        for low, high in WINDOWS[self.relevant]:
            place = rng.integers(int(low * self.length), int(high * self.length), n, endpoint=True)
            is_y = rng.integers(0, 2, n)
            symbols[rows, place] = np.where(is_y, Y, X)
            classes = 2 * classes + is_y
        mask = at_the_end(lengths, steps)
        target = np.where(mask, classes[:, None], 0)
        return to_batch(one_hot(symbols, self.inputs), target, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked

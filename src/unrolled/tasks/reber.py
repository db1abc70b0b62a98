"""The embedded Reber grammar: single strings, and a stream of them without end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.tasks.base import (
    Array,
    Batch,
    Chance,
    Hot,
    Kind,
    Task,
    Whole,
    check_length,
    one_hot,
    to_batch,
)

SYMBOLS = "BTSXPVE"
"""The rows of the one-hot inputs, and of the outputs."""

REBER = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7),),
)
"""Reber's grammar: from each state, the symbols that may come and where they lead; 7 is the end.

Of two symbols each has the probability 1/2. (Reber 1967; Cleeremans, Servan-Schreiber & McClelland
1989, Neural Computation 1(3), figure 3.)
"""

Arrows = tuple[tuple[str, int], ...]


def _embed() -> tuple[Arrows, ...]:
    """B, then T or P, a string of Reber's, the same T or P again, E; the last state is the end.

    Both letters have a copy of Reber's grammar to themselves: the copy is the memory of the letter.
    """
    copies = {"T": 2, "P": 2 + len(REBER) + 2}
    end = copies["P"] + len(REBER) + 2
    states: list[Arrows] = [(("B", 1),), tuple((letter, at) for letter, at in copies.items())]
    for letter, at in copies.items():
        states += [tuple((symbol, at + to) for symbol, to in arrows) for arrows in REBER]
        states += [((letter, at + len(REBER) + 1),), (("E", end),)]
    return tuple(states)


EMBEDDED = _embed()
END = len(EMBEDDED)
CLOSING = tuple(state for state in (2 + len(REBER), 2 + 2 * len(REBER) + 2))
"""The two states in which the first letter is asked again."""


def _tables() -> tuple[Whole, Hot]:
    """What comes and where it leads [states, 2, 2], and which symbols are legal [states, 7].

    A state with one arrow has it twice. The end stays the end, and tells that B comes again.
    """
    whole = (*EMBEDDED, (("B", END),))
    pairs = [(arrows[0], arrows[-1]) for arrows in whole]
    moves = np.array([[(SYMBOLS.index(symbol), to) for symbol, to in pair] for pair in pairs])
    return moves, one_hot(moves[..., 0], len(SYMBOLS)).max(axis=1)


MOVES, LEGAL = _tables()

SHORTEST = 9
"""The symbols of the shortest strings, BTBTXSETE among them."""

AT_ONCE = 16
"""Random numbers are drawn for so many steps at once: most strings are shorter."""


@dataclass(frozen=True)
class _Reber(Task):
    """Predicts at each step all the symbols that may come next."""

    kind: ClassVar[Kind] = "symbols"

    @property
    def inputs(self) -> int:
        """One for each symbol."""
        return len(SYMBOLS)

    @property
    def outputs(self) -> int:
        """One for each symbol."""
        return len(SYMBOLS)


@dataclass(frozen=True)
class EmbeddedReber(_Reber):
    """Strings of the embedded Reber grammar: the last letter but one is that of the beginning.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8),
    experiment 1, after Smith & Zipser 1989 and Cleeremans et al. 1989. A string reads B, then T or
    P, a string of :data:`REBER`, the same T or P again, E. The network reads one symbol at a time.
    There the target is the symbol that comes; here it is the set of those that may come, which is
    what both score by. There is no length to set: a string has at least 9 symbols and on average
    12, with an even chance at every fork.
    Published: 256 strings to learn from and 256 to test; a string is right if at every step the
    symbols that may come have the highest outputs, and solved is when all are. (Here every batch
    is new strings.)
    Chance: to know the grammar and to have forgotten the second symbol. Then T or P is guessed once
    in a string: 1/2 of the strings are right, and the binary cross-entropy is ln 2 for two of the 7
    outputs at that one step, and none elsewhere.
    """

    measure: ClassVar[str] = "strings predicted wholly right"
    whole: ClassVar[bool] = True

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "a grammar whose strings end as they began"

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """The grammar without the letter."""
        return Chance(
            loss=2 * math.log(2) / len(SYMBOLS) / (mean_symbols() - 1),  # nothing is asked at E
            score=0.5,
        )

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        symbols, after = _strings(n, rng)
        mask = after[:, :-1] != END  # nothing comes after the E
        return to_batch(
            one_hot(symbols[:, :-1], self.inputs),
            LEGAL[after[:, :-1]] * mask[..., None],
            mask.sum(axis=1),
            mask,
        )

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        legal = asked > 0.5
        lowest = given.where(legal, math.inf).amin(dim=1)
        return lowest > given.where(~legal, -math.inf).amax(dim=1)


@dataclass(frozen=True)
class ContinualReber(_Reber):
    """One string of the embedded Reber grammar after the other, and nothing says where one ends.

    Source: Gers, Schmidhuber & Cummins 2000, "Learning to forget: continual prediction with LSTM",
    Neural Computation 12(10), which brought the forget gate. A stream of ``length`` symbols starts
    with a new string. What may come next is asked at each step, as in :class:`EmbeddedReber`;
    at the end of a string that is B.
    Published: streams of 100,000 symbols. A prediction is right if every output is within 0.49 of
    its target, and the measure is how many symbols a stream is followed to the first error, here as
    a share of the stream; solved is when 10 streams are followed to their ends.
    Chance: to know the grammar and to have forgotten the letter. Every string then survives with
    probability 1/2, and the binary cross-entropy is ln 2 for two of the 7 outputs once in a string.
    Both are summed exactly over the states in which a stream may be at each step.
    """

    length: int = 200

    measure: ClassVar[str] = "of the stream followed to the first error"

    def __post_init__(self) -> None:
        check_length("continual-reber", self.length, 12, "a whole string")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "a stream of such strings, with no mark between"

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """The grammar without the letter; see the class."""
        moves = _moves()
        moves[END] = moves[0]
        closing = np.isin(np.arange(END + 1), CLOSING)
        state = np.eye(END + 1)[0]
        alive, asked, followed = state, 0.0, 0.0
        for _ in range(self.length):
            state, alive = state @ moves, alive @ moves
            asked += float(state[closing].sum())
            alive = np.where(closing, alive / 2, alive)
            followed += float(alive.sum())
        return Chance(
            loss=2 * math.log(2) / len(SYMBOLS) * asked / self.length,
            score=followed / self.length,
        )

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        strings = -(-self.length // SHORTEST)  # so many are enough, were all the shortest
        symbols, after = _strings(n * strings, rng)
        real = np.column_stack([np.ones(n * strings, dtype=np.bool_), after[:, :-1] != END])
        streams = [
            (symbols[rows][real[rows]][: self.length], after[rows][real[rows]][: self.length])
            for rows in np.arange(n * strings).reshape(n, strings)
        ]
        return to_batch(
            one_hot(np.stack([read for read, _ in streams]), self.inputs),
            LEGAL[np.stack([states for _, states in streams])],
            np.full(n, self.length),
            np.ones((n, self.length), dtype=np.bool_),
        )

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        wrong = ((given.sigmoid() - asked).abs() >= 0.49).any(dim=1).view(-1, self.length)
        return wrong.cumsum(dim=1) == 0


def mean_symbols() -> float:
    """How many symbols a string of the embedded grammar has on average."""
    visits = np.linalg.solve(np.eye(END) - _moves()[:END, :END].T, np.eye(END)[0])
    return float(visits.sum())


def _moves() -> Array:
    """The probabilities [states, states] of going from one state to another; the end stays."""
    moves = np.zeros((END + 1, END + 1))
    for state in range(END):
        for following in MOVES[state, :, 1]:
            moves[state, following] += 0.5
    return moves


def _strings(n: int, rng: np.random.Generator) -> tuple[Whole, Whole]:
    """Whole strings, symbols [n, S] and the state after each; past a string's end that is the end.

    S is the length of the longest.
    """
    state, steps = np.zeros(n, dtype=np.int64), []
    while (state != END).any():
        for forks in rng.integers(0, 2, (AT_ONCE, n)):
            steps.append(MOVES[state, forks])
            state = steps[-1][:, 1]
    walked = np.stack(steps, axis=1)
    longest = int((walked[..., 1] != END).any(axis=0).sum()) + 1
    return walked[:, :longest, 0], walked[:, :longest, 1]

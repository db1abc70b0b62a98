"""The networks of 2000 that follow streams, and when their streams and trials end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from unrolled.cells import Cell
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.cells import Forgetting2000, Standard2000
from unrolled.reproduce.online import Start
from unrolled.tasks.reber import SYMBOLS

SHUT = (-0.5, -1.0, -1.5, -2.0)
"""The biases of the input and output gates at the beginning, by block."""


@dataclass(frozen=True)
class Kind:
    """A network of the paper's, and how it learns.

    Gers, Schmidhuber & Cummins 2000, "Learning to forget: continual prediction with LSTM", Neural
    Computation 12(10), section 4.

    Attributes:
        cell: its equations.
        resets: whether its states are set to 0 at each string's end.
        decay: the learning rate is multiplied by so much after each symbol.
    """

    cell: type[Cell]
    resets: bool = False
    decay: float = 1.0

    @cached_property
    def architecture(self) -> Architecture:
        """4 blocks of 2 cells."""
        return Architecture(
            self.cell,
            inputs=len(SYMBOLS),
            outputs=len(SYMBOLS),
            blocks=4,
            size=2,
            biased=frozenset({"gates", "outputs"}),
            shortcut=True,
        )

    @property
    def start(self) -> Start:
        """The weights at the beginning: input and output gates are shut, and forget gates open."""
        biases = {"input": SHUT, "output": SHUT, "forget": [-bias for bias in SHUT]}
        return Start(
            0.2, {gate: biases[gate] for gate in biases if gate in self.architecture.units}
        )


KINDS = {
    "LSTM": Kind(Standard2000),
    "LSTM with external reset": Kind(Standard2000, resets=True),
    "LSTM with forget gates": Kind(Forgetting2000),
    "LSTM with forget gates and α decay": Kind(Forgetting2000, decay=0.99),
}


@dataclass(frozen=True)
class Limits:
    """When streams and trials end, and what makes a network good.

    Attributes:
        rate: α at the beginning of each stream.
        longest: a stream ends after so many symbols, if not before, at the first error.
        streams: a trial ends after so many streams to learn from,
        symbols: or with the one in which it has learned from so many symbols.
        worth: a network is tested if it has followed a stream for so many symbols,
        tests: on so many streams.
        good: a network is, if it follows those for more symbols than this on average.
        whole: whether a test goes on when an error has shown that the network is not perfect. The
            last one of a trial does in any case, and only from this one anything is noted.
    """

    rate: float = 0.5
    longest: int = 100_000
    streams: int = 30_000
    symbols: int = 3_000_000
    worth: int = 1000
    tests: int = 10
    good: int = 1000
    whole: bool = True


LIMITS = Limits()

"""Networks that follow streams of Reber strings for a while: as they learn, and as they are tested.

What one comes to depends neither on those beside it nor on when a while begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unrolled.reproduce.continual_kinds import Kind, Limits
from unrolled.reproduce.stepwise import Floats, Stepwise
from unrolled.reproduce.streams import BEGIN, Streams, Whole, forks
from unrolled.tasks.reber import END

Flags = NDArray[np.bool_]

ROUND = 512
"""A while, in symbols. A network that is to be tested reads on idly until the while is over."""

LOOKED = 64
"""After so many symbols of a test it is looked whether all streams have ended."""


@dataclass
class Stream:
    """A stream that a network is tested on.

    Attributes:
        rng: draws its symbols.
        states: those of the network that reads it, behind its weights among
            :meth:`Stepwise.numbers`; none at the beginning.
        state: of the grammar.
        followed: so many symbols were predicted rightly.
        ended: whether it has.
    """

    rng: np.random.Generator
    states: Floats
    state: int = BEGIN
    followed: int = 0
    ended: bool = False


@dataclass
class Trial:
    """A network on its way.

    Attributes:
        seed: its own.
        rng: draws the symbols that it learns from.
        numbers: its weights and states; see :meth:`Stepwise.numbers`.
        rate: α as it is now.
        state: of the grammar, in the stream that it learns from.
        followed: so many symbols of this were predicted rightly.
        streams: so many it has learned from,
        symbols: and of so many symbols in all.
        tests: so often it was tested or is it now,
        tested: on these; none while it learns.
    """

    seed: int
    rng: np.random.Generator
    numbers: Floats
    rate: float
    state: int = BEGIN
    followed: int = 0
    streams: int = 0
    symbols: int = 0
    tests: int = 0
    tested: list[Stream] = field(default_factory=list)

    def is_over(self, limits: Limits) -> bool:
        """Whether there is nothing left to learn from."""
        return self.streams >= limits.streams or self.symbols >= limits.symbols


def stacked(lines: Sequence[Floats]) -> Floats:
    """Lines of numbers as an array; what the shorter ones lack is 0."""
    found = np.zeros((len(lines), max(map(len, lines))), dtype=lines[0].dtype)
    for row, line in zip(found, lines, strict=True):
        row[: len(line)] = line
    return found


# --- learning -------------------------------------------------------------------------------------


def learn(kind: Kind, limits: Limits, trials: Sequence[Trial]) -> list[Trial]:
    """A while of learning; returns those that are to be tested now.

    These are at the beginning of a new stream.
    """
    networks = Stepwise(kind.architecture, stacked([t.numbers for t in trials]), trained=True)
    learning = _Learning(kind, limits, trials, networks)
    for bits in forks([trial.rng for trial in trials], ROUND, networks.width):
        learning.step(bits)
    return learning.note()


class _Learning:
    """What happens to networks with a symbol; the arrays are [width].

    Attributes:
        now: how many symbols of the while were read.
        active: which networks still learn.
        started: when each one's stream began; before the while that is less than 0.
        streams: so many each has learned from.
    """

    def __init__(
        self, kind: Kind, limits: Limits, trials: Sequence[Trial], networks: Stepwise
    ) -> None:
        self.kind, self.limits, self.trials, self.networks = kind, limits, trials, networks
        self.now, width = 0, networks.width
        self.active = np.arange(width) < len(trials)
        self._grammar = Streams(padded([trial.state for trial in trials], width))
        self._started = -padded([trial.followed for trial in trials], width)
        self._streams = padded([trial.streams for trial in trials], width)
        self._symbols = padded([trial.symbols for trial in trials], width)
        self._rate = np.zeros(width, dtype=np.float32)
        self._rate[: len(trials)] = [trial.rate for trial in trials]
        self._look()

    def _look(self) -> None:
        """When the first of the streams has its full length."""
        self._full = int(self._started.min()) + self.limits.longest

    def step(self, bits: Whole) -> None:
        networks, grammar = self.networks, self._grammar
        self.now += 1
        grammar.read(bits, networks.inputs)
        networks.step()
        right = grammar.are_right(networks.given)
        networks.learn(grammar.targets, self._rate)
        if self.kind.decay < 1:
            self._rate *= np.float32(self.kind.decay)
        goes_on = right
        if self.now >= self._full:
            goes_on = right & (self.now - self._started < self.limits.longest)
        if not goes_on.all():
            self._end(goes_on, right)
            grammar.states *= goes_on
        elif not self.kind.resets:
            return
        if self.kind.resets:
            goes_on = goes_on & (grammar.states != END)
        networks.reset(goes_on)

    def _end(self, goes_on: Flags, right: Flags) -> None:
        """Of some streams: new ones begin, and some networks are to be tested."""
        limits, ended = self.limits, ~goes_on
        self._streams += ended
        is_over = self._streams >= limits.streams
        is_over |= self._symbols >= limits.symbols - self.now
        is_over |= self.now - self._started - ~right >= limits.worth
        is_over &= ended
        is_over &= self.active
        self._started[ended] = self.now
        self._rate[ended] = limits.rate
        self._look()
        if is_over.any():
            for k in np.flatnonzero(is_over):
                self._note(int(k))
            self.active &= ~is_over
        self._rate *= self.active

    def _note(self, k: int) -> None:
        """In a trial, where it stands."""
        trial = self.trials[k]
        trial.rate, trial.state = float(self._rate[k]), int(self._grammar.states[k])
        trial.followed = self.now - int(self._started[k])
        trial.streams, trial.symbols = int(self._streams[k]), int(self._symbols[k]) + self.now

    def note(self) -> list[Trial]:
        """In all trials, at the end of the while; returns those that are to be tested."""
        weights, over = self.kind.architecture.weights, []
        for k, (trial, line) in enumerate(zip(self.trials, self.networks.numbers(), strict=True)):
            trial.numbers = line
            if self.active[k]:
                self._note(k)
            else:
                trial.numbers, trial.state = line[:weights].copy(), BEGIN
                over.append(trial)
        return over


def padded(values: Sequence[int], width: int) -> Whole:
    """The values, and 0 for which there are none."""
    return np.pad(np.array(values, dtype=np.int64), (0, width - len(values)))


# --- testing --------------------------------------------------------------------------------------


def begin_test(trial: Trial, limits: Limits, stream: int) -> None:
    """Gives the network streams to be tested on.

    Args:
        trial: its trial.
        limits: how many they are.
        stream: the stream of random numbers that they come from.
    """
    seeds = [[trial.seed, stream, trial.tests, number] for number in range(limits.tests)]
    none = trial.numbers[:0]
    trial.tested = [Stream(np.random.default_rng(seed), none) for seed in seeds]
    trial.tests += 1


def test(kind: Kind, limits: Limits, trials: Sequence[Trial]) -> None:
    """A while of following the trials' test streams, with weights that stay."""
    pairs = [(t.numbers, stream) for t in trials for stream in t.tested if not stream.ended]
    streams = [stream for _, stream in pairs]
    numbers = stacked([np.concatenate([own, stream.states]) for own, stream in pairs])
    networks = Stepwise(kind.architecture, numbers, trained=False)
    grammar = Streams(padded([stream.state for stream in streams], networks.width))
    followed = padded([stream.followed for stream in streams], networks.width)
    active = np.arange(networks.width) < len(streams)
    bits = forks([stream.rng for stream in streams], ROUND, networks.width)
    for number, some in enumerate(bits):
        grammar.read(some, networks.inputs)
        networks.step()
        active &= grammar.are_right(networks.given)
        followed += active
        active &= followed < limits.longest
        if kind.resets:
            networks.reset(grammar.states != END)
        if number % LOOKED == 0 and not active.any():
            break
    for k, (stream, line) in enumerate(zip(streams, networks.numbers(), strict=True)):
        stream.states, stream.state = line[len(pairs[k][0]) :], int(grammar.states[k])
        stream.followed, stream.ended = int(followed[k]), not active[k]

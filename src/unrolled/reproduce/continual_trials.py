"""Trials of networks that follow streams, side by side; none waits for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from unrolled.reproduce.continual_kinds import Kind, Limits
from unrolled.reproduce.following import Stream, Trial, begin_test, learn, test
from unrolled.reproduce.online import START, TEST, TRAIN
from unrolled.reproduce.stepwise import Floats

Ending = Literal["perfect", "good", "rest"]


@dataclass(frozen=True)
class Outcome:
    """A trial that is over.

    Attributes:
        seed: its own.
        ending: "perfect" if the network followed all streams of a test to their ends, else "good"
            or "rest".
        streams: so many it has learned from,
        symbols: and of so many symbols in all.
        tests: so often it was tested.
        length: how many symbols it followed the streams of the last test, on average.
        weights: those that it ended with, [W].
    """

    seed: int
    ending: Ending
    streams: int
    symbols: int
    tests: int
    length: float
    weights: Floats


class ContinualTrials:
    """Trials of one kind; see :class:`~unrolled.reproduce.side_by_side.Trials`."""

    def __init__(self, kind: Kind, limits: Limits, seeds: Sequence[int]) -> None:
        self.kind, self.limits, self.seeds = kind, limits, list(seeds)
        self.trials = [self._begun(seed) for seed in seeds]

    def _begun(self, seed: int) -> Trial:
        rng = np.random.default_rng([seed, START])
        weights = self.kind.start.draw(self.kind.architecture, rng).astype(np.float32)
        return Trial(seed, np.random.default_rng([seed, TRAIN]), weights, self.limits.rate)

    @property
    def share(self) -> float:
        """How much is used up of what the trials may learn from, of the one that is behind."""
        limits = self.limits
        used = [max(t.streams / limits.streams, t.symbols / limits.symbols) for t in self.trials]
        return min([1.0, *used])

    def advance(self) -> list[Outcome]:
        """A while of learning or of being tested, whichever more of the networks are about.

        A step costs nearly the same for few networks and for many.
        """
        learning = [trial for trial in self.trials if not trial.tested]
        tested = [trial for trial in self.trials if trial.tested]
        with np.errstate(all="ignore"):  # what has diverged is wrong
            if len(learning) >= len(tested):
                for trial in learn(self.kind, self.limits, learning):
                    begin_test(trial, self.limits, TEST)
                return []
            test(self.kind, self.limits, tested)
        outcomes = [found for trial in tested if (found := self._judged(trial)) is not None]
        over = {outcome.seed for outcome in outcomes}
        if over:
            self.keep([seed for seed in self.seeds if seed not in over])
        return outcomes

    def _judged(self, trial: Trial) -> Outcome | None:
        """None while the test goes on, and where the network has to learn on."""
        streams, is_over = trial.tested, trial.is_over(self.limits)
        have_ended = all(stream.ended for stream in streams)
        has_erred = any(s.ended and s.followed < self.limits.longest for s in streams)
        if not have_ended and (self.limits.whole or is_over or not has_erred):
            return None
        trial.tested = []
        if has_erred and not is_over:
            return None
        length = float(np.mean([stream.followed for stream in streams]))
        ending: Ending = "good" if length > self.limits.good else "rest"
        counts = trial.streams, trial.symbols, trial.tests
        weights = trial.numbers
        return Outcome(trial.seed, ending if has_erred else "perfect", *counts, length, weights)

    # --- saving -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that changes: from it :meth:`restore` goes on with the same numbers."""
        return {"seeds": self.seeds, "trials": [_as_json(trial) for trial in self.trials]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`state` gave, of the same trials or of those of them that were left."""
        self.seeds = list(state["seeds"])
        self.trials = [Trial(**_from_json(values)) for values in state["trials"]]
        for trial in self.trials:
            streams: list[Any] = trial.tested
            trial.tested = [Stream(**_from_json(values)) for values in streams]

    def keep(self, seeds: Sequence[int]) -> None:
        """Goes on with the trials of these seeds alone."""
        self.seeds = list(seeds)
        self.trials = [trial for trial in self.trials if trial.seed in self.seeds]


def _as_json(of: Trial | Stream) -> dict[str, Any]:
    values = dict(vars(of), rng=of.rng.bit_generator.state)
    if isinstance(of, Trial):
        return values | {"numbers": of.numbers.tolist(), "tested": [*map(_as_json, of.tested)]}
    return values | {"states": of.states.tolist()}


def _from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    rng = np.random.default_rng()
    rng.bit_generator.state = values["rng"]
    arrays = {
        name: np.array(values[name], dtype=np.float32)
        for name in ("numbers", "states")
        if name in values
    }
    return {**values, **arrays, "rng": rng}

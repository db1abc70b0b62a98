"""Streams of embedded Reber strings without end, as in 2000: which networks learn to forget.

Gers, Schmidhuber & Cummins 2000, "Learning to forget: continual prediction with LSTM", Neural
Computation 12(10), section 4.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unrolled.reproduce import side_by_side
from unrolled.reproduce.continual_kinds import KINDS, LIMITS, Kind
from unrolled.reproduce.continual_trials import ContinualTrials, Outcome
from unrolled.reproduce.lanes import Lanes
from unrolled.reproduce.machine import without_subnormals
from unrolled.reproduce.memory import ROWS, Memory, columns, measured
from unrolled.reproduce.parts import Emit, Job, Trial
from unrolled.reproduce.results import Json
from unrolled.reproduce.side_by_side import Course
from unrolled.tasks import ContinualReber

PART = "continual"

SEEDS = range(100)
"""As many networks of each kind as the paper has."""

LANES = 100
"""So many of them run side by side; with fewer, each costs more."""

SECONDS = 900.0
"""What these take, roughly, on the machine that the page names."""

LATER = 3
"""The stream of random numbers for what is looked at, beside those of :mod:`online`."""

LOOKED_AT = 100
"""The symbols of the streams by which the memory is measured."""


@dataclass(frozen=True)
class Continual:
    """A trial.

    Attributes:
        kind: one of :data:`KINDS`.
        seed: of weights and streams.
        ending: "perfect", "good" or "rest".
        streams: so many the network has learned from,
        symbols: and of so many symbols in all.
        tests: so often it was tested.
        length: how many symbols it followed the streams of the last test, on average.
        weights: how many it has.
        horizon: after so many steps the gradient has fallen to a hundredth; see ``diagnose``.
            Where states are reset from outside, this is of the network without that.
        steps: the largest lag at which it was measured.
        gradient: g(k) at the lags of :func:`unrolled.reproduce.results.lags_of`, as JSON.
        seconds: how long it took, testing included.
        version: of the package.
        processor: what it ran on.
    """

    kind: str
    seed: int
    ending: str
    streams: int
    symbols: int
    tests: int
    length: float
    weights: int
    horizon: int
    steps: int
    gradient: Json
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> Trial:
        """Which one it is."""
        return self.kind, self.seed

    def __str__(self) -> str:
        """What came of it, in a line."""
        return (
            f"{self.kind}, seed {self.seed}: {self.ending} after {self.streams:,} streams, follows "
            f"{self.length:,.0f} symbols"
        )


RECORD = Continual


def jobs(done: Container[Trial]) -> list[Job]:
    """What is left to do, groups of networks side by side."""
    found = []
    for kind in KINDS:
        for begin in range(0, len(SEEDS), LANES):
            group = SEEDS[begin : begin + LANES]
            left = tuple([(kind, seed) for seed in group if (kind, seed) not in done])
            if left:
                # By the whole group, whose state may have been saved when there was more to do.
                name = f"{kind}, seeds {group[0]}-{group[-1]}"
                found.append(Job(PART, name, left, SECONDS))
    return found


def run(job: Job, saved: Path, emit: Emit) -> None:
    """Runs the trials of a job; see :class:`~unrolled.reproduce.parts.Part`."""
    name = str(job.trials[0][0])
    kind, limits = KINDS[name], LIMITS

    def begin(seeds: Sequence[int]) -> ContinualTrials:
        return ContinualTrials(kind, limits, seeds)

    def record(outcome: Outcome, seconds: float) -> Continual:
        return _record(name, kind, outcome, seconds)

    def share(trials: ContinualTrials) -> float:
        return trials.share

    with without_subnormals():
        seeds = [int(seed) for _, seed in job.trials]
        side_by_side.run(Course(begin, record, share), seeds, saved, emit)


def _record(name: str, kind: Kind, outcome: Outcome, seconds: float) -> Continual:
    return Continual(
        kind=name,
        seed=outcome.seed,
        ending=outcome.ending,
        streams=outcome.streams,
        symbols=outcome.symbols,
        tests=outcome.tests,
        length=outcome.length,
        **columns(kind.architecture.weights, _memory(kind, outcome), seconds),
    )


def _memory(kind: Kind, outcome: Outcome) -> Memory:
    module = Lanes(kind.architecture, torch.from_numpy(outcome.weights)[None]).module()
    rng = np.random.default_rng([outcome.seed, LATER])
    streams = ContinualReber(LOOKED_AT).batch(ROWS, rng)
    return measured(module, streams.inputs.transpose(0, 1).contiguous())

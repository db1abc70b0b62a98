"""Measuring the time between two spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.errors import InputError
from unrolled.tasks.base import Batch, Chance, Kind, Task, check_length, to_batch

RIGHT = 0.49
"""The error below which Gers et al. call an output right."""


@dataclass(frozen=True)
class SpikeDelays(Task):
    """By how much each spike in a train of them is late.

    Source: Gers, Schraudolph & Schmidhuber 2002, "Learning precise timing with LSTM recurrent
    networks", JMLR 3, section 4.2: measuring spike delays (MSD), and with one spike the version
    that is not continual (NMSD). The input is 1 at a spike and 0 elsewhere. With F the length, a
    spike comes F + I steps after the one before it, or after the beginning, where the delay I is
    any whole number from 0 to ``latest``, all alike. The target is I at the spike, and 0 elsewhere.
    Published: I in {0, 1} for F = 10 to 50 with one spike, and I from 0 to 1 and 0 to 2 for F = 10
    in trains of 100 spikes (1000 to test). An output is right if it is within 0.49 of its target;
    solved is when all are, from the first step to the last. A train has 10 spikes here.
    Chance: 0 between spikes, and always the same answer at them. The error is the variance of I,
    ((latest + 1)² − 1)/12, at one step of F + latest/2. One delay of latest + 1 is within 0.49, so
    that a train of S spikes is wholly right with probability (latest + 1)⁻ˢ.
    """

    length: int = 10
    latest: int = 1
    spikes: int = 10

    kind: ClassVar[Kind] = "regression"
    measure: ClassVar[str] = "trains followed to their ends"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in (("latest", self.latest), ("spikes", self.spikes)):
            if value < 1:
                raise InputError(f"{name}: at least 1 was expected, got {value}. Give more")
        check_length("spike-delays", self.length, 2, "a step between two spikes")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        spikes = "a spike is" if self.spikes == 1 else "each spike of a train is"
        return f"how many steps late {spikes}"

    @property
    def inputs(self) -> int:
        """Whether there is a spike."""
        return 1

    @property
    def outputs(self) -> int:
        """The delay."""
        return 1

    @property
    def solved(self) -> float:
        """As published."""
        return 1.0

    @property
    def chance(self) -> Chance:
        """Always the same delay; see the class."""
        values = self.latest + 1
        variance = (values**2 - 1) / 12
        return Chance(loss=variance / (self.length + self.latest / 2), score=values**-self.spikes)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        delays = rng.integers(0, self.latest, (n, self.spikes), endpoint=True)
        places = (self.length + delays).cumsum(axis=1) - 1
        lengths = places[:, -1] + 1
        rows = np.arange(n)[:, None]
        spikes = np.zeros((n, lengths.max(), 1))
        spikes[rows, places] = 1.0
        target = np.zeros_like(spikes)
        target[rows, places, 0] = delays
        return to_batch(spikes, target, lengths, np.arange(lengths.max()) < lengths[:, None])

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return ((given - asked).abs() < RIGHT).squeeze(1)

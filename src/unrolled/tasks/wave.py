"""cos t from sin t: the shortest memory that is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from unrolled.tasks.base import Batch, Chance, Kind, Task, check_length, explained, to_batch

STEP = np.pi / 10
"""Radians from one step to the next."""


@dataclass(frozen=True)
class SinCos(Task):
    """The cosine of the angle whose sine is read.

    Source: the usual first exercise in recurrent networks; ``unrolled demo`` is this task with the
    state carried on. An angle starts anywhere and moves on by π/10 at each step. One sine fits two
    cosines of opposite sign, two successive ones fit one, so that a memory of one step is enough.
    All steps but the first count. The score is the share of the cosine's variance that the
    prediction explains.
    Published: no setting and no criterion; 0.99 as solved is ours.
    Chance: always 0, which for a single sine is the mean of the two cosines it fits. The error is
    the mean of cos², 1/2, and nothing is explained.
    """

    length: int = 20

    kind: ClassVar[Kind] = "regression"
    measure: ClassVar[str] = "variance explained"

    def __post_init__(self) -> None:
        check_length("sin-cos", self.length, 2, "one sine does not tell the cosine")

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "the cosine of an angle from its sine"

    @property
    def inputs(self) -> int:
        """The sine."""
        return 1

    @property
    def outputs(self) -> int:
        """The cosine."""
        return 1

    @property
    def solved(self) -> float:
        """Ours."""
        return 0.99

    @property
    def chance(self) -> Chance:
        """Always 0."""
        return Chance(loss=0.5, score=0.0)

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        start = rng.uniform(0.0, 2 * np.pi, (n, 1, 1))
        angles = start + STEP * np.arange(self.length)[:, None]
        mask = np.broadcast_to(np.arange(self.length) > 0, (n, self.length)).copy()
        target = np.where(mask[..., None], np.cos(angles), 0.0)
        return to_batch(np.sin(angles), target, np.full(n, self.length), mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return explained(given, asked)

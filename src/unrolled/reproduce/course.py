"""A training to the end of its budget, solved or not, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unrolled.model import Network
from unrolled.reproduce.memory import ROWS, Memory, measured
from unrolled.reproduce.modern import CHECK, TEST, TRAIN, Check, Training, fit, tried
from unrolled.tasks import Task

NEVER = -1
"""In place of a number of updates, sequences or steps: there is none."""

NO_MEMORY = Memory(NEVER, 0, "[]")
"""Of a network that diverged: what is not finite has no gradient to speak of."""

LOOKED_AT = 3
"""The stream of random numbers for that, beside those of :mod:`modern`."""


@dataclass(frozen=True)
class Course:
    """What a training came to.

    Attributes:
        checks: one after the other; a network that diverges has no more after that.
        score: of new sequences at the end, the task's own,
        loss: and their loss, which is not finite if the network diverged.
        memory: at the end.
    """

    checks: tuple[Check, ...]
    score: float
    loss: float
    memory: Memory

    @property
    def updates(self) -> int:
        """How many were made."""
        return self.checks[-1].updates

    def first(self, holds: Callable[[Check], bool]) -> int:
        """The updates at the first check of which something holds; :data:`NEVER` if of none."""
        return next((check.updates for check in self.checks if holds(check)), NEVER)


def looked_at(task: Task, seed: int) -> Tensor:
    """The sequences [B, T, I] on which the memory of a trial is measured, of one length."""
    batch = task.batch(ROWS, np.random.default_rng([seed, LOOKED_AT]))
    return batch.inputs[:, : int(batch.lengths.min())]


def followed(
    model: Network,
    task: Task,
    training: Training,
    seed: int,
    on_check: Callable[[float], None],
    held_out: Task | None = None,
) -> Course:
    """Trains a network until the updates are spent or it diverges; then tests and measures it.

    Args:
        model: is trained in place.
        task: what is learned.
        training: how.
        seed: of the sequences.
        on_check: called with the share of the updates that are done, at each check.
        held_out: what the checks and the test draw from; None for the task itself.
    """
    train_rng, check_rng, test_rng = (
        np.random.default_rng([seed, stream]) for stream in (TRAIN, CHECK, TEST)
    )
    checks = []
    for check in fit(model, task, training, train_rng, check_rng, held_out):
        checks.append(check)
        on_check(check.updates / training.updates)
        if not math.isfinite(check.loss):
            break
    score, loss = tried(model, held_out or task, training.tested, test_rng)
    memory = measured(model, looked_at(task, seed)) if math.isfinite(loss) else NO_MEMORY
    return Course(tuple(checks), score, loss, memory)

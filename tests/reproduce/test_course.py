"""What is kept of a training, whatever the task."""

from __future__ import annotations

import pytest
import torch

from unrolled.reproduce.course import NEVER, NO_MEMORY, Course, looked_at
from unrolled.reproduce.memory import ROWS
from unrolled.reproduce.modern import Check
from unrolled.tasks import Adding, SpikeDelays, Task

COURSE = Course(
    (Check(50, 0.1, 0.9), Check(100, 0.8, 0.2), Check(150, 0.6, 0.4)), 0.6, 0.4, NO_MEMORY
)


@pytest.mark.parametrize(("score", "updates"), [(0.0, 50), (0.5, 100), (0.9, NEVER)])
def test_the_first_check_counts_even_if_a_later_one_is_worse(score: float, updates: int) -> None:
    assert COURSE.first(lambda check: check.score >= score) == updates


@pytest.mark.parametrize("task", [Adding(20), SpikeDelays(length=5)])
def test_a_seed_is_looked_at_on_its_own_sequences(task: Task) -> None:
    one, again, other = (looked_at(task, seed) for seed in (1, 1, 2))
    assert len(one) == ROWS
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)

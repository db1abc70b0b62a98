"""The tasks as the networks of 1997 read them: one sequence after another, targets from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.tasks import Batch, Task


@dataclass(frozen=True)
class Sequences:
    """n sequences of one network.

    Attributes:
        inputs: [n, T, I], or symbols [n, T].
        lengths: [n].
        targets: what is learned, [n, O] at the last step, or [n, T, O] at every step.
        truth: what the answers are judged by, as ``targets``.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    truth: Tensor

    @property
    def at_the_end(self) -> bool:
        """Whether only the last step is asked."""
        return self.targets.dim() == 2


Draw = Callable[[int, np.random.Generator], Sequences]
"""Draws so many sequences."""


@dataclass(frozen=True)
class Together:
    """A block of n sequences for each of K networks, padded to one length T.

    Attributes:
        inputs: [n, T, K, I], or symbols [n, T, K].
        lengths: [n, K].
        targets: [n, K, 1, O], or [n, K, T, O].
        truth: as ``targets``.
        mask: [n, K, T, 1], 1 within a sequence; None where only the last step is asked.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    truth: Tensor
    mask: Tensor | None


def together(each: Sequence[Sequences]) -> Together:
    """The sequences of several networks side by side."""
    lengths = torch.stack([one.lengths for one in each], dim=1)
    steps = max(one.inputs.shape[1] for one in each)
    inputs = torch.stack([_padded(one.inputs, steps) for one in each], dim=2)
    if each[0].at_the_end:
        targets = torch.stack([one.targets for one in each], dim=1)[:, :, None]
        truth = torch.stack([one.truth for one in each], dim=1)[:, :, None]
        return Together(inputs, lengths, targets, truth, None)
    targets, truth = (
        torch.stack([_padded(values, steps) for values in of_each], dim=1)
        for of_each in ([one.targets for one in each], [one.truth for one in each])
    )
    mask = (torch.arange(steps) < lengths[..., None])[..., None].to(targets.dtype)
    return Together(inputs, lengths, targets, truth, mask)


def _padded(values: Tensor, steps: int) -> Tensor:
    """[n, T, ...] with zeros behind."""
    missing = steps - values.shape[1]
    if not missing:
        return values
    return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], dim=1)


def answers(task: Task) -> Draw:
    """A task that asks for numbers at the end: they are the targets."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        batch = task.batch(n, rng)
        return _asked_at_the_end(batch, _at_the_end(batch))

    return draw


def classes(task: Task) -> Draw:
    """A task that asks for a class at the end: an output for each, or one where there are two."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        batch = task.batch(n, rng)
        asked = _at_the_end(batch)
        if task.outputs == 2:
            return _asked_at_the_end(batch, asked[:, None].float())
        return _asked_at_the_end(batch, torch.nn.functional.one_hot(asked, task.outputs).float())

    return draw


def _at_the_end(batch: Batch) -> Tensor:
    return batch.target[torch.arange(len(batch.target)), batch.lengths - 1]


def _asked_at_the_end(batch: Batch, targets: Tensor) -> Sequences:
    return Sequences(batch.inputs, batch.lengths, targets, targets)

"""The tasks as the networks of 1997 read them: one sequence after another, targets from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.tasks import Batch, EmbeddedReber, Task, TwoSequenceTargets
from unrolled.tasks.lag import NoiseFreeLag, NoisyLag, VeryLongLag


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
        targets = _at_the_end(batch, batch.target)
        return Sequences(batch.inputs, batch.lengths, targets, targets)

    return draw


def noisy_answers(task: TwoSequenceTargets) -> Draw:
    """A task whose targets are noisy: the answers are judged by their means."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        batch = task.batch(n, rng)
        targets, truth = (_at_the_end(batch, t) for t in (batch.target, task.expected(batch)))
        return Sequences(batch.inputs, batch.lengths, targets, truth)

    return draw


def classes(task: Task) -> Draw:
    """A task that asks for a class at the end: an output for each, or one where there are two."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        batch = task.batch(n, rng)
        asked = _at_the_end(batch, batch.target)
        targets = asked[:, None].float() if task.outputs == 2 else _one_hot(asked, task.outputs)
        return Sequences(batch.inputs, batch.lengths, targets, targets)

    return draw


def second_symbols(task: VeryLongLag) -> Draw:
    """The symbols of the very long lag; the one to be told has an output for each of both."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        whole = torch.from_numpy(task.symbols(n, rng))
        lengths = (whole >= 0).sum(1) - 1
        targets = _one_hot(whole[:, 1] - (task.inputs - 2), 2)
        return Sequences(whole[:, :-1].clamp(min=0), lengths, targets, targets)

    return draw


def next_symbols(task: NoiseFreeLag | NoisyLag) -> Draw:
    """The symbols of a long lag: the next one is asked at every step."""

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        whole = torch.from_numpy(task.symbols(n, rng))
        targets = _one_hot(whole[:, 1:], task.outputs)
        return Sequences(whole[:, :-1], torch.full((n,), task.length), targets, targets)

    return draw


STRINGS = 256
"""So many strings of the embedded grammar are learned, and so many others tested."""

LONGEST = 32
"""The steps of the longest string that is learned from, or some more."""

PAIRS = 3
"""Of experiment 1 there are three pairs of training and test strings, and ten trials with each."""


def grammar(seed: int) -> tuple[Draw, Draw]:
    """Embedded Reber strings to learn from, drawn from a set, and all that are tested.

    The targets are 1 for the symbols that may come, else 0.
    """
    learned, tested = _strings_apart(np.random.default_rng([seed % PAIRS, STRINGS]))
    # Sums over steps are then the same, to the last bit, whatever strings stand beside.
    learned = _all_padded(learned, LONGEST)

    def draw(n: int, rng: np.random.Generator) -> Sequences:
        return _picked(learned, torch.from_numpy(rng.integers(0, STRINGS, n)))

    def both(n: int, rng: np.random.Generator) -> Sequences:  # noqa: ARG001 - a Draw
        steps = max(learned.inputs.shape[1], tested.inputs.shape[1])
        one, other = _all_padded(learned, steps), _all_padded(tested, steps)
        return Sequences(
            torch.cat([one.inputs, other.inputs]),
            torch.cat([one.lengths, other.lengths]),
            torch.cat([one.targets, other.targets]),
            torch.cat([one.truth, other.truth]),
        )

    return draw, both


def _strings_apart(rng: np.random.Generator) -> tuple[Sequences, Sequences]:
    """Strings to learn from, and others to test: none of those is among the first."""
    learned = _strings(STRINGS, rng)
    known = {_text(learned, i) for i in range(STRINGS)}
    drawn = _strings(8 * STRINGS, rng)
    others = [i for i in range(8 * STRINGS) if _text(drawn, i) not in known][:STRINGS]
    return learned, _picked(drawn, torch.tensor(others))


def _strings(n: int, rng: np.random.Generator) -> Sequences:
    batch = EmbeddedReber().batch(n, rng)
    return Sequences(batch.inputs, batch.lengths, batch.target, batch.target)


def _all_padded(strings: Sequences, steps: int) -> Sequences:
    return Sequences(
        _padded(strings.inputs, steps),
        strings.lengths,
        _padded(strings.targets, steps),
        _padded(strings.truth, steps),
    )


def _text(strings: Sequences, i: int) -> tuple[int, ...]:
    return tuple(strings.inputs[i, : strings.lengths[i]].argmax(1).tolist())


def _picked(strings: Sequences, which: Tensor) -> Sequences:
    return Sequences(
        strings.inputs[which],
        strings.lengths[which],
        strings.targets[which],
        strings.truth[which],
    )


def _at_the_end(batch: Batch, values: Tensor) -> Tensor:
    return values[torch.arange(len(values)), batch.lengths - 1]


def _one_hot(symbols: Tensor, size: int) -> Tensor:
    return torch.nn.functional.one_hot(symbols, size).float()

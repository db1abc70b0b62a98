"""What all tasks have in common: a batch, its loss, its score, and what a guess is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unrolled.errors import InputError
from unrolled.resources import LARGEST_SIZE
from unrolled.summary import short

Array = NDArray[np.float64]
Hot = NDArray[np.float32]
Whole = NDArray[np.int64]
Rng = int | np.random.Generator
"""Where random numbers come from: a seed, or a generator that goes on from where it stands."""

Kind = Literal["regression", "classification", "symbols"]
LOSSES: dict[Kind, str] = {
    "regression": "mean squared error",
    "classification": "cross-entropy (nats)",
    "symbols": "binary cross-entropy (nats)",
}


class Batch(NamedTuple):
    """Sequences of one task.

    Attributes:
        inputs: [n, T, I], float32, zero past a sequence's length.
        target: what is asked at each step: [n, T, O] float32 for the kinds "regression" and
            "symbols", [n, T] int64 classes for "classification". Zero where nothing is asked.
        lengths: [n], int64.
        mask: [n, T], true at the steps at which the loss counts.
    """

    inputs: Tensor
    target: Tensor
    lengths: Tensor
    mask: Tensor

    def __repr__(self) -> str:
        return f"Batch({', '.join(f'{k}={short(v)}' for k, v in self._asdict().items())})"


@dataclass(frozen=True)
class Chance:
    """The best that is to be had without the memory a task asks for, in each measure by itself."""

    loss: float
    score: float


@dataclass(frozen=True)
class Task(ABC):
    """A problem with as many sequences as one likes.

    A network reads ``inputs`` numbers at each step and gives ``outputs`` numbers at each step. What
    these mean depends on ``kind``: values under the mean squared error ("regression"), logits of
    classes under the cross-entropy ("classification"), or a logit for each symbol that may come
    next under the binary cross-entropy ("symbols"). Either loss is a mean over the masked steps.

    Attributes:
        measure: what ``score`` is the share of.
        whole: a sequence is right only if it is so at every masked step.
    """

    kind: ClassVar[Kind]
    measure: ClassVar[str]
    whole: ClassVar[bool] = False

    @property
    @abstractmethod
    def summary(self) -> str:
        """What is asked, in a line."""

    @property
    @abstractmethod
    def inputs(self) -> int:
        """I, the numbers that are read at each step."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """O, the numbers that are given at each step."""

    @property
    @abstractmethod
    def chance(self) -> Chance:
        """What a guess is worth; the class says how it is derived."""

    @property
    @abstractmethod
    def solved(self) -> float:
        """The score from which on the task counts as solved."""

    def batch(self, n: int, rng: Rng) -> Batch:
        """Draws ``n`` sequences; the same seed gives the same ones.

        Raises:
            InputError: ``n`` is less than 1.
        """
        return self._draw(n, generator(n, rng))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the masked steps, a scalar to differentiate.

        Args:
            prediction: what the network gives, [n, T, O].
            batch: what it has read.

        Raises:
            InputError: ``prediction`` has another shape.
        """
        given, asked = self._masked(prediction, batch)
        if self.kind == "classification":
            return functional.cross_entropy(given, asked)
        if self.kind == "symbols":
            return functional.binary_cross_entropy_with_logits(given, asked)
        return functional.mse_loss(given, asked)

    def score(self, prediction: Tensor, batch: Batch) -> float:
        """The measure that the literature reports, in [0, 1] save where the class says otherwise.

        Args:
            prediction: what the network gives, [n, T, O].
            batch: what it has read.

        Raises:
            InputError: ``prediction`` has another shape.
        """
        worth = self._worth(*self._masked(prediction.detach(), batch)).double()
        if self.whole:
            steps = batch.mask.double().masked_scatter(batch.mask, worth).sum(dim=1)
            worth = (steps == batch.mask.sum(dim=1)).double()
        return worth.mean().item()

    @abstractmethod
    def _draw(self, n: int, rng: np.random.Generator) -> Batch: ...

    @abstractmethod
    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        """What is right: the score is its mean.

        Args:
            given: the predictions at the masked steps, one sequence after the other, [m, O].
            asked: the targets there, [m, O] or [m].
        """

    def _masked(self, prediction: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        expected = (*batch.mask.shape, self.outputs)
        if tuple(prediction.shape) != expected:
            raise InputError(
                f"prediction: a shape [n, T, O] of {list(expected)} was expected, got "
                f"{list(prediction.shape)}. Read out every step"
            )
        return prediction[batch.mask], batch.target[batch.mask]


def explained(given: Tensor, asked: Tensor) -> Tensor:
    """On average the share of the variance of ``asked`` that ``given`` explains, 0 for its mean."""
    return 1.0 - (given - asked).square() / asked.var(correction=0)


def generator(n: int, rng: Rng) -> np.random.Generator:
    """What ``n`` sequences are drawn from.

    Raises:
        InputError: ``n`` is less than 1.
    """
    if n < 1:
        raise InputError(f"n: at least 1 sequence was expected, got {n}. Ask for more")
    return np.random.default_rng(rng)


def one_hot(symbols: Whole, size: int) -> Hot:
    """``symbols`` [n, T] as [n, T, size]."""
    hot = np.zeros((symbols.size, size), dtype=np.float32)
    # Written one by one: of a thousand symbols a comparison with all would take milliseconds.
    hot[np.arange(symbols.size), symbols.ravel()] = 1.0
    return hot.reshape(*symbols.shape, size)


def at_the_end(lengths: Whole, steps: int) -> NDArray[np.bool_]:
    """The mask [n, T] of each sequence's last step."""
    mask: NDArray[np.bool_] = np.arange(steps) == lengths[:, None] - 1
    return mask


def to_batch(inputs: Array | Hot, target: Array | Hot | Whole, lengths: Whole, mask: Any) -> Batch:
    """As tensors; what stands past a sequence's length becomes zero, in ``inputs`` themselves."""
    inputs[np.arange(inputs.shape[1]) >= lengths[:, None]] = 0.0
    goal = torch.from_numpy(target)
    return Batch(
        torch.from_numpy(inputs).float(),
        goal.float() if goal.is_floating_point() else goal,
        torch.from_numpy(lengths),
        torch.from_numpy(mask),
    )


def check_length(task: str, length: int, least: int, reason: str) -> None:
    """That a task can be as short as ``length``, and no longer than anything can be.

    Raises:
        InputError: it can't.
    """
    if length >= LARGEST_SIZE:
        raise InputError(
            f"--length: less than {LARGEST_SIZE:,} was expected, got {length}. Give a shorter one"
        )
    if length < least:
        raise InputError(
            f"--length: {task} needs at least {least} ({reason}), got {length}. Give a longer one"
        )

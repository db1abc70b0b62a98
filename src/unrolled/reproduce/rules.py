"""When a trial counts as solved, as the papers have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


class Measure(Protocol):
    """How wrong a sequence is, in one number."""

    def __call__(self, outputs: Tensor, truth: Tensor, mask: Tensor | None) -> Tensor:
        """[..., S, O] twice, and the mask [..., S, 1], to [...]."""


def largest_error(outputs: Tensor, truth: Tensor, mask: Tensor | None) -> Tensor:
    """The largest absolute error of all outputs, at all steps that are asked."""
    error = (outputs - truth).abs()
    if mask is not None:
        error = error * mask
    return error.amax((-2, -1))


def error_at_the_end(
    outputs: Tensor,
    truth: Tensor,
    mask: Tensor | None,  # noqa: ARG001 - a Measure
) -> Tensor:
    """The largest absolute error of all outputs at the last step of sequences of one length."""
    return (outputs - truth)[..., -1, :].abs().amax(-1)


def misranked(outputs: Tensor, truth: Tensor, mask: Tensor | None) -> Tensor:
    """1 if at some step an output with the truth 1 is not above all with the truth 0, else 0."""
    highest = outputs.masked_fill(truth > 0.5, -1.0).amax(-1)
    lowest = outputs.masked_fill(truth <= 0.5, 2.0).amin(-1)
    wrong = (lowest <= highest).to(outputs.dtype)
    if mask is not None:
        wrong = wrong * mask[..., 0]
    return wrong.amax(-1)


def squared_error(outputs: Tensor, truth: Tensor, mask: Tensor | None) -> Tensor:
    """The sum of the squared errors of all outputs, at all steps that are asked."""
    error = (outputs - truth).square()
    if mask is not None:
        error = error * mask
    return error.sum((-2, -1))


@dataclass(frozen=True)
class Limits:
    """What a number of sequences has to keep to.

    Attributes:
        tolerance: a sequence whose error is not below it is wrong.
        wrong: so many may be.
        mean: the mean error has to be below it; None for any.
    """

    tolerance: float
    wrong: int = 0
    mean: float | None = None

    def are_kept(self, errors: Array) -> NDArray[np.bool_]:
        """Of the errors [n, K] of n sequences, for each network."""
        kept: NDArray[np.bool_] = self.count(errors) <= self.wrong
        if self.mean is not None:
            kept &= errors.mean(axis=0) < self.mean
        return kept

    def count(self, errors: Array) -> NDArray[np.int64]:
        """How many are wrong, for each network."""
        found: NDArray[np.int64] = (~(errors < self.tolerance)).sum(axis=0)
        return found


@dataclass(frozen=True)
class Standstill:
    """When an error has stopped decreasing.

    Attributes:
        last: the mean error of so many sequences is compared with that of as many before them.
        fall: it has stopped if it fell by no more than this fraction.
    """

    last: int
    fall: float

    def is_reached(self, errors: Array) -> NDArray[np.bool_]:
        """By the errors [n, K] of all sequences so far, for each network."""
        before, now = errors[-2 * self.last : -self.last], errors[-self.last :]
        if len(before) < self.last:
            return np.full(errors.shape[1], False)
        reached: NDArray[np.bool_] = now.mean(axis=0) >= (1 - self.fall) * before.mean(axis=0)
        return reached

"""How far a trained network of a trial remembers."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.inspect.diagnose import diagnose
from unrolled.reproduce.machine import Origin, origin
from unrolled.reproduce.results import Json, lags_of

ROWS = 8
"""So many sequences are looked at."""


@dataclass(frozen=True)
class Memory:
    """The gradient by lag; see :class:`unrolled.inspect.diagnosis.Diagnosis`.

    Attributes:
        horizon: after so many steps it is at a hundredth.
        steps: the largest lag.
        gradient: at the lags of :func:`lags_of`, as JSON.
    """

    horizon: int
    steps: int
    gradient: Json


class Columns(Origin):
    """What files of results have of a trained network, in their last columns.

    Each record names them itself: the fields of a base would be the first columns.
    """

    weights: int
    horizon: int
    steps: int
    gradient: Json


def columns(weights: int, memory: Memory, seconds: float) -> Columns:
    """Those of a network with so many weights, whose trial took so many seconds."""
    return Columns(
        weights=weights,
        horizon=memory.horizon,
        steps=memory.steps,
        gradient=memory.gradient,
        **origin(seconds),
    )


def measured(module: torch.nn.Module, inputs: Tensor) -> Memory:
    """The memory of a module, or of a model with one, on sequences [B, T, I] or [T, B, I]."""
    found = diagnose(module, inputs, ends=4, rows=1)
    gradient = found.gradient_by_lag
    steps = len(gradient) - 1
    numbers = [float(f"{gradient[lag]:.4g}") for lag in lags_of(steps)]
    return Memory(found.horizon, steps, json.dumps(numbers))


def without(memory: Memory) -> Memory:
    """That of a network that has no memory, at the same lags: all is lost after no step."""
    gradient = [1.0 if lag == 0 else 0.0 for lag in lags_of(memory.steps)]
    return Memory(0, memory.steps, json.dumps(gradient))

"""The worked example: cos t from sin t, the state carried from window to window.

At a given sin t the cosine has two possible signs, so that no network without memory can do it:
it must know whether the sine is rising or falling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.learn.columns import Array
from unrolled.learn.loop import FitSettings, History, fit
from unrolled.learn.runtime import reproducible
from unrolled.learn.train import masked_mse
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig
from unrolled.model.choice import NAMES, CellName

CELLS = NAMES

WINDOW = 10
STEP = np.pi / WINDOW
"""Radians from one step to the next: a window is half a turn, and training meets 20 phases."""

WINDOWS_PER_EPOCH = 100
EPOCHS = 40
PATIENCE = 20
HIDDEN_SIZE = 32
LEARNING_RATE = 0.01

STRETCH = 400
"""Steps of the wave that are scored."""
SETTLING = WINDOW
"""Steps before them that only bring the state into the wave: a first sine says nothing of the
cosine's sign."""


@dataclass(frozen=True)
class WaveResult:
    """One network of the demo.

    ``t`` [n], ``truth`` [n] and ``predicted`` [n] are a later stretch of the wave whose phases lie
    midway between those of training; ``error`` is its mean squared error after the first
    ``SETTLING`` steps.
    """

    cell: CellName
    run: Run
    history: History
    t: Array
    truth: Array
    predicted: Array
    error: float
    seconds: float


def train_wave(
    cell: CellName, *, seed: int = 0, on_epoch: Callable[[History], None] = lambda _: None
) -> WaveResult:
    """Trains one network on the wave and tries it on a later stretch of it."""
    started = time.perf_counter()
    with reproducible(seed, threads=1):  # steps this small only lose by being shared
        network = Network(
            NetworkConfig(cell=cell, input_size=1, hidden_size=HIDDEN_SIZE, output_size=1)
        )
        windows = EPOCHS * WINDOWS_PER_EPOCH
        epochs = iter(range(0, windows, WINDOWS_PER_EPOCH))
        carried: list[Any] = [None]
        checked = _later_stretch(offset=0.25)
        history = fit(
            network,
            losses=lambda: _losses(network, next(epochs), carried),
            validate=lambda: _error(_cosines(network, checked), checked),
            settings=FitSettings(EPOCHS, LEARNING_RATE, patience=PATIENCE),
            on_epoch=on_epoch,
        )
        t = _later_stretch(offset=0.5)
        predicted = _cosines(network, t)
    table = TableConfig(inputs=["sin"], targets=["cos"], window=WINDOW)
    return WaveResult(
        cell=cell,
        run=Run(network, table, Scaler.identity(1), Scaler.identity(1)),
        history=history,
        t=t,
        truth=np.cos(t),
        predicted=predicted,
        error=_error(predicted, t),
        seconds=time.perf_counter() - started,
    )


def _losses(network: Network, first: int, carried: list[Any]) -> Iterator[Tensor]:
    """The losses of the windows from ``first`` on, in order along the wave.

    ``carried`` holds the state after the last window: its values go on, its gradient does not.
    """
    for window in range(first, first + WINDOWS_PER_EPOCH):
        t = (window * WINDOW + np.arange(WINDOW)) * STEP
        output, state = network(_as_batch(np.sin(t)), carried[0])
        carried[0] = _detached(state)
        yield masked_mse(output, _as_batch(np.cos(t)))


def _later_stretch(*, offset: float) -> Array:
    """Times after training, ``offset`` steps off the phases that it used: settling, then scored."""
    first = EPOCHS * WINDOWS_PER_EPOCH * WINDOW + offset
    steps: Array = first + np.arange(SETTLING + STRETCH, dtype=np.float64)
    return steps * STEP


def _cosines(network: Network, t: Array) -> Array:
    """What the network says at the times ``t`` [n], from a zero state: [n]."""
    with torch.no_grad():
        output, _ = network(_as_batch(np.sin(t)))
    cosines: Array = output.flatten().double().numpy()
    return cosines


def _error(predicted: Array, t: Array) -> float:
    return float(np.square(predicted - np.cos(t))[SETTLING:].mean())


def _as_batch(values: Array) -> Tensor:
    """``values`` [T] as one sequence of one input, [1, T, 1]."""
    return torch.from_numpy(values).float().view(1, -1, 1)


def _detached(state: Any) -> Any:
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()

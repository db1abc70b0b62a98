"""Trains several cells side by side on one memory task: same data, same seed, same budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.in_runs import equations_of
from unrolled.cells.roles import memories
from unrolled.errors import InputError
from unrolled.files import short
from unrolled.learn.footprint import check_comparison
from unrolled.learn.loop import LARGEST_RATE, FitSettings, History, fit
from unrolled.learn.runtime import reproducible
from unrolled.learn.settings import LARGEST_SEED, MOST_THREADS, Settings, Whole
from unrolled.model import Network, NetworkConfig
from unrolled.model.choice import CellName
from unrolled.nn.init import unit_forget_bias_
from unrolled.resources import LARGEST_SIZE
from unrolled.tasks import Batch, Task

CHECKS = 40
"""How many times the networks are tried during training."""

MEASURED = 32
"""How many sequences ``measure`` is given."""

TRAIN, CHECK, TEST = range(3)
"""The streams of random numbers that a seed gives: no sequence is in two of them."""

Measure = Callable[[Network, Tensor], Any]


class CompareSettings(Settings):
    """What ``unrolled tasks`` takes, beside the task and the cells.

    ``forget_bias`` is the bias of the LSTM's forget gate at the start, the sum of its two: with
    torch's 0 a cell forgets half of its content at each step before it has learnt anything (Gers,
    Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015). The other biases, and the
    other cells, start as torch's do.
    """

    steps: Whole = Field(default=3000, gt=0, le=LARGEST_SIZE)
    batch_size: Whole = Field(default=32, gt=0, le=LARGEST_SIZE)
    hidden_size: Whole = Field(default=32, gt=0, le=LARGEST_SIZE)
    learning_rate: float = Field(default=0.01, gt=0.0, le=LARGEST_RATE)
    clip: float = Field(default=1.0, ge=0.0)
    forget_bias: float = Field(default=1.0)
    test_size: Whole = Field(default=1000, gt=0, le=LARGEST_SIZE)
    seed: Whole = Field(default=0, ge=0, le=LARGEST_SEED)
    threads: Whole = Field(default=1, gt=0, le=MOST_THREADS)


@dataclass(frozen=True)
class Course:
    """One cell's training.

    ``steps`` [k] are the updates after which it was tried on sequences that training does not see,
    with the ``losses`` [k] and ``scores`` [k] there. ``loss`` and ``score`` are those of the best
    of these k networks on other new sequences. ``before`` and ``after`` are what ``measure`` gave.
    """

    cell: CellName
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    scores: tuple[float, ...]
    loss: float
    score: float
    weights: int
    seconds: float
    before: Any = None
    after: Any = None
    interrupted: bool = False


def read_compare_settings(values: dict[str, Any]) -> CompareSettings:
    """Checks settings given by name.

    Raises:
        InputError: a value is wrong; the first one is named with its flag.
    """
    try:
        return CompareSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise InputError(f"{flag}: {first['msg']}, got {short(first['input'])}") from error


def compare(
    task: Task,
    cells: Sequence[CellName],
    settings: CompareSettings,
    measure: Measure | None = None,
) -> list[Course]:
    """Trains each cell in turn; see :func:`train_cell`."""
    return [train_cell(task, cell, settings, measure) for cell in cells]


def train_cell(
    task: Task,
    cell: CellName,
    settings: CompareSettings,
    measure: Measure | None = None,
    on_check: Callable[[History], None] = lambda _: None,
) -> Course:
    """Trains one cell on the sequences, and with the budget, that any other would have.

    Args:
        task: what is learnt.
        cell: "rnn", "lstm" or "gru".
        settings: the budget, the size, the seed.
        measure: called as ``measure(network, inputs)`` before training and after it; what it
            returns is kept. The inputs [n, T, I] are the longest of the sequences on which it is
            tried, which training does not see, all cut to the shortest of these.
        on_check: called after every check, for a progress bar.

    Raises:
        DivergedError: training met a number that is not finite.
        InputError: it takes more memory than there is.
    """
    started = time.perf_counter()
    check_fits(task, cell, settings)
    rng, check, test = (
        np.random.default_rng([settings.seed, stream]) for stream in (TRAIN, CHECK, TEST)
    )
    checked = task.batch(settings.test_size, check)
    scores: list[float] = []

    def validate() -> float:
        loss, score = try_out(network, task, checked)
        scores.append(score)
        return loss

    with reproducible(settings.seed, settings.threads):
        network = _network(_config(task, cell, settings), settings)
        longest = checked.lengths.argsort(descending=True, stable=True)[:MEASURED]
        measured = checked.inputs[longest, : int(checked.lengths[longest].min())]
        before = measure and measure(network, measured)
        budget = iter(split(settings.steps))
        history = fit(
            network,
            losses=lambda: _losses(network, task, next(budget), settings.batch_size, rng),
            validate=validate,
            settings=FitSettings(
                len(split(settings.steps)), settings.learning_rate, settings.clip or None
            ),
            on_epoch=on_check,
        )
        after = measure and measure(network, measured)
        loss, score = try_out(network, task, task.batch(settings.test_size, test))
    done = np.cumsum(split(settings.steps))[: len(history.validation)]
    return Course(
        cell=cell,
        steps=tuple(int(step) for step in done),
        losses=tuple(history.validation),
        scores=tuple(scores[: len(done)]),
        loss=loss,
        score=score,
        weights=network.count_weights(),
        seconds=time.perf_counter() - started,
        before=before,
        after=after,
        interrupted=history.interrupted,
    )


def check_fits(task: Task, cell: CellName, settings: CompareSettings) -> None:
    """That the memory is enough, asked before anything is taken.

    Raises:
        InputError: it is not; names the flags.
    """
    config = _config(task, cell, settings)
    check_comparison(task, config, settings.batch_size, settings.test_size)


def split(steps: int) -> list[int]:
    """The updates between one check and the next: at most :data:`CHECKS` nearly equal parts."""
    edges = np.linspace(0, steps, min(CHECKS, steps) + 1).round().astype(int)
    return [int(part) for part in np.diff(edges)]


def try_out(network: Network, task: Task, batch: Batch) -> tuple[float, float]:
    """The network's loss and score on ``batch``."""
    with torch.no_grad():
        prediction, _ = network(batch.inputs, lengths=batch.lengths)
        return task.loss(prediction, batch).item(), task.score(prediction, batch)


def _losses(
    network: Network, task: Task, updates: int, size: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    for _ in range(updates):
        batch = task.batch(size, rng)
        prediction, _ = network(batch.inputs, lengths=batch.lengths)
        yield task.loss(prediction, batch)


def _config(task: Task, cell: CellName, settings: CompareSettings) -> NetworkConfig:
    return NetworkConfig(
        cell=cell,
        input_size=task.inputs,
        hidden_size=settings.hidden_size,
        output_size=task.outputs,
    )


def _network(config: NetworkConfig, settings: CompareSettings) -> Network:
    network = Network(config)
    if has_forget_bias(config.cell):
        unit_forget_bias_(network.recurrent, settings.forget_bias)
    return network


def has_forget_bias(cell: CellName | Description) -> bool:
    """Whether ``forget_bias`` is for this cell: one gate keeps its state, another lets in."""
    return any(memory.input for memory in memories(equations_of(cell)))

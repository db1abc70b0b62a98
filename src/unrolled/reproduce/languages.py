"""What each cell can compute: formal languages, tested on longer strings than those learned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from unrolled.cells import SLSTM, Cell, MinGRU
from unrolled.inspect.counting import Counter, of_one_hot
from unrolled.inspect.record import record
from unrolled.learn.runtime import reproducible
from unrolled.model import Network, NetworkConfig
from unrolled.model.choice import NAMES, CellName, title
from unrolled.reproduce.hierarchy import LANGUAGES, Language
from unrolled.reproduce.machine import without_subnormals
from unrolled.reproduce.memory import ROWS, columns, measured
from unrolled.reproduce.modern import update
from unrolled.reproduce.parts import Emit, Job, Trial
from unrolled.reproduce.results import Json
from unrolled.tasks import CounterLanguage

PART = "languages"

CELLS: dict[str, CellName | type[Cell]] = {
    **{title(name): name for name in NAMES},
    **{cell.__name__: cell for cell in (SLSTM, MinGRU)},
}
"""By their names. The last two have no kernel: the core runs their equations."""

RATES = (0.01, 0.003, 0.001)
"""Adam's learning rate in the trial with each seed, since cells differ in what suits them."""

TRAIN, TEST, LOOK = range(3)
"""The streams of random numbers that a seed gives."""


@dataclass(frozen=True)
class Effort:
    """How a cell is trained and tested.

    Attributes:
        updates: so many minibatches are learned from,
        batch_size: each of so many strings, of all lengths.
        hidden_size: H.
        clip: the largest norm of the gradient.
        lengths: of each range of lengths so many are tested, evenly spread,
        strings: and of each length so many strings.
    """

    updates: int = 5000
    batch_size: int = 32
    hidden_size: int = 32
    clip: float = 1.0
    lengths: int = 10
    strings: int = 64


EFFORT = Effort()


@dataclass(frozen=True)
class Accuracy:
    """A trial.

    Attributes:
        language: the language's name.
        cell: the cell's.
        seed: of weights and strings.
        rate: Adam's learning rate.
        score: the mean accuracy on strings longer than those that were learned.
        ranges: by range of lengths, as JSON; see :meth:`by_range`.
        counters: the units that count, as JSON; see :meth:`found_counters`.
        weights: how many the network has.
        horizon: after so many steps the gradient has fallen to a hundredth; see ``diagnose``.
        steps: the largest lag at which it was measured.
        gradient: g(k) at the lags of :func:`unrolled.reproduce.results.lags_of`, as JSON.
        seconds: how long it took, testing included.
        version: of the package.
        processor: what it ran on.
    """

    language: str
    cell: str
    seed: int
    rate: float
    score: float
    ranges: Json
    counters: Json
    weights: int
    horizon: int
    steps: int
    gradient: Json
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> Trial:
        """Which one it is."""
        return self.language, self.cell, self.seed

    def __str__(self) -> str:
        """What came of it, in a line."""
        return f"{self.language}, {self.cell}, seed {self.seed}: {self.score:.1%} of longer strings"

    def by_range(self) -> list[Range]:
        """The accuracy on the lengths that were learned, then on each range of longer ones."""
        return [Range(*values) for values in json.loads(self.ranges)]

    def found_counters(self) -> list[Counter]:
        """The units that count, of the counter languages alone."""
        return [Counter(*values) for values in json.loads(self.counters)]


class Range(NamedTuple):
    """The mean accuracy on strings of some lengths, from the first to the last."""

    first: int
    last: int
    accuracy: float


RECORD = Accuracy


def jobs(done: Container[Trial]) -> list[Job]:
    """What is left to do, a job for each trial, the longest first."""
    left = [
        Job(PART, f"{name} {cell}, seed {seed}", ((name, cell, seed),), _seconds(language))
        for name, language in LANGUAGES.items()
        for cell in CELLS
        for seed in range(len(RATES))
        if (name, cell, seed) not in done
    ]
    return sorted(left, key=lambda job: -job.seconds)


def _seconds(language: Language) -> float:
    """What a trial takes, roughly, on the machine that the page names."""
    return EFFORT.updates * (2.7e-3 + 1e-5 * language.task().length)


def run(job: Job, saved: Path, emit: Emit) -> None:  # noqa: ARG001 - as in Part
    """Runs the trials of a job. They are short, and none is saved before its end."""
    for name, cell, seed in job.trials:
        emit(tried(LANGUAGES[str(name)], str(cell), int(seed), EFFORT, emit))


def tried(
    language: Language,
    cell: str,
    seed: int,
    effort: Effort,
    on_share: Callable[[float], None] = lambda _: None,
) -> Accuracy:
    """One trial: trains a network with a cell on the short strings, and tests it on longer ones.

    Args:
        language: what is learned.
        cell: one of :data:`CELLS`.
        seed: of weights and strings; it has the learning rate, too, see :data:`RATES`.
        effort: how much is trained and tested.
        on_share: called now and then with the share of the updates that are done.
    """
    started = time.perf_counter()
    task, rate = language.task(), RATES[seed]
    train_rng, test_rng, look_rng = (
        np.random.default_rng([seed, stream]) for stream in (TRAIN, TEST, LOOK)
    )
    with without_subnormals(), reproducible(seed, threads=1):
        model = Network(
            NetworkConfig(
                cell=CELLS[cell],
                input_size=task.inputs,
                hidden_size=effort.hidden_size,
                output_size=task.outputs,
            )
        )
        adam = torch.optim.Adam(model.parameters(), lr=rate)
        for done in range(effort.updates):
            batch = task.batch(effort.batch_size, train_rng)
            update(model, adam, task, batch, effort.clip)
            if done % 100 == 0:
                on_share(done / effort.updates)
        model.eval()
        ranges = _tested(model, language, effort, test_rng)
        looked_at = task.of_length(ROWS, task.length, look_rng)
        memory = measured(model, looked_at.inputs[:, : int(looked_at.lengths.min())])
        counters = _counters(model, task) if isinstance(task, CounterLanguage) else []
    return Accuracy(
        language=language.name,
        cell=cell,
        seed=seed,
        rate=rate,
        score=round(float(np.mean([one.accuracy for one in ranges[1:]])), 4),
        ranges=json.dumps(ranges),
        counters=json.dumps([astuple(one) for one in counters]),
        **columns(model.count_weights(), memory, time.perf_counter() - started),
    )


def _tested(
    model: Network, language: Language, effort: Effort, rng: np.random.Generator
) -> list[Range]:
    """The accuracy on each range of lengths."""
    task, found = language.task(), []
    for first, last in language.ranges():
        scores = []
        for length in np.linspace(first, last, effort.lengths).round().astype(int).tolist():
            batch = task.of_length(effort.strings, length, rng)
            with torch.no_grad():
                prediction, _ = model(batch.inputs, lengths=batch.lengths)
            scores.append(task.score(prediction, batch))
        found.append(Range(first, last, round(float(np.mean(scores)), 4)))
    return found


def _counters(model: Network, task: CounterLanguage) -> list[Counter]:
    """The units that count on strings of the language."""
    numbers = np.linspace(task.length // 2, task.length, ROWS).round().astype(int)
    strings = task.of_runs(np.repeat(numbers[:, None], task.letters, axis=1))
    trace = record(model, strings.inputs, lengths=strings.lengths)
    return list(of_one_hot(trace, trace.named(None)))

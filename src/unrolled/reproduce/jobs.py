"""What there is to run for the tables, in parts that can run side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import unrolled
from unrolled.learn.runtime import reproducible
from unrolled.output import writing
from unrolled.reproduce.lanes import Lanes
from unrolled.reproduce.machine import processor, without_subnormals
from unrolled.reproduce.memory import ROWS as LOOKED_AT
from unrolled.reproduce.memory import Memory, measured
from unrolled.reproduce.modern import NETWORKS, train
from unrolled.reproduce.online import Outcome, Recipe, Trials, test
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.tables import Result

OF_1997 = "LSTM of 1997"
"""The network of the faithful column."""

FAITHFUL, MODERN = "faithful", "modern"

LANES = 10
"""So many trials of 1997 run side by side; with more, each costs more."""

LATER = 3
"""The stream of random numbers for that, beside those of :mod:`online`."""

SAVED_EVERY = 20.0
"""After so many seconds the state of the trials is saved."""

SLOWER = 1.5
"""Trials end one by one, and the last may take so many times the mean."""


@dataclass(frozen=True)
class Job:
    """Trials that one process runs.

    Attributes:
        row: the key of their row.
        column: faithful or modern.
        network: its name.
        seeds: of the trials.
        seconds: how long it may take, roughly, on the machine that the page names.
    """

    row: str
    column: str
    network: str
    seeds: tuple[int, ...]
    seconds: float

    @property
    def name(self) -> str:
        """For people, and for a file's name."""
        seeds = self.seeds[0] if len(self.seeds) == 1 else f"{self.seeds[0]}-{self.seeds[-1]}"
        return f"{self.row} {self.network}, seed {seeds}"


Emit = Callable[[Result | float], None]
"""Is given each result, and now and then the share of the job that is done."""


def jobs(
    done: Collection[tuple[str | int, ...]],
    *,
    columns: Sequence[str] = (FAITHFUL, MODERN),
    keys: Sequence[str] = (),
    trials: int | None = None,
) -> list[Job]:
    """What is left to do, the longest first.

    Args:
        done: the trials that are.
        columns: which columns are wanted.
        keys: which rows; all if none is named.
        trials: so many of each; None for all.
    """
    found: list[Job] = []
    for row in ROWS:
        if not keys or row.key in keys:
            if FAITHFUL in columns:
                found += _faithful(row, done, trials)
            if MODERN in columns and row.task is not None:
                found += _modern(row, done, trials)
    return sorted(found, key=lambda job: -job.seconds)


def _faithful(
    row: Row, done: Collection[tuple[str | int, ...]], trials: int | None
) -> Iterator[Job]:
    seeds = [s for s in row.seeds[:trials] if (row.key, FAITHFUL, OF_1997, s) not in done]
    for begin in range(0, len(seeds), LANES):
        some = tuple(seeds[begin : begin + LANES])
        each = 3e-4 + row.steps * 2.7e-7 * len(some)
        yield Job(row.key, FAITHFUL, OF_1997, some, SLOWER * row.sequences * each)


def _modern(row: Row, done: Collection[tuple[str | int, ...]], trials: int | None) -> Iterator[Job]:
    for network in NETWORKS:
        for seed in range(10)[:trials]:
            if (row.key, MODERN, network, seed) not in done:
                each = 1.5e-3 + row.steps * 1.2e-5
                yield Job(row.key, MODERN, network, (seed,), row.training.updates * each)


def run(job: Job, saved: Path, emit: Emit) -> None:
    """Runs the trials of a job.

    Args:
        job: which.
        saved: a file for the state of trials that take long; what it holds of them is gone on with.
        emit: is given the results.
    """
    row = next(row for row in ROWS if row.key == job.row)
    with without_subnormals():
        if job.column == FAITHFUL:
            _run_faithful(row, job, saved, emit)
        else:
            _run_modern(row, job, emit)


# --- as in 1997 ---------------------------------------------------------------------------------


def _run_faithful(row: Row, job: Job, saved: Path, emit: Emit) -> None:
    recipe = row.recipe()
    with reproducible(0, threads=1):
        trials, seconds = Trials(recipe, job.seeds), 0.0
        if saved.exists():
            state = json.loads(saved.read_text())
            if set(state["trials"]["seeds"]) <= set(job.seeds):
                trials.restore(state["trials"])
                seconds = state["seconds"]
        began = last = time.perf_counter()
        while trials.seeds:
            count = len(trials.seeds)
            for outcome in trials.advance():
                now = time.perf_counter()
                emit(_result_1997(row, recipe, outcome, (seconds + now - began) / count))
            now = time.perf_counter()
            if now - last > SAVED_EVERY:
                _save(saved, {"trials": trials.state(), "seconds": seconds + now - began})
                last = now
            emit(min(1.0, trials.sequences / (SLOWER * row.sequences)))
    saved.unlink(missing_ok=True)


def _save(path: Path, state: object) -> None:
    with writing(path, overwrite=True) as draft:
        draft.write_text(json.dumps(state))


def _result_1997(row: Row, recipe: Recipe, outcome: Outcome, seconds: float) -> Result:
    _, tested = recipe.source(outcome.seed)
    rng = np.random.default_rng([outcome.seed, LATER])
    limits = recipe.rule.test or recipe.rule.recent
    assert limits is not None
    errors = test(recipe, outcome.weights[None], [tested], [rng], recipe.tested, None)
    memory = _memory_1997(recipe, outcome)
    return _result(
        row,
        FAITHFUL,
        OF_1997,
        outcome.seed,
        solved=outcome.solved,
        sequences=outcome.sequences,
        wrong=int(limits.count(errors)[0]),
        tested=len(errors),
        error=float(errors.mean()),
        weights=recipe.architecture.weights,
        memory=memory,
        seconds=seconds,
    )


def _memory_1997(recipe: Recipe, outcome: Outcome) -> Memory:
    _, draw = recipe.source(outcome.seed)
    some = draw(LOOKED_AT, np.random.default_rng([outcome.seed, LATER]))
    inputs = some.inputs[:LOOKED_AT, : int(some.lengths[:LOOKED_AT].min())]
    if recipe.symbols:
        inputs = torch.nn.functional.one_hot(inputs, recipe.architecture.inputs).float()
    module = Lanes(recipe.architecture, outcome.weights[None]).module()
    return measured(module, inputs.transpose(0, 1).contiguous())


# --- today --------------------------------------------------------------------------------------


def _run_modern(row: Row, job: Job, emit: Emit) -> None:
    assert row.task is not None
    sequences = row.training.updates * row.training.batch_size
    for seed in job.seeds:
        found = train(
            row.task(),
            job.network,
            seed,
            row.steps,
            row.training,
            lambda done: emit(done / sequences),
        )
        emit(
            _result(
                row,
                MODERN,
                job.network,
                seed,
                solved=found.solved,
                sequences=found.sequences,
                wrong=found.wrong,
                tested=found.tested,
                error=found.error,
                weights=found.weights,
                memory=found.memory,
                seconds=found.seconds,
            )
        )


def _result(
    row: Row, column: str, network: str, seed: int, *, memory: Memory, error: float,
    seconds: float, **values: int,
) -> Result:  # fmt: skip
    return Result(
        row=row.key,
        column=column,
        network=network,
        seed=seed,
        error=float(f"{error:.4g}"),
        horizon=memory.horizon,
        steps=memory.steps,
        gradient=memory.gradient,
        seconds=round(seconds, 1),
        version=unrolled.__version__,
        processor=processor(),
        **values,
    )

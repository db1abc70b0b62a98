"""The part `tables`: what there is to run, and how a trial is run."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from unrolled.reproduce import side_by_side
from unrolled.reproduce.lanes import Lanes
from unrolled.reproduce.machine import without_subnormals
from unrolled.reproduce.memory import ROWS as LOOKED_AT
from unrolled.reproduce.memory import Memory, columns, measured, without
from unrolled.reproduce.modern import NETWORKS, train
from unrolled.reproduce.online import Outcome, Recipe, Trials, test
from unrolled.reproduce.parts import Emit, Job, Trial
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.side_by_side import Course
from unrolled.reproduce.tables import FAITHFUL, MODERN, OF_1997, Result

LATER = 3
"""The stream of random numbers for that, beside those of :mod:`online`."""

TODAYS = 10
"""Trials of each of today's networks."""

SLOWER = 1.5
"""Trials end one by one, and the last may take so many times the mean."""

SPENT = ("1-4x1-0.1", "1-3x2-0.1", "1-3x2-0.2", "1-4x1-0.5", "1-3x2-0.5", "2a", "2b", "4-100", "6b")
"""Rows of which some trial used up its budget here, which the estimate of the time counts on."""


RECORD = Result


def jobs(done: Container[Trial]) -> list[Job]:
    """What is left to do."""
    found: list[Job] = []
    for row in ROWS:
        found += _faithful(row, done)
        if row.task is not None:
            found += _modern(row, done)
    return found


def _faithful(row: Row, done: Container[Trial]) -> Iterator[Job]:
    kind = row.recipe().kind
    for begin in range(0, len(row.seeds), kind.together):
        group = row.seeds[begin : begin + kind.together]
        trials = [(row.key, FAITHFUL, OF_1997, seed) for seed in group]
        left = tuple([trial for trial in trials if trial not in done])
        if left:
            # By the whole group, whose state may have been saved when there was more to do.
            name = f"{row.key} {OF_1997}, seeds {group[0]}-{group[-1]}"
            each = kind.seconds(row.steps, len(left))
            yield Job("tables", name, left, _longest(row) * each)


def _longest(row: Row) -> float:
    """After how many sequences the last trial of a row ends, roughly."""
    return row.recipe().budget if row.key in SPENT else SLOWER * row.sequences


def _modern(row: Row, done: Container[Trial]) -> Iterator[Job]:
    each = 1.5e-3 + row.steps * 1.2e-5
    for network in NETWORKS:
        for seed in range(TODAYS):
            trial = row.key, MODERN, network, seed
            if trial not in done:
                name = f"{row.key} {network}, seed {seed}"
                yield Job("tables", name, (trial,), row.training.updates * each)


def run(job: Job, saved: Path, emit: Emit) -> None:
    """Runs the trials of a job; see :class:`Part`."""
    key, column, network, _ = job.trials[0]
    row = next(row for row in ROWS if row.key == key)
    seeds = [int(seed) for *_, seed in job.trials]
    with without_subnormals():
        if column == FAITHFUL:
            _run_faithful(row, seeds, saved, emit)
        else:
            _run_modern(row, str(network), seeds, emit)


# --- as in 1997 ---------------------------------------------------------------------------------


def _run_faithful(row: Row, seeds: Sequence[int], saved: Path, emit: Emit) -> None:
    recipe, longest = row.recipe(), _longest(row)

    def begin(some: Sequence[int]) -> Trials:
        return Trials(recipe, some)

    def record(outcome: Outcome, seconds: float) -> Result:
        return _result_1997(row, recipe, outcome, seconds)

    def share(trials: Trials) -> float:
        return min(1.0, trials.sequences / longest)

    side_by_side.run(Course(begin, record, share), seeds, saved, emit)


def _result_1997(row: Row, recipe: Recipe, outcome: Outcome, seconds: float) -> Result:
    _, tested = recipe.source(outcome.seed)
    rng = np.random.default_rng([outcome.seed, LATER])
    limits = recipe.rule.test or recipe.rule.recent
    assert limits is not None
    errors = test(
        recipe,
        outcome.weights[None],
        [tested],
        [rng],
        recipe.tested,
        None,
        has_cells=outcome.has_cells,
    )
    return Result(
        row=row.key,
        column=FAITHFUL,
        network=OF_1997,
        seed=outcome.seed,
        solved=outcome.solved,
        sequences=outcome.sequences,
        wrong=int(limits.count(errors)[0]),
        tested=len(errors),
        error=float(f"{errors.mean():.4g}"),
        **columns(recipe.architecture.weights, _memory_1997(recipe, outcome), seconds),
    )


def _memory_1997(recipe: Recipe, outcome: Outcome) -> Memory:
    _, draw = recipe.source(outcome.seed)
    some = draw(LOOKED_AT, np.random.default_rng([outcome.seed, LATER]))
    inputs = some.inputs[:LOOKED_AT, : int(some.lengths[:LOOKED_AT].min())]
    if not recipe.kind.reads_input:
        inputs = torch.nn.functional.one_hot(inputs, recipe.architecture.inputs).float()
    module = Lanes(recipe.architecture, outcome.weights[None]).module()
    found = measured(module, inputs.transpose(0, 1).contiguous())
    return found if outcome.has_cells else without(found)


# --- today --------------------------------------------------------------------------------------


def _run_modern(row: Row, network: str, seeds: Sequence[int], emit: Emit) -> None:
    assert row.task is not None
    sequences = row.training.updates * row.training.batch_size
    for seed in seeds:
        found = train(
            row.task(),
            network,
            seed,
            row.steps,
            row.training,
            lambda done: emit(done / sequences),
        )
        emit(
            Result(
                row=row.key,
                column=MODERN,
                network=network,
                seed=seed,
                solved=found.solved,
                sequences=found.sequences,
                wrong=found.wrong,
                tested=found.tested,
                error=float(f"{found.error:.4g}"),
                **columns(found.weights, found.memory, found.seconds),
            )
        )

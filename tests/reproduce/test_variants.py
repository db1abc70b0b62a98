"""The LSTM's variants: the trials, with budgets of a few updates."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells.roles import memories
from unrolled.reproduce import variants
from unrolled.reproduce.course import NEVER
from unrolled.reproduce.results import lags_of, read, writing
from unrolled.reproduce.variants import SEEDS, SETTINGS, VANILLA, VARIANTS, Setting, outcome
from unrolled.tasks import Adding, DelayLine, Task

TINY = {
    name: replace(
        setting,
        training=replace(setting.training, updates=2, every=1, checked=8, tested=8, batch_size=4),
    )
    for name, setting in SETTINGS.items()
}


def changed(task: Task, **changes: Any) -> Setting:
    return Setting(task, 10, replace(TINY["adding"].training, **changes), 1.0)


@pytest.mark.usefixtures("utterances")
@pytest.mark.parametrize("task", SETTINGS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trial_is_told_by_its_record(task: str, variant: str, tmp_path: Path) -> None:
    found = outcome(task, variant, 1, TINY[task])
    assert found.trial == (task, variant, 1)
    assert found.updates == 2
    assert len(json.loads(found.gradient)) == len(lags_of(found.steps))
    path = tmp_path / "variants.csv"
    with writing(path, variants.RECORD) as results:
        results.add(found)
    assert read(path, variants.RECORD) == [found]


def test_the_same_seed_is_the_same_trial() -> None:
    one, again, other = (
        replace(outcome("adding", "NOG", seed, TINY["adding"]), seconds=0.0) for seed in (3, 3, 4)
    )
    assert one == again
    assert one.loss != other.loss


def test_a_solved_task_is_told_with_its_updates() -> None:
    setting = changed(DelayLine(2), updates=600, every=100, batch_size=32, checked=64)
    found = outcome("easy", VANILLA, 0, setting)
    assert found.score > setting.task.solved
    assert found.solved in range(100, 600, 100)
    assert found.updates == 600


def test_a_network_that_diverges_is_told_as_that() -> None:
    found = outcome("adding", "NOG", 0, changed(Adding(20), updates=50, rate=1e30))
    assert not math.isfinite(found.loss)
    assert found.updates < 50
    assert (found.solved, found.horizon, found.gradient) == (NEVER, NEVER, "[]")


@pytest.mark.usefixtures("utterances")
def test_what_is_held_out_is_tested_once_and_never_learned_from() -> None:
    setting = TINY["JapaneseVowels"]
    assert setting.held_out is not None
    found = outcome("JapaneseVowels", VANILLA, 0, setting)
    alone = outcome("JapaneseVowels", VANILLA, 0, replace(setting, held_out=None))
    assert found.score * 27 == pytest.approx(round(found.score * 27), abs=1e-2)
    assert found.loss != alone.loss


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_has_a_forget_gate_begins_by_keeping(variant: str) -> None:
    torch.manual_seed(0)
    module = variants._built(VARIANTS[variant], SETTINGS["adding"]).recurrent
    biases = [p.detach() for name, p in module.named_parameters() if name.startswith("bias")]
    (memory,) = memories(VARIANTS[variant]().description) or (None,)
    largest = torch.cat(biases).abs().max().item()
    if memory is None:
        assert largest <= 0.25  # as it is made: uniform to 1/√H
    else:
        assert 1.0 < largest <= math.log(99)


def test_jobs_are_all_trials_that_are_not_done() -> None:
    every = variants.jobs(())
    trials = [trial for job in every for trial in job.trials]
    assert len(set(trials)) == len(trials) == len(SETTINGS) * 9 * len(SEEDS)
    assert trials[0] not in [job.trials[0] for job in variants.jobs(trials[:1])]


def test_a_job_says_how_far_it_is_and_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(variants, "SETTINGS", TINY)
    job = variants.jobs(())[0]
    said: list[Any] = []
    variants.run(job, tmp_path / "saved", said.append)
    *shares, last = said
    assert np.allclose(shares, [0.5, 1.0])
    assert last.trial == job.trials[0]

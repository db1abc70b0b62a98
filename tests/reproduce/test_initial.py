"""Initial values and memory: the trials, with budgets of a few updates."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.model import Network, NetworkConfig
from unrolled.reproduce import initial
from unrolled.reproduce.course import NEVER
from unrolled.reproduce.initial import NETWORKS, SEEDS, TASKS, TRAINING, outcome
from unrolled.reproduce.results import lags_of, read, writing

LENGTH = 20
TINY = replace(TRAINING, updates=2, every=1, hidden_size=4, checked=8, tested=8)

each_network = pytest.mark.parametrize("name", NETWORKS)


def begun(name: str, steps: int = 50) -> Network:
    torch.manual_seed(0)
    start = NETWORKS[name]
    model = Network(NetworkConfig(cell=start.cell, input_size=2, hidden_size=64, output_size=1))
    start.begin(model.recurrent, steps)
    return model


@pytest.mark.parametrize("task", TASKS)
@each_network
def test_a_trial_is_told_by_its_record(task: str, name: str, tmp_path: Path) -> None:
    found = outcome(task, LENGTH, name, 1, TINY)
    assert found.trial == (task, LENGTH, name, 1)
    assert found.sequences == 2 * TINY.batch_size
    count = len(lags_of(found.steps))
    assert [len(json.loads(g)) for g in (found.gradient_before, found.gradient_after)] == [
        count
    ] * 2
    path = tmp_path / "initial.csv"
    with writing(path, initial.RECORD) as results:
        results.add(found)
    assert read(path, initial.RECORD) == [found]


def test_the_same_seed_is_the_same_trial() -> None:
    one, again, other = (
        replace(outcome("adding", LENGTH, "GRU, chrono", seed, TINY), seconds=0.0)
        for seed in (3, 3, 4)
    )
    assert one == again
    assert one.loss != other.loss


def test_what_is_learned_is_seen() -> None:
    training = replace(TINY, updates=400, every=50, hidden_size=16, batch_size=32, checked=64)
    found = outcome("adding", 4, "GRU, as shipped", 0, training)
    assert found.share < initial.CLEARLY
    assert 50 * 32 <= found.beaten <= found.sequences == 400 * 32


def test_a_network_that_diverges_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RNN (relu), identity"
    monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], rate=1e30))
    found = outcome("adding", LENGTH, name, 0, replace(TINY, updates=50))
    assert not math.isfinite(found.loss)
    assert found.sequences < 50 * TINY.batch_size
    assert (found.beaten, found.horizon_after, found.gradient_after) == (NEVER, NEVER, "[]")
    assert found.horizon_before > 0


def test_identity_keeps_all_that_is_positive() -> None:
    model = begun("RNN (relu), identity")
    state = torch.rand(1, 1, 64)
    states, _ = model.recurrent(torch.zeros(1, 30, 2), state)
    assert torch.equal(states[:, -1], state[0])


def test_orthogonal_keeps_the_length_of_what_is_small() -> None:
    model = begun("RNN (tanh), orthogonal")
    matrix = model.recurrent.get_parameter("weight_hh_l0").detach()
    assert torch.allclose(matrix @ matrix.T, torch.eye(64), atol=1e-5)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_chrono_remembers_longest_and_shipped_least(cell: str) -> None:
    kinds = ("as shipped", "unit forget bias", "chrono")
    horizons = [outcome("adding", 300, f"{cell}, {kind}", 0, TINY).horizon_before for kind in kinds]
    assert horizons == sorted(set(horizons))


def test_jobs_are_all_trials_that_are_not_done() -> None:
    every = initial.jobs(())
    trials = [trial for job in every for trial in job.trials]
    assert len(set(trials)) == len(trials) == 2 * 5 * len(NETWORKS) * len(SEEDS)
    assert trials[0] not in [job.trials[0] for job in initial.jobs(trials[:1])]
    assert sum(job.seconds for job in every) < 2 * 2700  # two cores, three quarters of an hour


def test_a_job_says_how_far_it_is_and_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(initial, "UPDATES", {LENGTH: 4})
    monkeypatch.setattr(initial, "TRAINING", TINY)
    job = initial.jobs(())[0]
    said: list[Any] = []
    initial.run(job, tmp_path / "saved", said.append)
    *shares, last = said
    assert np.allclose(shares, [0.25, 0.5, 0.75, 1.0])
    assert isinstance(last, initial.Outcome)
    assert last.trial == job.trials[0]

"""Memory cells that are added to a network once its error no longer decreases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import TruncatedLSTM1997
from unrolled.reproduce import jobs
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.faithful import noise_free_lag
from unrolled.reproduce.lanes import Asked, Lanes, SymbolLanes
from unrolled.reproduce.online import BLOCK, Trials
from unrolled.reproduce.online import test as tried
from unrolled.reproduce.parts import Job
from unrolled.reproduce.published import ROWS
from unrolled.reproduce.rules import Standstill
from unrolled.reproduce.tables import FAITHFUL, OF_1997

SHORTCUT = Architecture(TruncatedLSTM1997, 4, 3, blocks=1, size=2, shortcut=True)


@pytest.mark.parametrize("kind", [Lanes, SymbolLanes])
def test_a_network_without_its_memory_is_its_outputs_alone(kind: type[Lanes]) -> None:
    torch.manual_seed(0)
    start = torch.rand(2, SHORTCUT.weights, dtype=torch.float64)
    symbols = torch.randint(SHORTCUT.inputs, (5, 1, 2))
    inputs = torch.eye(SHORTCUT.inputs, dtype=torch.float64)[symbols]
    targets = torch.rand(2, 5, SHORTCUT.outputs, dtype=torch.float64)
    lanes = kind(SHORTCUT, start.clone())
    lanes.present = torch.tensor([False, False])
    given = lanes.learn(inputs if kind is Lanes else symbols, Asked(targets), rate=0.5)

    readout = start[:, SHORTCUT.hidden_weights :].view(2, SHORTCUT.outputs, -1)
    of_cells, alone = readout.split([SHORTCUT.cells, 1 + SHORTCUT.inputs], dim=2)
    alone = alone.clone().requires_grad_()
    read = torch.nn.functional.pad(inputs[:, 0].transpose(0, 1), (1, 0), value=1.0)
    outputs = (read @ alone.mT).sigmoid()
    (0.5 * (targets - outputs).square().sum()).backward()
    assert alone.grad is not None
    learned = torch.cat([of_cells, alone.detach() - 0.5 * alone.grad], dim=2).flatten(1)
    assert torch.allclose(given, outputs, rtol=1e-12)
    assert torch.equal(lanes.weights[:, : SHORTCUT.hidden_weights], start[:, : -learned.shape[1]])
    assert torch.allclose(lanes.weights[:, SHORTCUT.hidden_weights :], learned, rtol=1e-12)


def test_one_network_has_its_memory_and_another_not_yet() -> None:
    torch.manual_seed(0)
    start = torch.rand(2, SHORTCUT.weights, dtype=torch.float64)
    inputs = torch.rand(5, 1, 2, SHORTCUT.inputs, dtype=torch.float64)
    targets = torch.rand(2, 5, SHORTCUT.outputs, dtype=torch.float64)
    mixed, whole = Lanes(SHORTCUT, start.clone()), Lanes(SHORTCUT, start[1:].clone())
    mixed.present = torch.tensor([False, True])
    mixed.learn(inputs, Asked(targets), rate=0.5)
    whole.learn(inputs[:, :, 1:], Asked(targets[1:]), rate=0.5)
    assert torch.allclose(mixed.weights[1:], whole.weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("errors", "reached"),
    [
        ([9, 7, 5, 3], False),  # from 8 to 4
        ([9, 9, 9, 9], True),
        ([9, 9, 8.6, 8.6], True),  # falls by less than 5 %
        ([1, 9, 9, 8.6, 8.6], True),  # what was long before does not count
        ([9, 9, 9], False),  # too few to say
    ],
)
def test_an_error_stands_still(errors: list[float], reached: bool) -> None:
    rule = Standstill(last=2, fall=0.05)
    assert rule.is_reached(np.array(errors)[:, None]).tolist() == [reached]


def test_a_trial_learns_without_its_memory_until_the_error_stands_still() -> None:
    recipe = dataclasses.replace(noise_free_lag(4, 1000), joins=Standstill(BLOCK, 0.05))
    trials = Trials(recipe, range(3))
    hidden = recipe.architecture.hidden_weights
    start = trials.lanes.weights.clone()
    assert trials.lanes.present is not None
    while not trials.lanes.present.any():
        assert torch.equal(trials.lanes.weights[:, :hidden], start[:, :hidden])
        trials.advance()
    assert trials.sequences > BLOCK
    present = trials.lanes.present.tolist()
    trials.advance()
    learned = (trials.lanes.weights[:, :hidden] != start[:, :hidden]).any(1)
    assert learned.tolist() == present


NEVER = dataclasses.replace(
    noise_free_lag(4, 1000), joins=Standstill(10**6, 0.05), budget=2 * BLOCK, tested=64
)
"""A trial that is over before its network gets its memory cell."""


def test_a_trial_says_whether_its_network_has_got_its_memory() -> None:
    trials = Trials(NEVER, range(2))
    assert trials.advance() == []
    assert trials.lanes.present is not None
    trials.lanes.present[1] = True
    assert [outcome.has_cells for outcome in trials.advance()] == [False, True]


def test_what_has_not_got_its_memory_is_tested_without_it() -> None:
    """As if the outputs did not read the cells."""
    architecture = NEVER.architecture
    weights = Trials(NEVER, range(1)).lanes.weights
    alone = weights.clone()
    readout = alone[:, architecture.hidden_weights :].view(1, architecture.outputs, -1)
    readout[..., : architecture.cells] = 0.0

    def errors(of: torch.Tensor, *, has_cells: bool) -> list[list[float]]:
        (_, draw), rng = NEVER.source(0), np.random.default_rng(0)
        return tried(NEVER, of, [draw], [rng], 64, None, has_cells=has_cells).tolist()

    found = errors(weights, has_cells=False)
    assert found == errors(alone, has_cells=True)
    assert found != errors(weights, has_cells=True)


def test_its_record_is_of_the_network_without_it(tmp_path: Path) -> None:
    row = dataclasses.replace(next(row for row in ROWS if row.key == "2a"), recipe=lambda: NEVER)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jobs, "ROWS", [row])
        job = Job("tables", "a name", (("2a", FAITHFUL, OF_1997, 0),), 1.0)
        told: list[Any] = []
        jobs.run(job, tmp_path / "saved.json", told.append)
    (record,) = (each for each in told if not isinstance(each, float))
    assert record.horizon == 0
    assert record.gradient_by_lag()[0] > 0
    assert not any(record.gradient_by_lag()[1:])

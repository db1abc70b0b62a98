"""Trials as in 1997: what they are does not depend on how they are run."""

from __future__ import annotations

import json

import pytest
import torch

from unrolled.reproduce.machine import without_subnormals
from unrolled.reproduce.online import Outcome, Trials
from unrolled.reproduce.published import ROWS, Row

KEYS = ["1-3x2-0.5", "2a", "2c-50-50", "3c-3", "4-100"]


def row(key: str) -> Row:
    return next(row for row in ROWS if row.key == key)


@pytest.mark.parametrize("key", KEYS)
def test_a_trial_does_not_depend_on_those_beside_it(key: str) -> None:
    recipe = row(key).recipe()
    # Two at least: torch sums a product of one network's matrices in another order.
    several, two = Trials(recipe, range(4)), Trials(recipe, [2, 9])
    for _ in range(2):
        several.advance()
        two.advance()
    assert torch.equal(several.lanes.weights[2], two.lanes.weights[0])


@pytest.mark.parametrize("key", KEYS)
def test_trials_go_on_from_their_state_bit_for_bit(key: str) -> None:
    recipe = row(key).recipe()
    through = Trials(recipe, [0, 1])
    through.advance()
    state = json.loads(json.dumps(through.state()))
    again = Trials(recipe, [0, 1])
    again.restore(state)
    for trials in (through, again):
        trials.advance()
    assert torch.equal(again.lanes.weights, through.lanes.weights)
    assert again.state() == through.state()


def test_temporal_order_is_solved_as_in_1997() -> None:
    """Published: 31,390 sequences as the mean of 20 trials; a few take three times as many."""
    recipe = row("6a").recipe()
    with without_subnormals():
        trials, over = Trials(recipe, range(3)), list[Outcome]()
        while len(over) < 2 and trials.sequences < 100_000:
            over += trials.advance()
    assert len(over) >= 2
    assert all(outcome.solved for outcome in over)

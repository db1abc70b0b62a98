"""Today's networks on the tasks of 1997, with small budgets."""

from __future__ import annotations

import json

import pytest

from unrolled.reproduce.modern import Trained, Training, train
from unrolled.tasks import TwoSequence

SOON = Training(updates=50)
"""1,600 sequences. With three times as many the Elman network may find a latch, too."""


def trained(network: str, seed: int = 0) -> Trained:
    return train(TwoSequence(100, 3), network, seed, 100, SOON)


def test_gates_that_begin_open_solve_soon_what_an_elman_network_does_not() -> None:
    """Chance is a cross-entropy of ln 2 = 0.693, and half of 2,560 sequences."""
    lstm, elman = trained("LSTM, chrono"), trained("Elman RNN")
    assert lstm.solved
    assert lstm.wrong < 100
    assert lstm.memory.horizon > 90
    assert not elman.solved
    assert elman.sequences == 1600
    assert elman.wrong > 1000
    assert elman.error == pytest.approx(0.693, abs=0.1)


def test_the_same_seed_gives_the_same_trial() -> None:
    first, again, other = trained("GRU"), trained("GRU"), trained("GRU", seed=1)
    assert first.memory == again.memory
    assert first.error == again.error != other.error


def test_the_gradient_is_kept_at_few_lags() -> None:
    memory = trained("GRU").memory
    gradient = json.loads(memory.gradient)
    assert 99 <= memory.steps <= 109
    assert 10 < len(gradient) <= 24
    assert all(value >= 0 for value in gradient)

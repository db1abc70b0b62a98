"""The long lags of experiment 2: whole sequences, read symbol by symbol."""

import time

import numpy as np
import pytest
import torch

from support_tasks import words
from unrolled.errors import InputError
from unrolled.tasks import NoiseFreeLag, NoisyLag, VeryLongLag

SEVEN = ["a1", "a2", "a3", "a4", "a5", "a6", "x", "y"]


def whole(batch):
    """Each sequence with the symbol that is asked at its end."""
    for row, word in enumerate(words(batch, SEVEN)):
        target = [SEVEN[place] for place in batch.target[row].tolist()]
        assert [*word, target[-1]][1:] == target
        yield [*word, target[-1]]
    assert batch.mask.all()


def test_noise_free_lag():
    sequences = list(whole(NoiseFreeLag(7).batch(50, 2)))
    for sequence in sequences:
        assert sequence == [sequence[0], *SEVEN[:6], sequence[0]]
    assert {sequence[0] for sequence in sequences} == {"x", "y"}


def test_noisy_lag():
    sequences = list(whole(NoisyLag(7).batch(2000, 2)))
    assert {sequence[0] for sequence in sequences} == {"x", "y"}
    assert all(len(sequence) == 8 and sequence[0] == sequence[-1] for sequence in sequences)
    for step in range(1, 7):
        counts = np.array([sum(s[step] == name for s in sequences) for name in SEVEN])
        assert not counts[6:].any()
        share = counts[:6] / 2000
        assert np.abs(share - 1 / 6).max() < 5 * np.sqrt(1 / 6 * 5 / 6 / 2000)


@pytest.mark.parametrize(("q", "p"), [(12, 5), (1, 1), (30, 200)])
def test_very_long_lag(q, p):
    task = VeryLongLag(q, distractors=p)
    names = [*range(p), "e", "b", "x", "y"]
    batch = task.batch(3000, 1)
    suffixes, told = [], set()
    for row, word in enumerate(words(batch, names)):
        start, second, *distractors, trigger = word
        assert (start, trigger) == ("b", "e")
        assert set(distractors) <= set(range(p))
        suffixes.append(len(distractors) - q)
        asked = batch.mask[row].nonzero().flatten().tolist()
        assert asked == [len(word) - 1]
        assert "xy"[int(batch.target[row, asked[0]].item())] == second
        told.add(second)
    assert told == {"x", "y"}
    assert min(suffixes) == 0
    # Geometric with probability 1/10: mean 9, variance 90.
    assert abs(np.mean(suffixes) - 9) < 5 * np.sqrt(90 / 3000)
    assert np.mean(np.array(suffixes) == 0) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("task", [NoiseFreeLag(6), NoisyLag(6), VeryLongLag(6, distractors=3)])
def test_the_symbols_are_those_of_the_batch(task):
    batch, symbols = task.batch(20, 5), task.symbols(20, 5)
    assert symbols.dtype == np.int64
    for row, steps in enumerate(batch.lengths.tolist()):
        assert batch.inputs[row, :steps].argmax(dim=1).tolist() == symbols[row, :steps].tolist()
        assert symbols[row, steps] == symbols[row, 1 if isinstance(task, VeryLongLag) else 0]
        assert (symbols[row, steps + 1 :] == -1).all()


def test_noise_free_lag_is_right_only_if_every_symbol_is():
    task = NoiseFreeLag(5)
    batch = task.batch(4, 0)
    logits = torch.nn.functional.one_hot(batch.target, task.outputs).float()
    assert task.score(logits, batch) == 1.0
    logits[1, 2] = logits[1, 2].roll(1)
    assert task.score(logits, batch) == 0.75


def test_noisy_lag_is_right_if_the_end_is():
    task = NoisyLag(5)
    batch = task.batch(4, 0)
    logits = torch.nn.functional.one_hot(batch.target, task.outputs).float()
    logits[:, :-1] = 0.0
    assert task.score(logits, batch) == 1.0
    logits[1, -1] = -logits[1, -1]
    assert task.score(logits, batch) == 0.75


def test_the_longest_published_sequences_are_drawn_in_milliseconds():
    task, rng = VeryLongLag(1000, distractors=1000), np.random.default_rng(0)
    task.batch(1, rng)
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        task.batch(1, rng)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.01


def test_no_distractors_are_refused():
    with pytest.raises(InputError, match="distractors: at least 1 symbol was expected, got 0"):
        VeryLongLag(10, distractors=0)


def test_no_symbols_are_refused():
    with pytest.raises(InputError, match="at least 1 sequence was expected, got 0"):
        NoisyLag(10).symbols(0, 0)

"""The worked example in short: a few windows, to see what is carried and what is repeated."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from unrolled.learn import wave
from unrolled.learn.results import save_wave
from unrolled.model import Network


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(wave, "EPOCHS", 2)
    monkeypatch.setattr(wave, "WINDOWS_PER_EPOCH", 5)


@pytest.fixture
def calls(monkeypatch):
    """Every call of the network: whether it trained, its input, its state and what came of it."""
    made = []
    forward = Network.forward

    def noted(self, input, hx=None, lengths=None):
        output, last = forward(self, input, hx, lengths)
        made.append((self.training, input.clone(), hx, last))
        return output, last

    monkeypatch.setattr(Network, "forward", noted)
    return made


def hidden(state):
    return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("cell", wave.CELLS)
def test_the_same_seed_gives_the_same_numbers(cell):
    one, two, other = (wave.train_wave(cell, seed=seed) for seed in (3, 3, 4))
    assert one.error == two.error
    assert one.history.train == two.history.train
    np.testing.assert_array_equal(one.predicted, two.predicted)
    assert one.history.train != other.history.train


def test_the_windows_are_taken_in_order_along_the_wave(calls):
    wave.train_wave("rnn")
    inputs = torch.cat([x.flatten() for training, x, _, _ in calls if training])
    expected = np.sin(np.arange(100) * np.pi / 10)
    np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("cell", wave.CELLS)
def test_the_state_is_carried_detached_from_each_window_to_the_next(calls, cell):
    wave.train_wave(cell)
    windows = [(state, last) for training, _, state, last in calls if training]
    assert windows[0][0] is None
    for (_, before), (state, _) in pairwise(windows):
        torch.testing.assert_close(hidden(state), hidden(before).detach(), rtol=0, atol=0)
        assert not hidden(state).requires_grad


def test_a_window_is_one_call_on_its_ten_steps(calls):
    wave.train_wave("lstm")
    assert {tuple(x.shape) for training, x, _, _ in calls if training} == {(1, 10, 1)}
    assert sum(training for training, *_ in calls) == 10


def test_no_phase_of_validation_or_test_is_one_of_training(calls):
    wave.train_wave("rnn")
    met = torch.cat([x.flatten() for training, x, _, _ in calls if training])
    later = torch.cat([x.flatten() for training, x, _, _ in calls if not training])
    nearest = (met.unsqueeze(0) - later.unsqueeze(1)).abs().min(dim=1).values
    assert (nearest > 1e-3).all()


def test_the_test_is_later_than_the_training_and_not_the_validation():
    result = wave.train_wave("rnn")
    assert result.t.min() > 100 * np.pi / 10
    assert len(result.t) == wave.STRETCH + wave.SETTLING
    np.testing.assert_allclose(np.diff(result.t), np.pi / 10)


def test_the_error_leaves_out_the_steps_that_settle_the_state():
    result = wave.train_wave("gru")
    scored = slice(wave.SETTLING, None)
    expected = np.square(result.predicted - np.cos(result.t))[scored].mean()
    assert result.error == pytest.approx(expected)


def test_the_caller_keeps_threads_and_random_numbers():
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    wave.train_wave("rnn")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_same_numbers_are_written(tmp_path):
    written = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        save_wave([wave.train_wave(c) for c in wave.CELLS], tmp_path / place)
        written.append([
            (tmp_path / place / name).read_bytes()
            for name in ("model.safetensors", "config.json", "predictions.csv")
        ])  # fmt: skip
    assert written[0] == written[1]

"""Cells side by side: the same data and budget, the same numbers from the same seed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unrolled.errors import InputError
from unrolled.learn import comparison
from unrolled.learn.comparison import (
    CompareSettings,
    compare,
    read_compare_settings,
    split,
    train_cell,
    try_out,
)
from unrolled.learn.comparison_plot import as_memory, draw_comparison
from unrolled.model import Network, NetworkConfig
from unrolled.tasks import TASKS, Adding, EmbeddedReber, SinCos, make_task

TASK = Adding(20, form="hochreiter")
QUICK = CompareSettings(steps=4, batch_size=3, hidden_size=4, test_size=20)
CELLS = ("rnn", "lstm", "gru")


def numbers(course):
    return replace(course, seconds=0.0)


@pytest.fixture
def read(monkeypatch):
    """What each network was given, and whether it was training."""
    seen = []
    forward = Network.forward

    def noted(self, input, hx=None, lengths=None):
        seen.append((self.training, input.clone()))
        return forward(self, input, hx, lengths)

    monkeypatch.setattr(Network, "forward", noted)
    return seen


@pytest.mark.parametrize("cell", CELLS)
def test_the_same_seed_gives_the_same_numbers(cell):
    one, two = (train_cell(TASK, cell, QUICK) for _ in range(2))
    other = train_cell(TASK, cell, QUICK.model_copy(update={"seed": 1}))
    assert numbers(one) == numbers(two)
    assert one.losses != other.losses


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_learnt_from(name):
    task = make_task(name, None if name == "embedded-reber" else 24)
    course = train_cell(task, "lstm", QUICK)
    assert np.isfinite([*course.losses, course.loss]).all()


def test_every_cell_reads_the_same_sequences(read):
    by_cell = []
    for cell in CELLS:
        read.clear()
        train_cell(TASK, cell, QUICK)
        by_cell.append(list(read))
    for others in by_cell[1:]:
        for (training, one), (also, two) in zip(by_cell[0], others, strict=True):
            assert training == also
            assert torch.equal(one, two)


def test_a_cell_is_the_same_alone_and_in_company():
    courses = compare(TASK, ["rnn", "lstm"], QUICK)
    assert numbers(courses[1]) == numbers(train_cell(TASK, "lstm", QUICK))


def test_no_sequence_of_training_is_one_of_the_check_or_the_test(read):
    train_cell(TASK, "rnn", QUICK)
    met = {row[0].item() for training, x in read if training for row in x[:, 1]}
    later = {row[0].item() for training, x in read if not training for row in x[:, 1]}
    assert len(met) == 4 * 3
    assert len(later) == 2 * 20
    assert not met & later


def test_the_course_tells_the_check_after_each_part():
    course = train_cell(TASK, "gru", QUICK)
    assert course.steps == (1, 2, 3, 4)
    assert len(course.losses) == len(course.scores) == 4
    assert all(0 <= score <= 1 for score in (*course.scores, course.score))


@pytest.mark.parametrize(("steps", "parts"), [(1, 1), (40, 40), (41, 40), (3000, 40)])
def test_the_updates_are_split_without_loss(steps, parts):
    assert len(split(steps)) == parts
    assert sum(split(steps)) == steps
    assert max(split(steps)) - min(split(steps)) <= 1


def test_measure_is_asked_before_and_after():
    seen = []

    def measure(network, inputs):
        seen.append(inputs)
        return {name: weight.clone() for name, weight in network.named_parameters()}

    course = train_cell(TASK, "lstm", QUICK, measure)
    assert course.before.keys() == course.after.keys()
    assert any(not torch.equal(course.before[name], course.after[name]) for name in course.before)
    assert torch.equal(*seen)
    assert seen[0].shape == (20, 20, 2)  # all cut to the shortest
    plain = train_cell(TASK, "lstm", QUICK)
    assert (plain.before, plain.after) == (None, None)
    assert plain.losses == course.losses


def test_the_longest_sequences_are_measured():
    lengths = []

    def measure(_, inputs):
        lengths.append(inputs.shape[1])

    many = QUICK.model_copy(update={"test_size": 1000})
    train_cell(make_task("parity-check", 12), "rnn", many, measure)
    assert lengths == [13, 13]  # of 1000 strings of 1 to 12 symbols far more than 32 have 12


def test_the_forget_gate_starts_where_it_was_asked():
    course = train_cell(
        TASK,
        "lstm",
        QUICK.model_copy(update={"forget_bias": 3.0}),
        lambda network, _: {n: w.detach().clone() for n, w in network.named_parameters()},
    )
    both = course.before["recurrent.bias_ih_l0"] + course.before["recurrent.bias_hh_l0"]
    assert torch.equal(both[4:8], torch.full((4,), 3.0))
    assert (both[:4].abs() <= 1).all()
    assert (both[8:].abs() <= 1).all()


def test_the_best_of_the_checked_networks_is_the_one_that_is_scored(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 4.0, 9.0])
    states = []

    def scripted(network, *_):
        states.append(network.readout.bias.item())
        return next(losses), 0.0

    monkeypatch.setattr(comparison, "try_out", scripted)
    course = train_cell(TASK, "rnn", QUICK)
    assert course.losses == (3.0, 1.0, 2.0, 4.0)
    assert course.loss == 9.0
    assert states[-1] == states[1]


def test_trying_out_is_the_tasks_own_loss_and_score():
    network = Network(NetworkConfig(cell="rnn", input_size=7, hidden_size=3, output_size=7))
    task = EmbeddedReber()
    batch = task.batch(9, 0)
    prediction, _ = network(batch.inputs, lengths=batch.lengths)
    loss, score = try_out(network, task, batch)
    assert loss == pytest.approx(task.loss(prediction, batch).item())
    assert score == task.score(prediction, batch)


def test_an_lstm_learns_what_one_step_of_memory_tells():
    task = SinCos(8)
    course = train_cell(task, "lstm", CompareSettings(steps=200, hidden_size=8, test_size=50))
    assert course.loss < 0.1 * task.chance.loss
    assert course.score > 0.9


def test_the_caller_keeps_threads_and_random_numbers():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_cell(TASK, "rnn", QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"steps": 0}, "--steps: Input should be greater than 0, got 0"),
        ({"learning_rate": -1.0}, "--learning-rate: Input should be greater than 0, got -1.0"),
        ({"seed": -1}, "--seed: Input should be greater than or equal to 0, got -1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_flag(values, line):
    with pytest.raises(InputError) as caught:
        read_compare_settings(values)
    assert str(caught.value) == line


def test_what_was_measured_may_be_anything():
    assert as_memory(None) is None
    assert as_memory({"gradient_by_lag": [1.0]}) is None
    memory = as_memory(SimpleNamespace(gradient_by_lag=torch.tensor([1.0, 0.5]), horizon=1))
    assert memory is not None
    np.testing.assert_array_equal(memory.gradient_by_lag, [1.0, 0.5])
    assert memory.horizon == 1.0
    endless = as_memory(SimpleNamespace(gradient_by_lag=[1.0], horizon=None))
    assert endless is not None
    assert endless.horizon is None


def test_the_picture_has_panels_for_what_was_measured(tmp_path):
    def measure(_, inputs):
        lags = np.arange(inputs.shape[1])
        return SimpleNamespace(gradient_by_lag=0.5**lags, horizon=5)

    sizes = []
    for name, how in (("plain.png", None), ("measured.png", measure)):
        courses = compare(TASK, ["rnn", "gru"], QUICK, how)
        draw_comparison(tmp_path / name, "a title with $ and _", TASK, courses)
        sizes.append((tmp_path / name).read_bytes()[20:24])  # PNG: the height
    assert sizes[0] < sizes[1]

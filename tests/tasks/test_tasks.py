"""What holds for every task: shapes, seeds, chance, errors."""

import math

import numpy as np
import pytest
import torch

from unrolled.errors import InputError
from unrolled.tasks import TASKS, ContinualReber, EmbeddedReber, Transduction, make_task

NAMES = sorted(TASKS)
SHORT = {"delay-line": 6, "sin-cos": 8}
FIRST_MARKED = 1 / 10 + 9 / 10 / (40 / 2 - 1)


def short(name):
    return make_task(name, None if name == "embedded-reber" else SHORT.get(name, 40))


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_is_as_promised(name):
    task = short(name)
    batch = task.batch(7, 0)
    n, steps = batch.mask.shape
    assert n == 7
    assert batch.inputs.shape == (n, steps, task.inputs)
    assert (batch.inputs.dtype, batch.mask.dtype) == (torch.float32, torch.bool)
    assert (batch.lengths.shape, batch.lengths.dtype) == ((n,), torch.int64)
    if task.kind == "classification":
        assert (batch.target.shape, batch.target.dtype) == ((n, steps), torch.int64)
        assert 0 <= batch.target.min() <= batch.target.max() < task.outputs
    else:
        assert (batch.target.shape, batch.target.dtype) == ((n, steps, task.outputs), torch.float32)
    assert batch.mask.any(dim=1).all()
    past = torch.arange(steps) >= batch.lengths.unsqueeze(1)
    assert not (past & batch.mask).any()
    assert not batch.inputs[past].any()
    assert not batch.target[~batch.mask].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_batch(name):
    task = short(name)
    one, two, other = (task.batch(5, seed) for seed in (3, np.random.default_rng(3), 4))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert one.inputs.shape != other.inputs.shape or not torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_goes_on(name):
    task, rng = short(name), np.random.default_rng(0)
    one, two = task.batch(5, rng), task.batch(5, rng)
    assert one.inputs.shape != two.inputs.shape or not torch.equal(one.inputs, two.inputs)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "two-sequence-targets"])
def test_the_target_itself_is_the_perfect_prediction(name):
    task = short(name)
    batch = task.batch(5, 0)
    perfect = batch.target
    if task.kind == "classification":
        perfect = 40.0 * torch.nn.functional.one_hot(batch.target, task.outputs)
    elif task.kind == "symbols":
        perfect = 40.0 * (2 * batch.target - 1)
    assert task.score(perfect, batch) == 1.0 >= task.solved > task.chance.score
    assert task.loss(perfect, batch).item() < 1e-6


ANSWERS = {
    "adding": (1.0, 1.0),
    "adding-hochreiter": (0.5, 0.5),
    # With p for the first pair's being marked, which makes the product one uniform value.
    "multiplication": ((1 - FIRST_MARKED) / 4 + FIRST_MARKED / 2, 0.04),
    "two-sequence-targets": (0.5, 0.2),
    "delay-line": (0.0, 0.0),
    "sin-cos": (0.0, 0.0),
}
"""What to answer always, for the loss and for the score."""


def guesses(name, task, batch, rng):
    """What is best without memory, for the loss and for the score: see each task's docstring."""
    n, steps = batch.mask.shape
    if name.startswith("spike-delay"):
        spikes = batch.inputs.clone()
        return 0.5 * spikes, spikes
    if task.kind == "regression":
        for_loss, for_score = ANSWERS[name]
        return torch.full((n, steps, 1), for_loss), torch.full((n, steps, 1), for_score)
    if task.kind == "symbols":
        letters = torch.tensor([0, 1, 0, 0, 1, 0, 0], dtype=torch.bool)
        closing = forgotten(name, batch)
        loss = torch.where(batch.target > 0, 40.0, -40.0)
        loss[closing] = torch.where(letters, 0.0, -40.0)
        score = torch.where(batch.target > 0, 40.0, -40.0)
        picked = torch.from_numpy(rng.integers(0, 2, n * steps)).view(n, steps)
        for place, row in enumerate((1, 4)):
            score[..., row] = torch.where(
                closing, torch.where(picked == place, 40.0, -40.0), score[..., row]
            )
        return loss, score
    known = torch.full((n, steps, task.outputs), -40.0)
    if isinstance(task, Transduction):  # how often the symbols come, in other sequences
        other = task.batch(n, 12)
        seen = torch.bincount(other.target[other.mask], minlength=task.outputs).double()
        known[:] = (seen / seen.sum()).log().clamp(min=-40.0)
        return known, known
    if name == "noise-free-lag":
        known[:, :-1].scatter_(2, batch.target[:, :-1, None], 40.0)
        known[:, -1, -2:] = 0.0
    elif name == "noisy-lag":
        known[:, :-1, :-2] = 0.0
        known[:, -1, -2:] = 0.0
    elif name == "copying":
        known[:, :-10, -1] = 40.0
        known[:, -10:, :-1] = 0.0
    else:
        known[:] = 0.0
    tie = torch.from_numpy(1e-3 * rng.random(known.shape)).float()
    return known, known + tie


def forgotten(name, batch):
    """The steps [n, T] at which the grammar alone does not tell T from P: after the inner E."""
    closing = torch.zeros(batch.mask.shape, dtype=torch.bool)
    ends = batch.inputs[..., 6] > 0
    for row in range(len(ends)):
        inner = True
        for step in ends[row].nonzero().flatten().tolist():
            closing[row, step] = inner
            inner = not inner
    assert name in ("embedded-reber", "continual-reber")
    return closing


@pytest.mark.parametrize("name", NAMES)
def test_chance_is_what_a_guess_is_worth(name):
    task, n = short(name), 4000
    rng = np.random.default_rng(7)
    batch = task.batch(n, 11)
    for_loss, for_score = guesses(name, task, batch, rng)
    # The standard error, from the same guess on forty parts.
    losses, scores = [], []
    for part in torch.arange(n).split(n // 40):
        piece = type(batch)(*(tensor[part] for tensor in batch))
        losses.append(task.loss(for_loss[part], piece).item())
        scores.append(task.score(for_score[part], piece))
    for found, expected in ((losses, task.chance.loss), (scores, task.chance.score)):
        error = np.std(found, ddof=1) / math.sqrt(len(found))
        assert abs(np.mean(found) - expected) < 5 * error + 2e-4


def test_the_chance_of_a_long_stream_is_that_of_its_strings():
    strings, stream = EmbeddedReber().chance, ContinualReber(20_000).chance
    assert stream.loss * 12 == pytest.approx(strings.loss * 11, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "embedded-reber"])
def test_too_short_is_refused(name):
    with pytest.raises(InputError, match=r"^--length: .* needs at least \d+ \(.*got 0\. Give a"):
        make_task(name, 0)


def test_what_is_the_least_works():
    for name, least in {
        "adding": 2,
        "adding-hochreiter": 20,
        "temporal-order-3": 10,
        "two-sequence": 4,
    }.items():
        make_task(name, least).batch(50, 0)
        with pytest.raises(InputError, match=f"at least {least}"):
            make_task(name, least - 1)


def test_an_unknown_task_is_refused():
    with pytest.raises(InputError, match=r"^ading: no such task\. Did you mean 'adding'\?"):
        make_task("ading")
    with pytest.raises(InputError, match=r"^zzz: no such task\. There are: adding, "):
        make_task("zzz")


def test_a_length_where_there_is_none_is_refused():
    with pytest.raises(InputError, match=r"^--length: embedded-reber has none"):
        make_task("embedded-reber", 30)


def test_no_sequences_are_refused():
    with pytest.raises(InputError, match="at least 1 sequence was expected, got 0"):
        make_task("adding").batch(0, 0)


def test_a_prediction_of_another_shape_is_refused():
    task = make_task("adding")
    batch = task.batch(3, 0)
    for judge in (task.loss, task.score):
        with pytest.raises(InputError, match=r"\[3, 100, 1\] was expected, got \[3, 1\]"):
            judge(torch.zeros(3, 1), batch)

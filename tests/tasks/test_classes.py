"""Temporal order, two sequences, copying: each sequence read symbol by symbol."""

import numpy as np
import pytest
import torch

from support_tasks import words
from unrolled.tasks import Copying, TemporalOrder, TwoSequence, TwoSequenceTargets
from unrolled.tasks.order import SYMBOLS


@pytest.mark.parametrize(
    ("relevant", "windows"),
    [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])],
)
def test_temporal_order(relevant, windows):
    batch = TemporalOrder(100, relevant=relevant).batch(500, 1)
    places: list[set[int]] = [set() for _ in windows]
    lengths, classes = set(), set()
    for row, word in enumerate(words(batch, SYMBOLS)):
        assert (word[0], word[-1]) == ("E", "B")
        found = [place for place, symbol in enumerate(word) if symbol in "XY"]
        assert len(found) == relevant
        assert all(word[p] in "abcd" for p in range(1, len(word) - 1) if p not in found)
        for place, (low, high), seen in zip(found, windows, places, strict=True):
            assert low <= place <= high
            seen.add(place)
        asked = batch.mask[row].nonzero().flatten().tolist()
        assert asked == [len(word) - 1]
        expected = int("".join("01"[word[place] == "Y"] for place in found), 2)
        assert batch.target[row, asked[0]].item() == expected
        lengths.add(len(word))
        classes.add(expected)
    assert places == [set(range(low, high + 1)) for low, high in windows]
    assert lengths == set(range(100, 111))
    assert classes == set(range(2**relevant))


@pytest.mark.parametrize("relevant", [1, 3])
@pytest.mark.parametrize("noisy", [False, True])
def test_two_sequence(relevant, noisy):
    batch = TwoSequence(60, relevant=relevant, noisy=noisy).batch(2000, 3)
    signs = 2.0 * batch.target[batch.mask].numpy() - 1
    assert abs(signs.mean()) < 5 / np.sqrt(2000)
    told = batch.inputs[:, :relevant, 0].double().numpy() - signs[:, None]
    noise = np.concatenate([
        row[relevant:steps, 0].double().numpy()
        for row, steps in zip(batch.inputs, batch.lengths.tolist(), strict=True)
    ])  # fmt: skip
    assert noise.var() == pytest.approx(0.2, rel=0.03)
    assert abs(noise.mean()) < 5 * np.sqrt(0.2 / noise.size)
    if noisy:
        assert told.var() == pytest.approx(0.2, rel=0.25)
    else:
        assert not told.any()
    assert set(batch.lengths.tolist()) == set(range(60, 67))
    assert batch.mask.sum(dim=1).eq(1).all()


@pytest.mark.parametrize("relevant", [1, 3])
def test_two_sequence_targets(relevant):
    task = TwoSequenceTargets(60, relevant=relevant)
    batch = task.batch(4000, 3)
    told = batch.inputs[:, :relevant, 0]
    assert set(told.flatten().tolist()) == {-1.0, 1.0}
    assert (told == told[:, :1]).all()
    expected = task.expected(batch)
    assert not expected[~batch.mask].any()
    means = [0.2 if row[0] > 0 else 0.8 for row in told.tolist()]
    assert expected[batch.mask].flatten().tolist() == pytest.approx(means)
    noise = (batch.target - expected)[batch.mask].double()
    assert noise.mean().abs() < 5 * np.sqrt(0.1 / 4000)
    assert noise.var().item() == pytest.approx(0.1, rel=0.1)
    assert set(batch.lengths.tolist()) == set(range(60, 67))


def test_targets_are_judged_without_their_noise():
    task = TwoSequenceTargets(20)
    batch = task.batch(4, 0)
    off = torch.tensor([0.0, 0.0999, -0.1001, 0.5]).view(4, 1, 1)
    prediction = task.expected(batch) + off
    assert task.score(prediction, batch) == 0.5
    assert task.distance(prediction, batch) == pytest.approx(0.175, abs=1e-6)
    error = (prediction - batch.target)[batch.mask].square().mean()
    assert task.loss(prediction, batch).item() == pytest.approx(error.item(), rel=1e-6)


def test_copying():
    batch = Copying(30).batch(20, 4)
    for row, word in enumerate(words(batch, "01234567_!")):
        asked = "".join("01234567_"[place] for place in batch.target[row].tolist())
        assert "".join(word[10:]) == "_" * 29 + "!" + "_" * 10
        assert not set(word[:10]) - set("01234567")
        assert asked == "_" * 40 + "".join(word[:10])
    assert batch.mask.all()
    assert batch.lengths.tolist() == [50] * 20


def test_copying_scores_what_was_to_be_recalled():
    task = Copying(5)
    batch = task.batch(2, 0)
    logits = torch.nn.functional.one_hot(batch.target, task.outputs).float()
    assert task.score(logits, batch) == 1.0
    logits[:, :15] = 0.0  # the blanks don't count
    assert task.score(logits, batch) == 1.0
    logits[0, 15:] = -logits[0, 15:]
    assert task.score(logits, batch) == 0.5

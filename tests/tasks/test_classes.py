"""Temporal order, noise-free lag, two sequences, copying: each sequence read symbol by symbol."""

import numpy as np
import pytest
import torch

from unrolled.tasks import Copying, NoiseFreeLag, TemporalOrder, TwoSequence
from unrolled.tasks.order import SYMBOLS


def words(batch, symbols):
    """Each sequence's one-hot inputs as a list of symbols."""
    for row, steps in zip(batch.inputs, batch.lengths.tolist(), strict=True):
        real = row[:steps]
        assert (real.sum(dim=1) == 1).all()
        assert not row[steps:].any()
        yield [symbols[place] for place in real.argmax(dim=1).tolist()]


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


def test_noise_free_lag():
    task = NoiseFreeLag(7)
    batch = task.batch(50, 2)
    names = ["a1", "a2", "a3", "a4", "a5", "a6", "x", "y"]
    seen = set()
    for row, word in enumerate(words(batch, names)):
        target = [names[place] for place in batch.target[row].tolist()]
        whole = [*word, target[-1]]
        assert whole[1:] == target
        assert whole == [whole[0], *names[:6], whole[0]]
        seen.add(whole[0])
    assert seen == {"x", "y"}
    assert batch.mask.all()


def test_noise_free_lag_is_right_only_if_every_symbol_is():
    task = NoiseFreeLag(5)
    batch = task.batch(4, 0)
    logits = torch.nn.functional.one_hot(batch.target, task.outputs).float()
    assert task.score(logits, batch) == 1.0
    logits[1, 2] = logits[1, 2].roll(1)
    assert task.score(logits, batch) == 0.75


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

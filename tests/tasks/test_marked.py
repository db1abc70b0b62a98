"""Adding and multiplication against a slow, literal reading of the papers."""

import numpy as np
import pytest
import torch

from unrolled.tasks import Adding, Multiplication

LENGTH = 40


def rows(task, n=400, rng=0):
    """Each sequence as a list of pairs, and its answer."""
    batch = task.batch(n, rng)
    for row, steps in enumerate(batch.lengths.tolist()):
        assert batch.mask[row].nonzero().flatten().tolist() == [steps - 1]
        assert not batch.inputs[row, steps:].any()
        pairs = [tuple(pair) for pair in batch.inputs[row, :steps].tolist()]
        yield pairs, batch.target[row, steps - 1].item()
        assert batch.target[row].count_nonzero() <= 1


@pytest.mark.parametrize(
    ("task", "answer", "lowest", "neutral"),
    [
        (Adding(LENGTH, form="hochreiter"), lambda one, two: 0.5 + (one + two) / 4, -1, 0),
        (Multiplication(LENGTH), lambda one, two: one * two, 0, 1),
    ],
    ids=["adding", "multiplication"],
)
def test_hochreiters_form(task, answer, lowest, neutral):
    lengths, seconds = set(), set()
    for pairs, target in rows(task):
        lengths.add(len(pairs))
        marked = [place for place, (_, marker) in enumerate(pairs) if marker == 1]
        assert len(marked) == 2
        early = [place for place in marked if place < 10]
        assert early
        assert max(marked) <= LENGTH // 2 - 1  # one of the first T/2 − 1 that are still free
        for place, (value, marker) in enumerate(pairs):
            if place in marked:
                continue
            assert marker == (-1 if place in (0, len(pairs) - 1) else 0)
            assert lowest <= value <= 1
        if 0 in marked:
            assert pairs[0] == (neutral, 1)
        assert target == pytest.approx(answer(*(pairs[place][0] for place in marked)), abs=1e-6)
        seconds.add(max(marked))
    assert lengths == set(range(LENGTH, LENGTH + LENGTH // 10 + 1))
    assert max(seconds) == LENGTH // 2 - 1


def test_the_values_fill_their_range():
    values = np.array(
        [value for pairs, _ in rows(Adding(LENGTH, form="hochreiter")) for value, _ in pairs[1:]]
    )
    assert values.min() < -0.99
    assert values.max() > 0.99
    assert abs(values.mean()) < 5 * np.sqrt(1 / 3 / len(values))


def test_the_unit_form():
    places = []
    for pairs, target in rows(Adding(LENGTH)):
        assert len(pairs) == LENGTH
        assert all(0 <= value <= 1 and marker in (0, 1) for value, marker in pairs)
        marked = [place for place, (_, marker) in enumerate(pairs) if marker]
        one, two = marked
        assert one < LENGTH // 2 <= two
        assert target == pytest.approx(pairs[one][0] + pairs[two][0], abs=1e-6)
        places += marked
    assert set(places) == set(range(LENGTH))


def test_the_published_chance_levels():
    assert Adding().chance.loss == pytest.approx(1 / 6)
    assert Adding(100, form="hochreiter").chance.loss == pytest.approx(0.0392, abs=5e-5)
    assert Multiplication(100).chance.loss == pytest.approx(0.0592, abs=5e-5)


def test_the_multiplications_luck_is_best_at_the_published_error():
    task = Multiplication(100)
    batch = task.batch(20_000, 3)
    shares = {
        guess: task.score(torch.full((*batch.mask.shape, 1), guess), batch)
        for guess in (0.02, 0.04, 0.06, 0.25)
    }
    assert max(shares, key=shares.__getitem__) == 0.04


def test_the_score_counts_answers_within_the_published_error():
    task = Adding(LENGTH, form="hochreiter")
    batch = task.batch(4, 0)
    off = torch.tensor([0.0, 0.039, 0.041, -0.5]).view(4, 1, 1)
    assert task.score(batch.target + off, batch) == 0.5
    assert task.loss(batch.target + off, batch).item() == pytest.approx(
        off.square().mean().item(), rel=1e-4
    )

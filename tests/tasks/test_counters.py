"""aⁿbⁿ and aⁿbⁿcⁿ, read letter by letter."""

import re

import numpy as np
import pytest

from support_tasks import words
from unrolled.errors import InputError
from unrolled.tasks import CounterLanguage

PATTERNS = {2: re.compile("(a+)(b+)"), 3: re.compile("(a+)(b+)(c+)")}


def read(task, batch):
    """Each string's numbers of the letters, and its class."""
    for row, word in enumerate(words(batch, "abc"[: task.letters])):
        match = PATTERNS[task.letters].fullmatch("".join(word))
        assert match
        asked = batch.mask[row].nonzero().flatten().tolist()
        assert asked == [len(word) - 1]
        yield [len(run) for run in match.groups()], batch.target[row, asked[0]].item()


@pytest.mark.parametrize("letters", [2, 3])
def test_the_class_says_whether_the_letters_come_equally_often(letters):
    task = CounterLanguage(6, letters=letters)
    n = 4000
    pairs = list(read(task, task.batch(n, 0)))
    assert all(told == (len(set(runs)) == 1) for runs, told in pairs)
    accepted = [runs[0] for runs, told in pairs if told]
    assert abs(len(accepted) / n - 1 / 2) < 5 * np.sqrt(1 / 4 / n)
    shares = np.bincount(accepted, minlength=7)[1:] / len(accepted)
    assert np.abs(shares - 1 / 6).max() < 5 * np.sqrt(1 / 6 * 5 / 6 / len(accepted))


@pytest.mark.parametrize("letters", [2, 3])
def test_other_strings_have_any_numbers(letters):
    task = CounterLanguage(4, letters=letters)
    other = [tuple(runs) for runs, told in read(task, task.batch(8000, 1)) if not told]
    possible = 4**letters - 4
    counts = np.array([other.count(runs) for runs in set(other)])
    assert len(counts) == possible
    share = 1 / possible
    error = np.sqrt(share * (1 - share) / len(other))
    assert np.abs(counts / len(other) - share).max() < 5 * error


def test_strings_of_one_length():
    task = CounterLanguage(4, letters=3)
    pairs = list(read(task, task.of_length(3000, 3, 2)))
    assert {runs[0] for runs, _ in pairs} == {3}
    assert {told for _, told in pairs} == {0, 1}
    for place in (1, 2):
        assert {runs[place] for runs, told in pairs if not told} == set(range(1, 6))


def test_strings_of_given_numbers():
    task = CounterLanguage(10)
    pairs = list(read(task, task.of_runs([[300, 300], [300, 301], [1, 2]])))
    assert pairs == [([300, 300], 1), ([300, 301], 0), ([1, 2], 0)]


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([[1, 2, 3]], r"a shape \[n, 2\] was expected, got \[1, 3\]"),
        ([], r"a shape \[n, 2\] was expected, got \[0\]"),
        ([[1, 0]], "at least 1 of each letter was expected, got 0"),
    ],
)
def test_other_numbers_are_refused(runs, told):
    with pytest.raises(InputError, match=told):
        CounterLanguage(10).of_runs(runs)

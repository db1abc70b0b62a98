"""The tasks of "Neural networks and the Chomsky hierarchy", answered by plain Python."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from support_tasks import words
from unrolled.errors import InputError
from unrolled.tasks import PUBLISHED, TASKS, StackManipulation, Transduction, make_task
from unrolled.tasks.binary import COUNTED

BLANK = "blank"


def of_stack(string):
    stack: list[str] = []
    for symbol in string:
        if symbol == "pop":
            stack = stack[:-1]
        else:
            stack.append(symbol[-1])
    return [*reversed(stack), "end"]


def of_equation(string):
    left, value = "".join(string).split("=")
    (solution,) = [x for x in "01234" if eval(left.replace("x", x)) % 5 == int(value)]
    return [solution]


def of_missing(string):
    string = [symbol for symbol in string if symbol != "padding"]
    half = len(string) // 2
    for one, two in zip(string[:half], string[half:], strict=True):
        if "missing" in (one, two):
            return [two if one == "missing" else one]
        assert one == two
    raise AssertionError(string)


def of_numbers(string, operator):
    """Least bits first, which Python's are last."""
    text = "".join(string)
    one, two = (int(part[::-1], 2) for part in text.split(operator))
    assert one
    assert two
    return [*f"{one + two if operator == '+' else one * two:b}"[::-1], "end"]


def of_root(string):
    number = int("".join(string), 2)
    assert number
    return [*f"{math.isqrt(number):0{math.ceil(len(string) / 2)}b}"]


ANSWERS: dict[str, Callable[[list[str]], list[str]]] = {
    "even-pairs": lambda s: [str(sum(one != two for one, two in pairwise(s)) % 2)],
    "modular-arithmetic": lambda s: [str(eval("".join(s)) % 5)],
    "parity-check": lambda s: [str(s.count("1") % 2)],
    "cycle-navigation": lambda s: [str((s.count("on") - s.count("back")) % 5)],
    "stack-manipulation": of_stack,
    "reverse-string": lambda s: s[::-1],
    "bracketed-arithmetic": lambda s: [str(eval("".join(s)) % 5)],
    "solve-equation": of_equation,
    "duplicate-string": lambda s: s + s,
    "missing-duplicate": of_missing,
    "odds-first": lambda s: s[1::2] + s[::2],
    "binary-addition": lambda s: of_numbers(s, "+"),
    "binary-multiplication": lambda s: of_numbers(s, "*"),
    "compute-sqrt": of_root,
    "bucket-sort": sorted,
}
NAMES = sorted(ANSWERS)
ARITHMETIC = ("binary-addition", "binary-multiplication", "compute-sqrt")
"""The tasks whose frequencies are counted themselves."""


def formal(name: str, length: int | None = None) -> Transduction:
    task = make_task(name, length)
    assert isinstance(task, Transduction)
    return task


def read(task, batch):
    """Each sequence's string and its answer."""
    for row, word in enumerate(words(batch, [*task.reads, BLANK])):
        asked = batch.mask[row].nonzero().flatten().tolist()
        string, blanks = word[: asked[0]], word[asked[0] :]
        assert BLANK not in string
        assert blanks == [BLANK] * len(asked)
        assert asked == [*range(asked[0], len(word))]
        yield string, [task.writes[place] for place in batch.target[row, asked].tolist()]


def test_every_task_of_the_paper_is_here():
    made = {name for name in TASKS if isinstance(make_task(name), Transduction)}
    assert made == set(ANSWERS) == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_right(name):
    task = formal(name)
    for string, answer in read(task, task.batch(300, 0)):
        assert answer == ANSWERS[name](string), string


@pytest.mark.parametrize("name", NAMES)
def test_strings_are_as_long_as_asked_for(name):
    task = formal(name)
    for length in (task.least, 12, 131):
        expected = length - (name == "modular-arithmetic" and length % 2 == 0)
        for string, answer in read(task, task.of_length(5, length, 1)):
            assert len(string) == expected
            assert answer == ANSWERS[name](string)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_every_length(name):
    task = formal(name, 12)
    lengths = [len(string) for string, _ in read(task, task.batch(500, 2))]
    odd = name == "modular-arithmetic"
    assert set(lengths) == {n for n in range(task.least, 13) if n % 2 or not odd}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [3, 10])
def test_the_answers_symbols_come_as_often_as_told(name, length):
    task, n = formal(name), 4000
    batch = task.of_length(n, length, 3)
    counts = torch.nn.functional.one_hot(batch.target, task.outputs).double()
    each = (counts * batch.mask[..., None]).sum(dim=1)
    drawn = 1 / n + (1 / COUNTED if name in ARITHMETIC else 0.0)
    error = each.std(dim=0) * math.sqrt(drawn)
    difference = each.mean(dim=0) - torch.from_numpy(task.frequencies(length))
    assert (difference.abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_symbol_is_read_and_written(name):
    task = formal(name)
    pairs = list(read(task, task.batch(300, 4)))
    assert {symbol for string, _ in pairs for symbol in string} == set(task.reads)
    assert {symbol for _, answer in pairs for symbol in answer} == set(task.writes)


def test_chance_where_strings_are_long():
    task = formal("stack-manipulation", 300)
    batch = task.batch(2000, 8)
    share = (batch.target[batch.mask] == 0).double().mean().item()
    assert task.chance.score == pytest.approx(share, abs=0.005)


def test_a_stack_begins_with_any_number_of_bits():
    task = StackManipulation()
    actions = ("pop", "push 0", "push 1")
    bits = [
        next((place for place, symbol in enumerate(string) if symbol in actions), 9)
        for string, _ in read(task, task.of_length(4000, 9, 5))
    ]
    counts = np.bincount(bits, minlength=10)
    assert counts[[0, 9]].tolist() == [0, 0]
    assert np.abs(counts[1:9] / 4000 - 1 / 8).max() < 5 * math.sqrt(1 / 8 * 7 / 8 / 4000)


@pytest.mark.parametrize("name", ["binary-addition", "binary-multiplication"])
def test_the_first_number_has_any_number_of_bits(name):
    task = formal(name)
    operator = task.reads[-1]
    bits = [string.index(operator) for string, _ in read(task, task.of_length(4000, 10, 6))]
    counts = np.bincount(bits, minlength=9)
    assert counts[0] == 0
    assert np.abs(counts[1:] / 4000 - 1 / 8).max() < 5 * math.sqrt(1 / 8 * 7 / 8 / 4000)


@pytest.mark.parametrize("name", ["solve-equation", "binary-addition", "missing-duplicate"])
def test_a_string_that_asks_for_nothing_is_refused(name):
    task = formal(name)
    with pytest.raises(InputError, match=f"{name} needs at least {task.least} "):
        task.of_length(1, task.least - 1, 0)


def test_no_strings_are_refused():
    with pytest.raises(InputError, match="at least 1 sequence was expected, got 0"):
        formal("parity-check").of_length(0, 5, 0)


def test_the_parity_of_what_is_there_is_what_is_missing() -> None:
    batch = make_task("missing-duplicate").batch(200, 0)
    ones = batch.inputs[..., 1].sum(dim=1)
    assert torch.equal(ones % 2, batch.target[batch.mask].float())

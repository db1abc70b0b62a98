"""Units that count, against a network written by hand and steps taken in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled.errors import InputError
from unrolled.inspect.counting import counting
from unrolled.tasks import CounterLanguage

HIDDEN, COUNTS = 4, 2
"""H, and the unit that counts."""

LARGE = 20.0
"""With it a sigmoid is 1 and a tanh is ±1."""

STRINGS = CounterLanguage(30).batch(6, rng=0)
"""aᵏbᵐ, of which half have k = m."""


def by_hand() -> unrolled.LSTM:
    """An LSTM of which one unit adds tanh(1) at an a, and takes as much at a b.

    Its forget and input gates are open, its candidate sees the input alone; other units rest.
    """
    lstm = unrolled.LSTM(2, HIDDEN, batch_first=True)
    inputs, forgets, candidates = (slice(k * HIDDEN, (k + 1) * HIDDEN) for k in range(3))
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.zero_()
        lstm.get_parameter("bias_ih_l0")[inputs] = LARGE
        lstm.get_parameter("bias_ih_l0")[forgets] = LARGE
        lstm.get_parameter("weight_ih_l0")[candidates][COUNTS] = torch.tensor([1.0, -1.0])
    return lstm


def diagnosis_of(module: torch.nn.Module) -> unrolled.Diagnosis:
    return unrolled.diagnose(module, STRINGS.inputs, lengths=STRINGS.lengths)


def test_a_unit_that_counts_is_found() -> None:
    (unit,) = diagnosis_of(by_hand()).counters
    assert (unit.layer, unit.state, unit.unit, unit.up, unit.down) == (0, "cell", COUNTS, 0, 1)
    assert unit.rise == pytest.approx(math.tanh(1), rel=1e-3)
    assert unit.fall == pytest.approx(-math.tanh(1), rel=1e-3)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "the cell state that count: 2 (+0.762 a step of symbol 0, "),
        ("zh", "计数的单元：2（每读到符号 0 变化 +0.762，每读到符号 1 变化 -0.762）"),
    ],
)
def test_the_report_says_which_unit_counts(language: str, words: str) -> None:
    assert words in unrolled.report(diagnosis_of(by_hand()), language=language)


@pytest.mark.parametrize("cell", [unrolled.LSTM, unrolled.GRU, unrolled.RNN])
def test_before_training_no_unit_counts(cell: type[unrolled.LSTM]) -> None:
    torch.manual_seed(0)
    assert diagnosis_of(cell(2, 64, batch_first=True)).counters == ()


def test_a_unit_that_flips_does_not_count() -> None:
    """It holds the last symbol, and where these alternate its steps are as alike as a counter's."""
    lstm = by_hand()
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = -LARGE  # forgets
    alternating = torch.eye(2).repeat(15, 1)[None]
    assert unrolled.diagnose(lstm, alternating).counters == ()


def test_a_unit_may_rest_at_most_symbols_and_count_two_at_once() -> None:
    """Up at a and less so at c, down at b, and nothing at the letters of the alphabet's end."""
    lstm = unrolled.LSTM(9, HIDDEN, batch_first=True)
    with torch.no_grad():
        weights = lstm.get_parameter("weight_ih_l0").zero_()
        for name in ("weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            lstm.get_parameter(name).copy_(by_hand().get_parameter(name))
        weights[2 * HIDDEN + COUNTS, :3] = torch.tensor([1.0, -1.0, 0.5])
    torch.manual_seed(0)
    text = torch.eye(9)[torch.randint(9, (4, 200))]
    (unit,) = unrolled.diagnose(lstm, text).counters
    assert (unit.unit, unit.up, unit.down) == (COUNTS, 0, 1)


def test_symbols_that_are_seldom_read_say_nothing() -> None:
    """Among a hundred, of which each is read a few times, some look alike by chance."""
    torch.manual_seed(0)
    lstm = unrolled.LSTM(100, 64, batch_first=True)
    text = torch.eye(100)[torch.randint(100, (8, 100))]
    assert unrolled.diagnose(lstm, text).counters == ()


def test_a_trace_without_steps_is_refused() -> None:
    trace = unrolled.record(by_hand(), STRINGS.inputs, lengths=[0] * len(STRINGS.inputs))
    with pytest.raises(InputError, match="no step at all"):
        counting(trace)


@pytest.mark.parametrize("kind", [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.double])
def test_symbols_may_be_numbers_of_any_kind(kind: Callable[[torch.Tensor], Any]) -> None:
    trace = unrolled.record(by_hand(), STRINGS.inputs, lengths=STRINGS.lengths)
    found = counting(trace, kind(STRINGS.inputs.argmax(2).T))
    assert [len(one.counters()) for one in found] == [0, 1]


def test_steps_are_those_of_the_states_themselves() -> None:
    """The median and the spread of each unit's steps, string by string."""
    torch.manual_seed(0)
    lstm = unrolled.LSTM(2, HIDDEN, batch_first=True)
    trace = unrolled.record(lstm, STRINGS.inputs, lengths=STRINGS.lengths)
    _, found = counting(trace)
    assert found.state == "cell"
    for symbol in range(2):
        steps = []
        for row, length in enumerate(STRINGS.lengths.tolist()):
            cell = [torch.zeros(HIDDEN), *trace.get("cell")[:length, row]]
            read = STRINGS.inputs[row, :length].argmax(1).tolist()
            steps += [cell[t + 1] - cell[t] for t in range(length) if read[t] == symbol]
        together = torch.stack(steps).double().numpy()
        low, middle, high = np.quantile(together, [0.1, 0.5, 0.9], axis=0, method="nearest")
        np.testing.assert_allclose(found.step[symbol], middle, rtol=1e-6)
        np.testing.assert_allclose(found.spread[symbol], (high - low) / 2 / abs(middle), rtol=1e-6)


def test_symbols_may_be_read_by_an_embedding() -> None:
    lstm, symbols = by_hand(), STRINGS.inputs.argmax(2)
    embedded = torch.nn.Embedding.from_pretrained(2 * torch.eye(2))
    trace = unrolled.record(lstm, embedded(symbols))
    (unit,) = (unit for one in counting(trace, symbols.T) for unit in one.counters())
    assert unit.rise == pytest.approx(math.tanh(2), rel=1e-3)


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        (None, "does not read symbols one-hot. Say with symbols="),
        (torch.zeros(3, 7).long(), r"\[T, B\] = \[7, 3\] were expected, got \[3, 7\]"),
        (torch.full((7, 3), -1), "got -1 among them"),
        (torch.full((7, 3), 0.5), "got 0.5 among them"),
        (torch.full((7, 3), torch.nan), "got nan among them"),
        (torch.full((7, 3), 1j), "got .* of torch.complex64"),
        (torch.full((7, 3), 2**40), "Number those that there are from 0 on"),
        ([["a"] * 3] * 7, "were expected, got list"),
    ],
)
def test_symbols_that_do_not_fit_are_refused(symbols: torch.Tensor | None, words: str) -> None:
    trace = unrolled.record(unrolled.LSTM(2, HIDDEN), torch.rand(7, 3, 2))
    with pytest.raises(InputError, match=words):
        counting(trace, symbols)

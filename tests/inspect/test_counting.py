"""Units that count, against a network written by hand and steps taken in plain Python."""

from __future__ import annotations

import math

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
        (torch.full((7, 3), -1), "a least one of -1"),
    ],
)
def test_symbols_that_do_not_fit_are_refused(symbols: torch.Tensor | None, words: str) -> None:
    trace = unrolled.record(unrolled.LSTM(2, HIDDEN), torch.rand(7, 3, 2))
    with pytest.raises(InputError, match=words):
        counting(trace, symbols)

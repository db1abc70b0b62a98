"""What trials come to: against statsmodels, and by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from support_results import ROW_OF, STEPS, TRIAL, trials
from unrolled.reproduce.results import lags_of
from unrolled.reproduce.statistics import (
    Horizon,
    Quartiles,
    Table,
    horizon,
    median_gradient,
    ranges,
    statistics,
    wilson,
)


@pytest.mark.parametrize(("solved", "count"), [(0, 10), (3, 10), (29, 30), (10, 10), (1, 1)])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_interval_is_statsmodels(solved: int, count: int, confidence: float) -> None:
    expected = proportion_confint(solved, count, alpha=1 - confidence, method="wilson")
    assert wilson(solved, count, confidence) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("count", range(1, 101))
def test_no_interval_is_without_the_rate_itself(count: int) -> None:
    assert wilson(count, count)[1] == 1
    assert wilson(0, count)[0] == 0


def test_sequences_are_those_of_the_solved_trials_alone() -> None:
    run = [replace(TRIAL, seed=seed, sequences=100 * seed) for seed in range(1, 6)]
    run += trials(2, first=6, solved=False, sequences=1_000_000)
    found = statistics(run)
    assert found is not None
    assert (found.solved, found.trials) == (5, 7)
    assert found.sequences == Quartiles(200, 300, 400)
    assert found.mean == 300
    assert found.seeds == "1–7"


def test_wrong_answers_are_those_of_all_trials() -> None:
    found = statistics([*trials(1, wrong=0), *trials(2, first=1, solved=False, wrong=256)])
    assert found is not None
    assert found.wrong == pytest.approx(0.1)


def test_where_nothing_was_solved_there_are_no_sequences() -> None:
    found = statistics(trials(3, solved=False))
    assert found is not None
    assert found.sequences is None
    assert found.mean is None


def test_networks_of_other_sizes_are_told() -> None:
    found = statistics([*trials(1, weights=93), *trials(1, first=1, weights=90)])
    assert found is not None
    assert found.weights == (90, 93)


@pytest.mark.parametrize(
    ("horizons", "expected"),
    [
        ([10, 20, 30], Horizon(20, is_open=False)),
        ([10, 20, 100], Horizon(20, is_open=False)),
        ([10, 20, 100, 100], Horizon(60, is_open=True)),
        ([10, 100, 100], Horizon(100, is_open=True)),
    ],
)
def test_the_median_horizon_may_lie_beyond_the_sequences(
    horizons: list[int], expected: Horizon
) -> None:
    assert horizon([replace(TRIAL, horizon=steps, steps=100) for steps in horizons]) == expected


def test_a_short_trial_below_the_median_leaves_it_open() -> None:
    short, *long = (replace(TRIAL, horizon=steps, steps=99) for steps in (9, 50, 60))
    assert horizon([short, *long]) == Horizon(50, is_open=False)
    assert horizon([replace(short, steps=9), *long]) == Horizon(50, is_open=True)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([0], "0"), (range(10), "0–9"), ([5, 1, 0, 2], "0–2, 5"), ([1, 3, 4], "1, 3–4")],
)
def test_seeds_are_ranges(numbers: list[int], expected: str) -> None:
    assert ranges(numbers) == expected


def with_gradient(rate: float, steps: int = STEPS) -> str:
    return json.dumps([3.0 * rate**lag for lag in lags_of(steps)])


def test_the_median_gradient_is_a_share_of_that_at_lag_0() -> None:
    rates = (0.5, 0.9, 0.99)
    lags, shares = median_gradient([replace(TRIAL, gradient=with_gradient(r)) for r in rates])
    assert lags == lags_of(STEPS)
    np.testing.assert_allclose(shares, 0.9 ** np.array(lags), rtol=1e-12)


def test_trials_that_were_measured_at_other_lags_are_brought_together() -> None:
    long = replace(TRIAL, steps=137, gradient=with_gradient(0.9, 137))
    short = replace(TRIAL, steps=90, gradient=with_gradient(0.9, 90))
    lags, shares = median_gradient([long, short])
    assert lags == lags_of(90)
    np.testing.assert_allclose(shares, 0.9 ** np.array(lags), rtol=1e-12)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_gradient_that_has_no_shares_is_left_out(bad: float) -> None:
    none = replace(TRIAL, gradient=json.dumps([bad] * len(lags_of(STEPS))))
    lags, shares = median_gradient([none, replace(TRIAL, gradient=with_gradient(0.9))])
    np.testing.assert_allclose(shares, 0.9 ** np.array(lags), rtol=1e-12)
    assert np.isnan(median_gradient([none])[1]).all()


def test_a_gradient_may_explode_as_far_as_float32_goes() -> None:
    gradient = np.geomspace(1e-38, 1e38, len(lags_of(STEPS)))
    _, shares = median_gradient([replace(TRIAL, gradient=json.dumps([*gradient]))])
    np.testing.assert_allclose(shares, gradient / 1e-38, rtol=1e-12)


def test_a_table_knows_what_is_lacking() -> None:
    row = ROW_OF["4-100"]
    assert Table(trials(4)).lacking(row) == set(range(4, 10))
    assert Table(trials(10)).lacking(row) == set()

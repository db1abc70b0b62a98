"""What a network must beat, computed here once more by the simplest means."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from support_learn import quick, r2_of, score_of
from unrolled.cli.train import verdict
from unrolled.learn.baselines import (
    RIDGE_PENALTIES,
    Score,
    beaten_by,
    flat_windows,
    ridge,
    score,
)
from unrolled.learn.train import train_table

W, AHEAD, ROWS = 4, 2, 200
TRAIN, VALIDATION, TEST = range(140), range(140, 170), range(170, 200)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    a = np.cumsum(rng.normal(size=ROWS)) + 30.0
    b = rng.normal(size=ROWS) * 1e3
    return pl.DataFrame({"a": a, "b": b})


@pytest.fixture(scope="module")
def training(table):
    settings = quick(input=["a", "b"], target=["a"], window=W, ahead=AHEAD, epochs=1)
    return train_table(table, settings)


def by_hand(table, part):
    """The flattened windows of a part, their goals and their last values, one by one."""
    values = table.to_numpy()
    ends = [end for end in part if end - W + 1 >= part[0] and end + AHEAD <= part[-1]]
    windows = np.array([values[end - W + 1 : end + 1] for end in ends])
    return windows, values[np.array(ends) + AHEAD, 0], values[ends, 0]


def rmse(truth, predicted):
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


def test_the_mean_is_that_of_the_training_goals(table, training):
    _, train_goals, _ = by_hand(table, TRAIN)
    _, truth, _ = by_hand(table, TEST)
    mine = training.scores["a"]["mean"]
    assert mine.rmse == pytest.approx(rmse(truth, train_goals.mean()))
    assert mine.mae == pytest.approx(np.abs(truth - train_goals.mean()).mean())


def test_the_last_value_is_the_one_at_the_windows_end(table, training):
    _, truth, last = by_hand(table, TEST)
    mine = training.scores["a"]["last value"]
    assert mine.rmse == pytest.approx(rmse(truth, last))
    assert mine.r2 == pytest.approx(r2_score(truth, last))


def test_ridge_is_scikit_learns_on_the_same_windows(table, training):
    scaler = StandardScaler().fit(table.to_numpy()[: len(TRAIN)])

    def parts(part):
        windows, goals, _ = by_hand(table, part)
        return scaler.transform(windows.reshape(-1, 2)).reshape(len(windows), -1), goals

    x, y = parts(TRAIN)
    models = [Ridge(alpha=penalty).fit(x, y) for penalty in RIDGE_PENALTIES]
    held_out, goals = parts(VALIDATION)
    best = min(models, key=lambda model: rmse(goals, model.predict(held_out)))
    test, truth = parts(TEST)
    assert training.scores["a"]["ridge"].rmse == pytest.approx(rmse(truth, best.predict(test)))


def test_the_network_is_scored_on_the_same_rows(table, training):
    _, truth, _ = by_hand(table, TEST)
    np.testing.assert_array_equal(training.truth[:, 0], truth)
    mine = training.scores["a"]["network"]
    assert mine.rmse == pytest.approx(rmse(truth, training.predicted[:, 0]))


def test_there_is_no_last_value_where_the_target_is_not_read(table):
    training = train_table(table, quick(input=["b"], target=["a"], epochs=1))
    assert training.scores["a"]["last value"] is None


def test_each_target_is_scored_on_its_own_known_rows(table):
    holed = table.with_columns(
        c=pl.when(pl.int_range(ROWS) % 2 == 0).then(pl.col("a") * 2.0).otherwise(None)
    )
    settings = quick(input=["b"], target=["a", "c"], window=W, epochs=1, missing="drop")
    scores = train_table(holed, settings).scores
    ends = np.array([end for end in TEST if end - W + 1 >= TEST[0]])
    ends = ends[ends % 2 == 0]
    train = np.array([end for end in TRAIN if end >= W - 1 and end % 2 == 0])
    c = holed["c"].to_numpy()
    assert score_of(scores["c"], "mean").rmse == pytest.approx(rmse(c[ends], c[train].mean()))


def test_the_windows_are_flattened_without_a_row_from_elsewhere():
    rows = np.arange(20.0).reshape(10, 2)
    flat = flat_windows(rows, np.array([2, 9]), 3)
    assert sorted(flat[0]) == [0, 1, 2, 3, 4, 5]
    assert sorted(flat[1]) == [14, 15, 16, 17, 18, 19]


def test_the_penalty_is_the_one_that_validation_prefers():
    inputs = np.random.default_rng(0).normal(size=(100, 1))
    same = inputs[:, 0]
    turned = np.where(np.arange(100) < 50, same, -same)  # what is learnt is wrong later on
    parts = np.arange(7, 50), np.arange(57, 100)
    assert ridge(inputs, same, 8, *parts).alpha == RIDGE_PENALTIES[0]
    assert ridge(inputs, turned, 8, *parts).alpha == RIDGE_PENALTIES[-1]


def test_a_score_of_one_row_or_of_a_constant_truth_has_no_r2():
    assert score(np.array([1.0]), np.array([2.0])) == Score(rmse=1.0, mae=1.0, r2=None)
    assert score(np.ones(5), np.zeros(5)).r2 is None


def scores(network, **others):
    return {
        name: None if error is None else Score(error, error, None)
        for name, error in {"network": network, **others}.items()
    }


@pytest.mark.parametrize(
    ("errors", "losses"),
    [
        ({"mean": 2.0, "ridge": 3.0}, []),
        ({"mean": 2.0, "ridge": 0.5}, ["ridge"]),
        ({"mean": 1.0, "ridge": 3.0}, ["mean"]),  # no better is a loss
        ({"mean": 0.9, "last value": 0.1, "ridge": 0.5}, ["mean", "last value", "ridge"]),
        ({"last value": None, "mean": 2.0}, []),
    ],
)
def test_a_baseline_beats_the_network_by_an_error_no_larger(errors, losses):
    assert beaten_by(scores(1.0, **errors)) == losses


def test_the_verdict_says_in_plain_words_who_wins():
    words = verdict("LSTM", "a", scores(1.0, mean=2.0, ridge=3.0))
    assert words == "The LSTM beats every baseline on 'a'."


def test_the_verdict_says_loses_names_the_winners_and_by_how_much():
    words = verdict("GRU", "a", scores(1.0, **{"mean": 0.5, "last value": 0.25, "ridge": 3.0}))
    assert words.startswith("The GRU LOSES to the mean and the last value on 'a'")
    assert "4.00 times the best of theirs" in words
    assert "Use the simpler model" in words


def test_the_verdict_copes_with_a_baseline_without_error():
    assert "LOSES to ridge regression" in verdict("RNN", "a", scores(1.0, ridge=0.0))


def test_an_untrained_network_loses_a_straight_line_to_ridge():
    line = pl.DataFrame({"x": np.arange(200.0)})
    training = train_table(line, quick(input=["x"], target=["x"], ahead=1, epochs=1))
    assert "ridge" in beaten_by(training.scores["x"])
    assert "LOSES to" in verdict("LSTM", "x", training.scores["x"])


def test_a_trained_network_beats_them_all_where_the_past_matters_and_not_by_a_line():
    """The target is the product of the last two inputs: no linear rule can say it."""
    x = np.random.default_rng(0).normal(size=1500)
    frame = pl.DataFrame({"x": x, "y": x * np.roll(x, 1)})
    settings = quick(
        input=["x"], target=["y"], cell="gru", window=4, hidden_size=16, epochs=40,
        learning_rate=0.02,
    )  # fmt: skip
    training = train_table(frame, settings)
    assert beaten_by(training.scores["y"]) == []
    assert r2_of(training.scores["y"]) > 0.8

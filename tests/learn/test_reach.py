"""A number too far from the training's for single precision is named, and nothing predicted."""

import numpy as np
import polars as pl
import pytest

from support_estimator import N, T
from support_estimator import quick as estimator
from support_learn import quick, wave_frame
from unrolled.errors import InputError
from unrolled.learn.inspection import inspect_run
from unrolled.learn.predict import predict_table
from unrolled.learn.samples import sample_of
from unrolled.learn.train import train_table
from unrolled.model import Scaler

LARGEST = 3.4e38
"""What many programs write for a value that is missing: the largest of single precision."""


def with_value(column, row, value):
    """The wave with another value in its row, counted from 1."""
    frame = wave_frame()
    values = frame[column].to_list()
    values[row - 1] = value
    return frame.with_columns(pl.Series(column, values))


@pytest.fixture(scope="module")
def run():
    return train_table(wave_frame(), quick(epochs=1)).run


@pytest.mark.parametrize("value", [LARGEST, -LARGEST])
@pytest.mark.parametrize("column", ["sin", "cos"])
@pytest.mark.parametrize("row", [160, 195])
def test_training_names_the_number_wherever_it_stands(column, row, value):
    with pytest.raises(InputError, match=rf"column '{column}', row {row}: .* standard deviations"):
        train_table(with_value(column, row, value), quick(epochs=1))


@pytest.mark.parametrize(
    "changes",
    [{"ahead": 3}, {"input": ["sin", "cos"], "ahead": 2, "difference": True}],
)
def test_the_row_is_that_of_the_number_whatever_is_predicted_of_it(changes):
    with pytest.raises(InputError, match="column 'cos', row 195"):
        train_table(with_value("cos", 195, LARGEST), quick(epochs=1, **changes))


@pytest.mark.parametrize("use", [predict_table, inspect_run, sample_of])
def test_a_run_names_an_input_that_it_can_not_read(run, use):
    with pytest.raises(InputError, match=r"column 'sin', row 150: 3\.4e\+38 is more than 5e\+29"):
        use(run, with_value("sin", 150, LARGEST))


def test_a_target_may_be_anything_where_it_is_not_needed(run):
    assert len(predict_table(run, with_value("cos", 150, LARGEST)).frame) > 0


def test_left_empty_the_cell_is_dropped(run):
    told = predict_table(run, with_value("sin", 150, None), missing="drop")
    assert np.isfinite(told.frame["cos_predicted"].to_numpy()).all()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_up_to_there_predictions_are_finite(cell, sign):
    run = train_table(wave_frame(), quick(epochs=1, cell=cell)).run
    value = sign * 4.9e29 * run.input_scaler.scale[0]
    frame = predict_table(run, with_value("sin", 150, value)).frame
    assert np.isfinite(frame["cos_predicted"].to_numpy()).all()


def test_an_estimator_names_what_it_can_not_read():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    model = estimator().fit(x, y)
    far = x.copy()
    far[3, 1] = LARGEST
    with pytest.raises(ValueError, match=r"X holds a number .* 3\.4e\+38 is more than 5e\+29"):
        model.predict(far)


def test_an_estimator_names_a_target_that_is_held_out_and_learns_of_one_that_is_not():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    refused = 0
    for place in range(N):
        goals = y.copy()
        goals[place] = LARGEST
        try:
            predicted = estimator().fit(x, goals).predict(x)
        except ValueError as error:
            refused += "y holds a number" in str(error)
        else:
            assert np.isfinite(predicted).all()
    assert refused == int(0.2 * N)


def test_what_is_missing_or_infinite_is_not_far():
    scaler = Scaler(np.zeros(2), np.array([1.0, 1e300]))
    values = np.array([[np.nan, np.inf], [-np.inf, 1e308], [1e30, -1e308], [-5e29, 0.0]])
    found = scaler.is_beyond(values)
    np.testing.assert_array_equal(found, [[False] * 2, [False] * 2, [True, False], [False] * 2])

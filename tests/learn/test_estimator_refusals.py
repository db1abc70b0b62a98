"""What ``SequenceRegressor`` refuses, and in which words."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from support_estimator import INPUTS, N, T, forms_of_x, quick
from unrolled.errors import DivergedError


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "lstmm"}, "cell should be rnn, lstm, gru, a cell of .*, got 'lstmm'"),
        ({"target": "steps"}, "target should be one of auto, step, sequence, got 'steps'"),
        ({"hidden_size": 0}, "hidden_size should be a whole number of at least 1, at most"),
        ({"batch_size": 0}, "batch_size should be a whole number of at least 1, got 0"),
        (
            {"num_layers": 1001},
            "num_layers should be a whole number of at least 1, at most 1000, got 1001",
        ),
        ({"hidden_size": 2**31}, f"at least 1, at most {2**31 - 1}, got {2**31}"),
        ({"hidden_size": 2.5}, "hidden_size should be a whole number"),
        ({"num_layers": 0}, "num_layers"),
        ({"epochs": 0}, "epochs"),
        ({"patience": 0}, "patience should be a whole number of at least 1, or 'auto', or None"),
        (
            {"epochs": "many"},
            "epochs should be a whole number of at least 1, or 'auto', got 'many'",
        ),
        ({"epochs": True}, "epochs should be"),
        ({"bidirectional": "no"}, "bidirectional should be True or False, got 'no'"),
        ({"watch": None}, "watch should be True or False"),
        ({"learning_rate": "fast"}, "learning_rate should be in"),
        ({"clip": "much"}, "clip should be above 0, or None"),
        ({"dropout": None}, "dropout should be in"),
        ({"validation_fraction": float("nan")}, "validation_fraction should be in"),
        ({"cell": ["gru"]}, "cell should be rnn"),
        ({"cell": int}, "written down as equations"),
        ({"cell": "EALSTM"}, "EALSTM reads static beside the input"),
        ({"learning_rate": 0.0}, "learning_rate should be in"),
        ({"learning_rate": float("inf")}, "learning_rate should be in"),
        ({"clip": 0.0}, "clip should be above 0, or None, got 0.0"),
        ({"dropout": 1.0}, "dropout should be in"),
        ({"validation_fraction": 1.0}, "validation_fraction should be in"),
    ],
)
def test_a_wrong_parameter_is_named(rng, changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        quick(**changes).fit(rng.normal(size=(N, T)), rng.normal(size=N))


def x_with(value):
    x = np.zeros((N, T, INPUTS))
    x[3, 2, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (x_with(np.nan), np.zeros(N), "X contains NaN"),
        (x_with(np.inf), np.zeros(N), "X contains infinity"),
        (list(x_with(np.nan)), np.zeros(N), "X contains NaN"),
        (x_with(0.0), np.full(N, np.nan), "y contains NaN"),
        (x_with(0.0), np.zeros(N - 1), "inconsistent numbers of samples"),
        (x_with(0.0), np.zeros((N, T + 1, 1)), r"y should be \(n,\)"),
        (x_with(0.0), None, "y is None"),
        (np.zeros(N), np.zeros(N), "Expected 2D array"),
        ([np.zeros((2, 1)), np.zeros((3, 2))], np.zeros(2), "the same inputs, got"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], np.zeros(2), "sequence 1 of X has no step"),
        ([np.zeros((2, 1)), np.zeros((3, 1))], [np.zeros(2), np.zeros(2)], "sequence 1 has 3 st"),
        ([np.zeros((2, 1)), np.zeros((3, 1))], [np.zeros(2)], "inconsistent numbers of samples"),
    ],
)
def test_data_that_fit_nothing_are_refused_with_what_was_expected(x, y, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(x, y)


HUGE = 10**400
"""Beyond every float."""


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[HUGE, 1], [0, 1]], [0, 1]),
        ([[1, 2], [0, 1]], [0, HUGE]),
        ([np.array([[HUGE]], dtype=object), np.zeros((3, 1))], [0, 1]),
        ([np.zeros((1, 1)), np.zeros((3, 1))], [np.array([HUGE], dtype=object), np.zeros(3)]),
    ],
)
def test_a_whole_number_beyond_every_float_is_too_large(x, y):
    with pytest.raises(ValueError, match="holds a whole number too large"):
        quick().fit(x, y)


@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize(("offset", "size"), [(5.0, 1e-15), (1.7e9, 1e-6), (1e15, 1.0)])
def test_a_column_that_varies_by_rounding_alone_is_refused(rng, name, offset, size):
    values = {"X": rng.normal(size=(N, T)), "y": rng.normal(size=N)}
    values[name] = offset + size * values[name]
    wanted = f"{name} has a column that varies in the last digits of double precision alone"
    with pytest.raises(ValueError, match=wanted):
        quick().fit(**values)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"hidden_size": 2**30}, "a network of .* weights, to train it, .* Lower hidden_size"),
        ({"batch_size": 2**31}, "updates of 10 sequences of 4,096 steps .* Lower batch_size"),
    ],
)
def test_what_no_memory_holds_is_refused_before_it_is_taken(monkeypatch, changes, what):
    monkeypatch.setattr("unrolled.resources.available_memory", lambda: 10**6)
    with pytest.raises(ValueError, match=what):
        quick(**changes).fit(np.zeros((N, 4096)), np.zeros(N))


SQUARE = np.zeros((2, INPUTS))
"""As many steps as fit met inputs: scaled by them it would broadcast into something of its own."""


@pytest.mark.parametrize(
    ("fitted", "x", "message"),
    [
        ("cube", SQUARE, "X should be sequences of 2 inputs as in fit"),
        ("ragged", SQUARE, "X should be sequences of 2 inputs as in fit"),
        ("ragged", SQUARE.tolist(), "X should be sequences of 2 inputs as in fit"),
        ("matrix", np.zeros((2, 3, T)), r"X should be a matrix \(n, 5\) of 5 steps"),
        ("matrix", [np.zeros((2, T)), np.zeros((3, T))], r"X should be a matrix \(n, 5\)"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "score"])
def test_another_form_than_in_fit_is_refused(rng, fitted, x, message, method):
    y = rng.normal(size=N)
    model = quick(target="sequence").fit(forms_of_x(rng)[fitted], y)
    with pytest.raises(ValueError, match=message):
        model.predict(x) if method == "predict" else model.score(x, y[:2])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([np.zeros((2, 1)), np.zeros(3)], [0.0, 1.0]),
        ([np.zeros((2, 1, 1)), np.zeros((3, 1, 1))], [0.0, 1.0]),
        ([None, np.zeros((3, 1))], [0.0, 1.0]),
        ([np.zeros((2, 1)), np.zeros((3, 1))], [0.0, np.zeros(3)]),
        ([np.zeros((2, 1)), np.zeros((3, 1))], [np.zeros((2, 1)), np.zeros((3, 2))]),
        ([np.zeros((2, 1)), np.zeros((3, 1))], []),
        (np.zeros((2, 0, 1)), np.zeros(2)),
        (np.zeros((2, 3, 0)), np.zeros(2)),
    ],
)
def test_sequences_that_are_none_are_refused(x, y):
    with pytest.raises(ValueError, match=r"should be|Found array with 0 sample"):
        quick().fit(x, y)


def test_weights_for_other_sequences_are_refused(rng):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(x, y).score(x, y, sample_weight=np.ones(N - 1))


def test_a_fit_that_failed_leaves_nothing_to_predict_with(rng):
    """The old network would not belong to the new scaling."""
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    model = quick().fit(x, y).set_params(learning_rate=1e29)
    with pytest.raises(DivergedError, match=r"Try a smaller learning_rate, or a smaller clip$"):
        model.fit(1e3 * x, y)
    with pytest.raises(NotFittedError):
        model.predict(x)


@pytest.mark.parametrize("form", ["cube", "ragged"])
def test_other_inputs_than_in_fit_are_refused(rng, form):
    model = quick(target="sequence").fit(forms_of_x(rng)[form], rng.normal(size=N))
    wrong = [np.zeros((2, 3)), np.zeros((4, 3))] if form == "ragged" else np.zeros((2, T, 3))
    with pytest.raises(ValueError, match="X has 3 features, but SequenceRegressor is expecting 2"):
        model.predict(wrong)


@pytest.mark.parametrize("size", [1e-40, 1e-162, 1e-300, 1e-315, 5e-324])
@pytest.mark.parametrize("place", ["X", "y"])
def test_a_spread_that_single_precision_does_not_hold_is_refused(rng, place, size):
    x, y = rng.normal(size=(N, T)).round(2), rng.normal(size=(N, 2)).round(2)
    tiny = size * np.round(9 * (x if place == "X" else y[:, 1]))
    if place == "X":
        x = tiny
    else:
        y[:, 1] = tiny
    with pytest.raises(ValueError, match=f"^{place} has a column that varies by .* too little"):
        quick().fit(x, y)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-300, 1e-39, 3e38])
def test_a_constant_of_any_size_is_predicted(rng, value):
    x = np.dstack([rng.normal(size=(N, T)), np.full((N, T), value)])
    model = quick().fit(x, np.full(N, value))
    np.testing.assert_allclose(model.predict(x), value, atol=1.0, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-35, 1e36])
def test_the_size_of_the_numbers_changes_nothing(rng, size):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    plain = quick().fit(x, y).predict(x)
    np.testing.assert_allclose(
        quick().fit(size * x, size * y).predict(size * x) / size, plain, rtol=1e-4
    )

"""An estimator refuses what NumPy would cast to other numbers without a word."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from support_estimator import N, quick, ragged
from unrolled import SequenceRegressor

X = np.arange(12.0).reshape(4, 3)
DATES = np.array(["2024-01-01", "2024-01-02", "2024-01-03"] * 4, "M8[D]").reshape(4, 3)
MASKED = np.ma.masked_greater(X, 10.0)

WRONG = {
    "masked": (MASKED, "1 of its values are masked"),
    "masked cube": (MASKED[:, :, np.newaxis], "1 of its values are masked"),
    "masked rows": (list(MASKED), "1 of its values are masked"),
    "masked, ragged": ([MASKED[3], MASKED[0, :2]], "1 of its values are masked"),
    "dates": (DATES, r"holds datetime64\[D\], not numbers"),
    "durations": (DATES - DATES[0, 0], r"holds timedelta64\[D\], not numbers"),
    "dates, ragged": ([DATES[0], DATES[1, :2]], r"holds datetime64\[D\]"),
    "complex": (X * 1j, "Complex data not supported"),
    "complex, ragged": ([X[0] * 1j, X[1, :2] * 1j], "Complex data not supported"),
    "too large": (X + 1e300, r"holds a number of size 1e\+300, too large"),
    "too large, cube": (X[:, :, np.newaxis] + 1e300, "too large for single precision"),
    "too large, ragged": ([X[0] + 1e300, X[1, :2]], "too large for single precision"),
    "pandas' dates": (pd.DataFrame({"a": DATES[:, 0]}), "X's column 'a' holds Datetime"),
    "categories": (pd.DataFrame({"a": pd.Categorical(list("1234"))}), "holds Categorical"),
    "polars' dates": (pl.DataFrame({"a": [datetime.date(2024, 1, 1)] * 4}), "holds Date"),
    "two of one name": (pd.DataFrame(X, columns=["a", "b", "a"]), "two columns of one name"),
}


@pytest.mark.parametrize(("values", "message"), WRONG.values(), ids=WRONG.keys())
def test_an_input_that_is_not_numbers_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceRegressor().fit(values, np.arange(float(len(values))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (MASKED[3], "y is a masked array, and 1 of its values"),
        (DATES[0], "y holds datetime64"),
        (pd.Series(DATES[0]), "y holds Datetime"),
        (pd.Series(list("123"), dtype="category"), "y holds Categorical"),
        (X[0] - 1e300, "y holds a number of size"),
    ],
)
def test_a_target_that_is_not_numbers_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceRegressor().fit(X[:3], values)


@pytest.mark.parametrize(
    "values",
    [np.ma.masked_array(X), X.astype(np.float16), X.astype(object)],
    ids=["no mask", "half", "objects"],
)
def test_whatever_means_the_same_numbers_trains_the_same(values: Any) -> None:
    def predicted(given: Any) -> Any:
        model = SequenceRegressor(hidden_size=2, epochs=1, random_state=0)
        return model.fit(given, X[:, 0]).predict(X)

    np.testing.assert_array_equal(predicted(values), predicted(X))


def frames(rng, names=("a", "b")):
    return [pd.DataFrame(row, columns=list(names)) for row in ragged(rng)]


@pytest.mark.parametrize("kind", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_frames_of_sequences_keep_their_columns_names_or_are_refused(kind):
    rng = np.random.default_rng(0)
    x, y = [kind(frame) for frame in frames(rng)], rng.normal(size=N)
    model = quick().fit(x, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    others = [kind(frame[["b", "a"]]) for frame in frames(rng)]
    message = "Feature names must be in the same order as they were in fit"
    with pytest.raises(ValueError, match=message):
        model.predict(others)
    with pytest.raises(ValueError, match=message):
        quick().fit([*x[:-1], others[-1]], y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        by_places = model.predict([frame.to_numpy() for frame in x])
    np.testing.assert_array_equal(by_places, model.predict(x))
    assert not hasattr(model.fit([frame.to_numpy() for frame in x], y), "feature_names_in_")


def test_a_pandas_series_of_sequences_is_a_list_of_them():
    rng = np.random.default_rng(0)
    x, y = ragged(rng), rng.normal(size=N)
    steps = [row[:, 0] for row in x]
    expected = quick().fit(x, y).predict(x)
    np.testing.assert_array_equal(
        quick().fit(pd.Series(x), pd.Series(y)).predict(pd.Series(x)), expected
    )
    np.testing.assert_array_equal(quick().fit(x, [np.array(v) for v in y]).predict(x), expected)
    found = quick().fit(pd.Series(x), pd.Series(steps)).predict(pd.Series(x))
    for one, other in zip(found, quick().fit(x, steps).predict(x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tensor_with_a_gradient_is_refused_as_a_value():
    rng = np.random.default_rng(0)
    x, y = torch.randn(N, 3, 2, requires_grad=True), rng.normal(size=N)
    for given in (x, list(x)):
        with pytest.raises(ValueError, match=r"^X can't be made an array .*detach\(\)"):
            quick().fit(given, y)
    with pytest.raises(ValueError, match=r"^y can't be made an array .*detach\(\)"):
        quick().fit(x.detach(), torch.tensor(y, requires_grad=True))

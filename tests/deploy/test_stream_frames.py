"""Data frames in a stream: columns are taken by their names, or refused, never by their places."""

import re
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import unrolled
from support_stream import make_run, rows


class Other(NamedTuple):
    """A row that lacks a run's column b."""

    a: float
    c: float


X = rows(5, 2)
NAMES = ["a", "b"]


KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
ORDERS = {"as they are": ["a", "b"], "swapped": ["b", "a"], "among others": ["when", "b", "c", "a"]}

every_kind = pytest.mark.parametrize("kind", KINDS)
both = pytest.mark.usefixtures("stepper")


def frame(kind, names, x=X):
    values = dict(zip(NAMES, x.T, strict=True))
    return KINDS[kind]({name: values.get(name, np.array(["text"] * len(x))) for name in names})


def stepped(x=X):
    return unrolled.Stream(make_run()).step_many(x)


@both
@every_kind
@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_columns_are_taken_by_their_names(kind, names):
    np.testing.assert_array_equal(
        unrolled.Stream(make_run()).step_many(frame(kind, names)), stepped()
    )


@both
@every_kind
@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_a_step_of_several_streams_takes_a_frame_by_its_names(kind, names):
    y = unrolled.Stream(make_run(), len(X)).step(frame(kind, names))
    np.testing.assert_array_equal(y, unrolled.Stream(make_run(), len(X)).step(X))


@both
@pytest.mark.parametrize("names", list(ORDERS.values())[:2])
def test_the_rows_of_a_pandas_frame_have_its_names(names):
    stream = unrolled.Stream(make_run())
    np.testing.assert_array_equal(
        [stream.step(row) for _, row in frame("pandas", names).iterrows()], stepped()
    )


@every_kind
@pytest.mark.parametrize("names", [["a", "c"], ["c", "d"], ["A", "b"], ["a"], ["a", " b"]])
def test_a_frame_that_lacks_a_column_is_refused_and_moves_nothing(kind, names):
    stream = unrolled.Stream(make_run())
    words = f"should have the columns 'a', 'b', got {', '.join(map(repr, names))}. Name "
    with pytest.raises(unrolled.InputError, match=f"^xs {re.escape(words)}") as error:
        stream.step_many(frame(kind, names))
    assert "\n" not in str(error.value)
    with pytest.raises(unrolled.InputError, match=f"^x {re.escape(words)}"):
        stream.step(frame(kind, names))
    assert stream.state["steps"] == 0


@pytest.mark.parametrize("names", [[1, 0], [("a", "x"), ("b", "x")], [1, 2]])
def test_names_that_are_no_texts_are_other_names(names):
    with pytest.raises(unrolled.InputError, match="should have the columns 'a', 'b', got "):
        unrolled.Stream(make_run()).step_many(pd.DataFrame(X, columns=names))


def test_a_row_of_other_names_is_refused():
    with pytest.raises(
        unrolled.InputError, match="x should have the columns 'a', 'b', got 'a', 'c"
    ):
        unrolled.Stream(make_run()).step(pd.Series({"a": 1.0, "c": 2.0}))


def test_a_column_that_stands_there_twice_is_refused():
    twice = pd.DataFrame(np.column_stack([X, X[:, :1]]), columns=["a", "b", "a"])
    with pytest.raises(unrolled.InputError, match=r"^xs has two columns named 'a'"):
        unrolled.Stream(make_run()).step_many(twice)


@pytest.mark.parametrize(
    "nameless",
    [X, X.tolist(), tuple(map(tuple, X)), pd.DataFrame(X), pd.DataFrame(X, index=list("vwxyz"))],
    ids=range(5),
)
def test_what_has_no_names_is_taken_by_its_places(nameless):
    np.testing.assert_array_equal(unrolled.Stream(make_run()).step_many(nameless), stepped())


@pytest.mark.parametrize("index", [None, [7, 3], pd.date_range("2020", periods=2)])
def test_the_index_of_a_row_without_names_is_none(index):
    y = unrolled.Stream(make_run()).step(pd.Series(X[0], index=index))
    np.testing.assert_array_equal(y, stepped()[0])


@every_kind
def test_a_model_that_knows_no_names_takes_a_frame_by_its_places(kind):
    module = unrolled.GRU(2, 4, dtype=torch.float64)
    x = frame(kind, ["b", "a"])
    np.testing.assert_array_equal(
        unrolled.Stream(module).step_many(x), unrolled.Stream(module).step_many(X[:, ::-1])
    )


def test_one_input_takes_a_series_of_any_index():
    run = make_run(inputs=["a"], input_size=1)
    x = pd.Series(X[:, 0], index=list("vwxyz"), name="whatever")
    expected = unrolled.Stream(run).step_many(X[:, 0])
    np.testing.assert_array_equal(unrolled.Stream(run).step_many(x), expected)
    np.testing.assert_array_equal(unrolled.Stream(run).step(x[:1]), expected[0])


def test_arrays_are_not_asked_for_names(monkeypatch):
    """They go past all that is done for frames."""
    stream = unrolled.Stream(make_run())
    monkeypatch.setattr(unrolled.Stream, "_by_name", None)
    assert stream.step(X[0]).shape == (3,)


@both
@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_rows_with_names_are_taken_by_them_whatever_else_they_have(names):
    pandas, polars = frame("pandas", names), frame("polars", names)
    rows = {
        "iterrows, beside texts": [row for _, row in pandas.iterrows()],
        "itertuples": list(pandas.itertuples()),
        "without an index": list(pandas.itertuples(index=False)),
        "dicts": list(polars.iter_rows(named=True)),
        "records": list(pandas.to_records()),
    }
    for kind, several in rows.items():
        stream = unrolled.Stream(make_run())
        given = [stream.step(row) for row in several]
        np.testing.assert_array_equal(given, stepped(), err_msg=kind)
    for kind in ("itertuples", "dicts"):
        np.testing.assert_array_equal(unrolled.Stream(make_run()).step_many(rows[kind]), stepped())
        y = unrolled.Stream(make_run(), len(X)).step(rows[kind])
        np.testing.assert_array_equal(y, unrolled.Stream(make_run(), len(X)).step(X))
    records = pandas.to_records(index=False)
    np.testing.assert_array_equal(unrolled.Stream(make_run()).step_many(records), stepped())


@pytest.mark.parametrize(
    "row",
    [
        {"a": 1.0, "c": 2.0},
        Other(1.0, 2.0),
        next(pd.DataFrame({"a b": [1.0], "2": 2.0}).itertuples()),  # whose odd names are counted
        np.array([(1.0, 2.0)], [("a", "f8"), ("c", "f8")])[0],
    ],
    ids=range(4),
)
def test_a_row_that_lacks_a_name_is_refused(row):
    stream = unrolled.Stream(make_run())
    with pytest.raises(unrolled.InputError, match=r"^x should have the columns 'a', 'b', got "):
        stream.step(row)
    assert stream.state["steps"] == 0


@both
@pytest.mark.parametrize("kind", ["numpy_nullable", "pyarrow"])
def test_the_nullable_types_of_pandas_are_numbers(kind):
    x = frame("pandas", ["b", "a"]).convert_dtypes(dtype_backend=kind)
    np.testing.assert_array_equal(unrolled.Stream(make_run()).step_many(x), stepped())


def test_objects_that_are_numbers_are_taken_and_others_named():
    stream = unrolled.Stream(make_run())
    given = np.array([Decimal("0.5"), np.float32(0.25)], object)
    np.testing.assert_array_equal(
        stream.step(given), unrolled.Stream(make_run()).step(np.array([0.5, 0.25]))
    )
    for value, got in (
        (True, "bool"), (None, "NoneType"), (pd.NA, "NAType"), ("0.5", "'0.5'"), (1j, "complex"),
        (np.timedelta64(3, "ns"), "timedelta64"), ([1], "list"), (10**400, "a whole number is"),
        ("x" * 1000, "…"),
    ):  # fmt: skip
        with pytest.raises(unrolled.InputError, match=got) as caught:
            stream.step(pd.Series([1.0, value], index=NAMES, dtype=object))
        assert len(str(caught.value)) < 200
    assert stream.state["steps"] == 1


def test_a_tensor_with_a_gradient_and_a_lazy_frame_are_refused_in_one_line():
    stream = unrolled.Stream(make_run())
    with pytest.raises(unrolled.InputError, match=r"detach\(\)"):
        stream.step(torch.ones(2, requires_grad=True))
    with pytest.raises(unrolled.InputError, match="got LazyFrame"):
        stream.step_many(frame("polars", NAMES).lazy())

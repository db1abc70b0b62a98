"""A table's columns as numbers, its series, and the rows as the file counts them."""

import datetime
from decimal import Decimal
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from support_tables import refusal
from unrolled.errors import InputError
from unrolled.learn.table import read_table

COLUMNS = {
    "who": ["x", "y", "x", "x", "y", "z"],
    "a": [1.0, 2.0, None, 4.0, 5.0, 6.0],
    "b": [10, 20, 30, 40, 50, 60],
}
SOURCES = ["polars", "pandas", "pyarrow", "csv", "parquet"]


def source(kind, columns, tmp_path):
    frame = pl.DataFrame(columns)
    if kind == "polars":
        return frame
    if kind == "pandas":
        return pd.DataFrame(columns)
    if kind == "pyarrow":
        return frame.to_arrow()
    path = tmp_path / f"table.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_table_reads_the_same(kind, tmp_path):
    table = read_table(
        source(kind, COLUMNS, tmp_path), inputs=["a", "b"], targets=["b"], group="who"
    )
    np.testing.assert_array_equal(
        table.inputs, [[1, 10], [np.nan, 30], [4, 40], [2, 20], [5, 50], [6, 60]]
    )
    np.testing.assert_array_equal(table.targets[:, 0], [10, 30, 40, 20, 50, 60])
    assert table.groups == ("x", "y", "z")
    assert table.spans == ((0, 3), (3, 5), (5, 6))
    np.testing.assert_array_equal(table.rows, [1, 3, 4, 2, 5, 6])


def test_without_a_group_the_rows_are_one_series():
    table = read_table(pl.DataFrame(COLUMNS), inputs=["b"], targets=["b"])
    assert table.spans == ((0, 6),)
    assert table.groups == (None,)
    np.testing.assert_array_equal(table.rows, np.arange(1, 7))


@pytest.mark.parametrize("groups", [1, 2, 7, 40])
def test_interleaved_groups_keep_their_rows_in_time(seed, groups):
    rng = np.random.default_rng(seed)
    labels = rng.integers(groups, size=100)
    labels[:groups] = np.arange(groups)
    frame = pl.DataFrame({"g": labels, "row": np.arange(1.0, 101.0)})
    table = read_table(frame, inputs=["row"], targets=["row"], group="g")
    np.testing.assert_array_equal(table.inputs[:, 0], table.rows)
    np.testing.assert_array_equal(np.sort(table.rows), np.arange(1, 101))
    for label, (start, stop) in zip(table.groups, table.spans, strict=True):
        np.testing.assert_array_equal(table.rows[start:stop] - 1, np.flatnonzero(labels == label))


@pytest.mark.parametrize(
    "word", ["", "NA", "n/a", "NaN", "null", "nil", "NIL", "None", " nil ", "#N/A", "-nan"]
)
def test_the_usual_words_are_missing_values(tmp_path, word):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b\n1,2\n{word},3\n4,5\n")
    table = read_table(path, inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1, np.nan, 4])


@pytest.mark.parametrize("word", ["inf", "-inf", "Infinity"])
def test_infinity_stays_infinite_for_the_check_to_find(word):
    table = read_table(pl.DataFrame({"a": ["1", word]}), inputs=["a"], targets=["a"])
    assert np.isinf(table.inputs[1, 0])


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, None],
        [True, False, None],
        ["1", "0", "nil"],
        [" 1 ", "0.0", None],
        pl.Series([1, 0, None], dtype=pl.Int8),
        pl.Series([1, 0, None], dtype=pl.Float32),
        pl.Series(["1.0", "0.0", None]).cast(pl.Decimal(5, 2)),
    ],
    ids=["integers", "booleans", "words", "spaces", "bytes", "float32", "decimals"],
)
def test_whatever_means_a_number_is_one(values):
    table = read_table(pl.DataFrame({"a": values}), inputs=["a"], targets=["a"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1, 0, np.nan])


def test_a_column_of_nothing_is_missing_throughout():
    table = read_table(pl.DataFrame({"a": [None, None]}), inputs=["a"], targets=["a"])
    assert np.isnan(table.inputs).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([datetime.date(2024, 1, 1)], "column 'a' holds Date, not numbers"),
        ([[1.0]], "column 'a' holds List"),
        ([{"x": 1.0}], "column 'a' holds Struct"),
        ([b"1"], "column 'a' holds Binary"),
        ([datetime.timedelta(1)], "column 'a' holds Duration"),
        (pl.Series(["1"], dtype=pl.Categorical), "column 'a' holds Categorical"),
        (pl.Series(["1"], dtype=pl.Enum(["1"])), "column 'a' holds Enum"),
        (["1", "2", "x"], "column 'a', row 3: 'x' is not a number"),
    ],
)
def test_what_is_no_number_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        read_table(pl.DataFrame({"a": values}), inputs=["a"], targets=["a"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.to_datetime(["2024-01-01"]), "column 'a' holds Datetime"),
        (pd.period_range("2024", periods=1), "column 'a' holds period"),
        (pd.interval_range(0, 1), "column 'a' holds interval"),
        (pd.Categorical(["1"]), "column 'a' holds Categorical"),
        (np.array([1j]), "column 'a' holds complex128"),
        ([1j], "column 'a' holds complex128"),
        ([datetime.date(2024, 1, 1)], "row 1: 2024-01-01 is not a number but a date"),
        (pd.Series([1.0, 1j], dtype=object), "row 2: 1j is not a number but a complex"),
        (pd.Series([1, [2]], dtype=object), "row 2: [2] is not a number but a list"),
        (pd.Series([1, b"2"], dtype=object), "row 2: b'2' is not a number but a bytes"),
        (pd.Series([1, 10**400], dtype=object), "row 2: a whole number of over 308 digits is too"),
        (pd.Series([1, Decimal("1e400")], dtype=object), "row 2: 1E+400 is too large"),
        (pd.Series([True, 2], dtype=object), "row 2: '2.0' is not a number"),
    ],
)
def test_what_pandas_holds_beside_numbers_is_refused(values, message):
    assert message in refusal(pd.DataFrame({"a": values}), targets=["a"])


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, 0, None], dtype="Int64"),
        pd.array([1.0, 0.0, None], dtype="Float32"),
        pd.array([True, False, None], dtype="boolean"),
        pd.array([1, 0, None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
        pd.array([True, False, None], dtype=pd.ArrowDtype(pa.bool_())),
        pd.arrays.SparseArray([1.0, 0.0, np.nan]),
        np.array([1, 0, np.nan], np.float16),
        np.array([1, 0, np.nan], np.longdouble),
        pd.Series([1, "0", pd.NaT], dtype=object),
        pd.Series([Decimal("1.0"), np.int8(0), pd.NA], dtype=object),
        pd.Series([True, np.False_, None], dtype=object),
    ],
)
def test_whatever_means_a_number_in_pandas_is_one(values):
    table = read_table(pd.DataFrame({"a": values}), inputs=["a"], targets=["a"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1, 0, np.nan])


@pytest.mark.parametrize("values", [[Decimal("899722.9604"), Decimal("36.438676418356")]])
def test_a_decimal_is_the_number_that_its_digits_say(values):
    for native in (pl.DataFrame({"a": values}), pa.table({"a": values})):
        table = read_table(native, inputs=["a"], targets=["a"])
        np.testing.assert_array_equal(table.inputs[:, 0], list(map(float, values)))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'"),
        (pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]), "two columns are named 'a'"),
        (pd.DataFrame([[1, 2]], columns=[0, 1]), "no column 'a'. It has: 0, 1"),
        (pd.DataFrame({("a", "x"): [1]}), "no column 'a'. It has: ('a', 'x')"),
        (pl.DataFrame({"a": []}), "has columns but no rows"),
        (pl.LazyFrame({"a": [1]}), "LazyFrame. Call collect() first"),
        (pl.Series([1.0]), "a data frame of pandas, polars or pyarrow was expected, got polars"),
        (np.zeros((2, 2)), "was expected, got numpy.ndarray"),
        ({"a": [1]}, "was expected, got builtins.dict"),
        (None, "was expected, got builtins.NoneType"),
    ],
)
def test_what_is_no_good_frame_is_refused(frame, message):
    assert message in refusal(frame, targets=["a"])


def test_names_that_are_not_text_are_told_apart_from_text():
    frame = pd.DataFrame([[1, 2]], columns=[0, 1])
    line = refusal(frame, inputs=["0"], targets=["0"])
    assert line == "no column '0'. Its columns' names are not text: make them text"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.Series([1, "x"], dtype=object), "holds labels of several kinds, int and str"),
        (pd.array([1, None], dtype="Int64"), "row 2: empty"),
        (pd.array(["x", None], dtype="string"), "row 2: empty"),
        (pd.period_range("2024", periods=2), "row 1: holds a Period, which is not a label"),
        (pd.Series([(1, 2), (3, 4)]), "row 1: holds a tuple"),
        (pd.Series([{1}, {2}]), "row 1: holds a set"),
        (pd.Series([2**70, 1], dtype=object), "holds whole numbers beyond 64 bits"),
    ],
)
def test_labels_that_no_table_could_be_written_with_are_refused(labels, message):
    frame = pd.DataFrame({"g": labels, "a": [1.0, 2.0]})
    assert message in refusal(frame, targets=["a"], group="g")


def test_the_row_in_a_message_is_the_files_row_when_groups_are_interleaved():
    frame = pl.DataFrame({"g": ["x", "y", "x", "y"], "a": ["1", "2", "3", "oops"]})
    with pytest.raises(InputError, match="row 4: 'oops'"):
        read_table(frame, inputs=["a"], targets=["a"], group="g")


@pytest.mark.parametrize("name", ["input", "target", "group"])
def test_a_missing_column_is_named_with_the_nearest_there_is(name):
    columns: dict[str, Any] = {"inputs": ["glucose"], "targets": ["glucose"], "group": "glucose"}
    columns |= {"group": "glucse"} if name == "group" else {f"{name}s": ["glucse"]}
    frame = pl.DataFrame({"glucose": [1.0], "isig": [2.0]})
    with pytest.raises(InputError, match=r"no column 'glucse'\. Did you mean 'glucose'\?"):
        read_table(frame, **columns)


def test_a_column_like_no_other_is_answered_with_all_there_are():
    with pytest.raises(InputError, match=r"no column 'zzz'\. It has: a, b"):
        read_table(pl.DataFrame({"a": [1], "b": [2]}), inputs=["zzz"], targets=["a"])


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_a_row_without_a_group_is_refused(empty):
    labels = pl.Series([1.0, 1.0, empty], strict=False)
    frame = pl.DataFrame({"g": labels, "a": [1, 2, 3]})
    for native in (frame, frame.to_pandas()):
        with pytest.raises(InputError, match="group column 'g', row 3: empty"):
            read_table(native, inputs=["a"], targets=["a"], group="g")


def test_a_group_of_lists_is_refused():
    frame = pl.DataFrame({"g": [[1], [2]], "a": [1, 2]})
    with pytest.raises(InputError, match="group column 'g' holds List"):
        read_table(frame, inputs=["a"], targets=["a"], group="g")


def test_a_target_may_be_lacking_where_it_is_optional():
    frame = pl.DataFrame({"a": [1.0, 2.0]})
    table = read_table(frame, inputs=["a"], targets=["b"], targets_optional=True)
    assert np.isnan(table.targets).all()
    with pytest.raises(InputError, match="no column 'a'"):
        # A target that is an input is needed all the same.
        read_table(pl.DataFrame({"x": [1]}), inputs=["a"], targets=["a"], targets_optional=True)


def test_a_frame_of_narwhals_is_taken_too():
    frame = nw.from_native(pl.DataFrame({"a": [1.0]}))
    assert read_table(frame, inputs=["a"], targets=["a"]).inputs[0, 0] == 1.0

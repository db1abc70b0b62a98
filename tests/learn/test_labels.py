"""Labels and names that the run's own tables can hold: others are refused before the training."""

import io
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from support_tables import refusal
from unrolled.learn.results import _write_csv
from unrolled.learn.settings import TrainSettings
from unrolled.learn.table import read_table

FINE = {
    "cut to the microsecond": pa.array([1000, 2000], pa.timestamp("ns")),
    "of a zone": pa.array([1000, 2000], pa.timestamp("ns", "Asia/Tokyo")),
    "times": pa.array([1000, 2000], pa.time64("ns")),
    "seconds": pa.array([1, 2], pa.time32("s")),
    "dates": pa.array([1, 2], pa.date32()),
    "categories of times": pa.array([1, 2], pa.timestamp("us")).dictionary_encode(),
    "views": pa.array(["x", "y"], pa.string_view()),
}
BAD = {
    "nanoseconds": (pa.array([1, 2], pa.timestamp("ns")), "to the microsecond"),
    "nanoseconds of a zone": (pa.array([1, 2], pa.timestamp("ns", "UTC")), "to the microsecond"),
    "a time's nanoseconds": (pa.array([1, 2], pa.time64("ns")), "to the microsecond"),
    "years": (pa.array([2**62, 1], pa.timestamp("us")), "in the years 1 to 9999"),
    "years of dates": (pa.array([2**31 - 1, 1], pa.date32()), "in the years 1 to 9999"),
    "a zone": (pa.array([1, 2], pa.timestamp("us", "Mars/Phobos")), "of a known time zone"),
    "durations": (
        pa.array([1, 2], pa.duration("s")),
        "row 1: holds a timedelta, which is not a label",
    ),
    "digits": (pa.array([Decimal("1e45"), Decimal(1)]), "decimals of more than 38 digits"),
}


def _written(labels, tmp_path):
    pq.write_table(_arrow(labels), tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def _arrow(labels):
    return pa.table({"g": labels, "a": [1.0, 2.0]})


@pytest.mark.parametrize("labels", FINE.values(), ids=FINE)
def test_labels_that_can_be_told_are_the_same_from_a_file_and_a_frame(labels, tmp_path):
    of_file, of_frame = (
        read_table(source, inputs=["a"], targets=["a"], group="g").groups
        for source in (_written(labels, tmp_path), _arrow(labels))
    )
    assert of_file == of_frame
    assert len(set(pl.DataFrame({"g": of_file})["g"])) == 2


@pytest.mark.parametrize(("labels", "message"), BAD.values(), ids=BAD)
def test_labels_that_would_be_cut_or_fail_are_refused_from_a_file_and_a_frame(
    labels, message, tmp_path
):
    for source in (_written(labels, tmp_path), _arrow(labels)):
        line = refusal(source, targets=["a"], group="g")
        assert message in line
        assert line.endswith((". Make them text", ". Make it text"))


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_polars_times_are_labels_where_nothing_is_cut(unit):
    frame = pl.DataFrame({"g": pl.Series([1, 2], dtype=pl.Datetime(unit)), "a": [1.0, 2.0]})
    if unit == "ns":  # both were the same label
        assert "to the microsecond" in refusal(frame, targets=["a"], group="g")
    else:
        assert len(read_table(frame, inputs=["a"], targets=["a"], group="g").groups) == 2


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("\ud800", "row 1: holds half a letter (U+D800), which UTF-8 has not"),
        ("x\0", "row 1: holds a byte 0, which no text file has"),
        (Decimal("Infinity"), "row 1: holds Infinity, which is not a label"),
        (Decimal("NaN"), "row 1: empty"),
        (Decimal("sNaN"), "row 1: empty"),
        (Decimal("1e38"), "holds decimals of more than 38 digits"),
        (Decimal("1e-39"), "holds decimals of more than 38 digits"),
        (pd.Timestamp(1), "row 1: holds 1970-01-01 00:00:00.000000001, a time of less than"),
    ],
)
def test_a_label_of_python_that_can_not_be_written_is_refused(label, message):
    other = {str: "y", Decimal: Decimal(1)}.get(type(label), pd.Timestamp(2))
    frame = pd.DataFrame({"g": pd.Series([label, other], dtype=object), "a": [1.0, 2.0]})
    assert message in refusal(frame, targets=["a"], group="g")


@pytest.mark.parametrize(
    "digits", [["1e37"], ["1e-38"], ["9" * 38], ["1e27", "1e-10"], ["-1.5", "0"], ["0e5", "1e30"]]
)
def test_decimals_that_one_column_holds_are_labels(digits):
    labels = list(map(Decimal, digits))
    frame = pd.DataFrame({"g": pd.Series(labels, dtype=object), "a": np.arange(len(labels))})
    found = read_table(frame, inputs=["a"], targets=["a"], group="g").groups
    assert pl.DataFrame({"g": found})["g"].to_list() == labels


@pytest.mark.parametrize("role", ["input", "target", "group"])
@pytest.mark.parametrize("name", ["\ud800", "a\0"])
def test_a_name_that_no_text_file_holds_is_refused_before_the_training(role, name):
    with pytest.raises(ValidationError, match=r"has (half a letter|a byte 0).*Rename it"):
        TrainSettings(**({"input": ["x"], "target": ["y"], "group": None} | {role: name}))


def test_a_name_may_begin_with_a_mark_of_byte_order(tmp_path):
    path = tmp_path / "table.csv"
    frame = pl.DataFrame({"\ufeffa": [1.0, 2.0]})
    _write_csv(path, frame)
    read = read_table(path, inputs=["\ufeffa"], targets=["\ufeffa"])
    np.testing.assert_array_equal(read.inputs[:, 0], [1, 2])
    assert pl.read_csv(io.BytesIO(path.read_bytes()))["\ufeffa"].to_list() == [1, 2]


@pytest.mark.parametrize("kind", ["s", "ns"])
def test_a_duration_among_objects_is_no_number(kind):
    values = pd.Series([1.0, np.timedelta64(3, kind)], dtype=object)
    frame = pl.DataFrame({"a": pl.Series(values.tolist(), dtype=pl.Object)})
    for table in (pd.DataFrame({"a": values}), frame):
        assert "row 2" in refusal(table, targets=["a"])

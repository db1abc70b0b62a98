"""One table means the same from a file of any kind and from any library's data frame."""

from __future__ import annotations

import datetime
import gc
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from unrolled import resources
from unrolled.errors import InputError
from unrolled.learn.table import Table, read_table


def _csv(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_csv(folder / "table.csv")
    return folder / "table.csv"


def _tsv(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_csv(folder / "table.tsv", separator="\t")
    return folder / "table.tsv"


def _csv_of_pandas(frame: pl.DataFrame, folder: Path) -> Path:
    frame.to_pandas().to_csv(folder / "pandas.csv", index=False, lineterminator="\r\n")
    return folder / "pandas.csv"


def _parquet(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def _parquet_of_categories(frame: pl.DataFrame, folder: Path) -> Path:
    texts = [name for name in frame.columns if frame[name].dtype == pl.String and name == "g"]
    return _parquet(frame.with_columns(pl.col(texts).cast(pl.Categorical)), folder)


READERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "csv": _csv,
    "tsv": _tsv,
    "csv of pandas": _csv_of_pandas,
    "parquet": _parquet,
    "parquet of categories": _parquet_of_categories,
    "polars": lambda frame, _: frame,
    "pyarrow": lambda frame, _: frame.to_arrow(),
    "pandas": lambda frame, _: frame.to_pandas(),
    "pandas on arrow": lambda frame, _: frame.to_pandas(use_pyarrow_extension_array=True),
    "pandas objects": lambda frame, _: frame.to_pandas().astype(object),
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)

APART = {
    "space behind": ["a", "a "],
    "space before": ["a", " a"],
    "nothing but spaces": [" ", "  "],
    "tabs": ["a", "a\t"],
    "a space that is not broken": ["a", "a\u00a0"],
    "line feeds": ["a", "a\n"],
    "quotes": ['a"', '"a"'],
    "separators": ["a,b\tc", "a;b"],
    "comments": ["#a", "a"],
    "case": ["a", "A"],
    "composed letters": ["\u00e9", "e\u0301"],
    "digits": ["1", "2"],
    "leading zeros": ["1", "01"],
    "signs": ["1", "+1"],
    "points": ["1", "1.0"],
    "spaces around digits": ["1", " 1"],
    "beyond 64 bits": ["9" * 30, "8" * 30],
    "words for what is missing": ["NA", "null", "None", "nil", "n/a"],
    "nan among words": ["nan", "tom"],
    "truths in words": ["true", "True"],
    "integers": [2, -1],
    "floats": [1.0, 2.5, 1e300],
    "truths": [True, False],
    "decimals": [Decimal("1.50"), Decimal("2.25")],
    "dates": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)],
    "times": [datetime.time(1), datetime.time(2, 3)],
    "moments": [datetime.datetime(2024, 1, 1, 5), datetime.datetime(2024, 1, 2)],
}
"""Labels, each the name of a series of its own."""

NO_NAME = {
    "null": ["a", None],
    "nothing": ["a", ""],
    "null among integers": [1, None],
    "nan": [1.0, float("nan")],
    "nan in words": ["1", "NaN", "2.5"],
    "minus nan in words": ["1", "-nan"],
}
"""Labels of which the second names no series."""


def series_of(labels: list[Any]) -> pl.DataFrame:
    rows = np.arange(3.0 * len(labels))
    return pl.DataFrame({"g": labels * 3, "x": rows}, strict=False)


def read(source: Any) -> Table:
    return read_table(source, inputs=["x"], targets=["x"], group="g")


@every_reader
@pytest.mark.parametrize("labels", APART.values(), ids=APART)
def test_each_label_is_a_series_as_it_stands(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any], labels: list[Any]
) -> None:
    table = read(reader(series_of(labels), tmp_path))
    assert table.spans == tuple((3 * place, 3 * place + 3) for place in range(len(labels)))
    np.testing.assert_array_equal(
        table.rows, np.arange(1, 3 * len(labels) + 1).reshape(3, -1).T.ravel()
    )
    if isinstance(labels[0], str):
        assert list(map(str, table.groups)) == labels


@every_reader
@pytest.mark.parametrize("labels", NO_NAME.values(), ids=NO_NAME)
def test_a_label_that_names_nothing_is_refused(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any], labels: list[Any]
) -> None:
    with pytest.raises(InputError, match="group column 'g', row 2: empty"):
        read(reader(series_of(labels), tmp_path))


LONG = "ö" * 1000


@every_reader
def test_a_label_may_have_so_many_letters_and_no_more(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any]
) -> None:
    assert read(reader(series_of(["a", LONG]), tmp_path)).groups == ("a", LONG)
    wanted = (
        "group column 'g', row 2: a label of at most 1,000 letters was expected, got 1,001. "
        "Shorten it"
    )
    with pytest.raises(InputError, match=wanted):
        read(reader(series_of(["a", f"{LONG}b"]), tmp_path))


@every_reader
def test_a_label_is_held_once_however_many_rows_repeat_it(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any]
) -> None:
    frame = pl.DataFrame({"g": [LONG, "b"] * 20_000, "x": np.arange(40_000.0)})
    source = reader(frame, tmp_path)
    gc.collect()
    tracemalloc.start()
    try:
        assert read(source).groups == (LONG, "b")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * len(LONG) / 2


@every_reader
def test_labels_are_refused_that_would_not_fit_into_memory_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable[[pl.DataFrame, Path], Any]
) -> None:
    source = reader(pl.DataFrame({"g": [LONG] * 5000, "x": np.arange(5000.0)}), tmp_path)
    monkeypatch.setattr(resources, "available_memory", lambda: 30 * 10**6)
    with pytest.raises(InputError, match=r"labels of 5,000 rows would take at least 40.0 MB"):
        read(source)


@pytest.mark.parametrize("reader", [_parquet, *list(READERS.values())[5:]])
def test_a_duration_is_no_label_since_no_csv_file_can_hold_it(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any]
) -> None:
    frame = series_of([datetime.timedelta(1), datetime.timedelta(2)])
    with pytest.raises(InputError, match="not a label"):
        read(reader(frame, tmp_path))


COLUMNS = {
    "numbers": [1.0, 0.0, -2.5, None],
    "integers": [1, 0, 9007199254740993, None],
    "truths": [True, False, True, None],
    "words for truths": ["true", "False", " TRUE ", None],
    "words": [" 1", "0 ", "1e3", "nil"],
    "decimals": [Decimal("36.438676418356"), None],
    "nothing": [None, None],
    "infinity": ["inf", "-Infinity", "1"],
}


@every_reader
@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_a_column_is_the_same_numbers(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any], values: list[Any]
) -> None:
    frame = pl.DataFrame({"x": values, "y": np.arange(float(len(values)))}, strict=False)
    expected = read_table(frame, inputs=["x"], targets=["y"]).inputs
    found = read_table(reader(frame, tmp_path), inputs=["x"], targets=["y"]).inputs
    np.testing.assert_array_equal(found, expected)


MIXED = {
    "truths and numbers": ["true", "1"],
    "other words for truths": ["yes", "no"],
    "a word": ["1", "oops"],
    "too large": ["1", "1e39"],
    "underscores": ["1", "1_0"],
}


@every_reader
@pytest.mark.parametrize("values", MIXED.values(), ids=MIXED)
def test_a_column_that_is_none_of_numbers_is_refused_in_the_same_words(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any], values: list[Any]
) -> None:
    frame = pl.DataFrame({"x": values, "y": [1.0, 2.0]})
    said = []
    for source in (frame, reader(frame, tmp_path)):
        with pytest.raises(InputError) as caught:
            read_table(source, inputs=["x"], targets=["y"])
        said.append(str(caught.value).partition(": ")[2])
    assert said[0] == said[1]


NAMES = ["x", "x ", " x", "X", "", " ", "x\ty", "a,b", 'q"q', "a\nb", "#x", "1", "x.y", "\u00e9"]


@every_reader
def test_columns_are_found_by_their_names_as_they_stand(
    tmp_path: Path, reader: Callable[[pl.DataFrame, Path], Any]
) -> None:
    frame = pl.DataFrame({name: [float(place), 0.5] for place, name in enumerate(NAMES)})
    table = read_table(reader(frame, tmp_path), inputs=NAMES, targets=["x"])
    np.testing.assert_array_equal(table.inputs[0], np.arange(len(NAMES)))

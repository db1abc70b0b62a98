"""Parquet files: sizes and types are looked at first, and whatever is damaged is one line."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support_tables import TEXT, refusal
from unrolled import resources
from unrolled.learn.parquet import BATCH
from unrolled.learn.table import read_table


def written(tmp_path: Path, a: Any, **options: Any) -> Path:
    path = tmp_path / "table.parquet"
    columns = a if isinstance(a, pa.Table) else pa.table({"a": a, "b": [1.0] * len(a)})
    pq.write_table(columns, path, **options)
    return path


@pytest.mark.parametrize("kept", [3, 11, 50, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path, [1.0, 2.0])
    path.write_bytes(path.read_bytes()[:kept])
    line = refusal(path)
    assert "is not a Parquet file" in line if kept == 3 else "is cut short" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode(), "is not a Parquet file. If it is text, name it .csv"),
        (b"ARROW1\0\0" + bytes(50), "is an Arrow IPC (Feather) file. Write it as Parquet"),
        (b"PARE" + bytes(50) + b"PARE", "is encrypted. Write it anew without encryption"),
        (b"PAR1" + bytes(50) + b"PAR1", "can't be read as Parquet ("),
        (b"PAR1" + b"\xff" * 50 + b"PAR1", "can't be read as Parquet ("),
    ],
)
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([[1.0, 2.0]], "list<"),
        ([{"b": 1.0}], "struct<"),
        ([b"1"], "binary"),
        ([datetime.date(2024, 1, 1)], "date32"),
        ([datetime.datetime(2024, 1, 1)], "timestamp"),
        ([datetime.timedelta(hours=1)], "duration"),
        (pa.array(["x"]).dictionary_encode(), "categories"),
    ],
)
def test_a_column_of_another_type_is_refused_before_it_is_read(
    tmp_path: Path, values: Any, held: str
) -> None:
    line = refusal(written(tmp_path, values))
    assert line.startswith(f"column 'a' holds {held}")
    assert line.endswith(", not numbers. Convert it, or leave it out")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.5, -2.0, None]),
        pa.array([1.5, -2.0, None], pa.float32()),
        pa.array(np.array([1.5, -2.0, np.nan], "f2")),
        ["1.5", " -2.0", None],
        ["1.5", "-2", "NA"],
        pa.array(["1.5", "-2", ""], pa.large_string()),
        [Decimal("1.50"), Decimal("-2"), None],
    ],
)
@pytest.mark.parametrize("dictionary", [True, False])
def test_whatever_means_a_number_is_one(tmp_path: Path, values: Any, dictionary: bool) -> None:
    path = written(tmp_path, values, use_dictionary=dictionary)
    table = read_table(path, inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1.5, -2.0, np.nan])


def test_a_decimal_is_the_number_that_its_digits_say(tmp_path: Path) -> None:
    values = [Decimal("899722.9604"), Decimal("0.1"), Decimal("36.438676418356")]
    table = read_table(written(tmp_path, values), inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], [float(value) for value in values])


def test_a_large_whole_number_is_the_nearest_float(tmp_path: Path) -> None:
    values = [2**53 + 1, 2**63 - 1, -(2**63)]
    table = read_table(written(tmp_path, values), inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], [float(value) for value in values])


@pytest.mark.parametrize("at", [0, 1, BATCH, BATCH + 5])
def test_the_row_of_a_text_that_is_no_number_is_its_first(tmp_path: Path, at: int) -> None:
    words = ["1", "2", "2.5"] * BATCH
    words[at] = words[-1] = "oops"
    assert f"column 'a', row {at + 1}: 'oops' is not a number" in refusal(written(tmp_path, words))


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_large_cell_is_refused(tmp_path: Path, dictionary: bool) -> None:
    path = written(tmp_path, ["1", None, "9" * 50_000_000], use_dictionary=dictionary)
    assert "column 'a', row 3: the cell has more than 131,072 bytes" in refusal(path)


def test_a_file_that_expands_beyond_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 20_000_000
    table = pa.table({"a": pa.array(np.zeros(rows))})
    path = written(tmp_path, table, compression="zstd")
    assert path.stat().st_size * 1000 < 8 * rows
    monkeypatch.setattr(resources, "available_memory", lambda: 8 * rows)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    line = refusal(path, targets=["a"])
    assert line == (
        "20,000,000 rows of 1 column would take at least 640.0 MB of memory, and 160.0 MB is free. "
        "Take fewer rows or columns"
    )


def test_texts_that_expand_beyond_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, ["9" * 100_000 + str(n) for n in range(200)], compression="zstd")
    monkeypatch.setattr(resources, "available_memory", lambda: 10_000_000)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    assert refusal(path).startswith("its largest row group, unpacked, would take at least 20.0 MB")


def test_a_flipped_bit_is_found_where_there_are_checksums(tmp_path: Path) -> None:
    path = written(tmp_path, list(map(float, range(1000))), write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert "can't be read as Parquet" in refusal(path)


def _twice() -> pa.Table:
    return pa.Table.from_arrays([pa.array([1.0])] * 2, ["a", "a"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_twice, "two columns are named 'a'"),
        (lambda: pa.table({"a": pa.array([], pa.float64())}), "has a header but no rows"),
        (lambda: pa.table({"c": [1.0]}), "no column 'a'. It has: c"),
    ],
)
def test_columns_and_rows_have_to_be_there(
    tmp_path: Path, table: Callable[[], pa.Table], message: str
) -> None:
    assert message in refusal(written(tmp_path, table()), targets=["a"])


def test_a_nested_column_beside_one_with_a_point_in_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, pa.table({"s": [{"x": 5.0}], "s.x": [1.0]}))
    assert read_table(path, inputs=["s.x"], targets=["s.x"]).inputs[0, 0] == 1.0


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["x", "y", "x"], ("x", "y")),
        ([1, 2, 1], (1, 2)),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ("x", "y")),
        ([datetime.date(2024, 1, 1)] * 3, (datetime.date(2024, 1, 1),)),
    ],
)
def test_labels_keep_their_kind(tmp_path: Path, labels: Any, expected: tuple[object, ...]) -> None:
    path = written(tmp_path, pa.table({"g": labels, "a": [1.0, 2.0, 3.0]}))
    assert read_table(path, inputs=["a"], targets=["a"], group="g").groups == expected

"""CSV and TSV files: the same numbers as Python's own means find, or one line that says why not."""

from __future__ import annotations

import csv
import gzip
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support_tables import LINES, TEXT, refusal, with_line
from unrolled import resources
from unrolled.learn import text
from unrolled.learn.table import read_table
from unrolled.learn.text import CHUNK


def written(tmp_path: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty. A header and rows were expected"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n\n\n", "has a header but no rows"),
        ("\n\n\n", "begins with an empty line. A header with the columns' names was expected"),
        (with_line(7, "1,2,3"), "row 7 has 3 fields, the header 2. Correct the row: quote"),
        (with_line(7, "1"), "row 7 has 1 fields, the header 2. Correct the row: an empty cell"),
        (with_line(7, "# pause"), "row 7 begins with #, as a comment does. Take it out"),
        ("# made by hand\n" + TEXT, "Its first line begins with #, as a comment does"),
        (TEXT.replace(",", ";"), "Its columns seem to be separated by semicolons"),
        (TEXT.replace(",", ";").replace(".", ","), "separated by semicolons"),
        (TEXT.replace(",", "\t"), "separated by tabs: save it with commas, or name the file .tsv"),
        (TEXT.replace("a,b", "a,b,c,a").replace("\n", ",1,1\n"), "two columns are named 'a'"),
        (TEXT.replace("a,b", "a ,b"), "no column 'a'. Did you mean 'a '?"),
        ("\n".join(LINES[1:]), "Its first line holds numbers: put a header"),
        (",".join("x" * 5 for _ in range(30)) + "\n", "xxxxx and 18 more"),
    ],
)
def test_a_broken_file_is_refused_with_the_place_and_the_repair(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1e300", "1e+300 is too large for single precision"),
        ("-1e39", "-1e+39 is too large"),
        ("1e400", "1e400 is too large"),
        ("9" * 400, "… is too large"),
        ("oops", "'oops' is not a number. Correct it, or leave the cell empty"),
        ("1_0", "'1_0' is not a number: it has an underscore"),
        ('"0,5"', "'0,5' is not a number: it has a decimal comma. Write a decimal point"),
        ('"1.234,5"', "it has a decimal comma"),
        ('"1,234"', "it has a decimal comma or separates thousands"),
        ('"1,234,567.5"', "it separates thousands"),
        ("1 234.5", "it separates thousands"),
        ("1'234'567", "it separates thousands"),
        ("1.234.567", "it separates thousands"),
        ("12.5%", "it has a percent sign. Leave the sign out"),
        ('"12,5 %"', "it has a percent sign"),
        ("$5", "it has a currency"),
        ("5.00 €", "it has a currency"),
        ("2024-01-01", "it is a date or a time. Leave the column out, or turn it into a number"),
        ("31.12.2024", "it is a date or a time"),
        ("2024-01-01T12:00:00Z", "it is a date or a time"),
        ("12:30", "it is a date or a time"),
        ("3-Jan-2024", "it is a date or a time"),
        ("yes", "it is a truth value. Write 1 or 0 in the whole column"),
        ("true", "it is a truth value"),
        ("−5", "its minus sign is not the usual one"),
        ("<0.1", "it is a bound"),
        ("12 kg", "it has a unit"),
        ("0x1F", "it is hexadecimal"),
        ("(5)", "it is in brackets"),
        ("x" * 1000, "'" + "x" * 40 + "'… is not a number"),
        ('"a\nb"', "'a\\nb' is not a number"),
    ],
)
def test_a_cell_that_is_no_number_is_named_as_what_it_is(
    tmp_path: Path, cell: str, message: str
) -> None:
    line = refusal(written(tmp_path, with_line(7, f"{cell},1")))
    assert line.startswith("column 'a', row 7: ")
    assert message in line


def test_a_column_of_categories_is_named_as_such(tmp_path: Path) -> None:
    text = "a,b\n" + "low,1\nhigh,2\n" * 5
    assert "the column seems to hold text, such as categories" in refusal(written(tmp_path, text))


@pytest.mark.parametrize("chunks", [0, 1])
def test_the_row_and_the_line_are_the_files(tmp_path: Path, chunks: int) -> None:
    rows = chunks * CHUNK + 9
    text = 'a,b,note\n1,2,"two\nlines"\n' + "1,2,\n" * rows + "oops,2,\n"
    line = refusal(written(tmp_path, text))
    assert line.startswith(f"column 'a', row {rows + 2} (line {rows + 4}): 'oops' is not a number")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', "row 2 (line 3) has a quote that is not closed before the end"),
        ('a,"b\n1,2\n', "the header (line 1) has a quote that is not closed"),
        ('a,b\n1,"2\n3,4\n5,"6\n', "row 1 (line 2) has a quote that is closed in line 4 only"),
        ('a,b\n"1"2,3\n', "row 1 (line 2) has text behind a closing quote"),
        ('a,b\n1,"2\n' + "3,4\n" * 50_000, "row 1 (line 2) has a cell of more than 131,072"),
    ],
)
def test_a_quote_that_stays_open_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_line(7, "1,é").encode("latin-1"), "row 7 has the byte 0xe9, which is not UTF-8"),
        ("é,b\n1,2\n".encode("latin-1"), "the header has the byte 0xe9, which is not UTF-8"),
        (TEXT.encode("utf-16"), "is UTF-16 text. Save it as UTF-8"),
        (TEXT.encode("utf-16-le"), "seems to be UTF-16 text. Save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "seems to be UTF-16 text. Save it as UTF-8"),
        (TEXT.encode("utf-32"), "is UTF-32 text. Save it as UTF-8"),
        (with_line(7, "1\0,2").encode(), "row 7 holds a byte 0, which no text does"),
        (bytes(10_000), "the header holds a byte 0"),
        (b"PK\x03\x04" + bytes(50), "is an Excel workbook or another zip archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "is compressed with zstd. Unpack it"),
        (gzip.compress(gzip.compress(TEXT.encode())), "is compressed with gzip. Unpack it"),
        (gzip.compress(TEXT.encode())[:-9], "its gzip compression is damaged or cut short"),
        (b"\x1f\x8b" + TEXT.encode(), "its gzip compression is damaged or cut short"),
    ],
    ids=[
        *("Latin-1", "Latin-1 header", "UTF-16", "little-endian", "big-endian", "UTF-32", "byte 0"),
        *("zeros", "zip", "zstd", "gzip twice", "gzip cut short", "no gzip"),
    ],
)
def test_what_is_not_utf8_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(written(tmp_path, content))


def test_tables_of_another_format_are_named(tmp_path: Path) -> None:
    table = pa.table({"a": [1.0], "b": [2.0]})
    feather.write_feather(table, str(tmp_path / "arrow.csv"))
    pa.parquet.write_table(table, tmp_path / "parquet.csv")
    assert refusal(tmp_path / "arrow.csv").startswith("is an Arrow IPC (Feather) file")
    assert refusal(tmp_path / "parquet.csv") == "is a Parquet file. Name it .parquet"


def test_a_column_may_be_named_like_a_format(tmp_path: Path) -> None:
    path = written(tmp_path, "PAR1,BZh,ORC\n1,2,3\n")
    assert read_table(path, inputs=["PAR1"], targets=["ORC"]).targets[0, 0] == 3


DIGITS = np.random.default_rng(0).integers(48, 58, 2**12, np.uint8).tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"a,b\n1," + b"9" * 50_000_000, "has more than 16,777,216 characters"),
        (lambda: b'a,b\n1,"' + b"9" * 10_000_000 + b'"\n', "has a cell of more than 131,072"),
        (lambda: b"a,b\n1" + b",2" * 10_000_000, "has more than 16,777,216 characters"),
        (lambda: b"a" * 20_000_000, "the header has more than 16,777,216 characters"),
        (
            lambda: b'a,b\n1,2,"' + (b"\n" + b" " * 999 + b'","') * 20_000,
            "has more than 16,777,216 characters",
        ),
        (lambda: gzip.compress(DIGITS * 8 * 2**10), "has more than 16,777,216 characters"),
    ],
    ids=["a cell", "a quoted cell", "fields", "header", "lines in quotes", "compressed"],
)
def test_what_is_too_long_is_refused_without_taking_it(
    tmp_path: Path, content: Callable[[], bytes], message: str
) -> None:
    path = written(tmp_path, content())
    tracemalloc.start()
    try:
        assert message in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


def test_more_rows_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 1_000_000)
    path = written(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000))
    line = refusal(path)
    assert line.startswith("65,536 rows of 2 columns would take at least 4.1 MB of memory")


def test_two_hundred_thousand_columns_are_read_by_name(tmp_path: Path) -> None:
    header = ",".join(["a", *(f"c{column}" for column in range(200_000)), "b"])
    path = written(tmp_path, header + "\n1" + ",0" * 200_000 + ",2\n")
    assert read_table(path, inputs=["a"], targets=["b"]).targets[0, 0] == 2
    assert refusal(path, inputs=["d"]).startswith("no column 'd'. It has: a, c0, ")


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),  # the mark that spreadsheets put first
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("\n", "\r\n", 9).encode(),
        TEXT.encode() + b"\n",
        TEXT.encode() + b"\n\n\r\n",
        TEXT.replace("\n1,", '\n"1",').encode(),
        gzip.compress(TEXT.encode()),
    ],
    ids=["plain", "mark", "CRLF", "CR", "mixed", "newline", "empty lines", "quotes", "compressed"],
)
def test_the_usual_forms_of_a_file_read_the_same(tmp_path: Path, content: bytes) -> None:
    table = read_table(written(tmp_path, content), inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], np.arange(1, 21))
    np.testing.assert_array_equal(table.targets[:, 0], np.arange(1, 21) * 0.5)


def test_tabs_separate_in_a_tsv_file(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace(",", "\t"), "table.tsv")
    assert read_table(path, inputs=["a"], targets=["b"]).inputs[-1, 0] == 20


@pytest.mark.parametrize("columns", ["a", "a,b"])
def test_an_empty_line_is_a_row_without_values(tmp_path: Path, columns: str) -> None:
    """Left out, it would bring together rows that are apart in time."""
    rows = ["1", "", "", "3"] if columns == "a" else ["1,0", "", "", "3,0"]
    path = written(tmp_path, "\n".join([columns, *rows]))
    table = read_table(path, inputs=["a"], targets=["a"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1, np.nan, np.nan, 3])


def test_a_column_of_true_and_false_is_one_and_zero(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\ntrue,1\nFalse,2\nNA,3\nTRUE,4\n")
    table = read_table(path, inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], [1, 0, np.nan, 1])


@pytest.mark.parametrize("words", [["true", "0.5"], ["0.5"] * CHUNK + ["true"]])
def test_truth_values_and_numbers_are_not_mixed(tmp_path: Path, words: list[str]) -> None:
    path = written(tmp_path, "a,b\n" + "".join(f"{word},1\n" for word in words))
    assert f"row {len(words)}: {words[-1]!r} is not a number" in refusal(path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["2", "10"], (2, 10)), (["01", "1"], ("01", "1")), ([" x", "x "], (" x", "x "))],
)
def test_labels_are_whole_numbers_only_where_written_so(
    tmp_path: Path, labels: list[str], expected: tuple[object, ...]
) -> None:
    path = written(tmp_path, "g,a,b\n" + "".join(f"{label},1,2\n" for label in labels))
    assert read_table(path, inputs=["a"], targets=["b"], group="g").groups == expected


CELLS = st.one_of(
    st.floats(width=32).map(repr),
    st.integers(-(2**80), 2**80).map(str),
    st.decimals(-1000, 1000).map(str),
    st.sampled_from(["", " 1", "+1", ".5", "5.", "1e3", "NA", "inf", "1E-400", "9007199254740993"]),
)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=20), st.sampled_from(csv.list_dialects())
)
def test_numbers_are_those_of_python(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], dialect: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, dialect, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    suffix = "tsv" if dialect == "excel-tab" else "csv"
    path = tmp_path_factory.getbasetemp() / f"python.{suffix}"
    path.write_text(text.getvalue(), newline="")
    table = read_table(path, inputs=["a"], targets=["b"])
    expected = [[float("nan" if cell in ("", "NA") else cell) for cell in row] for row in rows]
    np.testing.assert_array_equal(np.column_stack([table.inputs, table.targets]), expected)


FLOODS = {
    "empty lines": b"\n",
    "empty lines of Windows": b"\r\n",
    "one row": b"1,2\n",
    "rows without values": b",\n",
    "one field": b"0",
    "spaces": b" ",
    "a cell of line ends": b'"\n\n\n\n"\n',
}


@pytest.mark.parametrize("members", [1, 40])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_compressed_flood_is_refused_before_a_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flood: bytes, members: int
) -> None:
    """However many parts it is packed in: 60 million empty lines took 39 s."""

    def read(*_: object) -> None:
        raise AssertionError("rows are read")

    monkeypatch.setattr(text._Reader, "read", read)
    packed = gzip.compress(flood * (60_000_000 // members // len(flood)))
    path = written(tmp_path, gzip.compress(TEXT.encode()) + packed * members)
    line = refusal(path)
    assert line.startswith("is compressed with gzip, and holds more than 500 times its own ")
    assert line.endswith("Unpack it if it is meant so")


@pytest.mark.parametrize("lines", ["\n" * 100_000, "1,2\n" * 100_000])
def test_a_little_that_is_compressed_well_is_read(tmp_path: Path, lines: str) -> None:
    path = written(tmp_path, gzip.compress(f"a,b\n1,2\n{lines}3,4\n".encode()))
    assert read_table(path, inputs=["a"], targets=["b"]).rows[-1] == 100_002

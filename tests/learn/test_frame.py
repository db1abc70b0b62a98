"""Opening a table's file: one clear line for each way in which it can be broken."""

import gzip

import numpy as np
import polars as pl
import pytest

from unrolled.errors import InputError

from unrolled.learn.table import read_table

LINES = ["a,b", *(f"{row},{row * 0.5}" for row in range(1, 21))]
TEXT = "\n".join(LINES)


def with_line(row, line):
    """The table's text with another line in the place of its ``row``, counted from 1."""
    return "\n".join([*LINES[:row], line, *LINES[row + 1 :]])


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, inputs=["a"], targets=["b"])
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty. A header and rows were expected"),
        ("a,b\n", "has a header but no rows"),
        ("\n\n\n", "can't be read as a table"),
        (with_line(7, "1,2,3"), "row 7 has 3 fields, the header 2. Correct the row"),
        (TEXT.replace(",", ";"), "Its columns seem to be separated by semicolons"),
        (TEXT.replace(",", ";").replace(".", ","), "separated by semicolons"),
        (TEXT.replace(",", "\t"), "Its columns seem to be separated by tabs"),
        (TEXT.replace("a,b", "a,b,c,a").replace("\n", ",1,1\n"), "two columns are named 'a'"),
        (TEXT.replace("a,b", "a ,b"), "no column 'a'. Did you mean 'a '?"),
        ("\n".join(LINES[1:]), "no column 'a'. It has: "),
        (with_line(7, "1e300,1"), "column 'a', row 7: 1e+300 is too large"),
        (with_line(7, "-1e39,1"), "column 'a', row 7: -1e+39 is too large"),
        (with_line(7, "oops,1"), "column 'a', row 7: 'oops' is not a number. Correct it"),
        (with_line(7, "1,1_0"), "column 'b', row 7: '1_0' is not a number"),
        (with_line(7, '"0,5",1'), "column 'a', row 7: '0,5' is not a number"),
        (with_line(7, "2024-01-01,1"), "column 'a', row 7: '2024-01-01' is not a number"),
    ],
)
def test_a_broken_csv_file_is_refused_with_the_place_and_the_repair(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert message in refusal(path)


def test_a_row_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(with_line(7, "1,é").encode("latin-1"))
    assert refusal(path) == "row 7 has the byte 0xe9, which is not UTF-8. Save the file as UTF-8"


def test_utf16_is_refused_by_its_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TEXT, encoding="utf-16")
    assert refusal(path) == "is UTF-16 text. Save it as UTF-8"


def test_a_folder_or_a_missing_file_is_no_table(tmp_path):
    assert refusal(tmp_path).startswith("is a folder")
    assert refusal(tmp_path / "nowhere.csv").startswith("no such file")


@pytest.mark.parametrize("name", ["table", "table.xlsx", "table.csv.gz"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_text(TEXT)
    assert refusal(tmp_path / name).startswith("a .csv, .tsv or .parquet file was expected")


@pytest.mark.parametrize("kept", [3, 50, -1])
def test_a_parquet_file_cut_short_is_refused(tmp_path, kept):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path).startswith("can't be read as a table")


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),  # the mark that spreadsheets put first
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.encode() + b"\n",
        gzip.compress(TEXT.encode()),
    ],
    ids=["plain", "byte order mark", "carriage returns", "last newline", "compressed"],
)
def test_the_usual_forms_of_a_csv_file_read_the_same(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    table = read_table(path, inputs=["a"], targets=["b"])
    np.testing.assert_array_equal(table.inputs[:, 0], np.arange(1, 21))
    np.testing.assert_array_equal(table.targets[:, 0], np.arange(1, 21) * 0.5)


def test_tabs_separate_in_a_tsv_file(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text(TEXT.replace(",", "\t"))
    assert read_table(path, inputs=["a"], targets=["b"]).inputs[-1, 0] == 20


def test_a_frame_is_taken_as_it_is():
    name, frame = read_frame(pl.DataFrame({"a": [1]}))
    assert name == "the table"
    assert frame.columns == ["a"]

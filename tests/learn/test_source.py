"""What is opened as a table, and one clear line for everything else that a path can name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support_tables import TEXT, refusal


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("table", "got a name without a suffix. Rename it by what it holds"),
        ("table.xlsx", "got '.xlsx'. Save the sheet as CSV"),
        ("table.csv.gz", "got '.gz'. Unpack it"),
        ("table.feather", "got '.feather'. Write the table as one of them"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(
    tmp_path: Path, name: str, repair: str
) -> None:
    (tmp_path / name).write_text(TEXT)
    line = refusal(tmp_path / name)
    assert line == f"a .csv, .tsv or .parquet file was expected, {repair}"


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    assert refusal(tmp_path / "table.csv").startswith("is a folder. Name a .csv")


@pytest.mark.parametrize("name", ["nowhere.csv", "file/deeper.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text(TEXT)
    assert refusal(tmp_path / name) == "no such file. Check the path"


@pytest.mark.parametrize("name", ["x" * 5000 + ".csv", "a\0b.csv"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name).startswith("can't be opened (")


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").symlink_to(tmp_path / "table.csv")
    assert refusal(tmp_path / "table.csv").startswith("can't be opened (")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_may_have_no_end_is_not_opened(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    assert refusal(path) == (
        "is a pipe or a device. Save what it gives to a .csv, .tsv or .parquet file"
    )

"""Where a table comes from: a file of one of the kinds that are read, or a data frame."""

from __future__ import annotations

import stat
from pathlib import Path

from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError
from unrolled.learn.columns import Columns, Wanted
from unrolled.learn.dataframe import NAME, take_frame
from unrolled.learn.parquet import read_parquet
from unrolled.learn.text import read_text

PARQUET, TEXT = (".parquet", ".pq"), (".csv", ".tsv", ".txt")
EXPECTED = "a .csv, .tsv or .parquet file"
REPAIRS = {
    "": "Rename it by what it holds",
    **dict.fromkeys((".gz", ".zip", ".zst", ".bz2", ".xz"), "Unpack it"),
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "Save the sheet as CSV"),
}


def read_columns(source: str | Path | IntoDataFrame, wanted: Wanted) -> tuple[str, Columns]:
    """What is wanted of a CSV or Parquet file, or a data frame, and its name for messages.

    Raises:
        InputError: the file is missing, empty, or not a table; or a column is missing, stands
            there twice, or holds what is not a number.
    """
    if not isinstance(source, str | Path):
        return NAME, take_frame(source, wanted)
    path = Path(source)
    _check_file(path)
    return str(path), (read_parquet if _kind(path) in PARQUET else read_text)(path, wanted)


def _kind(path: Path) -> str:
    return path.suffix.lower()


def _check_file(path: Path) -> None:
    """That it is a file that can be opened and whose name says what it holds.

    A pipe or a device is none: it may have no end, and is not read twice.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file. Check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a byte 0 in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be opened ({reason}). Check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: is a folder. Name {EXPECTED}")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is a pipe or a device. Save what it gives to {EXPECTED}")
    if found.st_size == 0:
        raise InputError(f"{path}: the file is empty. A header and rows were expected")
    kind = _kind(path)
    if kind not in (*PARQUET, *TEXT):
        got = f"got {kind!r}" if kind else "got a name without a suffix"
        repair = REPAIRS.get(kind, "Write the table as one of them")
        raise InputError(f"{path}: {EXPECTED} was expected, {got}. {repair}")

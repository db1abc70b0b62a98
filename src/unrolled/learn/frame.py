"""Opens a table's file, or says where it is broken."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError

PARQUET, TEXT = (".parquet", ".pq"), (".csv", ".tsv", ".txt")


def read_frame(source: str | Path | IntoDataFrame) -> tuple[str, nw.DataFrame[Any]]:
    """A CSV or Parquet file, or a data frame (pandas, polars, pyarrow), and a name for messages.

    Raises:
        InputError: the file is missing, empty, not a table, or of a kind that is not read.
    """
    if not isinstance(source, str | Path):
        return "the table", nw.from_native(source, eager_only=True)
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Name a .csv, .tsv or .parquet file")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty. A header and rows were expected")
    kind = path.suffix.lower()
    if kind not in (*PARQUET, *TEXT):
        raise InputError(f"{path}: a .csv, .tsv or .parquet file was expected, got {kind!r}")
    try:
        frame = pl.read_parquet(path) if kind in PARQUET else _read_text(path)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())[:160]
        raise InputError(f"{path}: can't be read as a table: {reason}") from error
    if frame.height == 0:
        raise InputError(f"{path}: has a header but no rows")
    return str(path), nw.from_native(frame, eager_only=True)


def separator_hint(header: str) -> str | None:
    """What to do about a header that holds another separator than the one it was read with."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if mark in header:
            return f"Its columns seem to be separated by {name}: save it with commas"
    return None


def _read_text(path: Path) -> pl.DataFrame:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError(f"{path}: is UTF-16 text. Save it as UTF-8")
    try:
        return pl.read_csv(path, infer_schema_length=None, separator=separator)
    except pl.exceptions.PolarsError:
        # The reader doesn't say which row it stumbled over.
        fault = _wrong_encoding(path) or _wrong_width(path, separator)
        if fault is None:
            raise
        raise InputError(f"{path}: {fault}") from None


def _wrong_encoding(path: Path) -> str | None:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        for row, line in enumerate(file):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"row {row}" if row else "the header"
                return f"{where} has the byte 0x{line[error.start]:02x}, which is not UTF-8. " + (
                    "Save the file as UTF-8"
                )
    return None


def _wrong_width(path: Path, separator: str) -> str | None:
    """The first row with more fields than the header has names."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        header = next(rows, [])
        for row, fields in enumerate(rows, start=1):
            if len(fields) > len(header):
                repair = separator_hint(header[0]) if len(header) == 1 else None
                return f"row {row} has {len(fields)} fields, the header {len(header)}. " + (
                    repair or "Correct the row: quote a field that holds the separator"
                )
    return None

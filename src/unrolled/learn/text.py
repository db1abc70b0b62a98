"""Reads the columns of a CSV or TSV file, or says in which row, and which line, it is broken.

A row is a record of the file, counted from 1 without the header. Nothing is guessed: a row with
other fields than the header, text that is not UTF-8, a quote that stays open are errors.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from unrolled.errors import InputError
from unrolled.learn.cells import CellError, Words
from unrolled.learn.columns import LONGEST_CELL, Columns, Labels, Wanted, separator_hint, shown
from unrolled.learn.signature import GZIP, HEAD, what_it_is
from unrolled.resources import in_words

LONGEST = 2**24
"""Characters in a row: beyond it, a file is not a table that could be trained on."""
CHUNK = 4096
"""Rows whose cells become numbers at once."""
CHECKED = 16
"""Chunks from one look at the memory to the next."""
GROWTH, ALWAYS = 500, 4 * 2**20
"""A compressed text may hold so many times its own bytes, and so many bytes in any case. Numbers
that vary shrink to a tenth or a fiftieth; what shrinks further is one line again and again."""
ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as Python keeps them in a text."""
INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")


def read_text(path: Path, wanted: Wanted) -> Columns:
    """The columns that are wanted; fields are separated by tabs in a .tsv file, else by commas.

    Compressed with gzip it is read as well, one row after the other.

    Raises:
        InputError: the file is damaged, not text, not UTF-8, or not a table; or a column is
            missing, stands there twice, or holds what is not a number.
    """
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open("rb") as raw, _unpacked(raw) as file:
            if file is not raw:
                _check_growth(path)
            if meaning := what_it_is(file.peek(HEAD)[:HEAD]):
                raise InputError(f"{path}: {meaning}")
            text = io.TextIOWrapper(
                file, encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            return _Reader(path, text, separator, wanted).read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: its gzip compression is damaged or cut short. Write or fetch it anew"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from error


def _unpacked(raw: io.BufferedReader) -> io.BufferedReader:
    if raw.peek(2).startswith(GZIP):
        # GzipFile reads as raw files do, only its class is another one.
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=raw)))
    return raw


def _check_growth(path: Path) -> None:
    """That a compressed file is not made to last: unpacking is far quicker than reading rows."""
    most = max(GROWTH * path.stat().st_size, ALWAYS)
    size = 0
    with gzip.open(path) as file:
        while part := file.read(2**20):
            size += len(part)
            if size > most:
                raise InputError(
                    f"{path}: is compressed with gzip, and holds more than {GROWTH} times its own "
                    f"{in_words(path.stat().st_size)}, as an endless repetition does. Unpack it if "
                    "it is meant so"
                )


class _Lines:
    """The lines of a text, which may not be longer than memory bears, and hold text alone."""

    def __init__(self, path: Path, file: io.TextIOWrapper):
        self.path, self.file = path, file
        self.row = -1  # the header is row 0
        self.first = self.number = 0
        self.size = 0

    def begin_row(self) -> None:
        """What is read from here on belongs to the next row."""
        self.row += 1
        self.first = self.number + 1
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(LONGEST + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.size += len(line)
        if self.size > LONGEST:
            raise self.error(
                f"has more than {LONGEST:,} characters. Check the ends of the lines, and the quotes"
            )
        if "\0" in line:
            raise self.error(
                "holds a byte 0, which no text does: the file is damaged, or of another kind. "
                "Write it anew as UTF-8 text"
            )
        if not line.isascii() and (found := ESCAPED.search(line)):
            raise self.error(
                f"has the byte 0x{ord(found[0]) - 0xDC00:02x}, which is not UTF-8. "
                "Save the file as UTF-8"
            )
        return line

    def error(self, fault: str) -> InputError:
        return InputError(f"{self.path}: {place(self.row, self.first)} {fault}")


def place(row: int, line: int) -> str:
    """Where a row is: its line as well, where lines are counted otherwise than rows."""
    if row == 0:
        return "the header"
    return f"row {row}" if line == row + 1 else f"row {row} (line {line})"


class _Reader:
    """The one pass over a file: its rows in chunks, and of these the columns that are wanted."""

    def __init__(self, path: Path, file: io.TextIOWrapper, separator: str, wanted: Wanted):
        self.path, self.wanted = path, wanted
        self.lines = _Lines(path, file)
        self.records = csv.reader(self.lines, delimiter=separator, strict=True)
        self.words = {column: Words() for column in wanted.numbers}
        self.numbers = {column: array("d") for column in wanted.numbers}
        self.labels = Labels(str(path), wanted.group or "")
        self.rows = 0

    def read(self) -> Columns:
        header = self._record()
        if not header:
            raise InputError(
                f"{self.path}: begins with an empty line. A header with the columns' names was "
                "expected"
            )
        places = self.wanted.places(str(self.path), header)
        chunk: list[list[str]] = []
        lines: list[int] = []
        for line, fields in self._rows(header):
            chunk.append(fields)
            lines.append(line)
            if len(chunk) == CHUNK:
                self._take(chunk, lines, places)
                chunk, lines = [], []
        self._take(chunk, lines, places)
        if self.rows == 0:
            raise InputError(f"{self.path}: has a header but no rows")
        return Columns(
            count=self.rows,
            numbers={
                name: np.frombuffer(values)
                for name, values in self.numbers.items()
                if name in places
            },
            labels=None if self.wanted.group is None else _labels(self.labels.rows),
        )

    def _rows(self, header: list[str]) -> Iterator[tuple[int, list[str]]]:
        """The line and the fields of each row; of an empty one empty fields, but for the last."""
        empty = 0
        while (fields := self._record()) is not None:
            if not fields:
                empty += 1
                continue
            for line in range(self.lines.first - empty, self.lines.first):
                yield line, [""] * len(header)
            empty = 0
            if len(fields) != len(header):
                raise self.lines.error(_width(fields, header))
            yield self.lines.first, fields

    def _record(self) -> list[str] | None:
        """The next row's fields, [] for an empty line; None at the end."""
        self.lines.begin_row()
        try:
            return next(self.records)
        except StopIteration:
            return None
        except csv.Error as error:
            raise self._quote_error(str(error)) from None

    def _quote_error(self, reason: str) -> InputError:
        """The reader knows of two faults: a cell that does not end, and text behind a quote."""
        first, last = self.lines.first, self.lines.number
        where = f"{'the header' if self.lines.row == 0 else f'row {self.lines.row}'} (line {first})"
        if "field limit" in reason:
            fault = f"has a cell of more than {LONGEST_CELL:,} characters"
            repair = "Shorten it, or close its quote"
        elif "end of data" in reason:
            fault = "has a quote that is not closed before the end of the file"
            repair = "Close it, or take it out"
        elif first < last:
            fault = f"has a quote that is closed in line {last} only, with text behind it"
            repair = f"Close it in line {first}, or take it out"
        else:
            fault = "has text behind a closing quote"
            repair = 'Write a quote within a quoted cell twice, as ""'
        return InputError(f"{self.path}: {where} {fault}. {repair}")

    def _take(self, chunk: list[list[str]], lines: list[int], places: dict[str, int]) -> None:
        for column, at in places.items():
            words = [fields[at] for fields in chunk]
            if column == self.wanted.group:
                self.labels.extend(words)
            if column not in self.numbers:
                continue
            try:
                self.numbers[column].extend(self.words[column].read(words))
            except CellError as error:
                where = place(self.rows + error.index + 1, lines[error.index])
                raise InputError(f"{self.path}: column {shown(column)}, {where}: {error}") from None
        self.rows += len(chunk)
        if self.rows % (CHECKED * CHUNK) == 0:
            self.wanted.check_memory(str(self.path), self.rows, self.labels.size)


def _labels(texts: list[str]) -> list[Any]:
    """Labels of a group as they stand: as whole numbers where all are written so."""
    return list(map(int, texts)) if all(map(INTEGER.fullmatch, texts)) else texts


def _width(fields: list[str], header: list[str]) -> str:
    """What is wrong with a row that has not as many fields as the header."""
    if len(fields) == 1 and fields[0].lstrip().startswith("#"):
        return "begins with #, as a comment does. Take it out"
    repair = (separator_hint(header[0]) if len(header) == 1 else None) or (
        "Correct the row: quote a field that holds the separator"
        if len(fields) > len(header)
        else "Correct the row: an empty cell has its separator as well"
    )
    return f"has {len(fields):,} fields, the header {len(header):,}. {repair}"

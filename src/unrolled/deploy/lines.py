"""Rows as lines of text: CSV or JSON in, the same out. What the first line is, all are.

CSV: fields by position, in the order of the run's inputs, or, where the first line has their names,
by name; then the outputs have a header too. JSON: objects by name, or arrays by position; NaN,
which JSON does not have, is ``null``.

Which of them a stream has is told by its first line: :func:`unrolled.deploy.opening.format_of`.

A line may hold anything: it is a row, or a :class:`LineError` says why not, or, where every line
after it would be misread, a :class:`HeaderError`.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from unrolled.errors import clip, visible
from unrolled.resources import LONGEST_LABEL
from unrolled.runfile import name_of

DIGITS = 4000
"""Whole numbers of JSON with more are read as floats: Python refuses to read them as they are."""

GAPS = {"", "-", "na", "n/a", "none", "null"}
"""What stands in a field, in small letters, where a number is missing."""


class LineError(ValueError):
    """A line that is no row, and why."""


class HeaderError(ValueError):
    """A header by which the lines after it can't be read, and why."""


class Format(Protocol):
    """How rows are read from lines and outputs written to lines."""

    def header(self) -> str:
        """What is written for a header."""

    def read(self, line: str) -> list[float]:
        """The row of a line.

        Raises:
            LineError: the line has none.
            HeaderError: it is a header, and not that of the lines before.
        """

    def take(self) -> None:
        """Told that the row read last was taken; what a refused one says does not count."""

    def write(self, values: Sequence[float], like: str) -> str:
        """The line of an output, of the kind that the row's line ``like`` is."""

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """What stands on stdout in a bad line's place, and what is said of it on stderr."""


class _Group:
    """A run whose table held several series reads one of them: all rows name the same."""

    def __init__(self, column: str | None):
        self.column = column
        self.series: Any = None
        self.met: Any = None

    def check(self, series: Any) -> None:
        if isinstance(series, bool):
            series = name_of(series)  # to Python True is 1, another series
        is_none = series in ("", None) or series != series
        if is_none or not isinstance(series, str | int | float):
            raise LineError(f"{self.column}: the series' name was expected, got {_called(series)}")
        if isinstance(series, str) and len(series) > LONGEST_LABEL:
            raise LineError(
                f"{self.column}: a label of at most {LONGEST_LABEL:,} letters was expected, got "
                f"{len(series):,}. Shorten it"
            )
        self.met = series
        if self.series is not None and series != self.series:
            raise LineError(
                f"{self.column} is {_called(series)} after {_called(self.series)}: a stream reads "
                "one series. Start one for each"
            )

    def take(self) -> None:
        """The row of the series that was met last was taken: its series is the stream's."""
        self.series = self.met


class Csv:
    """Comma-separated values, with a header or without one."""

    def __init__(
        self,
        inputs: Sequence[str],
        targets: Sequence[str],
        group: str | None,
        header: list[str] | None,
    ):
        self.inputs, self.targets, self.fields = inputs, targets, header
        self.group = _Group(group if header and group in header else None)
        # Names that are numbers are read as such: only a further column can tell a header.
        self.may_hide_a_header = header is not None and is_numbered(inputs)

    def header(self) -> str:
        """The names of the targets."""
        return ",".join(map(_quoted, self.targets))

    def read(self, line: str) -> list[float]:
        """The numbers of the inputs' fields."""
        # White space is part of a series' name.
        fields = fields_of(line.strip() if self.group.column is None else line)
        if self.may_hide_a_header:
            self._check_header(line, fields)
        try:
            return self._row(fields)
        except LineError:
            self._check_header(line, fields)
            raise

    def _row(self, fields: list[str]) -> list[float]:
        expected = len(self.fields or self.inputs)
        if len(fields) != expected:
            raise LineError(f"{expected} fields were expected, got {len(fields)}")
        if self.fields is None:
            return [_number(text, name) for text, name in zip(fields, self.inputs, strict=True)]
        by_name = dict(zip(self.fields, fields, strict=True))
        row = [_number(by_name[name], name) for name in self.inputs]
        if self.group.column is not None:
            self.group.check(by_name[self.group.column])
        return row

    def _check_header(self, line: str, fields: list[str]) -> None:
        """Where files follow one another, so do their headers: the same again does no harm."""
        names = [field.strip() for field in fields]
        before = [field.strip() for field in self.fields or self.inputs]
        if is_numbered(names):  # a row's, whatever the names are
            return
        if names == before and self._is_the_same(line, fields):
            again = "the header stands here once more" if self.fields else "a header stands here"
            raise LineError(again)
        inputs = {name.strip() for name in self.inputs}
        has_all = inputs <= set(names) and not is_numbered(self.inputs)
        has_some = is_of_names(names) and not inputs.isdisjoint(names)
        if has_all or has_some or sorted(names) == sorted(before):
            fields, before = outer_of(line, fields), list(self.fields or self.inputs)
            raise HeaderError(
                f"another header, {listed(fields, self.inputs)}, after "
                f"{listed(before, self.inputs)}. Start a stream for each"
            )

    def _is_the_same(self, line: str, fields: list[str]) -> bool:
        """Of names that are the same but for the white space around them: where it tells them."""
        inputs = {name.strip() for name in self.inputs}
        return len(inputs) == len(self.inputs) or outer_of(line, fields) == list(
            self.fields or self.inputs
        )

    def take(self) -> None:
        """Its series is the stream's."""
        self.group.take()

    def write(self, values: Sequence[float], like: str) -> str:  # noqa: ARG002
        """The values, NaN where there is none."""
        return ",".join("NaN" if math.isnan(value) else repr(value) for value in values)

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """A row of NaN, so that rows in and rows out stay side by side; the words go to stderr."""
        return ",".join(["NaN"] * len(self.targets)), f"line {number}: {clip(reason, 400)}"


class Json:
    """One JSON value a line."""

    def __init__(self, inputs: Sequence[str], targets: Sequence[str], group: str | None):
        self.inputs, self.targets = inputs, targets
        self.group = _Group(group)

    def header(self) -> str:
        """None: every line says what it holds."""
        return ""

    def read(self, line: str) -> list[float]:
        """The numbers of an object by the inputs' names, or of an array in their order."""
        content = json_of(line.strip())
        if isinstance(content, list):
            if len(content) != len(self.inputs):
                raise LineError(f"{len(self.inputs)} numbers were expected, got {len(content)}")
            content = dict(zip(self.inputs, content, strict=True))
        if not isinstance(content, dict):
            raise LineError("an object or an array was expected")
        row = []
        for name in self.inputs:
            if name not in content:
                raise LineError(f"{name} is missing")
            value = content[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise LineError(f"{name}: a number was expected, got {_called(value)}")
            row.append(_finite(value, name))
        if self.group.column in content:
            self.group.check(content[self.group.column])
        return row

    def take(self) -> None:
        """Its series is the stream's."""
        self.group.take()

    def write(self, values: Sequence[float], like: str) -> str:
        """An object for an object, an array for an array."""
        known = [None if math.isnan(value) else value for value in values]
        if like.lstrip().startswith("["):
            return json.dumps(known)
        return json.dumps(dict(zip(self.targets, known, strict=True)), ensure_ascii=False)

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """An object with the reason."""
        said = {"error": visible(clip(reason, 400)), "line": number}
        return json.dumps(said, ensure_ascii=False), None


def is_of_names(fields: Sequence[str]) -> bool:
    """Whether no field is a number, or empty: then it is a header's rather than a row's."""
    return bool(fields) and not any(map(may_be_a_value, fields))


def is_numbered(names: Sequence[str]) -> bool:
    """Whether each of the names could as well be a value, so that a header could be a row."""
    return all(map(may_be_a_value, names))


def may_be_a_value(field: str) -> bool:
    """Whether it is a number to anyone, or a word for a missing one."""
    return field.strip().lower() in GAPS or _is_number(field)


def fields_of(line: str) -> list[str]:
    """The fields of a line of CSV, without their quotes.

    Raises:
        LineError: it is none.
    """
    try:
        rows = list(csv.reader([line], strict=True))
    except csv.Error as error:
        words = "a carriage return within it" if "\r" in line else error
        raise LineError(f"no CSV ({words})") from error
    return rows[0] if rows and rows[0] else [""]


def outer_of(line: str, fields: list[str]) -> list[str]:
    """The fields with the white space at both ends of their line, if it is CSV with it."""
    if line == line.strip():
        return fields
    try:
        return fields_of(line)
    except LineError:
        return fields


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, name: str) -> float:
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        words = f"got {_called(text)}" if text else "the field is empty"
        raise LineError(f"{name}: a number was expected, {words}") from None
    if "_" in text or not text.isascii():  # 1_000 and ١٢ are numbers to Python alone
        raise LineError(f"{name}: a number was expected, got {_called(text)}")
    return _finite(value, name)


def json_of(line: str) -> Any:
    """What a line of JSON says.

    Raises:
        LineError: it is none.
    """
    try:
        return json.loads(line, object_pairs_hook=_once, parse_int=_whole)
    except LineError:
        raise
    except RecursionError:
        raise LineError("no row (brackets in brackets without end)") from None
    except ValueError as error:
        raise LineError(f"no JSON ({error})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise LineError(f"{_called(twice)} stands twice")
    return content


def _whole(digits: str) -> float:
    return int(digits) if len(digits) < DIGITS else float(digits)


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the greatest float
        number = math.inf
    if not math.isfinite(number):
        raise LineError(f"{name} is {clip(value, 60)}: a finite number was expected")
    return number


def _called(value: Any) -> str:
    """A value of a line, in a few letters."""
    match value:
        case list():
            return "an array"
        case dict():
            return "an object"
        case str():
            return clip(repr(value[:60]), 60)
    return clip(json.dumps(value), 60)


def listed(names: Sequence[str], inputs: Sequence[str] = ()) -> str:
    """Names in an error's words.

    Args:
        names: of columns.
        inputs: those that a run reads. If there is white space around one, it is part of the names,
            and those that have it are quoted.
    """
    if any(name != name.strip() for name in inputs):
        names = [name if name == name.strip() else repr(name) for name in names]
        words = ", ".join(names)
        return words if len(words) <= 120 else f"{words[:120]}…"
    return clip(", ".join(name.strip() for name in names), 120)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\r\n') else name

"""Rows as lines of text: CSV or JSON in, the same out. What the first line is, all are.

CSV: fields by position, in the order of the run's inputs, or, where the first line has their names,
by name; then the outputs have a header too. JSON: objects by name, or arrays by position; NaN,
which JSON does not have, is ``null``.

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

from unrolled.errors import clip

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

    def write(self, values: Sequence[float], like: str) -> str:
        """The line of an output, of the kind that the row's line ``like`` is."""

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """What stands on stdout in a bad line's place, and what is said of it on stderr."""


class _Group:
    """A run whose table held several series reads one of them: all rows name the same."""

    def __init__(self, column: str | None):
        self.column = column
        self.series: Any = None

    def check(self, series: Any) -> None:
        if isinstance(series, bool) or not isinstance(series, str | int | float):
            raise LineError(f"{self.column}: the series' name was expected, got {_called(series)}")
        if self.series is None:
            self.series = series
        if series != self.series:
            raise LineError(
                f"{self.column} is {_called(series)} after {_called(self.series)}: a stream reads "
                "one series. Start one for each"
            )


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

    def header(self) -> str:
        """The names of the targets."""
        return ",".join(map(_quoted, self.targets))

    def read(self, line: str) -> list[float]:
        """The numbers of the inputs' fields."""
        fields = _fields(line)
        try:
            return self._row(fields)
        except LineError:
            self._check_header(fields)
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

    def _check_header(self, fields: list[str]) -> None:
        """Where files follow one another, so do their headers: the same again does no harm."""
        names = [field.strip() for field in fields]
        before = [field.strip() for field in self.fields or self.inputs]
        if names == before:
            raise LineError("the header stands here once more")
        if _is_of_names(names) and not {name.strip() for name in self.inputs}.isdisjoint(names):
            raise HeaderError(
                f"another header, {_listed(names)}, after {_listed(before)}. Start a stream for "
                "each"
            )

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
        content = _json(line)
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

    def write(self, values: Sequence[float], like: str) -> str:
        """An object for an object, an array for an array."""
        known = [None if math.isnan(value) else value for value in values]
        if like.lstrip().startswith("["):
            return json.dumps(known)
        return json.dumps(dict(zip(self.targets, known, strict=True)), ensure_ascii=False)

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """An object with the reason."""
        said = {"error": clip(reason, 400), "line": number}
        return json.dumps(said, ensure_ascii=False), None


def format_of(
    first: str, inputs: Sequence[str], targets: Sequence[str], group: str | None
) -> tuple[Format, bool]:
    """The format of a stream whose first line is this, and whether that line is a header.

    Args:
        first: the line.
        inputs: the columns that a row has.
        targets: the columns that an output has.
        group: the column that tells series apart, if there is one.

    Raises:
        HeaderError: it is no row, and a header of other columns.
    """
    try:
        fields = _fields(first)
    except LineError:
        fields = []
    if (header := _header_of(fields, inputs)) is not None:
        counted = Counter(header)
        for name in [*inputs, *([] if group is None else [group])]:
            if counted[name] > 1:
                raise HeaderError(f"the header has {name} twice. Leave one of them out")
        return Csv(inputs, targets, group, header), True
    if first.lstrip().startswith(("{", "[")):
        return Json(inputs, targets, group), False
    names = [field.strip() for field in fields]
    there = {name for name in names if not _is_number(name)}
    missing = [name for name in inputs if name.strip() not in there]
    if fields and (len(missing) < len(inputs) or _is_of_names(names)):
        hint = " (fields are told apart by commas)" if len(fields) == 1 < len(inputs) else ""
        raise HeaderError(
            f"a row of numbers or a header with {_listed(inputs)} was expected, got "
            f"{_listed(names)}{hint}. Name {_listed(missing)} in the header, or give numbers "
            "alone, in this order"
        )
    return Csv(inputs, targets, group, None), False


def _header_of(fields: list[str], inputs: Sequence[str]) -> list[str] | None:
    """The fields as names, if all inputs are among them; blanks around a name may be missing."""
    if set(inputs) <= set(fields):
        return fields
    short = {name.strip(): name for name in inputs}
    names = [field.strip() for field in fields]
    if len(short) == len(set(inputs)) and short.keys() <= set(names):
        return [short.get(name, name) for name in names]
    return None


def _is_of_names(fields: Sequence[str]) -> bool:
    """Whether no field is a number, or empty: then it is a header's rather than a row's."""
    return bool(fields) and not any(field.lower() in GAPS or _is_number(field) for field in fields)


def _fields(line: str) -> list[str]:
    try:
        rows = list(csv.reader([line], strict=True))
    except csv.Error as error:
        words = "a carriage return within it" if "\r" in line else error
        raise LineError(f"no CSV ({words})") from error
    return rows[0] if rows and rows[0] else [""]


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


def _json(line: str) -> Any:
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


def _listed(names: Sequence[str]) -> str:
    return clip(", ".join(names), 120)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\r\n') else name

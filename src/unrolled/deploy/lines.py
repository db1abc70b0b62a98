"""Rows as lines of text: CSV or JSON in, the same out. What the first line is, all are.

CSV: fields by position, in the order of the run's inputs, or, where the first line has their names,
by name; then the outputs have a header too. JSON: objects by name, or arrays by position; NaN,
which JSON does not have, is ``null``.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from typing import Any, Protocol


class LineError(ValueError):
    """A line that is no row, and why."""


class Format(Protocol):
    """How rows are read from lines and outputs written to lines."""

    def header(self) -> str:
        """What is written for a header."""

    def read(self, line: str) -> list[float]:
        """The row of a line.

        Raises:
            LineError: the line has none.
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
        if self.series is None:
            self.series = series
        if series != self.series:
            raise LineError(
                f"{self.column} is {series!r} after {self.series!r}: a stream reads one series. "
                "Start one for each"
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

    def write(self, values: Sequence[float], like: str) -> str:  # noqa: ARG002
        """The values, NaN where there is none."""
        return ",".join("NaN" if math.isnan(value) else repr(value) for value in values)

    def refusal(self, number: int, reason: str) -> tuple[str, str | None]:
        """A row of NaN, so that rows in and rows out stay side by side; the words go to stderr."""
        return ",".join(["NaN"] * len(self.targets)), f"line {number}: {reason}"


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
        try:
            content = json.loads(line)
        except ValueError as error:
            raise LineError(f"no JSON ({error})") from error
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
                raise LineError(f"{name}: a number was expected, got {json.dumps(value)}")
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
        return json.dumps({"error": reason, "line": number}, ensure_ascii=False), None


def format_of(
    first: str, inputs: Sequence[str], targets: Sequence[str], group: str | None
) -> tuple[Format, bool]:
    """The format of a stream whose first line is this, and whether that line is a header.

    Args:
        first: the line.
        inputs: the columns that a row has.
        targets: the columns that an output has.
        group: the column that tells series apart, if there is one.
    """
    if first.lstrip().startswith(("{", "[")):
        return Json(inputs, targets, group), False
    try:
        header = _fields(first)
    except LineError:
        header = []
    if set(inputs) <= set(header):
        return Csv(inputs, targets, group, header), True
    return Csv(inputs, targets, group, None), False


def _fields(line: str) -> list[str]:
    try:
        rows = list(csv.reader([line], strict=True))
    except csv.Error as error:
        raise LineError(f"no CSV ({error})") from error
    return [field.strip() for field in rows[0]] if rows and rows[0] else [""]


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        words = f"got {text!r}" if text else "the field is empty"
        raise LineError(f"{name}: a number was expected, {words}") from None
    return _finite(value, name)


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the greatest float
        number = math.inf
    if not math.isfinite(number):
        raise LineError(f"{name} is {value}: a finite number was expected")
    return number


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\r\n') else name

"""What the trials came to: files with a line a trial, which a killed run leaves whole."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Generic, Protocol, TypeVar

from unrolled.atomic import InUseError, lock
from unrolled.errors import InputError

NUMBERS: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": lambda text: text == "True",
}


class Record(Protocol):
    """A trial, a frozen dataclass of numbers and texts."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def trial(self) -> tuple[str | int, ...]:
        """Which one it is: no two in a file are the same."""

    def __str__(self) -> str:
        """What came of it, in a line."""


R = TypeVar("R", bound=Record)


def lags_of(steps: int, count: int = 24) -> list[int]:
    """At most ``count`` lags from 0 to ``steps``, denser where they are small."""
    ratio = (steps + 1) ** (1 / (count - 1))
    return sorted({min(steps, round(ratio**k) - 1) for k in range(count)})


def names_of(kind: type[Record]) -> list[str]:
    """The columns of a file with records of this kind."""
    return [field.name for field in fields(kind)]


def read(path: Path, kind: type[R]) -> list[R]:
    """The records of a file, in the order in which they came; none if there is no such file.

    A last line that was not written to its end is left out.

    Raises:
        InputError: it is another kind of file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: can't be read as results ({error}). Name another with --results"
        ) from None
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    rows = csv.reader(lines)
    header, expected = next(rows, None), names_of(kind)
    if header is not None and header != expected:
        raise InputError(
            f"{path}: is no file of results: its first line should be {','.join(expected)}. "
            "Name another with --results"
        )
    return [_record(path, kind, number, values) for number, values in enumerate(rows, start=2)]


def _record(path: Path, kind: type[R], number: int, values: list[str]) -> R:
    try:
        pairs = zip(fields(kind), values, strict=True)
        found = kind(**{field.name: NUMBERS[str(field.type)](value) for field, value in pairs})
    except ValueError as error:
        raise InputError(
            f"{path}, line {number}: is no result ({error}). Delete the line, and the trial is "
            "run again"
        ) from None
    return found


class Results(Generic[R]):
    """A file that is open for more, and what stands in it."""

    def __init__(self, file: BinaryIO, found: list[R]) -> None:
        self._file, self.all = file, found
        self.done = {record.trial for record in found}

    def add(self, record: R) -> None:
        """Writes a line, and returns when it is on the disk."""
        self._file.write(_line([str(getattr(record, f.name)) for f in fields(record)]))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.all.append(record)
        self.done.add(record.trial)


def _line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


@contextmanager
def writing(path: Path, kind: type[R]) -> Iterator[Results[R]]:
    """The records of a file, for one process to add to.

    Raises:
        InputError: it can't be written, is no such file, or another process writes it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_name(f".{path.name}.lock")):
            found = read(path, kind)
            with path.open("ab") as file:
                content = path.read_bytes()
                file.truncate(content.rfind(b"\n") + 1)  # a line that was broken off goes
                if b"\n" not in content:
                    file.write(_line(names_of(kind)))
                yield Results(file, found)
    except InUseError:
        raise InputError(
            f"{path}: is being written by another process. Wait for it, or name another with "
            "--results"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}). Name another with --results"
        ) from error

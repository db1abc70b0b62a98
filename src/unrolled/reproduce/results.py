"""What the trials came to: files with a line a trial, which a killed run leaves whole."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from unrolled.atomic import InUseError, lock
from unrolled.errors import InputError
from unrolled.output import check_free

Json = str
"""The type of a column that holds JSON: a damaged one is found as the file is read."""


def _truth(text: str) -> bool:
    """Spreadsheets write TRUE."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"True or False was expected, got {text!r}")
    return text.lower() == "true"


def _json(text: str) -> str:
    json.loads(text)
    return text


VALUES: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": _truth,
    "Json": _json,
}
"""By a column's type, what its text says."""


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
        InputError: it is another kind of file, or has a line that is no result or comes twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before it
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: can't be read as results ({reason}). Name another with --results"
        ) from None
    lines, ends, _ = text.rpartition("\n")
    header, *rest = _rows(path, lines) or [[]]
    # No line at all is ours only if it is a beginning of the header: it is written over.
    if header != names_of(kind) if ends else not ",".join(names_of(kind)).startswith(text):
        raise InputError(
            f"{path}: is no file of results: its first line should be {','.join(names_of(kind))}. "
            "Name another with --results"
        )
    found: dict[tuple[str | int, ...], tuple[int, R]] = {}
    for number, values in enumerate(rest, start=2):
        record = _record(path, kind, number, values)
        first, _ = found.setdefault(record.trial, (number, record))
        if first != number:
            raise InputError(
                f"{path}, line {number}: is the trial of line {first} once more "
                f"({', '.join(map(str, record.trial))}). Delete one of them"
            )
    return [record for _, record in found.values()]


def _rows(path: Path, lines: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(lines)))
    except csv.Error as error:
        raise InputError(
            f"{path}: can't be read as results ({error}). Name another with --results"
        ) from None


def _record(path: Path, kind: type[R], number: int, values: list[str]) -> R:
    try:
        if len(values) != len(fields(kind)):
            raise ValueError(f"{len(fields(kind))} values were expected, got {len(values)}")
        pairs = zip(fields(kind), values, strict=True)
        found = kind(**{field.name: VALUES[str(field.type)](value) for field, value in pairs})
    except ValueError as error:
        raise InputError(
            f"{path}, line {number}: is no result ({error}). Delete the line, and the trial is "
            "run again"
        ) from None
    return found


class Results(Generic[R]):
    """A file that is open for more, and what stands in it."""

    def __init__(self, path: Path, file: io.FileIO, found: list[R]) -> None:
        self._path, self._file, self.all = path, file, found
        self.done = {record.trial for record in found}

    def add(self, record: R) -> None:
        """Writes a line, and returns when it is on the disk.

        Raises:
            InputError: it can't be written.
        """
        with _refusing(self._path):
            _write(self._file, [str(getattr(record, f.name)) for f in fields(record)])
            os.fsync(self._file.fileno())
        self.all.append(record)
        self.done.add(record.trial)


def _write(file: io.FileIO, values: Sequence[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    left = text.getvalue().encode()
    while left:
        left = left[file.write(left) :]


@contextmanager
def writing(path: Path, kind: type[R]) -> Iterator[Results[R]]:
    """The records of a file, for one process to add to.

    Raises:
        InputError: it can't be written, is no such file, or another process writes it.
    """
    with ExitStack() as held:
        with _refusing(path):
            check_free(path.parent, overwrite=True, flag="--results")
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(path.with_name(f".{path.name}.lock")))
            found = read(path, kind)
            # Without a buffer: what a full disk did not take is not tried again at the end.
            file = held.enter_context(path.open("ab", buffering=0))
            content = path.read_bytes()
            file.truncate(content.rfind(b"\n") + 1)  # a line that was broken off goes
            if b"\n" not in content:
                _write(file, names_of(kind))
        yield Results(path, file, found)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What the system does not let be done to a file is said of it."""
    try:
        yield
    except InUseError:
        raise InputError(
            f"{path}: is being written by another process. Wait for it, or name another with "
            "--results"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}). Name another with --results"
        ) from error

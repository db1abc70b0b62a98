"""What the trials came to: one file, a line a trial, which a killed run leaves whole."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from unrolled.atomic import InUseError, lock
from unrolled.errors import InputError

NUMBERS = {"int": int, "float": float, "str": str, "bool": lambda text: text == "True"}


@dataclass(frozen=True)
class Result:
    """A trial.

    Attributes:
        row: the row of the table.
        column: "faithful" or "modern".
        network: its name.
        seed: of everything that was drawn.
        solved: whether the criterion was met.
        sequences: how many it had learned from by then.
        wrong: so many new sequences were wrong at the end,
        tested: of so many.
        error: the mean error of those, in the column's own measure.
        weights: how many the network has.
        horizon: after so many steps the gradient has fallen to a hundredth; see ``diagnose``.
        steps: the largest lag at which it was measured.
        gradient: g(k) at the lags :func:`lags_of` ``steps``, as a JSON list.
        seconds: how long it took, testing included.
        version: of the package.
        processor: what it ran on.
    """

    row: str
    column: str
    network: str
    seed: int
    solved: bool
    sequences: int
    wrong: int
    tested: int
    error: float
    weights: int
    horizon: int
    steps: int
    gradient: str
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> tuple[str, str, str, int]:
        """Which one it is."""
        return self.row, self.column, self.network, self.seed

    def gradient_by_lag(self) -> list[float]:
        """g(k) at the lags of :func:`lags_of`."""
        found: list[float] = json.loads(self.gradient)
        return found


def lags_of(steps: int, count: int = 24) -> list[int]:
    """At most ``count`` lags from 0 to ``steps``, denser where they are small."""
    ratio = (steps + 1) ** (1 / (count - 1))
    return sorted({min(steps, round(ratio**k) - 1) for k in range(count)})


NAMES = [field.name for field in fields(Result)]


def read(path: Path) -> list[Result]:
    """The results of a file, in the order in which they came; none if there is no such file.

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
    return [_result(path, number, values) for number, values in _rows(path, lines)]


def _rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(lines)
    header = next(rows, None)
    if header is not None and header != NAMES:
        raise InputError(
            f"{path}: is no file of results: its first line should be {','.join(NAMES)}. "
            "Name another with --results"
        )
    yield from enumerate(rows, start=2)


def _result(path: Path, number: int, values: list[str]) -> Result:
    try:
        pairs = zip(fields(Result), values, strict=True)
        found = Result(**{field.name: NUMBERS[str(field.type)](value) for field, value in pairs})
        found.gradient_by_lag()
    except ValueError as error:
        raise InputError(
            f"{path}, line {number}: is no result ({error}). Delete the line: the trial is run again"
        ) from None
    return found


class Results:
    """A file that is open for more, and what stands in it."""

    def __init__(self, file: BinaryIO, found: list[Result]) -> None:
        self._file, self.all = file, found
        self.done = {result.trial for result in found}

    def add(self, result: Result) -> None:
        """Writes a line, and returns when it is on the disk."""
        self._file.write(_line([str(value) for value in asdict(result).values()]))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.all.append(result)
        self.done.add(result.trial)


def _line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


@contextmanager
def writing(path: Path) -> Iterator[Results]:
    """The results of a file, for one process to add to.

    Raises:
        InputError: it can't be written, is no such file, or another process writes it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_name(f".{path.name}.lock")):
            found = read(path)
            with path.open("ab") as file:
                content = path.read_bytes()
                file.truncate(content.rfind(b"\n") + 1)  # a line that was broken off goes
                if b"\n" not in content:
                    file.write(_line(NAMES))
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

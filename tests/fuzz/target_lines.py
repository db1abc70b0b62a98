"""Lines fed to a stream: each is answered, and the rows among them are all that moves the state."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support_stream import make_run
from unrolled.deploy.serve import serve
from unrolled.deploy.stream import Stream
from unrolled.errors import InputError
from unrolled.model import Run

SUFFIX = ".lines"
DICTIONARY: Sequence[bytes] = (
    *(b"a,b\n", b"b,a\n", b"a,c\n", b"who", b'{"a": ', b'"b": ', b"0.5,0.5\n", b"[1, 2]\n"),
    *(b"1e400", b"1e200", b"-1e38", b"NaN", b"Infinity", b"-", b"_", b'""', b"\r", b"\xff\xfe"),
    *(b"\xef\xbb\xbf", b"\xd9\xa1", b"[" * 2000, b"{}" * 1000, b"9" * 5000, b"0" * 140_000),
)

_FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
STATE = _FOLDER / "s"

RUNS: Sequence[Run] = (
    make_run(),
    make_run("gru", difference=True, group="who"),
    make_run("rnn", inputs=["1", "[b] "], targets=["b", 'y"', "z,"], group="1"),
    make_run("gru", inputs=["1", "2"]),
)


def _lines(*lines: str, end: str = "\n") -> Callable[[], bytes]:
    return lambda: end.join([*lines, ""]).encode()


ROWS = ("0.5,1", "-1e-3,+2", ".5,3")
OBJECTS = ('{"a": 0.5, "b": 1, "who": "x"}', '{"b": -2, "a": 1e-3, "who": "x", "more": [1]}')
SEEDS: Mapping[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "rows": _lines(*ROWS),
    "named rows": _lines("a,b", *ROWS),
    "named rows of a series": _lines("who,b,a", "x,1,2", "x,3,4", "y,1,2"),
    "odd names": _lines("[b] ,1,1x", "1,2,3"),
    "numbers for names": _lines("1,2", "3,4"),
    "objects": _lines(*OBJECTS),
    "arrays": _lines("[1, 2]", "[0.5, 1e-3]"),
    "Windows": _lines("a,b", *ROWS, end="\r\n"),
    "an old Mac": _lines("a,b", *ROWS, end="\r"),
    "a mark of the byte order": lambda: "\ufeffa,b\n1,2\n".encode(),
    "UTF-16": lambda: "a,b\n1,2\n".encode("utf-16"),
    "UTF-16 without a mark": lambda: "a,b\n1,2\n".encode("utf-16-le"),
    "no UTF-8": lambda: b"1,2\n\xff,2\n3,4\n",
    "byte 0": lambda: b"1,2\n\x001,2\n1,2\x00\n",
    "brackets without an end": lambda: b"[1, 2]\n" + b"[" * 100_000 + b"\n[3, 4]\n",
    "objects without an end": lambda: b"[1, 2]\n" + b'{"a":' * 100_000 + b"\n[3, 4]\n",
    "brackets as deep as can be read": lambda: b'{"a": %s, "b": 1}\n' % (b"[" * 900 + b"]" * 900),
    "digits without an end": lambda: b"[1, 1" + b"0" * 10_000 + b"]\n[1, 2]\n",
    "a long number": lambda: b"[1, 0." + b"3" * 1_000_000 + b"]\n[1, 2]\n",
    "a long field": lambda: b"1,2\n1," + b"0" * 200_000 + b"\n3,4\n",
    "a long line": lambda: b"1,2\n" + b"," * 3_000_000 + b"\n3,4\n",
    "a long line of objects": lambda: b"[1, 2]\n[" + b"{}," * 300_000 + b"{}]\n[3, 4]\n",
    "no number": _lines("[NaN, 1]", "[Infinity, 1]", "[1e400, 1]", "[true, 1]", '["1", 1]'),
    "numbers that a network can't hold": _lines("1e200,1", "-1e36,1", "1e38,3e38", "1,2"),
    "a number beyond any": _lines("1e400,1", "1,2"),
    "numbers of Python's alone": _lines("1,2", "1_0,2", "١,2"),
    "twice in an object": _lines("[1, 2]", '{"a": 1, "b": 2, "a": 3}'),
    "twice in a header": _lines("a,b,a", "1,2,3"),
    "half a letter": _lines('{"a": 1, "b": 2, "who": "\\ud800"}', '{"a": "\\ud800", "b": 2}'),
    "a group that is none": _lines('{"a": 1, "b": 2, "who": [[]]}', '{"a": 1, "b": 2, "who": NaN}'),
    "another header": _lines("a,c", *ROWS),
    "another header later": _lines("a,b", *ROWS, "b,a", *ROWS),
    "the header again": _lines("a,b", *ROWS, "a,b", *ROWS),
    "semicolons": _lines("a;b", "1;2"),
    "decimal commas": _lines("a;b", "0,5;2,5"),
    "an open quote": _lines("a,b", '"1,2', "3,4"),
    "empty lines": _lines("", "a,b", "", "1,2", ""),
    "spaces": _lines(" a , b ", " 1 , 2 "),
    "missing values": _lines("NA,NA", "1,2", ",", "nan,1"),
}


class Recorded(Stream):
    """Remembers the rows that moved it, and what came out."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.rows: list[list[float]] = []
        self.results: list[list[float]] = []

    def step(self, x: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """As a stream's."""
        y = super().step(x, out)
        self.rows.append(np.asarray(x).tolist())
        self.results.append(y.tolist())
        return y


def run(data: bytes) -> None:
    """Feeds the lines to a run of each kind."""
    for kind in RUNS:
        _feed(kind, data)


def _feed(kind: Run, data: bytes) -> None:
    stream, out, complaints = Recorded(kind), io.BytesIO(), list[str]()
    STATE.unlink(missing_ok=True)
    try:
        serve(stream, io.BytesIO(data), out, complaints.append, state=STATE)
        is_through = True
    except InputError as error:
        is_through = False
        complaints.append(str(error))
    answers = out.getvalue().decode().splitlines()
    given = data.split(b"\n")
    if is_through:  # a line for each line; the last counts where it holds something
        assert len(answers) == len(given) - (not given[-1])
    assert all(len(words) < 1000 and "\n" not in words for words in complaints)
    written = [row for row in map(_numbers, answers) if row is not None]
    moved = [row for row in stream.results if not np.isnan(row).all()]
    np.testing.assert_array_equal(written, moved)
    _insist_on_state(kind, stream)


def _insist_on_state(kind: Run, stream: Recorded) -> None:
    """The saved state is that of the rows, read at once by a stream of its own."""
    fresh = Stream(kind)
    if stream.rows:
        expected = fresh.step_many(np.array(stream.rows))
        np.testing.assert_array_equal(expected, stream.results)
    if stream.rows or STATE.exists():
        saved = Stream.load(STATE).state
        for name, value in fresh.state.items():
            np.testing.assert_array_equal(saved[name], value)


def _numbers(line: str) -> list[float] | None:
    """The outputs that an answer has; None for a header, an error and a row without any."""
    if line.startswith(("{", "[")):
        content = json.loads(line)
        if isinstance(content, dict) and "error" in content:
            assert content.keys() == {"error", "line"}
            return None
        values = list(content.values()) if isinstance(content, dict) else content
        return None if None in values else values
    try:
        values = [float(field) for field in line.split(",")]
    except ValueError:
        return None
    return None if np.isnan(values).all() else values

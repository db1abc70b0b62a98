"""A stream between two pipes: a line in, a line out, and the state kept on disk."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unrolled import signals
from unrolled.deploy.lines import Csv, Format, HeaderError, LineError
from unrolled.deploy.opening import format_of
from unrolled.deploy.stream import Stream
from unrolled.errors import InputError, clip

LINE_LIMIT = 1 << 20
"""Bytes of a line, and 1,024 more for each input: what is longer is read past, not kept."""


class _Stopped(BaseException):
    """A signal came while a line was waited for."""


class Waiting:
    """Turns the signals that end a command into an orderly end: between two rows, never in one."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._waits = False

    def _on_signal(self, *_: object) -> None:
        self.is_stopped = True
        if self._waits:
            self._waits = False  # a second signal finds the end under way
            raise _Stopped

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Takes the signals within the block."""
        numbers = signals.ending()
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def line(self, source: BinaryIO, limit: int) -> bytes:
        """The next line, b"" once there is none or a signal has come.

        Of one of more than ``limit`` bytes, the first ``limit`` + 1.
        """
        try:
            self._waits = True
            if self.is_stopped:
                return b""
            line = part = source.readline(limit + 1)
            while len(part) > limit and not part.endswith(b"\n"):
                part = source.readline(limit + 1)  # read past, not kept
            self._waits = False
        except _Stopped:
            return b""
        finally:
            self._waits = False
        return line


def open_stream(run: Path, state: Path | None) -> tuple[Stream, bool]:
    """The stream of a run folder, and whether it goes on from the state in the file.

    Raises:
        InputError: the run can't be streamed, or the file holds another model's state, or can't
            be written.
    """
    from unrolled.deploy import stored

    stream = Stream(run)
    if state is None:
        return stream, False
    stored.check_place(state)
    stored.remove_drafts(state)
    if not state.exists():
        return stream, False
    saved = Stream.load(state)
    if not saved.is_of_same_model(stream):
        raise InputError(
            f"{state}: holds the state of another model than {run}. "
            "Name another file with --state, or delete it to begin anew"
        )
    return saved, True


def serve(
    stream: Stream,
    source: BinaryIO,
    out: BinaryIO,
    complain: Callable[[str], None],
    *,
    state: Path | None = None,
    save_every: int = 1000,
    has_header: bool | None = None,
) -> None:
    """Reads rows until there are no more or a signal comes; writes each output as it is there.

    What is saved is never ahead of what has been written: a row's output is flushed first.

    Args:
        stream: of one row, from a run.
        source: lines, as bytes.
        out: where the outputs go, flushed after each.
        complain: told of bad lines where the format has no room for an error, and of a first line
            that may have been meant otherwise.
        state: the file that the state is saved to: every ``save_every`` rows, and at the end.
        save_every: rows from one saving to the next.
        has_header: whether the first line of CSV is a header; None where it has to tell by itself,
            as in :func:`~unrolled.deploy.opening.format_of`.

    Raises:
        InputError: the lines can't be read any further, and why, or none of them was a row; what
            was read before is saved. Or the output, or the state, can't be written, or the
            network's own numbers are no longer finite; then what was saved before stays.
        BrokenPipeError: nobody reads the output any more.
    """
    waiting = Waiting()
    lines = _Lines(stream, has_header)
    saved = 0
    with waiting.signals():
        try:
            while line := _read(source, waiting, lines.limit):
                _write(out, lines.answer(line, complain))
                if state is not None and lines.rows - saved >= save_every:
                    stream.save(state)
                    saved = lines.rows
            if not waiting.is_stopped:
                lines.insist_on_a_row()
        except _EndError as error:
            if state is not None and lines.rows > saved:
                stream.save(state)
            raise InputError(str(error)) from error
        if state is not None:
            stream.save(state)


class _EndError(Exception):
    """No line after this can be read, and why; the stream itself is well."""


def _read(source: BinaryIO, waiting: Waiting, limit: int) -> bytes:
    try:
        return waiting.line(source, limit)
    except OSError as error:
        raise _EndError(f"stdin: can't be read ({error.strerror or error})") from error


def _write(out: BinaryIO, line: str) -> None:
    try:
        out.write(line.encode() + b"\n")
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"stdout: can't be written ({error.strerror or error}). Make room, and feed the rows "
            "again from the one that the state stops at"
        ) from error


class _Lines:
    """What each line is answered with."""

    def __init__(self, stream: Stream, has_header: bool | None):
        self.stream, self.has_header = stream, has_header
        self.number = self.rows = 0
        self.format: Format | None = None
        self.result = np.empty(stream.output_size, stream.dtype)
        self.limit = LINE_LIMIT + 1024 * stream.input_size
        self.last_reason = ""

    def answer(self, line: bytes, complain: Callable[[str], None]) -> str:
        """The line that is written for a line."""
        self.number += 1
        s = self.stream
        try:
            text = self._text(line)
            if self.format is None:
                begun = format_of(text, s.inputs, s.targets, s.group, self.has_header)
                self.format = begun.format
                if begun.remark:
                    complain(f"line {self.number}: {begun.remark}")
                if begun.is_header:
                    return self.format.header()
            s.step(np.asarray(self.format.read(text)), self.result)
            self.format.take()
        except HeaderError as error:
            raise _EndError(f"line {self.number}: {error}") from error
        except (LineError, InputError) as error:  # the latter of a number too large for the network
            self.last_reason = f"line {self.number}: {clip(error, 400)}"
            spoken = self.format or Csv(s.inputs, s.targets, s.group, None)
            written, words = spoken.refusal(self.number, str(error))
            if words is not None:
                complain(words)
            return written
        values = self.result.tolist()
        if not all(map(math.isfinite, values)):
            self._insist_on_finite()
        self.rows += 1
        return self.format.write(values, text)

    def insist_on_a_row(self) -> None:
        """That of the lines that came one was a row."""
        if self.last_reason and self.rows == 0:
            raise _EndError(
                f"stdin: no line was a row. The last was none because of {self.last_reason}"
            )

    def _insist_on_finite(self) -> None:
        """Of changes, the first row has no prediction, and leaves the network's states alone."""
        state = self.stream.state
        states = [array for name, array in state.items() if name not in ("last", "steps")]
        is_without = "last" in state and bool(np.isnan(self.result).all())
        if is_without and all(np.isfinite(array).all() for array in states):
            return
        raise InputError(
            f"line {self.number}: with this row the network's own numbers are no longer finite, "
            "and none after it would be. Its state is not saved: leave the row out, and feed the "
            "rows again from the one that the state stops at"
        )

    def _text(self, line: bytes) -> str:
        if len(line) > self.limit:
            raise LineError(f"the line has more than {self.limit} bytes")
        try:
            text = line.decode("utf-8").lstrip("\ufeff")
        except UnicodeDecodeError as error:
            raise LineError(f"no UTF-8 ({clip(error)})") from error
        if not text.strip():
            raise LineError("the line is empty")
        return text.strip("\r\n")  # other white space may be part of a name

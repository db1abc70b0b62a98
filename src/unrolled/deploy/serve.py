"""A stream between two pipes: a line in, a line out, and the state kept on disk."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unrolled.deploy.lines import Csv, Format, LineError, format_of
from unrolled.deploy.stream import Stream
from unrolled.errors import InputError


class _Stopped(BaseException):
    """A signal came while a line was waited for."""


class Waiting:
    """Turns SIGTERM and SIGINT into an orderly end: between two rows, never within one."""

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
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def line(self, source: BinaryIO) -> bytes:
        """The next line, b"" once there is none or a signal has come."""
        try:
            self._waits = True
            if self.is_stopped:
                return b""
            line = source.readline()
            self._waits = False
        except _Stopped:
            return b""
        finally:
            self._waits = False
        return line


def open_stream(run: Path, state: Path | None) -> tuple[Stream, bool]:
    """The stream of a run folder, and whether it goes on from the state in the file.

    Raises:
        InputError: the run can't be streamed, or the file holds another model's state.
    """
    stream = Stream(run)
    if state is None or not state.exists():
        if state is not None and not state.absolute().parent.is_dir():
            raise InputError(f"{state}: there is no folder {state.parent}. Make it first")
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
) -> None:
    """Reads rows until there are no more or a signal comes; writes each output as it is there.

    What is saved is never ahead of what has been written: a row's output is flushed first.

    Args:
        stream: of one row, from a run.
        source: lines, as bytes.
        out: where the outputs go, flushed after each.
        complain: told of bad lines where the format has no room for an error.
        state: the file that the state is saved to: every ``save_every`` rows, and at the end.
        save_every: rows from one saving to the next.
    """
    waiting = Waiting()
    lines = _Lines(stream)
    saved = 0
    with waiting.signals():
        while line := waiting.line(source):
            out.write(lines.answer(line, complain).encode() + b"\n")
            out.flush()
            if state is not None and lines.rows - saved >= save_every:
                stream.save(state)
                saved = lines.rows
        if state is not None:
            stream.save(state)


class _Lines:
    """What each line is answered with."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.number = self.rows = 0
        self.format: Format | None = None
        self.result = np.empty(stream.output_size, stream.dtype)

    def answer(self, line: bytes, complain: Callable[[str], None]) -> str:
        """The line that is written for a line."""
        self.number += 1
        s = self.stream
        try:
            text = _text(line)
            if self.format is None:
                self.format, is_header = format_of(text, s.inputs, s.targets, s.group)
                if is_header:
                    return self.format.header()
            s.step(np.asarray(self.format.read(text)), self.result)
        except LineError as error:
            spoken = self.format or Csv(s.inputs, s.targets, s.group, None)
            written, words = spoken.refusal(self.number, str(error))
            if words is not None:
                complain(words)
            return written
        self.rows += 1
        return self.format.write(self.result.tolist(), text)


def _text(line: bytes) -> str:
    try:
        text = line.decode("utf-8").lstrip("\ufeff").strip()
    except UnicodeDecodeError as error:
        raise LineError(f"no UTF-8 ({error})") from error
    if not text:
        raise LineError("the line is empty")
    return text

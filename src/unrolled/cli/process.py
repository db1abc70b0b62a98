"""What a command is to the shell: signals, exit codes, and one line for all that goes wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import typer.core

from unrolled.errors import DivergedError, InputError, visible
from unrolled.signals import ending

NOTHING_KEPT = "interrupted: nothing was kept"
"""What is said where half of the work is none."""

received: list[int] = []
"""The signals that have come to this command, in their order."""


class Interrupted(Exception):  # noqa: N818 - it is none
    """A signal ended the command; the message says what became of the work."""


class Commands(typer.core.TyperGroup):
    """Brings what ends a command past typer, which would end the process without a word."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Reads the arguments."""
        with _past_typer():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        with _past_typer():
            return super().invoke(ctx)


@contextmanager
def _past_typer() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(str(error) or "interrupted") from error
    except BrokenPipeError as error:
        raise OutputGone from error


class OutputGone(Exception):  # noqa: N818 - it is none
    """Nobody reads any more what is printed."""


def exit_code() -> int:
    """As shells have it for a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (received[0] if received else signal.SIGINT)


def run_command(app: Callable[..., Any]) -> NoReturn:
    """Runs the command and ends the process.

    What a user can mend is one line on stderr and exit code 2; a training that came to nothing has
    exit code 1, a signal 128 and its number.
    """
    with _signals():
        code = _code_of(app)
    sys.exit(code)


def _code_of(app: Callable[..., Any]) -> int:
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (BrokenPipeError, OutputGone):
        _forget_output()
        return 1
    except (Exception, KeyboardInterrupt) as error:
        told = _told_by_us(error) or _told_by_others(error)
        if told is None:
            raise
        return _complain(*told)
    return code if isinstance(code, int) else 0


def _told_by_us(error: BaseException) -> tuple[str, int] | None:
    if isinstance(error, InputError):
        return f"error: {error}", 2
    if isinstance(error, DivergedError):
        return f"error: training stopped: {error}", 1
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return str(error) or "interrupted", exit_code()
    if received:  # it came where a library made another error of it
        return "interrupted", exit_code()
    return None


def _told_by_others(error: BaseException) -> tuple[str, int] | None:
    if isinstance(error, OSError):
        _forget_output()
        name = error.filename or "standard output"
        return f"error: {name}: {error.strerror or error}", 2
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        words = " ".join(str(error).split())[-160:] or "it ran out"
        return f"error: the memory is too small ({words}). Lower the sizes", 2
    if hasattr(error, "format_message"):  # typer's: a flag or a word that there is not
        return f"error: {error.format_message().rstrip('.?')}. For help: {_help(error)}", 2
    return None


def _complain(message: str, code: int) -> int:
    # What else is white may be part of a name.
    say(" ".join(filter(None, map(str.strip, message.split("\n")))))
    return code


def say(words: str) -> None:
    """A line on stderr, if somebody reads it; the terminal obeys no name in it."""
    if sys.stderr is not None:  # which print would take for stdout
        with suppress(OSError):
            print(f"unrolled: {visible(words)}", file=sys.stderr, flush=True)


def _help(error: Any) -> str:
    """The command that prints the help of the command that is meant."""
    context = getattr(error, "ctx", None)
    words = [context.info_name] if context is not None and context.parent is not None else []
    return " ".join(["unrolled", *words, "--help"])


def _forget_output() -> None:
    """What is not yet written stays so: Python would try once more when it ends, and complain."""
    if sys.stdout is None:
        return
    with suppress(OSError, ValueError):  # no file behind it, in a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _signals() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP what Ctrl-C is, and remembers which it was."""
    received.clear()
    numbers = ending()
    try:
        before = [signal.signal(number, _on_signal) for number in numbers]
    except ValueError:  # not the main thread's to say
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _on_signal(number: int, _: FrameType | None) -> None:
    received.append(number)
    if number not in (signal.SIGINT, signal.SIGTERM):
        _forget_terminal()
    raise KeyboardInterrupt


def _forget_terminal() -> None:
    """Where the terminal is gone, what is printed goes nowhere.

    It would be an error, and the progress bar's would end the command before its work is saved.
    """
    for pipe in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or no file behind it
            descriptor = pipe.fileno()
            try:
                os.write(descriptor, b"")
            except OSError:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)

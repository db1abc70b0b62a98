"""What the commands share on the screen: the progress bar and the messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from unrolled.errors import visible
from unrolled.learn.loop import History


class _Plain(Console):
    """A console on which no column's or folder's name is markup, or a command to the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does, with what can't be seen escaped."""
        super().print(
            *(visible(each, keep="\n") if isinstance(each, str) else each for each in objects),
            **options,
        )


screen = _Plain(markup=False, emoji=False, highlight=False)
notes = _Plain(stderr=True, markup=False, emoji=False, highlight=False)


@contextmanager
def progress(label: str, epochs: int, unit: str = "epochs") -> Iterator[Callable[[History], None]]:
    """A bar over the epochs with the errors of the last one; yields what ``fit`` calls."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("{task.fields[errors]}"),
        console=notes,
    )
    with bar:
        task = bar.add_task(label, total=epochs, errors="")

        def show(history: History) -> None:
            errors = f"training {history.train[-1]:.2e}, validation {history.validation[-1]:.2e}"
            bar.update(task, completed=len(history.validation), errors=errors)

        yield show

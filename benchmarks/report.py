"""What the scripts share on the command line and on the screen."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from statistics import geometric_mean
from typing import Annotated, Literal, TypeVar

import torch
import typer
from rich.console import Console
from rich.table import Table

import unrolled
from shapes import Shape
from timing import Times
from unrolled.scan import native

Row = TypeVar("Row")

Only = Annotated[str, typer.Option(help="Only shapes whose row contains this.")]
Pairs = Annotated[int, typer.Option(min=1, help="Pairs of runs for each row.")]
Threads = Annotated[list[int] | None, typer.Option(help="Repeat for several [1 2].")]


def wide_console() -> Console:
    console = Console()
    console.width = max(console.width, 150)  # a pipe has 80, too few for the tables
    return console


def table(title: str, words: Iterable[str], numbers: Iterable[str]) -> Table:
    """An empty table: columns of words to the left, of numbers to the right."""
    made = Table(title=title)
    for heading in words:
        made.add_column(heading, no_wrap=True)
    for heading in numbers:
        made.add_column(heading, no_wrap=True, justify="right")
    return made


def name_cells(shape: Shape, threads: int) -> tuple[str, ...]:
    """The cells that say which row it is: module, shape, dtype, threads."""
    return shape.module, str(shape), str(shape.dtype).split(".")[1], str(threads)


def time_cells(times: Times) -> tuple[str, ...]:
    """The cells of a comparison: microseconds of theirs, of ours, and the ratio."""
    return f"{times.theirs * 1e6:,.0f}", f"{times.ours * 1e6:,.0f}", f"{times.ratio:.2f}"


def measured(
    console: Console,
    shapes: Iterable[Shape],
    threads: Sequence[int] | None,
    measure: Callable[[Shape, int], list[Row]],
) -> list[Row]:
    """The rows of all shapes on so many threads each, 1 and 2 if None is said."""
    rows: list[Row] = []
    for shape in shapes:
        for count in threads or [1, 2]:
            with console.status(f"{shape.module} {shape}"):
                rows += measure(shape, count)
    return rows


def summary(
    what: str,
    ratios: Sequence[tuple[float, Shape, int]],
    worst: Literal["least", "most"] = "least",
) -> str:
    """Geometric mean and the worst of the ratios, which come with shape and threads."""
    mean = geometric_mean(row[0] for row in ratios)
    pick = min if worst == "least" else max
    ratio, shape, threads = pick(ratios, key=lambda row: row[0])
    return (
        f"{what}: geometric mean {mean:.2f}, "
        f"{worst} {ratio:.2f} ({shape.module} {shape}, {threads} threads)"
    )


def versions(*more: str) -> str:
    """What it was measured with."""
    isa = native.isas()[native.isa()] if native.is_built() else "no compiled core"
    return ", ".join(
        [
            f"unrolled {unrolled.__version__} ({isa})",
            f"torch {torch.__version__}",
            *more,
            f"Python {platform.python_version()}",
            platform.machine(),
        ]
    )

"""Time against steps, from 100 to a million: python benchmarks/linear.py, and --help for more.

How to read the tables: ``µs/step`` is the median time of some runs divided by the steps, and
``further`` what each step beyond those of the row above costs, (this time - that time) / (these
steps - those steps). Where the cost is linear ``further`` is the same down the rows of a module,
and ``µs/step`` comes down to it as the fixed cost of a call is shared by more steps. ``forward`` is
in inference mode, ``step`` a training step: forward, and backward to every weight.

The first table has one sequence of T steps. From 100,000 on the training step keeps only one state
in 1,000 and recomputes the others (``recompute_every``), which costs a second forward pass, so that
a million steps don't need gigabytes; where a module can't do that, its training ends there. The
line below gives the exponent p of the time's best fit c·T^p from 1,000 steps on: 1 is linear.

The second table has a ragged batch of always the same padded shape, its longest row ever longer:
all its steps are the sum of the lengths. The fixed cost is that of the padded output, whose zeros
have to be written; the steps that are padding cost nothing else.

With --out both are drawn. The first has logarithmic axes, on which a linear cost is a line of slope
1, like the grey ones; the second, with its fixed cost, has plain ones, and the grey lines go
straight from the first point to the last. Times are of this package alone, on one thread unless
--threads says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from statistics import linear_regression, median
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from torch import nn

import unrolled.nn
from contenders import Contender
from report import table, versions, wide_console
from timing import repeats, seconds

MODULES = ("LSTM", "GRU")
HIDDEN = 64
LONG = 100_000  # steps from which a training step recomputes
RECOMPUTE_EVERY = 1000
RECOMPUTES = hasattr(unrolled.nn.LSTM, "recompute_every")
ROWS, PADDED = 64, 1000  # of the ragged batch
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the padded steps that the longest row has
# Okabe & Ito's palette: told apart with any colour vision.
COLORS = {"LSTM": "#0072B2", "GRU": "#D55E00"}
STYLES = {"forward": "-", "step": "--"}


@dataclass(frozen=True)
class Point:
    """Seconds of a call that goes through that many steps in all."""

    module: str
    what: str
    steps: int
    recomputes: bool
    took: float


def timed(contender: Contender, what: str, runs: int) -> float:
    work: Callable[[], object] = getattr(contender, what)
    often = repeats(work, calls=1)
    return median(seconds(work, often) for _ in range(runs))


def one_sequence(longest: int, runs: int) -> Iterator[Point]:
    for module in MODULES:
        for what in STYLES:
            for exponent in range(2, len(str(longest))):
                steps = 10**exponent
                recomputes = what == "step" and steps >= LONG and RECOMPUTES
                if what == "step" and steps > LONG and not recomputes:
                    continue
                options = {"recompute_every": RECOMPUTE_EVERY} if recomputes else {}
                made = getattr(unrolled.nn, module)(1, HIDDEN, **options)
                contender = Contender(made, torch.randn(steps, 1, 1), nn.Module.__call__)
                yield Point(module, what, steps, recomputes, timed(contender, what, runs))


def ragged(longest: int, runs: int) -> Iterator[Point]:
    padded = min(PADDED, longest)
    x = torch.randn(padded, ROWS, 1)
    for module in MODULES:
        made = getattr(unrolled.nn, module)(1, HIDDEN)
        for what in STYLES:
            for share in SHARES:
                # As in the grid: uniform from a quarter of the longest, in no order.
                spread = torch.linspace(0.25, 1, ROWS)[torch.randperm(ROWS)]
                lengths = (spread * share * padded).ceil().long()
                contender = Contender(made, x, partial(nn.Module.__call__, lengths=lengths))
                took = timed(contender, what, runs)
                yield Point(module, what, int(lengths.sum()), False, took)


def lines(points: list[Point]) -> list[list[Point]]:
    """The points of each module and kind of call, in the order they came."""
    return [list(of_one) for _, of_one in groupby(points, key=lambda p: (p.module, p.what))]


def exponents(points: list[Point]) -> str:
    found = []
    for line in lines(points):
        far = [point for point in line if point.steps >= 1000]
        if len(far) > 1:
            logs = np.log([[point.steps, point.took] for point in far])
            slope = linear_regression(*logs.T.tolist()).slope
            found.append(f"{far[0].module} {far[0].what} {slope:.2f}")
    return f"exponent: {', '.join(found) or 'too few rows'}"


def show(console: Console, title: str, steps: str, points: list[Point]) -> None:
    numbers = (steps, "ms", "µs/step", "further")
    result = table(title, ("module", "what", "recomputes"), numbers)
    for line in lines(points):
        further = [
            f"{(b.took - a.took) / (b.steps - a.steps) * 1e6:.3f}" for a, b in pairwise(line)
        ]
        for point, beyond in zip(line, ["", *further], strict=True):
            result.add_row(
                point.module,
                point.what,
                f"every {RECOMPUTE_EVERY:,}" if point.recomputes else "",
                f"{point.steps:,}",
                f"{point.took * 1e3:,.2f}",
                f"{point.took / point.steps * 1e6:.3f}",
                beyond,
            )
    console.print(result)


def draw_lines(ax: Axes, points: list[Point]) -> None:
    for line in lines(points):
        steps, took = [point.steps for point in line], [point.took for point in line]
        module, what = line[0].module, line[0].what
        label = f"{module}, {'training step' if what == 'step' else 'forward'}"
        ax.plot(steps, took, STYLES[what], color=COLORS[module], marker="o", ms=4, label=label)
    ax.set_ylabel("seconds")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)


def draw(path: Path, single: list[Point], batches: list[Point], padded: str) -> None:
    """A PNG of time against steps, one panel for each table."""
    figure = Figure(figsize=(9.0, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    draw_lines(left, single)
    left.set(xscale="log", yscale="log", xlabel="steps of one sequence")
    left.legend(frameon=False)
    draw_lines(right, batches)
    right.set(xlim=(0, None), ylim=(0, None), xlabel=f"sum of the lengths, {padded}")
    right.xaxis.set_major_locator(MaxNLocator(5))
    grey = {"color": "0.6", "lw": 0.8, "zorder": 0}
    for line in lines(single):
        first, last = line[0], line[-1]
        left.plot(
            [first.steps, last.steps], [last.took * first.steps / last.steps, last.took], **grey
        )
    for line in lines(batches):
        right.plot([line[0].steps, line[-1].steps], [line[0].took, line[-1].took], **grey)
    figure.savefig(path)


def main(
    longest: Annotated[int, typer.Option(min=100, help="Steps of the longest sequence.")] = 10**6,
    threads: Annotated[int, typer.Option(min=1, help="On how many.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs for each row.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Where to draw it, a PNG (nowhere).")] = None,
) -> None:
    torch.set_num_threads(threads)
    console = wide_console()
    with console.status("one sequence"):
        single = list(one_sequence(longest, runs))
    show(console, f"One sequence, I1 H{HIDDEN}", "T", single)
    console.print(exponents(single))
    with console.status("ragged batches"):
        batches = list(ragged(longest, runs))
    padded = f"T{min(PADDED, longest)}"
    show(console, f"Ragged, I1 H{HIDDEN} B{ROWS} {padded}", "sum of lengths", batches)
    if out:
        draw(out, single, batches, f"B{ROWS} {padded}")
    console.print(versions(f"{threads} threads", f"{runs} runs"))


if __name__ == "__main__":
    typer.run(main)

"""What recording costs over a training forward: python benchmarks/recording.py, and --help.

How to read the table: ``recorded/plain`` is the time of ``unrolled.record(module, x)`` as a share
of that of ``module(x)`` in training, which keeps the same numbers for the backward pass; 1.10 is
ten percent more. The median over pairs of runs in one process, as in modules.py, on the dense rows
of the grid. A call costs some 0.1 ms whatever its size: finding the modules, hooks, the trace.
"""

from __future__ import annotations

import torch
import typer

import unrolled
from contenders import contenders
from report import (
    Only,
    Pairs,
    Threads,
    name_cells,
    summary,
    table,
    time_cells,
    versions,
    wide_console,
)
from shapes import DENSE, SEQUENCES, Shape, chosen
from timing import Times, timed_pairs


def measure(shape: Shape, threads: int, pairs: int) -> Times:
    """Recording as "theirs", the plain forward pass as "ours"."""
    torch.set_num_threads(threads)
    ours, _ = contenders(shape)
    return timed_pairs(
        lambda: ours.module(ours.input), lambda: unrolled.record(ours.module, ours.input), pairs
    )


def main(threads: Threads = None, pairs: Pairs = 5, only: Only = "") -> None:
    console = wide_console()
    made = table(
        "Recording against a training forward",
        ("module", "shape", "dtype", "threads"),
        ("recorded µs", "plain µs", "recorded/plain"),
    )
    ratios: list[tuple[float, Shape, int]] = []
    for shape in chosen(only, [Shape(name, *sizes) for name in SEQUENCES for sizes in DENSE]):
        for count in threads or [1, 2]:
            with console.status(f"{shape.module} {shape}"):
                times = measure(shape, count, pairs)
            ratios.append((times.ratio, shape, count))
            made.add_row(*name_cells(shape, count), *time_cells(times))
    console.print(made)
    console.print(summary("recorded/plain", ratios, worst="most"), markup=False)
    console.print(versions(f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

"""Our modules against torch's: python benchmarks/modules.py, and --help for its options.

How to read the table: ``torch/ours`` above 1 means that ours is faster, below 1 that it is slower.
It is the median over pairs of runs, ours and right after it torch's, in one process: what slows
the machine down for a while slows both, and the ratio stays. The microseconds are medians too;
they differ between machines and days, so compare ratios, and measure on a machine that has nothing
else to do. ``forward`` is in inference mode; ``step`` is a training step: forward, and backward to
every weight. ``GFLOP/s`` counts the products alone, two operations for a multiply-add, three
products for a step; ``of peak`` is its share of what this machine's multiply-adds do in registers,
measured before the table on one thread and multiplied by the threads.

A ragged batch is given to ours with ``lengths`` and to torch's by the three calls that this
replaces: pack, module, pad.

Outputs and gradients are compared before anything is timed; if they differ the script ends there
with exit code 1.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import torch
import typer
from torch import Tensor

from contenders import Contender, contenders, insist_on_agreement
from report import (
    Only,
    Pairs,
    Threads,
    measured,
    name_cells,
    summary,
    table,
    time_cells,
    versions,
    wide_console,
)
from shapes import Shape, chosen
from timing import Times, timed_pairs
from unrolled.scan import native


def peak(dtype: torch.dtype) -> float:
    """Operations a second that this machine's multiply-adds do in registers, on one thread."""
    core = native._core  # type: ignore[attr-defined]  # imported there, not exported
    busy = core.busy_f32 if dtype == torch.float32 else core.busy_f64
    rounds, best = 2_000_000, 0.0
    for _ in range(5):
        start = time.perf_counter()
        done = busy(native.isa(), "whole", rounds)
        best = max(best, 2 * done / (time.perf_counter() - start))
    return best


@dataclass(frozen=True)
class Row:
    """What was measured of one shape."""

    shape: Shape
    what: str
    threads: int
    times: Times

    def cells(self, peaks: dict[torch.dtype, float]) -> tuple[str, ...]:
        operations = self.shape.operations() * (3 if self.what == "step" else 1)
        speed = operations / self.times.ours
        return (
            *name_cells(self.shape, self.threads),
            self.what,
            *time_cells(self.times),
            f"{speed / 1e9:.1f}",
            f"{speed / (self.threads * peaks[self.shape.dtype]):.0%}" if peaks else "",
        )


def seeded_step(contender: Contender) -> list[Tensor]:
    """Both draw the same dropout masks."""
    torch.manual_seed(0)
    return contender.step()


def measure(shape: Shape, threads: int, pairs: int) -> list[Row]:
    """One shape, forward and training step."""
    torch.set_num_threads(threads)
    ours, theirs = contenders(shape)
    insist_on_agreement(shape, seeded_step(ours), seeded_step(theirs))
    return [
        Row(shape, what, threads, timed_pairs(getattr(ours, what), getattr(theirs, what), pairs))
        for what in ("forward", "step")
    ]


def main(threads: Threads = None, pairs: Pairs = 5, only: Only = "") -> None:
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    console = wide_console()
    shapes = chosen(only)
    peaks = {d: peak(d) for d in (torch.float32, torch.float64)} if native.is_built() else {}
    rows = measured(console, shapes, threads, lambda shape, count: measure(shape, count, pairs))
    result = table(
        "Our modules against torch's",
        ("module", "shape", "dtype", "threads", "what"),
        ("torch µs", "ours µs", "torch/ours", "GFLOP/s", "of peak"),
    )
    for row in rows:
        result.add_row(*row.cells(peaks))
    console.print(result)
    for what in ("forward", "step"):  # of sequences: cells would outweigh them
        of_it = [(r.times.ratio, r.shape, r.threads) for r in rows if r.what == what]
        if sequences := [row for row in of_it if row[1].steps]:
            console.print(summary(what, sequences), markup=False)
    if peaks:
        found = ", ".join(f"{str(d)[6:]} {p / 1e9:.0f} GFLOP/s" for d, p in peaks.items())
        console.print(f"peak of a thread: {found}")
    console.print(versions(f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

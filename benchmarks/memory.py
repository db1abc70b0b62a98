"""Peak memory of a training step, ours against torch's: python benchmarks/memory.py, and --help.

How to read the table: the MiB are how far the resident memory of a process rises, at its highest,
above where it stood right before the step: forward and backward to every weight, with outputs and
gradients alive at the end. ``ours/torch`` below 1 means that ours takes less. Weights and input
stand before the step and don't count; what the step keeps for the next one does. Where both take
next to nothing, the ratio says next to nothing: the kernel counts to some 0.1 MiB, and a step of a
small module takes about that much.

Each figure comes from a process of its own, forked from one that has imported the modules and run
nothing, after a step of a tiny module of the same kind has loaded what is loaded at first use.
Pages of library files that the step is the first to touch don't count. Freed memory goes back to
the kernel at once, and there are no huge pages, so that what counts is what is in use. All figures
are from one thread unless --threads says otherwise. Linux only: the kernel keeps the mark.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from contenders import contenders
from report import Only, name_cells, summary, table, versions, wide_console
from shapes import Shape, chosen

PROCESS = Path("/proc/self")
# Read when a process starts: one arena, from 64 KiB on a mapping of its own that goes when it is
# freed, and the end of the heap goes back from 64 KiB on.
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
PR_SET_THP_DISABLE = 41  # linux/prctl.h
MIB = 1024.0  # of the KiB that the kernel counts in


def resident() -> dict[str, int]:
    """KiB of resident memory: now (VmRSS), at most (VmHWM), of files (RssFile)."""
    lines = (PROCESS / "status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM", "RssFile")}


def step_peak(shape: Shape, which: int, threads: int) -> float:
    """MiB that a training step of ours (0) or torch's (1) takes; to be called in a new process."""
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    torch.set_num_threads(threads)
    torch.manual_seed(0)  # the same lengths for both
    options = {**shape.options, **({"proj_size": 4} if "proj_size" in shape.options else {})}
    tiny = replace(shape, inputs=2, hidden=8, batch=2, steps=min(shape.steps, 4), options=options)
    contenders(tiny)[which].step()
    contender = contenders(shape)[which]
    gc.collect()
    libc.malloc_trim(0)
    before = resident()
    (PROCESS / "clear_refs").write_text("5")  # the mark falls to what is resident now
    alive = contender.step()
    after = resident()
    assert alive
    of_files = after["RssFile"] - before["RssFile"]
    return (after["VmHWM"] - before["VmRSS"] - of_files) / MIB


def measured(shape: Shape, which: int, threads: int, runs: int) -> float:
    """The median over that many processes."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "unrolled.nn"])
    found = []
    for _ in range(runs):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(step_peak, shape, which, threads).result())
    return median(found)


def main(
    threads: Annotated[int, typer.Option(min=1, help="Of each process.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Processes for each figure.")] = 1,
    only: Only = "",
) -> None:
    shapes = chosen(only)
    if not os.access(PROCESS / "clear_refs", os.W_OK):
        sys.exit("this needs Linux, and /proc/self/clear_refs to write to")
    os.environ.update(MALLOC)
    console = wide_console()
    result = table(
        "Peak memory of a training step",
        ("module", "shape", "dtype", "threads"),
        ("torch MiB", "ours MiB", "ours/torch"),
    )
    rows: list[tuple[float, Shape, int]] = []
    for shape in shapes:
        with console.status(f"{shape.module} {shape}"):
            ours, theirs = (measured(shape, which, threads, runs) for which in (0, 1))
        ratio = f"{ours / theirs:.2f}" if theirs > 0 else ""
        result.add_row(*name_cells(shape, threads), f"{theirs:,.2f}", f"{ours:,.2f}", ratio)
        if theirs >= 1:
            rows.append((ours / theirs, shape, threads))
    console.print(result)
    if rows:
        console.print(summary("where torch takes 1 MiB or more", rows, "most"), markup=False)
    console.print(versions(f"{runs} runs"))


if __name__ == "__main__":
    typer.run(main)

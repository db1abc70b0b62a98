"""A stream's steps of described cells: python benchmarks/stream_cells.py, and --help.

The first table has LSTM and GRU from their equations beside the built-in ones, one stream with one
input, in turn in one process: nanoseconds a step in the compiled stepper, the time of many steps in
one call divided by their number. ``more`` is the median of what the equations take longer in each
pair, ``ratio`` of how many times as long. Both give the same bits, or the script ends there with
exit code 1.

The second has every shipped cell with 32 units: a step in the stepper, one from Python
(``stream.step(x, out)``), and the module itself called a step at a time in inference mode, its
states handed on.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console

import unrolled
from loops import STEPS
from report import Only, Pairs, table, versions, wide_console
from stream import AT_ONCE, from_python, in_the_core
from timing import seconds
from unrolled import cells

BUILT_IN = ("LSTM", "GRU")
HIDDEN = (8, 16, 32, 64, 128)
ALL_AT = 32


def at_once(stream: unrolled.Stream, some: int = 50) -> int:
    """So many steps that a run of them is over before the machine turns to other work."""
    work = in_the_core(stream, some)
    each = min(seconds(work, 1) for _ in range(10)) / some
    return max(some, int(AT_ONCE * 1e-9 / each))


def both(name: str, hidden: int) -> tuple[unrolled.Stream, unrolled.Stream]:
    """The built-in module's stream, and that of its equations with the same weights."""
    built_in = getattr(unrolled, name)(1, hidden)
    written = unrolled.Recurrent(getattr(cells, name), 1, hidden).eval()
    written.load_state_dict(built_in.state_dict())
    return unrolled.Stream(built_in), unrolled.Stream(written)


def insist_on_the_same_bits(a: unrolled.Stream, b: unrolled.Stream) -> None:
    x = np.random.default_rng(0).normal(size=(100, 1)).astype(a.dtype)
    if not np.array_equal(a.step_many(x), b.step_many(x)):
        sys.exit(f"{b}: differs from {a}")


def overhead(name: str, hidden: int, pairs: int) -> tuple[float, ...]:
    """Medians: seconds a step of the built-in, of the equations, more, and the ratio."""
    built_in, written = both(name, hidden)
    insist_on_the_same_bits(built_in, written)
    steps = at_once(written)
    works = [in_the_core(stream, steps) for stream in (built_in, written)]
    rows = []
    for _ in range(pairs + 1):
        ours, theirs = (seconds(work, 1) / steps for work in works)
        rows.append((ours, theirs, theirs - ours, theirs / ours))
    return tuple(map(median, zip(*rows[1:], strict=True)))


class Module:
    """A module called a step at a time, as one does without a stream."""

    def __init__(self, module: unrolled.Recurrent, constants: dict[str, torch.Tensor]) -> None:
        self.module, self.constants = module, constants
        self.x, self.state = torch.full((1, 1, 1), 0.5), None

    def step(self) -> torch.Tensor:
        with torch.inference_mode():
            output, self.state = self.module(self.x, self.state, **self.constants)
        return output


def of_a_cell(name: str, pairs: int) -> tuple[float, ...]:
    """Medians, in seconds: a step in the core, from Python, and of the module."""
    cell = getattr(cells, name)
    sizes: dict[str, Any] = {f"{c.size}_size": 1 for c in cell().description.constants}
    module = unrolled.Recurrent(cell, 1, ALL_AT, **sizes).eval()
    constants = {c.name: torch.ones(1, 1) for c in module.cell.constants}
    held = {constant: values.numpy() for constant, values in constants.items()}
    stream, beside = unrolled.Stream(module, 1, held), Module(module, constants)
    steps = at_once(stream)
    core, python = in_the_core(stream, steps), from_python(stream, new=False)
    rows = []
    for _ in range(pairs + 1):
        beside.step()
        rows.append((seconds(core, 1) / steps, python(steps), seconds(beside.step, 5)))
    return tuple(map(median, zip(*rows[1:], strict=True)))


def in_nanoseconds(*times: float) -> list[str]:
    return [f"{time * 1e9:,.0f}" for time in times]


def main(pairs: Pairs = 51, only: Only = "") -> None:
    torch.set_num_threads(1)
    console: Console = wide_console()
    pairs_of = [(name, h) for name in BUILT_IN for h in HIDDEN if only in f"{name} I1 H{h} "]
    shipped = [name for name in STEPS if only in f"{name} I1 H{ALL_AT} "]
    if not pairs_of and not shipped:
        sys.exit(f"no cell contains {only!r}")
    if pairs_of:
        result = table("One step of one stream, in the core, nanoseconds", ("cell",),
                       ("built in", "equations", "more", "ratio"))  # fmt: skip
        for name, hidden in pairs_of:
            with console.status(f"{name} H{hidden}"):
                *times, ratio = overhead(name, hidden, pairs)
            result.add_row(f"{name} I1 H{hidden}", *in_nanoseconds(*times), f"{ratio:.2f}")
        console.print(result)
    if shipped:
        result = table("One step of each cell, nanoseconds", ("cell",),
                       ("core", "Python", "module", "module/Python"))  # fmt: skip
        for name in shipped:
            with console.status(name):
                core, python, module = of_a_cell(name, pairs)
            result.add_row(
                f"{name} I1 H{ALL_AT}", *in_nanoseconds(core, python, module),
                f"{module / python:.0f}",
            )  # fmt: skip
        console.print(result)
    console.print(versions(both("LSTM", 8)[1].backend, f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

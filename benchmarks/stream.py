"""A stream's steps against torch's and RTNeural's: python benchmarks/stream.py, and --help.

How to read the tables. The first has one stream with one input. ``core`` is a step inside the
compiled stepper, the time of many steps in one call divided by their number; ``Python`` a call of
``stream.step(x, out)``, ``new array`` one of ``stream.step(x)``. ``torch`` is torch.nn's module
called a step at a time in inference mode, its state handed on, on one thread; ``torch/Python``
above 1 means that the stream is faster.

RTNeural's figures were measured on another day, on a machine on which torch's matrix product ran at
99 GFLOP/s on a thread. ``of RTNeural`` is our median time x this machine's speed over their time x
that speed: at or below 1 ours takes no longer than RTNeural would here. The speed is the best of
many products all along the run. They are small ones, 256 x 256, over before the machine turns to
other work, so that such work makes ours look worse, not better.

The second table has B streams side by side, in the core: nanoseconds a step and stream.

The third is the distribution of single steps, each timed by itself: in the core, and from Python.
The clock's own cost is in each of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from torch import nn

import unrolled
from report import Pairs, table, versions, wide_console
from timing import Work, seconds
from unrolled import cells
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, save_run

RTNEURAL = {  # nanoseconds a step, one input: static sizes, Eigen
    ("LSTM", 8): 58,
    ("LSTM", 32): 201,
    ("LSTM", 64): 788,
    ("LSTM", 128): 2896,
    ("GRU", 32): 212,
    ("GRU", 64): 631,
}
SGEMM_THEN = 99e9  # of the machine and day of those
SIDE = 256
AT_ONCE = 300_000  # nanoseconds of steps in a row: over before the machine turns to other work
BATCHES = (1, 2, 4, 8, 16, 64, 256)
WATCHED = ("LSTM", 32)

Steps = Annotated[int, typer.Option(min=1, help="Single steps whose times are taken.")]
Only = Annotated[str, typer.Option(help="Only modules whose row contains this.")]


def module(name: str, hidden: int) -> nn.RNNBase:
    made: nn.RNNBase = getattr(unrolled, name)(1, hidden)
    return made.eval()


class Torch:
    """torch.nn's module on the same weights, called a step at a time."""

    def __init__(self, ours: nn.RNNBase):
        self.module = getattr(nn, ours.mode)(1, ours.hidden_size).eval()
        self.module.load_state_dict(ours.state_dict())
        self.x = torch.full((1, 1, 1), 0.5)
        self.state = None

    def step(self) -> torch.Tensor:
        with torch.inference_mode():
            output, self.state = self.module(self.x, self.state)
        return output


def in_the_core(stream: unrolled.Stream, steps: int) -> Work:
    """So many steps in one call."""
    x = np.random.default_rng(0).normal(size=(steps, stream.batch_size, 1)).astype(stream.dtype)
    y = np.empty((steps, stream.batch_size, stream.output_size), stream.dtype)
    many = stream._stepper.step_many
    return lambda: many(x, y)


def from_python(stream: unrolled.Stream, *, new: bool) -> Callable[[int], float]:
    """Seconds a step, over that many."""
    x = np.full(1, 0.5, stream.dtype)
    out = None if new else np.empty(stream.output_size, stream.dtype)

    def timed(steps: int) -> float:
        step = stream.step
        start = time.perf_counter()
        for _ in range(steps):
            step(x, out)
        return (time.perf_counter() - start) / steps

    return timed


def insist_on_agreement(stream: unrolled.Stream, theirs: Torch) -> None:
    for _ in range(20):
        ours, output = stream.step(0.5), theirs.step().numpy().ravel()
        if not np.allclose(ours, output, rtol=1e-5, atol=1e-6):
            sys.exit(f"{stream}: differs from torch by {abs(ours - output).max():.1e}")


def measure(name: str, hidden: int, pairs: int, speeds: list[float]) -> tuple[float, ...]:
    """Medians, the first five in seconds, and on the way the speeds of products.

    A step in the core, from Python, with a new array, of torch; what Python adds; torch/Python.
    """
    ours = module(name, hidden)
    stream, theirs = unrolled.Stream(ours), Torch(ours)
    insist_on_agreement(stream, theirs)
    steps = max(50, AT_ONCE // RTNEURAL[name, hidden])
    core = in_the_core(stream, steps)
    kept, new = from_python(stream, new=False), from_python(stream, new=True)
    a, b, c = torch.randn(3, SIDE, SIDE)
    rows = []
    for _ in range(pairs):
        speeds += [2 * SIDE**3 / seconds(lambda: torch.mm(a, b, out=c), 1) for _ in range(10)]
        theirs.step()
        of_torch = seconds(theirs.step, 5)
        core()
        of_core = seconds(core, 1) / steps
        of_kept, of_new = kept(steps), new(steps)
        rows.append((of_core, of_kept, of_new, of_torch, of_kept - of_core, of_torch / of_kept))
    return tuple(map(median, zip(*rows, strict=True)))


def side_by_side(name: str, hidden: int, pairs: int) -> list[str]:
    """Nanoseconds a step and stream, for each number of streams; alternating, medians."""
    works = []
    for batch in BATCHES:
        steps = max(1, AT_ONCE // (RTNEURAL[name, hidden] * batch))
        stream = unrolled.Stream(module(name, hidden), batch)
        works.append((in_the_core(stream, steps), steps * batch))
    times = [[seconds(work, 1) / count for work, count in works] for _ in range(pairs + 1)][1:]
    return [f"{median(column) * 1e9:,.0f}" for column in zip(*times, strict=True)]


def distribution(nanoseconds: np.ndarray) -> tuple[str, ...]:
    middle, most, nearly_all = np.percentile(nanoseconds, [50, 99, 99.9])
    return (*(f"{v:,.0f}" for v in (middle, most, nearly_all)), f"{nanoseconds.max():,}")


def timed_in_the_core(stream: unrolled.Stream, steps: int) -> np.ndarray:
    at_once = min(steps, 100_000)
    x = np.random.default_rng(0).normal(size=(at_once, 1, 1)).astype(stream.dtype)
    y = np.empty((at_once, 1, stream.output_size), stream.dtype)
    stepper: Any = stream._stepper  # the compiled one, which alone can time its own steps
    times = np.zeros(steps, np.int64)
    for begin in range(0, steps, at_once):
        some = times[begin : begin + at_once]
        stepper.step_timed(x[: len(some)], y[: len(some)], some)
    return times


def timed_from_python(stream: unrolled.Stream, steps: int) -> np.ndarray:
    x, out = np.full(1, 0.5, stream.dtype), np.empty(stream.output_size, stream.dtype)
    times = np.zeros(steps, np.int64)
    clock, step = time.perf_counter_ns, stream.step
    for i in range(steps):
        start = clock()
        step(x, out)
        times[i] = clock() - start
    return times


def clock_alone(steps: int = 100_000) -> float:
    clock = time.perf_counter_ns
    times = np.zeros(steps, np.int64)
    for i in range(steps):
        start = clock()
        times[i] = clock() - start
    return float(np.median(times))


def starting(pairs: int) -> str:
    """Processes that open a run folder, beside one that imports NumPy alone, alternating.

    The files are compiled before, as pip leaves them.
    """
    with tempfile.TemporaryDirectory() as folder:
        built_in, written = Path(folder) / "built_in", Path(folder) / "written"
        codes = [opening("lstm", built_in), opening(cells.PeepholeLSTM, written)]
        codes += ["import numpy", "pass"]
        environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        times = [[process(code, environment) for code in codes] for _ in range(pairs + 1)]
    of_each = [tuple(map(median, zip(*c, strict=True))) for c in zip(*times[1:], strict=True)]
    ours, described, of_numpy, of_python = (f"{w:.3f} s ({busy:.3f} s busy)" for w, busy in of_each)
    return (
        f"start-up: to a run's first output {ours}; of a cell that is written down {described}; "
        f"NumPy alone {of_numpy}; Python alone {of_python}"
    )


def opening(cell: Any, folder: Path) -> str:
    """Code that opens a run of this cell, which is written here, and takes a step."""
    network = Network(NetworkConfig(cell=cell, input_size=1, hidden_size=32, output_size=1))
    columns = TableConfig(inputs=["x"], targets=["y"], window=8)
    folder.mkdir()
    save_run(Run(network, columns, Scaler.identity(1), Scaler.identity(1)), folder)
    return f"from unrolled.deploy.stream import Stream; Stream({str(folder)!r}).step(0.5)"


def process(code: str, environment: dict[str, str]) -> tuple[float, float]:
    """The seconds of a process that runs this, and those in which it kept a core busy."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system
    return wall, busy - before.children_user - before.children_system


def main(pairs: Pairs = 51, steps: Steps = 10_000_000, only: Only = "") -> None:
    torch.set_num_threads(1)
    console: Console = wide_console()
    chosen = [case for case in RTNEURAL if only in f"{case[0]} H{case[1]} "]
    if not chosen:
        sys.exit(f"no module contains {only!r}")
    speeds: list[float] = []
    rows = []
    for name, hidden in chosen:
        with console.status(f"{name} H{hidden}"):
            rows.append(measure(name, hidden, pairs, speeds))
    result = table(
        "One step of one stream, nanoseconds",
        ("module",),
        ("core", "RTNeural", "of RTNeural", "Python", "new array", "torch", "Python - core",
         "torch/Python"),
    )  # fmt: skip
    for case, (core, kept, new, theirs, above, ratio) in zip(chosen, rows, strict=True):
        share = core * max(speeds) / (RTNEURAL[case] * 1e-9 * SGEMM_THEN)
        times = (f"{seconds_ * 1e9:,.0f}" for seconds_ in (kept, new, theirs, above))
        result.add_row(
            f"{case[0]} I1 H{case[1]}", f"{core * 1e9:,.0f}", f"{RTNEURAL[case]:,}",
            f"{share:.2f}", *times, f"{ratio:.0f}",
        )  # fmt: skip
    console.print(result)

    result = table("B streams at once, in the core: ns a step and stream", ("module",),
                   [f"B{batch}" for batch in BATCHES])  # fmt: skip
    for name, hidden in chosen:
        result.add_row(f"{name} I1 H{hidden}", *side_by_side(name, hidden, pairs))
    console.print(result)

    if WATCHED in chosen:
        result = table(f"{steps:,} single steps, nanoseconds", ("module", "where"),
                       ("p50", "p99", "p99.9", "worst"))  # fmt: skip
        stream = unrolled.Stream(module(*WATCHED))
        for where, timed in (("core", timed_in_the_core), ("Python", timed_from_python)):
            with console.status(f"{steps:,} steps, {where}"):
                row = distribution(timed(stream, steps))
            result.add_row(f"{WATCHED[0]} I1 H{WATCHED[1]}", where, *row)
        console.print(result)
        console.print(f"the clock alone, from Python: {clock_alone():.0f} ns")
    console.print(
        f"sgemm {SIDE}³ on one thread: best {max(speeds) / 1e9:.0f} GFLOP/s, "
        f"median {median(speeds) / 1e9:.0f}"
    )
    console.print(starting(min(pairs, 9)))
    console.print(versions(unrolled.Stream(module("LSTM", 8)).backend, f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

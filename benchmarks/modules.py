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

import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import geometric_mean, median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
import unrolled.nn
from unrolled.scan import native

Work = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """One case: a module with I inputs and H hidden units on B sequences of T steps.

    ``steps`` is 0 for a cell, which takes one step. The lengths are uniform from ``least`` to 1
    of the steps; below 1 the batch is ragged.
    """

    module: str
    inputs: int
    hidden: int
    batch: int
    steps: int = 0
    least: float = 1.0
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"I{self.inputs}", f"H{self.hidden}", f"B{self.batch}"]
        parts += [f"T{self.steps}"] if self.steps else []
        parts += ["ragged"] if self.least < 1 else []
        parts += [WORDS[name].format(value) for name, value in self.options.items()]
        return " ".join(parts)

    def lengths(self) -> Tensor:
        """Lengths [B] in no order, the longest of all the steps."""
        lengths = torch.linspace(self.least, 1, self.batch).mul(self.steps).ceil().long()
        return lengths[torch.randperm(self.batch)]

    def operations(self) -> float:
        """Floating-point operations of the products in a forward pass."""
        gates = {"R": 1, "L": 4, "G": 3}[self.module[0]]
        directions = 2 if self.options.get("bidirectional") else 1
        state = self.options.get("proj_size", self.hidden)
        inputs = [self.inputs, *[directions * state] * (self.options.get("num_layers", 1) - 1)]
        of_a_step = sum(gates * self.hidden * (read + state) for read in inputs)
        of_a_step += len(inputs) * self.options.get("proj_size", 0) * self.hidden
        share = (self.least + 1) / 2
        return 2.0 * directions * of_a_step * share * self.batch * max(self.steps, 1)


WORDS = {
    "num_layers": "L{}",
    "proj_size": "P{}",
    "bidirectional": "bidirectional",
    "dropout": "dropout {}",
}

# More come here.
SEQUENCES, CELLS = ("LSTM", "GRU", "RNN"), ("LSTMCell", "GRUCell", "RNNCell")
DENSE = [  # I, H, B, T
    (1, 32, 1, 1),
    (1, 32, 1, 100),
    (1, 32, 32, 10),
    (1, 32, 32, 100),
    (32, 128, 1, 100),
    (32, 128, 32, 100),
    (64, 64, 256, 50),
    (64, 256, 64, 100),
    (64, 512, 16, 50),
    (128, 512, 64, 50),
]
RAGGED = [(12, 64, 32, 29), (32, 128, 64, 200)]
STACK = {"num_layers": 2, "dropout": 0.2, "bidirectional": True}
LARGE = (32, 128, 32, 100)
SHAPES = [
    *(Shape(name, *sizes) for name in SEQUENCES for sizes in DENSE),
    *(Shape(name, *sizes, least=0.25) for name in SEQUENCES for sizes in RAGGED),
    *(Shape(name, *LARGE, options=STACK) for name in SEQUENCES),
    *(Shape(name, *LARGE, dtype=torch.float64) for name in SEQUENCES),
    Shape("LSTM", *LARGE, options={"proj_size": 64}),
    *(Shape(name, 1, 32, 1) for name in CELLS),
]


@dataclass
class Contender:
    """One module and the call that is measured."""

    module: nn.Module
    input: Tensor
    call: Callable[[nn.Module, Tensor], Any]

    def forward(self) -> list[Tensor]:
        with torch.inference_mode():
            return tensors(self.call(self.module, self.input))

    def step(self) -> list[Tensor]:
        outputs = tensors(self.call(self.module, self.input))
        gradients = torch.autograd.grad(outputs[0].sum(), [*self.module.parameters()])
        return [*outputs, *gradients]


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, in order."""
    return [value] if isinstance(value, Tensor) else [t for item in value for t in tensors(item)]


def contenders(shape: Shape) -> tuple[Contender, Contender]:
    """Ours and torch's, with the same weights, input and lengths."""
    options = {**shape.options, "dtype": shape.dtype}
    theirs = getattr(nn, shape.module)(shape.inputs, shape.hidden, **options)
    ours = getattr(unrolled.nn, shape.module)(shape.inputs, shape.hidden, **options)
    ours.load_state_dict(theirs.state_dict())
    sizes = (shape.steps, shape.batch) if shape.steps else (shape.batch,)
    x = torch.randn(*sizes, shape.inputs, dtype=shape.dtype)
    if shape.least == 1:
        return Contender(ours, x, nn.Module.__call__), Contender(theirs, x, nn.Module.__call__)
    lengths = shape.lengths()

    def by_lengths(module: nn.Module, x: Tensor) -> Any:
        return module(x, lengths=lengths)

    def by_packing(module: nn.Module, x: Tensor) -> Any:
        output, last = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=shape.steps)[0], last

    return Contender(ours, x, by_lengths), Contender(theirs, x, by_packing)


def disagreement(ours: Contender, theirs: Contender) -> float:
    """The largest difference of an output or gradient, as a share of that tensor's largest entry.

    Both draw the same dropout masks.
    """
    found = []
    for contender in (ours, theirs):
        torch.manual_seed(0)
        found.append(contender.step())
    shares = [
        ((our - their).abs().max() / their.abs().max().clamp(min=1)).item()
        for our, their in zip(*found, strict=True)
    ]
    return float(max(shares))


def seconds(work: Work, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def timed_pairs(ours: Work, theirs: Work, pairs: int) -> list[tuple[float, float]]:
    """Seconds a call of ours and of torch's, alternating; short calls are repeated to 5 ms."""
    repeats = [max(1, round(0.005 / seconds(work, 2))) for work in (ours, theirs)]
    return [(seconds(ours, repeats[0]), seconds(theirs, repeats[1])) for _ in range(pairs)]


def peak(dtype: torch.dtype) -> float:
    """Operations a second that this machine's multiply-adds do in registers, on one thread."""
    busy = native._core.busy_f32 if dtype == torch.float32 else native._core.busy_f64
    rounds, best = 2_000_000, 0.0
    for _ in range(5):
        start = time.perf_counter()
        done = busy(native.isa(), rounds)
        best = max(best, 2 * done / (time.perf_counter() - start))
    return best


@dataclass(frozen=True)
class Row:
    """What was measured of one shape: seconds of torch's and ours, and the ratio."""

    shape: Shape
    what: str
    threads: int
    theirs: float
    ours: float
    ratio: float

    def cells(self, peaks: dict[torch.dtype, float]) -> tuple[str, ...]:
        shape = self.shape
        speed = shape.operations() * (3 if self.what == "step" else 1) / self.ours
        return (
            shape.module,
            str(shape),
            str(shape.dtype).split(".")[1],
            str(self.threads),
            self.what,
            f"{self.theirs * 1e6:,.0f}",
            f"{self.ours * 1e6:,.0f}",
            f"{self.ratio:.2f}",
            f"{speed / 1e9:.1f}",
            f"{speed / (self.threads * peaks[shape.dtype]):.0%}" if peaks else "",
        )


def measure(shape: Shape, threads: int, pairs: int) -> list[Row]:
    """One shape, forward and training step."""
    torch.set_num_threads(threads)
    ours, theirs = contenders(shape)
    worst, allowed = disagreement(ours, theirs), 1e-4 if shape.dtype == torch.float32 else 1e-10
    if not worst <= allowed:
        sys.exit(f"{shape.module} {shape}: ours and torch's differ by {worst:.1e}, over {allowed}")
    found = []
    for what in ("forward", "step"):
        times = timed_pairs(getattr(ours, what), getattr(theirs, what), pairs)
        our_time, their_time = (median(column) for column in zip(*times, strict=True))
        ratio = median(theirs_took / ours_took for ours_took, theirs_took in times)
        found.append(Row(shape, what, threads, their_time, our_time, ratio))
    return found


def summary(rows: list[Row]) -> list[str]:
    """Geometric mean and least ratio, of sequences alone."""
    lines = []
    for what in ("forward", "step"):
        chosen = [row for row in rows if row.what == what and row.shape.steps]
        if chosen:
            least = min(chosen, key=lambda row: row.ratio)
            lines.append(
                f"{what}: geometric mean {geometric_mean(row.ratio for row in chosen):.2f}, least "
                f"{least.ratio:.2f} ({least.shape.module} {least.shape}, {least.threads} threads)"
            )
    return lines


def main(
    threads: Annotated[list[int] | None, typer.Option(help="Repeat for several [1 2].")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs for each row.")] = 5,
    only: Annotated[str, typer.Option(help="Only shapes whose row contains this.")] = "",
) -> None:
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    console = Console()
    console.width = max(console.width, 140)  # a pipe has 80, too few for the table
    table = Table(title="Our modules against torch's")
    for heading in ("module", "shape", "dtype", "threads", "what"):
        table.add_column(heading, no_wrap=True)
    for heading in ("torch µs", "ours µs", "torch/ours", "GFLOP/s", "of peak"):
        table.add_column(heading, no_wrap=True, justify="right")
    chosen = [shape for shape in SHAPES if only in f"{shape.module} {shape} {shape.dtype}"]
    if not chosen:
        sys.exit(f"no shape contains {only!r}")
    peaks = {d: peak(d) for d in (torch.float32, torch.float64)} if native.is_built() else {}
    rows: list[Row] = []
    for shape in chosen:
        for count in threads or [1, 2]:
            with console.status(f"{shape.module} {shape}"):
                rows += measure(shape, count, pairs)
    for row in rows:
        table.add_row(*row.cells(peaks))
    console.print(table)
    for line in summary(rows):
        console.print(line, markup=False)
    isa = native.isas()[native.isa()] if native.is_built() else "no compiled core"
    at_peak = ", ".join(f"{str(d)[6:]} {p / 1e9:.0f} GFLOP/s" for d, p in peaks.items())
    console.print(
        f"unrolled {unrolled.__version__} ({isa}; peak of a thread: {at_peak}), "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{pairs} pairs"
    )


if __name__ == "__main__":
    typer.run(main)

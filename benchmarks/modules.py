"""Our modules against torch's: python benchmarks/modules.py [--pairs N] [--only SUBSTRING].

How to read the table: ``torch/ours`` above 1 means that ours is faster, below 1 that it is slower.
It is the median over pairs of runs, ours and right after it torch's, in one process: what slows
the machine down for a while slows both, and the ratio stays. The microseconds are medians too;
they differ between machines and days, so compare ratios, and measure on a machine that has nothing
else to do. ``forward`` is without gradients;
``step`` is a training step: forward, and backward to the input and every weight.

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
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
import unrolled.nn

Work = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """One case: a module with I inputs and H hidden units on B sequences of T steps.

    ``steps`` is 0 for a cell, which takes one step. ``full`` is the share of the B·T steps that
    are real; below 1 the batch is ragged.
    """

    module: str
    inputs: int
    hidden: int
    batch: int
    steps: int = 0
    full: float = 1.0
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"I{self.inputs}", f"H{self.hidden}", f"B{self.batch}"]
        parts += [f"T{self.steps}"] if self.steps else []
        parts += [f"{self.full:.0%} full"] if self.full < 1 else []
        parts += [WORDS[name].format(value) for name, value in self.options.items()]
        return " ".join(parts)


WORDS = {
    "num_layers": "L{}",
    "proj_size": "P{}",
    "bidirectional": "bidirectional",
    "dropout": "dropout {}",
}

# More come here.
SEQUENCES, CELLS = ("RNN", "GRU", "LSTM"), ("RNNCell", "GRUCell", "LSTMCell")
STACK = {"num_layers": 2, "dropout": 0.2, "bidirectional": True}
SHAPES = [
    *(Shape(name, 1, 32, batch=1, steps=100) for name in SEQUENCES),
    *(Shape(name, 1, 32, batch=32, steps=100) for name in SEQUENCES),
    *(Shape(name, 32, 128, batch=32, steps=100) for name in SEQUENCES),
    *(Shape(name, 32, 128, batch=64, steps=200, full=0.63) for name in SEQUENCES),
    *(Shape(name, 32, 128, batch=32, steps=100, dtype=torch.float64) for name in SEQUENCES),
    Shape("LSTM", 32, 128, batch=32, steps=100, options={"proj_size": 64}),
    Shape("LSTM", 32, 128, batch=32, steps=100, options=STACK),
    *(Shape(name, 1, 32, batch=1) for name in CELLS),
    *(Shape(name, 32, 128, batch=32) for name in CELLS),
]


@dataclass
class Contender:
    """One module and the call that is measured."""

    module: nn.Module
    input: Tensor
    call: Callable[[nn.Module, Tensor], Any]

    def forward(self) -> list[Tensor]:
        with torch.no_grad():
            return tensors(self.call(self.module, self.input))

    def step(self) -> list[Tensor]:
        outputs = tensors(self.call(self.module, self.input))
        leaves = [self.input, *self.module.parameters()]
        gradients = torch.autograd.grad(outputs, leaves, [torch.ones_like(o) for o in outputs])
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
    x = torch.randn(*sizes, shape.inputs, dtype=shape.dtype, requires_grad=True)
    if shape.full == 1:
        return Contender(ours, x, nn.Module.__call__), Contender(theirs, x, nn.Module.__call__)
    lengths = spread_lengths(shape)

    def by_lengths(module: nn.Module, x: Tensor) -> Any:
        return module(x, lengths=lengths)

    def by_packing(module: nn.Module, x: Tensor) -> Any:
        output, last = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=shape.steps)[0], last

    return Contender(ours, x, by_lengths), Contender(theirs, x, by_packing)


def spread_lengths(shape: Shape) -> Tensor:
    """Lengths [B] in no order, evenly spread around ``full`` of the steps, up to all of them."""
    shares = torch.linspace(2 * shape.full - 1, 1, shape.batch)
    lengths = (shares * shape.steps).round().long().clamp(min=1)
    return lengths[torch.randperm(shape.batch)]


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


def rows(shape: Shape, pairs: int) -> list[tuple[str, ...]]:
    """The table's rows for one shape: forward and training step."""
    ours, theirs = contenders(shape)
    worst, allowed = disagreement(ours, theirs), 1e-4 if shape.dtype == torch.float32 else 1e-10
    if not worst <= allowed:
        sys.exit(f"{shape.module} {shape}: ours and torch's differ by {worst:.1e}, over {allowed}")
    found: list[tuple[str, ...]] = []
    for what in ("forward", "step"):
        times = timed_pairs(getattr(ours, what), getattr(theirs, what), pairs)
        our_time, their_time = (median(column) for column in zip(*times, strict=True))
        ratio = median(theirs_took / ours_took for ours_took, theirs_took in times)
        numbers = (f"{their_time * 1e6:,.0f}", f"{our_time * 1e6:,.0f}", f"{ratio:.2f}")
        found.append((shape.module, str(shape), str(shape.dtype).split(".")[1], what, *numbers))
    return found


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs for each row.")] = 5,
    only: Annotated[str, typer.Option(help="Only shapes whose row contains this.")] = "",
) -> None:
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    console = Console()
    console.width = max(console.width, 120)  # a pipe has 80, too few for the table
    table = Table(title="Our modules against torch's")
    for heading in ("module", "shape", "dtype", "what"):
        table.add_column(heading, no_wrap=True)
    for heading in ("torch µs", "ours µs", "torch/ours"):
        table.add_column(heading, no_wrap=True, justify="right")
    chosen = [shape for shape in SHAPES if only in f"{shape.module} {shape} {shape.dtype}"]
    if not chosen:
        sys.exit(f"no shape contains {only!r}")
    for shape in chosen:
        with console.status(f"{shape.module} {shape}"):
            for row in rows(shape, pairs):
                table.add_row(*row)
    console.print(table)
    console.print(
        f"unrolled {unrolled.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads, {pairs} pairs"
    )


if __name__ == "__main__":
    typer.run(main)

"""Described cells against loops of torch's operations: python benchmarks/cells.py, and --help.

Every shipped cell, run from its equations by the compiled core, in a training step (forward, and
backward to every weight), beside the same cell as a loop over time in torch, which is what its
users have. ``loop/ours`` above 1 means that ours is faster; it is the median over pairs of runs in
one process. With ``--compiled step`` the loop's step is compiled by torch.compile first, and with
``--compiled loop`` the loop, all its steps as one graph; the time that this takes is printed and
not counted. LSTM, GRU and RNN stand also beside their hand-written kernels, forward and in
training; there ``equations/kernel`` is how many times as long the equations take.

Outputs and gradients are compared before anything is timed; if they differ the script ends there
with exit code 1.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from statistics import geometric_mean
from typing import Annotated, Any, Literal

import torch
import typer
from torch import Tensor, nn

import unrolled
from loops import LOOPS, STEPS, Loop, ea_lstm_over_time, over_time
from report import Pairs, Threads, table, versions, wide_console
from timing import Times, timed_pairs
from unrolled import cells

Sizes = tuple[int, int, int, int]
SIZES: list[Sizes] = [
    (1, 32, 1, 100),
    (1, 32, 32, 100),
    (8, 64, 16, 100),
    (32, 128, 32, 100),
    (64, 256, 64, 50),
]
"""I, H, B, T."""
KERNELS = ("LSTM", "GRU", "RNN")

Names = Annotated[list[str] | None, typer.Option(help="Only these cells, repeated for several.")]
Compiled = Literal["nothing", "step", "loop"]
CompiledOption = Annotated[Compiled, typer.Option(help="What of a loop torch.compile compiles.")]


class Training:
    """A training step of a cell, from its equations and as a loop."""

    def __init__(
        self,
        name: str,
        sizes: Sizes,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        inputs, hidden, batch, steps = sizes
        self.name = name
        has_static = name == "EALSTM"
        others: dict[str, Any] = {"static_size": inputs} if has_static else {}
        cell = getattr(cells, name)
        self.module = unrolled.Recurrent(cell, inputs, hidden, dtype=dtype, **others)
        self.x = torch.randn(steps, batch, inputs, dtype=dtype)
        self.static = {"static": torch.randn(batch, inputs, dtype=dtype)} if has_static else {}
        self.states = [torch.zeros(batch, hidden, dtype=dtype) for _ in self.module.cell.states]
        self.loop: Loop = LOOPS[name]

    def compile(self, what: Compiled) -> float:
        """Has the loop or its step compiled, forward and backward; the seconds that this takes."""
        torch.compiler.reset()
        if what == "loop":
            self.loop = torch.compile(LOOPS[self.name], fullgraph=True)
        elif what == "step":
            step = torch.compile(STEPS[self.name])
            self.loop = partial(ea_lstm_over_time, step=step) if self.static else over_time(step)
        start = time.perf_counter()
        self.theirs()
        return time.perf_counter() - start

    def ours(self) -> list[Tensor]:
        """The output, and the gradients of the weights."""
        return self._with_gradients(self.module(self.x, **self.static)[0])

    def theirs(self) -> list[Tensor]:
        """The same by the loop."""
        weights = {name[:-3]: value for name, value in self.module.named_parameters()}
        states = [*self.states, *self.static.values()]
        return self._with_gradients(self.loop(weights, self.x, states))

    def _with_gradients(self, output: Tensor) -> list[Tensor]:
        return [output, *torch.autograd.grad(output.sum(), [*self.module.parameters()])]


class Kernel:
    """A cell from its equations, and by the kernel that is written for it."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        inputs, hidden, batch, steps = sizes
        self.kernel = getattr(unrolled, name)(inputs, hidden)
        self.module = unrolled.Recurrent(getattr(cells, name), inputs, hidden)
        self.module.load_state_dict(self.kernel.state_dict())
        self.x = torch.randn(steps, batch, inputs)

    def forward(self, module: nn.Module) -> Tensor:
        with torch.inference_mode():
            output: Tensor = module(self.x)[0]
            return output

    def step(self, module: nn.Module) -> list[Tensor]:
        output = module(self.x)[0]
        weights = [value for _, value in sorted(module.named_parameters())]
        return [output, *torch.autograd.grad(output.sum(), weights)]


def insist_on_agreement(name: str, ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Ends the script where a tensor differs, as a share of its largest entry, by too much."""
    worst = max(
        ((our - their).abs().max() / their.abs().max().clamp(min=1)).item()
        for our, their in zip(ours, theirs, strict=True)
    )
    if not worst <= 1e-9:
        raise SystemExit(f"{name}: the two differ by {worst:.1e}")


def shown(sizes: tuple[int, ...]) -> str:
    return " ".join(f"{letter}{size}" for letter, size in zip("IHBT", sizes, strict=True))


def microseconds(times: Times) -> tuple[str, str]:
    return f"{times.theirs * 1e6:,.0f}", f"{times.ours * 1e6:,.0f}"


def against_loops(
    console: Any, names: list[str], count: int, pairs: int, compiled: Compiled
) -> None:
    what = {"nothing": "loops", "step": "loops of a compiled step", "loop": "compiled loops"}
    compiles = compiled != "nothing"
    result = table(
        f"Described cells against {what[compiled]}, training, {count} threads",
        ("cell", "shape"),
        ("loop µs", "ours µs", "loop/ours", *(("compiled in s",) if compiles else ())),
    )
    found: dict[Sizes, list[float]] = {sizes: [] for sizes in SIZES}
    for name in names:
        for sizes in SIZES:
            exact = Training(name, sizes, torch.float64)
            insist_on_agreement(name, exact.ours(), exact.theirs())
            one = Training(name, sizes)
            took = (f"{one.compile(compiled):.0f}",) if compiles else ()
            times = timed_pairs(one.ours, one.theirs, pairs)
            found[sizes].append(times.ratio)
            result.add_row(name, shown(sizes), *microseconds(times), f"{times.ratio:.2f}", *took)
    console.print(result)
    for sizes, ratios in found.items():
        line = (
            f"{shown(sizes)}: least {min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}"
        )
        console.print(line, markup=False)


def against_kernels(console: Any, names: list[str], count: int, pairs: int) -> None:
    result = table(
        f"Equations against hand-written kernels, {count} threads",
        ("cell", "shape", "what"),
        ("equations µs", "kernel µs", "equations/kernel"),
    )
    for name in names:
        for sizes in SIZES:
            one = Kernel(name, sizes)
            for what in (one.forward, one.step):
                times = timed_pairs(
                    partial(what, one.kernel),
                    partial(what, one.module),
                    pairs,
                )
                result.add_row(
                    name, shown(sizes), what.__name__, *microseconds(times), f"{times.ratio:.2f}"
                )
    console.print(result)


def main(
    threads: Threads = None,
    pairs: Pairs = 9,
    cell: Names = None,
    compiled: CompiledOption = "nothing",
) -> None:
    torch.compiler.config.force_disable_caches = True  # what was compiled before takes no time
    warnings.filterwarnings("ignore", "dynamo_pgo force disabled")
    console = wide_console()
    names = cell or list(LOOPS)
    for count in threads or [1, 2]:
        torch.set_num_threads(count)
        against_loops(console, names, count, pairs, compiled)
        if compiled == "nothing":
            against_kernels(console, [n for n in names if n in KERNELS], count, 2 * pairs + 1)
    console.print(versions(f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

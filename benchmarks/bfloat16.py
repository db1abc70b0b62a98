"""bfloat16 beside float32, and beside torch's: python benchmarks/bfloat16.py, and --help for more.

How to read the table: all of it is ours in bfloat16 against something else. ``of float32`` is our
time in bfloat16 as a share of our time in float32: below 1 bfloat16 is faster. ``torch`` is the
time of torch's module in bfloat16 divided by that of ours, and ``autocast`` the same of modules in
float32 under torch.autocast: above 1 ours is faster. Each is the median over pairs of runs, one
right after the other in one process. ``forward`` is in inference mode, ``step`` a training step.

What a thread can do at most stands below: multiply-adds in float32, and in pairs of bfloat16 where
the machine has an instruction for them, which it then uses only if that is faster.

Outputs are compared before anything is timed; if they differ by more than bfloat16's roundings the
script ends there with exit code 1.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

import torch
import typer
from torch import Tensor

import unrolled
from report import Only, Pairs, Threads, measured, name_cells, table, versions, wide_console
from shapes import Shape, chosen
from timing import timed_pairs
from unrolled.scan import native

Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """What was measured of one shape."""

    shape: Shape
    threads: int
    what: str
    of_float32: float
    torch: float
    autocast: float


def runs(module: torch.nn.Module, x: Tensor, *, casts: bool = False) -> dict[str, Run]:
    """A forward pass and a training step, ``casts`` under autocast."""

    def call() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            output: Tensor = module(x)[0]
            return output

    def forward() -> Tensor:
        with torch.inference_mode():
            return call()

    def step() -> None:
        for parameter in module.parameters():
            parameter.grad = None
        call().sum().backward()

    return {"forward": forward, "step": step}


def measure(shape: Shape, threads: int, pairs: int) -> list[Row]:
    """One shape, forward and training step."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(shape.steps, shape.batch, shape.inputs)

    def made(package: Any, dtype: torch.dtype) -> torch.nn.Module:
        module: torch.nn.Module = getattr(package, shape.module)(
            shape.inputs, shape.hidden, **shape.options
        )
        module.load_state_dict(whole.state_dict())
        return module.to(dtype)

    whole = getattr(unrolled, shape.module)(shape.inputs, shape.hidden, **shape.options)
    narrow = x.bfloat16()
    theirs, theirs_cast = made(torch.nn, torch.bfloat16), made(torch.nn, torch.float32)
    in_float32, cast = runs(whole, x), runs(whole, x, casts=True)
    ours = runs(made(unrolled, torch.bfloat16), narrow)
    torchs, torchs_cast = runs(theirs, narrow), runs(theirs_cast, x, casts=True)
    insist_on_agreement(shape, [r["forward"]() for r in (in_float32, ours, cast, torchs)])
    return [
        Row(
            shape,
            threads,
            what,
            1 / timed_pairs(ours[what], in_float32[what], pairs).ratio,
            timed_pairs(ours[what], torchs[what], pairs).ratio,
            timed_pairs(cast[what], torchs_cast[what], pairs).ratio,
        )
        for what in ("forward", "step")
    ]


def insist_on_agreement(shape: Shape, outputs: list[Any]) -> None:
    first, *others = [output.float() for output in outputs]
    for other in others:
        apart = torch.linalg.vector_norm(other - first) / torch.linalg.vector_norm(first)
        if not apart < 0.02:
            sys.exit(f"{shape.module} {shape}: outputs are {apart:.3f} apart")


def rates() -> str:
    """Multiply-adds a second of a thread, by what they multiply."""
    names = {"whole": "float32", "paired": "bfloat16 in pairs"}
    found = []
    ways = native.core.products(native.isa(), "bfloat16")
    for name in ("whole", *ways):
        if name not in names:
            continue
        start = time.perf_counter()
        done = native.core.busy_f32(native.isa(), name, 5_000_000)
        found.append(f"{names[name]} {done / (time.perf_counter() - start) / 1e9:.0f}")
    said = ", ".join(found)
    return f"1e9 multiply-adds a second of a thread: {said}; products here: {ways[-1]}"


def main(threads: Threads = None, pairs: Pairs = 5, only: Only = "") -> None:
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    console = wide_console()
    shapes = [
        shape
        for shape in chosen(only)
        if shape.steps and shape.least == 1 and shape.dtype == torch.float32
        if "dropout" not in shape.options  # two that draw have other outputs
    ]
    rows = measured(console, shapes, threads, lambda shape, count: measure(shape, count, pairs))
    result = table(
        "Ours in bfloat16 against ours in float32, and torch's in bfloat16",
        ("module", "shape", "dtype", "threads", "what"),
        ("of float32", "torch", "autocast"),
    )
    for row in rows:
        numbers = row.of_float32, row.torch, row.autocast
        name = name_cells(row.shape, row.threads)
        result.add_row(*name, row.what, *[f"{ratio:.2f}" for ratio in numbers])
    console.print(result)
    for title, of in (("all", rows), ("H ≥ 128", [r for r in rows if r.shape.hidden >= 128])):
        for what in ("torch", "autocast"):
            if ratios := [getattr(row, what) for row in of]:
                mean, least = geometric_mean(ratios), min(ratios)
                console.print(f"{title}, {what}: geometric mean {mean:.2f}, least {least:.2f}")
    console.print(rates())
    console.print(versions(f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

"""A long sequence in pieces side by side: python benchmarks/in_time.py, and --help for more.

How to read the table: ``module ms`` is the median time of a call of the module, ``pieces ms`` that
of unrolled.parallel_in_time, its trial included, and ``ratio`` the median of the pairs' module /
pieces. ``W`` is the warm-up that the trial chose, ``P`` the number of pieces (1: it called the
module as it is), ``repeated`` how many of them were run again, ``expected`` the ratio that the
trial expected, and ``off`` the largest difference from the module's output.

The first rows have weights as they are made; those below are trained: the demo's network on a sine,
one that adds (Hochreiter & Schmidhuber's problem, 100 steps) on one such sequence after the other,
and one of the sensor's table of docs/results.md on its features, over and over.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor

import unrolled
from report import table, versions, wide_console
from timing import timed_pairs
from unrolled.learn.wave import STEP, train_wave
from unrolled.model import Network, NetworkConfig
from unrolled.tasks import Adding

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

STEPS = 48_000


class Case(NamedTuple):
    """A module, and what it reads [T, 1, I], or [1, T, I] where the batch comes first."""

    name: str
    module: torch.nn.Module
    sequence: Tensor


def made(steps: int) -> Iterator[Case]:
    """Modules as they are made."""
    for kind in ("LSTM", "GRU", "RNN"):
        for hidden in (32, 128, 256):
            torch.manual_seed(0)
            module = getattr(unrolled, kind)(32, hidden)
            yield Case(f"{kind} I32 H{hidden}", module, torch.randn(steps, 1, 32))


def trained(steps: int) -> Iterator[Case]:
    """Modules that have learned something."""
    for cell in ("lstm", "gru"):
        module = train_wave(cell).run.network.recurrent
        sine = torch.from_numpy(np.sin(STEP * np.arange(steps))).float()
        yield Case(f"demo's {cell} H{module.hidden_size}", module, sine[None, :, None])
    yield Case("adding, lstm H64", adding(), added(steps))
    yield Case(*sensor(steps))


def adding() -> torch.nn.Module:
    torch.manual_seed(0)
    task, rng = Adding(100), np.random.default_rng(0)
    model = Network(NetworkConfig(cell="lstm", input_size=2, hidden_size=64, output_size=1))
    unrolled.nn.init.chrono_(model.recurrent, 100)
    adam = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(2000):
        batch = task.batch(32, rng)
        loss = task.loss(model(batch.inputs, lengths=batch.lengths)[0], batch)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return model.recurrent


def added(steps: int) -> Tensor:
    batch = Adding(100).batch(1 + steps // 100, 1)
    return batch.inputs.flatten(0, 1)[None, :steps]


def sensor(steps: int) -> tuple[str, torch.nn.Module, Tensor]:
    import tables

    with tempfile.TemporaryDirectory() as folder:
        tables.write(Path(folder))
        settings = unrolled.TrainSettings(
            input=["isig"], target=["glucose"], window=24, cell="lstm", missing="drop", epochs=10
        )
        run = unrolled.train_table(Path(folder) / "glucose.csv", settings).run
        column = pd.to_numeric(tables.glucose()["isig"], errors="coerce").dropna().to_numpy()
    scaled = torch.from_numpy((column - column.mean()) / column.std()).float()
    repeated = scaled.repeat(1 + steps // len(scaled))[None, :steps, None]
    return "sensor's table, lstm", run.network.recurrent, repeated


def main(
    steps: Annotated[int, typer.Option(min=2048, help="Steps of the sequence.")] = STEPS,
    threads: Annotated[list[int] | None, typer.Option(help="Repeat for several [1 2].")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs for each row.")] = 5,
) -> None:
    console = wide_console()
    with console.status("training"):
        cases = [*made(steps), *trained(steps)]
    for count in threads or [1, 2]:
        torch.set_num_threads(count)
        numbers = ("module ms", "pieces ms", "ratio", "P", "W", "repeated", "expected", "off")
        shown = table(f"One row of {steps:,} steps, {count} threads", ("module",), numbers)
        for case in cases:
            shown.add_row(case.name, *row(case, pairs))
        console.print(shown)
    console.print(versions(f"{pairs} pairs"))


@torch.no_grad()
def row(case: Case, pairs: int) -> list[str]:
    case.module.eval()
    both = case.module, case.sequence
    times = timed_pairs(
        lambda: unrolled.parallel_in_time(*both), lambda: case.module(case.sequence), pairs
    )
    output, _, how = unrolled.parallel_in_time(*both)
    off = (output - case.module(case.sequence)[0]).abs().max().item()
    return [
        f"{times.theirs * 1e3:,.1f}",
        f"{times.ours * 1e3:,.1f}",
        f"{times.ratio:.2f}",
        *map(str, (how.pieces, how.warm_up, how.repeated)),
        "" if how.predicted is None else f"{how.predicted:.2f}",
        f"{off:.1e}",
    ]


if __name__ == "__main__":
    typer.run(main)

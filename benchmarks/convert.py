"""Models of other people's packages, before and after unrolled.convert: make bench-convert.

First the code of docs/convert.md is run. Then each model is built by its package, at the package's
own sizes, and trained for an epoch, and its forecast on the same weights is compared before and
after conversion. It is trained anew from the same seed, converted from the start, and the two
forecasts are compared. Last its training epochs are timed, torch's and ours in turn within one
training.

The script ends with an error where two forecasts differ by more than roundings. The table is in
Markdown. The packages are those of convert-requirements.txt, in an environment of their own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean, median
from typing import Annotated, Any

import darts
import neuralforecast
import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import skorch
import torch
import typer
from darts import TimeSeries
from darts.models import BlockRNNModel, RNNModel
from neuralforecast.models import GRU, LSTM, RNN, DeepAR
from torch import nn

import unrolled
from report import Only, Pairs, versions

SAME_WEIGHTS = 1e-5
"""How far apart two forecasts from the same weights may be, as a share of the largest number."""
AFTER_TRAINING = 1e-3
"""And after training on its own: roundings grow on the way."""

Rows = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Turns:
    """What is done with a network when its epochs begin, and how long they took.

    ``kinds`` has for each epoch whether it runs on ours; without any the network is let be.
    """

    kinds: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    reports: list[unrolled.Conversion] = field(default_factory=list)
    began: float = 0.0

    def begin(self, network: nn.Module) -> None:
        if len(self.seconds) < len(self.kinds):
            change = unrolled.convert if self.kinds[len(self.seconds)] else unrolled.revert
            self.reports.append(change(network))
        self.began = time.perf_counter()

    def end(self) -> None:
        self.seconds.append(time.perf_counter() - self.began)

    def of(self, ours: bool) -> list[float]:
        """The times of one kind, without the first two epochs, in which all is warmed up."""
        pairs = zip(self.kinds, self.seconds, strict=True)
        return [seconds for kind, seconds in list(pairs)[2:] if kind is ours]


class InLightning(lightning.Callback):
    """Lightning's way to be told of epochs; darts and neuralforecast train by it."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def __deepcopy__(self, memo: dict[int, Any]) -> InLightning:
        return self  # neuralforecast trains a copy of the model and its callbacks

    def on_train_epoch_start(self, _: Any, pl_module: nn.Module) -> None:
        self.turns.begin(pl_module)

    def on_train_epoch_end(self, *_: Any) -> None:
        self.turns.end()


class InSkorch(skorch.callbacks.Callback):
    """skorch's way."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        self.turns.begin(net.module_)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.turns.end()


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
HORIZON, WINDOW = 12, 48


def series(steps: int, seed: int) -> Rows:
    """A sine of period 24 and noise."""
    noise = np.random.default_rng(seed).normal(size=steps)
    return np.sin(np.arange(steps) * (2 * math.pi / 24) + seed) + 0.1 * noise


@dataclass(frozen=True)
class Trained:
    """A model after its training: its network, and a call that forecasts."""

    network: nn.Module
    forecast: Callable[[], Rows]


Train = Callable[[Turns, int], Trained]
"""Builds a model from a fixed seed and trains it for a number of epochs."""


def by_darts(family: type[Any], **options: Any) -> Train:
    def train(turns: Turns, epochs: int) -> Trained:
        data = TimeSeries.from_values(series(500, 0).astype(np.float32))
        built = family(
            input_chunk_length=WINDOW,
            n_epochs=epochs,
            random_state=0,
            pl_trainer_kwargs={**QUIET, "callbacks": [InLightning(turns)]},
            **options,
        )
        built.fit(data)
        return Trained(built.model, lambda: built.predict(HORIZON, verbose=False).values())

    return train


def by_neuralforecast(model: type[Any], **options: Any) -> Train:
    def train(turns: Turns, epochs: int) -> Trained:
        days = pd.date_range("2020-01-01", periods=300, freq="D")
        frames = [
            pd.DataFrame({"unique_id": n, "ds": days, "y": series(len(days), n)}) for n in range(64)
        ]
        batch_size = 32
        built = model(
            h=HORIZON,
            input_size=WINDOW,
            batch_size=batch_size,
            max_steps=epochs * len(frames) // batch_size,
            callbacks=[InLightning(turns)],
            random_seed=0,
            **QUIET,
            **options,
        )
        together = neuralforecast.NeuralForecast(models=[built], freq="D")
        together.fit(pd.concat(frames))

        def forecast() -> Rows:
            torch.manual_seed(0)  # DeepAR draws its forecast
            return together.predict()[built.alias or type(built).__name__].to_numpy(np.float64)

        return Trained(together.models[0], forecast)

    return train


class LastStep(nn.Module):
    """A network as a user of skorch writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, 64, batch_first=True)
        self.head = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def by_skorch(turns: Turns, epochs: int) -> Trained:
    torch.manual_seed(0)
    values = series(500 + WINDOW, 0).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW + 1)
    x, y = windows[:, :-1, None].copy(), windows[:, -1:].copy()
    net = skorch.NeuralNetRegressor(
        LastStep,
        max_epochs=epochs,
        batch_size=32,
        lr=0.01,
        train_split=None,
        callbacks=[InSkorch(turns)],
        verbose=0,
    ).fit(x, y)
    return Trained(net.module_, lambda: net.predict(x))


MODELS: dict[str, Train] = {
    **{
        f"darts {model.__name__}, {cell}": by_darts(model, model=cell, **options)
        for model, options in (
            (RNNModel, {"training_length": WINDOW + HORIZON}),
            (BlockRNNModel, {"output_chunk_length": HORIZON}),
        )
        for cell in ("LSTM", "GRU", "RNN")
    },
    **{
        f"neuralforecast {model.__name__}": by_neuralforecast(model)
        for model in (LSTM, GRU, RNN, DeepAR)
    },
    "skorch NeuralNetRegressor, GRU": by_skorch,
}


def apart(found: Rows, expected: Rows) -> float:
    """The largest difference, as a share of the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def insist(name: str, what: str, found: float, allowed: float) -> float:
    if not found <= allowed:
        sys.exit(f"{name}: {what} differ by {found:.1e}, over {allowed}")
    return found


def compare(name: str, train: Train) -> tuple[str, str, str]:
    """What was replaced, and how far apart the forecasts are."""
    plain = train(Turns(), 1)
    of_torch = plain.forecast()
    report = unrolled.convert(plain.network)
    if not report.replaced or report.left:
        sys.exit(f"{name}: nothing was replaced, or something left\n{report}")
    same = insist(name, "forecasts", apart(plain.forecast(), of_torch), SAME_WEIGHTS)

    turns = Turns(kinds=[True])
    converted = train(turns, 1)
    if turns.reports != [report]:
        sys.exit(f"{name}: in training something else was replaced\n{turns.reports}")
    trained = apart(converted.forecast(), of_torch)
    insist(name, "forecasts after training", trained, AFTER_TRAINING)
    replaced = ", ".join(f"{path}: {cls}" for path, cls in report.replaced.items())
    return f"`{replaced}`", f"{same:.0e}", f"{trained:.0e}"


def time_epochs(train: Train, threads: int, pairs: int) -> tuple[float, float, float]:
    """Median seconds of an epoch of torch's and of ours, and the median ratio of neighbours."""
    torch.set_num_threads(threads)
    turns = Turns(kinds=[False, True] * (pairs + 1))
    train(turns, len(turns.kinds))
    theirs, ours = turns.of(ours=False), turns.of(ours=True)
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    return median(theirs), median(ours), ratio


def run_page() -> None:
    """What docs/convert.md shows of these packages; it ends with assertions of its own."""
    page = Path(__file__).resolve().parents[1] / "docs/convert.md"
    text = page.read_text(encoding="utf-8")
    # Lightning leaves its logs where it runs.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, page.name, "exec"), {"__name__": "convert_page"})


Threads = Annotated[list[int] | None, typer.Option(help="Repeat for several [1].")]


def main(threads: Threads = None, pairs: Pairs = 5, only: Only = "") -> None:
    warnings.filterwarnings("ignore")
    for name in ("lightning", "pytorch_lightning", "lightning_fabric", "darts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    run_page()
    headings = ["model", "replaced", "apart, same weights", "apart, trained"]
    headings += ["threads", "torch ms", "ours ms", "torch/ours"]
    print("|", " | ".join(headings), "|")
    print("| --- | --- |" + " ---: |" * (len(headings) - 2))
    ratios = []
    for name, train in MODELS.items():
        if only not in name:
            continue
        cells = compare(name, train)
        for count in threads or [1]:
            theirs, ours, ratio = time_epochs(train, count, pairs)
            ratios.append(ratio)
            times = f"{theirs * 1e3:,.0f}", f"{ours * 1e3:,.0f}", f"{ratio:.2f}"
            print("|", " | ".join([name, *cells, str(count), *times]), "|", flush=True)
    if not ratios:
        sys.exit(f"no model contains {only!r}; there are {', '.join(MODELS)}")
    print(f"\nepoch: geometric mean {geometric_mean(ratios):.2f}, least {min(ratios):.2f}")
    packages = {"darts": darts, "neuralforecast": neuralforecast, "skorch": skorch}
    print(versions(*(f"{k} {p.__version__}" for k, p in packages.items()), f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)

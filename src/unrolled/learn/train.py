"""Trains a network from a table and sets it beside what it must beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from narwhals.typing import IntoDataFrame
from torch import Tensor

from unrolled.errors import InputError
from unrolled.learn.baselines import RIDGE_ROWS, Score, score_baselines
from unrolled.learn.cells import SMALLEST, too_small
from unrolled.learn.columns import Array, shown
from unrolled.learn.dataset import PARTS, Dataset, read_dataset
from unrolled.learn.features import (
    BATCH_AT_ONCE,
    base,
    check_goals,
    check_read,
    features,
    predict_ends,
)
from unrolled.learn.footprint import check_ridge, check_training
from unrolled.learn.loop import History, fit
from unrolled.learn.runtime import reproducible
from unrolled.learn.settings import TrainSettings
from unrolled.learn.table import Span, Table
from unrolled.learn.watch import PROBED, Probe, Record, watching
from unrolled.learn.windows import Rows, gather
from unrolled.model import Network, NetworkConfig, Run, Scaler
from unrolled.nn import init


@dataclass(frozen=True)
class Training:
    """A finished training run.

    ``scores`` gives for each target the network and its baselines on the test rows (None where a
    baseline does not apply). ``test_rows`` [n] are places in ``table``, with the ``truth`` [n, O]
    and the ``predicted`` [n, O] there, in the table's units; ``test_spans`` are all the rows of the
    test part, by series. ``watched`` is what was seen on the way, with ``watch`` in the settings.
    """

    run: Run
    settings: TrainSettings
    history: History
    table: Table
    scores: dict[str, dict[str, Score | None]]
    counts: dict[str, int]
    test_rows: Rows
    truth: Array
    predicted: Array
    seconds: float
    test_spans: tuple[Span, ...]
    watched: tuple[Record, ...] = ()


def train_table(
    source: str | Path | IntoDataFrame,
    settings: TrainSettings,
    on_epoch: Callable[[History], None] = lambda _: None,
    on_record: Callable[[Record], None] = lambda _: None,
) -> Training:
    """Trains on the first rows of each series, stops by the next, and is scored on the last.

    Args:
        source: a CSV or Parquet file, or a data frame.
        settings: what to read and how to train.
        on_epoch: called after every epoch.
        on_record: with ``watch`` in the settings, given each record as it is made.

    Raises:
        InputError: the table can't be used as it is.
        DivergedError: training met a number that is not finite.
    """
    return train_dataset(read_dataset(source, settings), settings, on_epoch, on_record)


def train_dataset(
    dataset: Dataset,
    settings: TrainSettings,
    on_epoch: Callable[[History], None] = lambda _: None,
    on_record: Callable[[Record], None] = lambda _: None,
) -> Training:
    """The same for a table that :func:`~unrolled.learn.dataset.read_dataset` has read."""
    started = time.perf_counter()
    watched: list[Record] = []

    def keep(record: Record) -> None:
        watched.append(record)
        on_record(record)

    with reproducible(settings.seed, settings.threads) as generator:
        run, history = _train(dataset, settings, generator, on_epoch, keep)
        test = dataset.ends[2]
        predicted = predict_ends(run, dataset.table.inputs, test)
    return Training(
        run=run,
        settings=settings,
        history=history,
        table=dataset.table,
        scores=score_baselines(dataset, run, predicted),
        counts={part: len(rows) for part, rows in zip(PARTS, dataset.ends, strict=True)},
        test_rows=test,
        truth=dataset.goals[test],
        predicted=predicted,
        seconds=time.perf_counter() - started,
        test_spans=dataset.test_spans,
        watched=tuple(watched),
    )


def _train(
    dataset: Dataset,
    settings: TrainSettings,
    generator: torch.Generator,
    on_epoch: Callable[[History], None],
    on_record: Callable[[Record], None],
) -> tuple[Run, History]:
    config = settings.table()
    check_fits(dataset, settings)
    read = features(dataset.table.inputs, config)
    change = dataset.goals - base(dataset.table.inputs, config)
    input_scaler = Scaler.fit(read[dataset.learned])
    target_scaler = Scaler.fit(change[dataset.learned])
    for names, scaler in ((config.inputs, input_scaler), (config.targets, target_scaler)):
        _check_spread(dataset.table.name, names, scaler)
    check_read(dataset.table, config, input_scaler)
    check_goals(dataset.table, config, dataset.goals, target_scaler)
    data = torch.from_numpy(input_scaler.transform(read)).float()
    goals = torch.from_numpy(target_scaler.transform(change)).float()
    train, validation, _ = dataset.ends
    network = Network(network_config(settings)).float()
    network.precision = settings.precision
    _begin(network, settings)
    probe = _probe(data, goals, train, settings.window) if settings.watch else None
    with watching(network, probe, settings.watch_every, on_record) as see:
        history = fit(
            network,
            losses=lambda: window_losses(network, data, goals, train, settings, generator),
            validate=lambda: _error(network, data, goals, validation, settings.window),
            settings=settings.fit_settings(len(train)),
            on_epoch=on_epoch,
            on_gradients=see,
        )
    return Run(network, config, input_scaler, target_scaler), history


def _begin(network: Network, settings: TrainSettings) -> None:
    """Sets the initial values that the settings ask for.

    Raises:
        InputError: the cell has not what they are of.
    """
    for preset in settings.init:
        match preset:
            case "unit_forget_bias":
                init.unit_forget_bias_(network.recurrent)
            case "chrono":
                init.chrono_(network.recurrent, longest=settings.window)
            case "orthogonal":
                init.orthogonal_(network.recurrent)
            case "identity":
                init.identity_(network.recurrent)


def check_fits(dataset: Dataset, settings: TrainSettings) -> None:
    """That the memory is enough, asked before anything is taken.

    Raises:
        InputError: it is not; names the flags.
    """
    windows = [len(ends) for ends in dataset.ends]
    check_training(
        network_config(settings), windows, settings.window, settings.batch_size, BATCH_AT_ONCE
    )
    ridge = max(min(windows[0], RIDGE_ROWS), *windows[1:])
    check_ridge(len(settings.input), ridge, settings.table().history)


def _check_spread(table: str, names: Sequence[str], scaler: Scaler) -> None:
    for name, spread in zip(names, scaler.scale, strict=True):
        if spread < SMALLEST:
            raise InputError(f"{table}: column {shown(name)} {too_small(spread)}")


def _probe(data: Tensor, goals: Tensor, ends: Rows, window: int) -> Probe:
    """A few of the training windows, from all over the table."""
    count = min(PROBED, len(ends))
    chosen = torch.from_numpy(ends[np.linspace(0, len(ends) - 1, count).astype(int)])
    return Probe(gather(data, chosen, window), goals[chosen])


def window_losses(
    network: Network,
    data: Tensor,
    goals: Tensor,
    ends: Rows,
    settings: TrainSettings,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """The losses of one epoch, over the windows in a new random order.

    A window is scored at every step, since every step of it is a prediction like the last, from
    less history. In a bidirectional network the earlier steps would see later rows, and with them
    the answers: there the window is scored once, at its end.
    """
    shuffled = torch.from_numpy(ends)[torch.randperm(len(ends), generator=generator)]
    for chosen in torch.split(shuffled, settings.batch_size):
        windows = gather(data, chosen, settings.window)
        if settings.bidirectional:
            yield masked_mse(network.final(windows), goals[chosen])
        else:
            output, _ = network(windows)
            yield masked_mse(output, gather(goals, chosen, settings.window))


def masked_mse(output: Tensor, goal: Tensor) -> Tensor:
    """The mean squared error over the known goals; what is NaN in ``goal`` counts for nothing."""
    known = goal.isfinite()
    return (output[known] - goal[known]).square().mean()


def _error(network: Network, data: Tensor, goals: Tensor, ends: Rows, window: int) -> float:
    """The mean squared error of the predictions at ``ends``."""
    rows = torch.from_numpy(ends)
    outputs = [
        network.final(gather(data, chunk, window)) for chunk in torch.split(rows, BATCH_AT_ONCE)
    ]
    return masked_mse(torch.cat(outputs), goals[rows]).item()


def network_config(settings: TrainSettings) -> NetworkConfig:
    """The network that the settings ask for."""
    return NetworkConfig(
        cell=settings.cell,
        input_size=len(settings.input),
        output_size=len(settings.target),
        hidden_size=settings.hidden_size,
        sizes=settings.size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
    )

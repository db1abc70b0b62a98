"""Trains a network from a table and sets it beside what it must beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from narwhals.typing import IntoDataFrame
from torch import Tensor

from unrolled.errors import InputError
from unrolled.learn.baselines import Score, flat_windows, ridge, score
from unrolled.learn.loop import FitSettings, History, fit
from unrolled.learn.runtime import reproducible
from unrolled.learn.settings import TrainSettings
from unrolled.learn.table import Array, Table, read_table
from unrolled.learn.windows import Part, Rows, check_complete, gather, prepare, split
from unrolled.model import Network, NetworkConfig, Run, Scaler

PARTS = ("training", "validation", "test")
BATCH_AT_ONCE = 4096
"""Windows in one forward pass outside training: enough to be fast, few enough for memory."""


@dataclass(frozen=True)
class Training:
    """A finished training run.

    ``scores`` gives for each target the network and its baselines on the test rows (None where a
    baseline does not apply). ``test_rows`` [n] are places in ``table``, with the ``truth`` [n, O]
    and the ``predicted`` [n, O] there, in the table's units.
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


def train_table(
    source: str | Path | IntoDataFrame,
    settings: TrainSettings,
    on_epoch: Callable[[History], None] = lambda _: None,
) -> Training:
    """Trains on the first rows of each series, stops by the next, and is scored on the last.

    Args:
        source: a CSV or Parquet file, or a data frame.
        settings: what to read and how to train.
        on_epoch: called after every epoch.

    Raises:
        InputError: the table can't be used as it is.
        DivergedError: training met a number that is not finite.
    """
    started = time.perf_counter()
    table = read_table(source, inputs=settings.input, targets=settings.target, group=settings.group)
    if settings.missing == "error":
        check_complete(table, settings.input, settings.target, with_targets=True)
    parts = _parts(table, settings)
    goals = [part.goals(settings.ahead) for part in parts]
    ends = [
        _scored_ends(part, goal, settings.window) for part, goal in zip(parts, goals, strict=True)
    ]
    _check_enough(table, parts, ends, settings)

    training = np.concatenate([np.arange(*span) for span in parts[0].spans])
    inputs = parts[0].table.inputs
    _check_varied(table, settings.input, inputs[training])
    _check_varied(table, settings.target, goals[0][training])
    input_scaler, target_scaler = Scaler.fit(inputs[training]), Scaler.fit(goals[0][training])

    with reproducible(settings.seed, settings.threads) as generator:
        network = Network(_network_config(settings))
        data = torch.from_numpy(input_scaler.transform(inputs)).float()
        scaled = [torch.from_numpy(target_scaler.transform(goal)).float() for goal in goals]
        history = fit(
            network,
            losses=lambda: window_losses(network, data, scaled[0], ends[0], settings, generator),
            validate=lambda: _error(network, data, scaled[1], ends[1], settings.window),
            settings=FitSettings(
                settings.epochs, settings.learning_rate, settings.clip or None, settings.patience
            ),
            on_epoch=on_epoch,
        )
        run = Run(network, settings.table(), input_scaler, target_scaler)
        predicted = predict_ends(run, inputs, ends[2])
    return Training(
        run=run,
        settings=settings,
        history=history,
        table=table,
        scores=_scores(run, inputs, goals, ends, predicted),
        counts={part: len(rows) for part, rows in zip(PARTS, ends, strict=True)},
        test_rows=ends[2],
        truth=goals[2][ends[2]],
        predicted=predicted,
        seconds=time.perf_counter() - started,
    )


def predict_ends(run: Run, inputs: Array, ends: Rows) -> Array:
    """The predictions made at the rows ``ends`` [n], [n, O], in the table's units.

    Args:
        run: a trained network.
        inputs: the whole table's inputs [N, I], in its units.
        ends: the rows in which the windows end, each with a whole window before it.
    """
    data = torch.from_numpy(run.input_scaler.transform(inputs)).float()
    with torch.no_grad():
        outputs = [
            run.network.final(gather(data, chunk, run.table.window))
            for chunk in torch.split(torch.from_numpy(ends), BATCH_AT_ONCE)
        ]
    scaled = torch.cat(outputs).double().numpy()
    return run.target_scaler.inverse(scaled)


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


def _network_config(settings: TrainSettings) -> NetworkConfig:
    return NetworkConfig(
        cell=settings.cell,
        input_size=len(settings.input),
        output_size=len(settings.target),
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
    )


def _parts(table: Table, settings: TrainSettings) -> list[Part]:
    rest = 1.0 - settings.validation - settings.test
    spans = split(table.spans, (rest, settings.validation, settings.test))
    return prepare(table, spans, settings.missing)


def _scored_ends(part: Part, goals: Array, window: int) -> Rows:
    """The rows in which a window ends whose prediction can be compared with something known."""
    ends = part.ends(window)
    return ends[np.isfinite(goals[ends]).any(axis=1)]


def _check_enough(
    table: Table, parts: list[Part], ends: list[Rows], settings: TrainSettings
) -> None:
    for name, part, rows in zip(PARTS, parts, ends, strict=True):
        if len(rows) == 0:
            longest = max((stop - start for start, stop in part.spans), default=0)
            ahead = f" and {settings.ahead} ahead" if settings.ahead else ""
            raise InputError(
                f"{table.name}: the longest stretch in the {name} part has {longest} rows, fewer "
                f"than a window of {settings.window}{ahead}. "
                "Shorten --window, or give more rows"
            )


def _check_varied(table: Table, names: list[str], values: Array) -> None:
    for name, column in zip(names, values.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known) == 0:
            raise InputError(
                f"{table.name}: column {name!r} has no known value in the training part. "
                "Leave it out, or give more rows"
            )
        if known.min() == known.max():
            raise InputError(
                f"{table.name}: column {name!r} is constant in the training part "
                f"(always {known[0]:g}): there is nothing to learn from it. Leave it out"
            )


def _scores(
    run: Run, inputs: Array, goals: list[Array], ends: list[Rows], predicted: Array
) -> dict[str, dict[str, Score | None]]:
    """For each target the scores of the network and its baselines, on the test rows it has."""
    scaled = run.input_scaler.transform(inputs)
    scores: dict[str, dict[str, Score | None]] = {}
    for column, name in enumerate(run.table.targets):
        goal = [part[:, column] for part in goals]
        train, validation, test = (
            rows[np.isfinite(part[rows])] for part, rows in zip(goal, ends, strict=True)
        )
        truth = goal[2][test]
        model = ridge(
            scaled,
            np.where(np.isfinite(goal[0]), goal[0], goal[1]),
            run.table.window,
            train,
            validation,
        )
        by_ridge = model.predict(flat_windows(scaled, test, run.table.window))
        last_value = None
        if name in run.table.inputs:
            last_value = score(truth, inputs[test, run.table.inputs.index(name)])
        scores[name] = {
            "network": score(truth, predicted[np.isin(ends[2], test), column]),
            "mean": score(truth, np.full_like(truth, goal[0][train].mean())),
            "last value": last_value,
            "ridge": score(truth, by_ridge),
        }
    return scores

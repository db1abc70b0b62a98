"""A table's rows as the network meets them, and its outputs as the table's own units again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.learn.cells import too_far
from unrolled.learn.columns import Array, shown
from unrolled.learn.runtime import alone_where_forked
from unrolled.learn.table import Table
from unrolled.learn.windows import Rows, gather
from unrolled.model import Run, Scaler, TableConfig
from unrolled.model.scaler import MOST, MOST_SQUARED

BATCH_AT_ONCE = 4096
"""Sequences in one forward pass outside training: enough to be fast, few enough for memory."""


def features(inputs: Array, config: TableConfig) -> Array:
    """What the network reads [N, I], before scaling: ``inputs`` [N, I], or their changes.

    With ``difference``, NaN in the first row for a column that enters as its change.
    """
    if not config.difference:
        return inputs
    read = inputs.copy()
    for column, name in enumerate(config.inputs):
        if name in config.targets:
            read[:, column] = np.diff(inputs[:, column], prepend=np.nan)
    return read


def base(inputs: Array, config: TableConfig) -> Array:
    """What the network's output is added to [N, O]: nothing, or the target's value at the row."""
    start = np.zeros((len(inputs), len(config.targets)))
    if config.difference:
        for column, name in enumerate(config.targets):
            if name in config.inputs:
                start[:, column] = inputs[:, config.inputs.index(name)]
    return start


def check_read(table: Table, config: TableConfig, scaler: Scaler) -> None:
    """That a network can read the inputs of a table, whose ``scaler`` is the training's.

    Raises:
        InputError: names the first number that is too far from those of the training.
    """
    far = scaler.is_beyond(features(table.inputs, config))
    _refuse(table, config.inputs, table.inputs, far, MOST)


def check_goals(table: Table, config: TableConfig, goals: Array, scaler: Scaler) -> None:
    """The same of what is to be predicted, ``goals`` [N, O], whose errors are squared."""
    far = scaler.is_beyond(goals - base(table.inputs, config), MOST_SQUARED)
    _refuse(table, config.targets, goals, far, MOST_SQUARED, config.ahead)


def _refuse(
    table: Table,
    names: Sequence[str],
    values: Array,
    far: NDArray[np.bool_],
    most: float,
    ahead: int = 0,
) -> None:
    """Names the first of the ``values`` [N, F] that are ``far``, which stand ``ahead`` rows on."""
    if not far.any():
        return
    row, column = np.argwhere(far)[0]
    raise InputError(
        f"{table.name}: column {shown(names[column])}, row {table.rows[row + ahead]}: "
        f"{too_far(values[row, column], most, 'the training rows')}. Correct it, or leave the cell "
        "empty and choose --missing drop or interpolate"
    )


@alone_where_forked()
def predict_ends(run: Run, inputs: Array, ends: Rows) -> Array:
    """The predictions made at the rows ``ends`` [n], [n, O], in the table's units.

    Args:
        run: a trained network.
        inputs: the whole table's inputs [N, I], in its units.
        ends: rows that have the run's whole history behind them.
    """
    scaled = run.input_scaler.transform(features(inputs, run.table))
    data = torch.from_numpy(scaled).float()
    with torch.no_grad():
        outputs = [
            run.network.final(gather(data, chunk, run.table.window))
            for chunk in torch.split(torch.from_numpy(ends), BATCH_AT_ONCE)
        ]
    changes = run.target_scaler.inverse(torch.cat(outputs).double().numpy())
    return changes + base(inputs, run.table)[ends]

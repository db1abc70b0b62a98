"""A table's rows as the network meets them, and its outputs as the table's own units again."""

from __future__ import annotations

import numpy as np
import torch

from unrolled.learn.columns import Array
from unrolled.learn.runtime import alone_where_forked
from unrolled.learn.windows import Rows, gather
from unrolled.model import Run, TableConfig

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

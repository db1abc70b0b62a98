"""What a network must beat: the mean, the last value, and ridge regression on the same window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from unrolled.learn.columns import Array
from unrolled.learn.dataset import Dataset
from unrolled.learn.windows import Rows
from unrolled.model import Run, Scaler


@dataclass(frozen=True)
class Score:
    """Root mean square error, mean absolute error (both in the target's units), and R².

    R² is None where there is one row only, or the truth does not vary.
    """

    rmse: float
    mae: float
    r2: float | None


RIDGE_PENALTIES = np.logspace(-3, 4, 8)
RIDGE_ROWS = 100_000
"""Ridge is fitted on at most so many training windows, evenly spaced: it needs no more."""


def score_baselines(
    dataset: Dataset, run: Run, predicted: Array
) -> dict[str, dict[str, Score | None]]:
    """For each target the scores of the network and its baselines, on the test rows it has.

    Args:
        dataset: the table and its parts.
        run: the network.
        predicted: its predictions on the test rows [n, O].
    """
    inputs, history = dataset.table.inputs, run.table.history
    scaled = Scaler.fit(inputs[dataset.learned]).transform(inputs)
    scores: dict[str, dict[str, Score | None]] = {}
    for column, name in enumerate(run.table.targets):
        goal = dataset.goals[:, column]
        train, validation, test = (rows[np.isfinite(goal[rows])] for rows in dataset.ends)
        model = ridge(scaled, goal, history, train, validation)
        last_value = None
        if name in run.table.inputs:
            last_value = score(goal[test], inputs[test, run.table.inputs.index(name)])
        scores[name] = {
            "network": score(goal[test], predicted[np.isin(dataset.ends[2], test), column]),
            "mean": score(goal[test], np.full(len(test), goal[train].mean())),
            "last value": last_value,
            "ridge": score(goal[test], model.predict(flat_windows(scaled, test, history))),
        }
    return scores


def ridge(inputs: Array, goals: Array, window: int, train: Rows, validation: Rows) -> Ridge:
    """Ridge regression from the window's inputs, flattened [n, W·I], to one target.

    The penalty is the one with the least error on the validation rows, which is what the network's
    early stopping looks at as well.

    Args:
        inputs: the scaled inputs [N, I].
        goals: the target of the prediction made at each row [N].
        window: W.
        train: the rows in which a window ends that it is fitted on.
        validation: the rows that choose the penalty.
    """
    train = train[:: len(train) // RIDGE_ROWS + 1]
    fitted = [
        Ridge(alpha=penalty).fit(flat_windows(inputs, train, window), goals[train])
        for penalty in RIDGE_PENALTIES
    ]
    held_out = flat_windows(inputs, validation, window)
    errors = [root_mean_squared_error(goals[validation], m.predict(held_out)) for m in fitted]
    return fitted[int(np.argmin(errors))]


def flat_windows(inputs: Array, ends: Rows, window: int) -> Array:
    """The windows of ``inputs`` [N, I] that end in ``ends`` [n], each flattened: [n, I·W]."""
    windows: Array = sliding_window_view(inputs, window, axis=0)[ends - window + 1]
    return windows.reshape(len(ends), -1)


def score(truth: Array, predicted: Array) -> Score:
    """How far ``predicted`` [n] is from ``truth`` [n]."""
    return Score(
        rmse=float(root_mean_squared_error(truth, predicted)),
        mae=float(mean_absolute_error(truth, predicted)),
        r2=float(r2_score(truth, predicted)) if np.ptp(truth) > 0 else None,
    )


def beaten_by(scores: dict[str, Score | None]) -> list[str]:
    """The baselines whose error is at or below the network's, on one target."""
    network = scores["network"]
    return [
        name
        for name, other in scores.items()
        if name != "network" and network and other and other.rmse <= network.rmse
    ]

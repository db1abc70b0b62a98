"""What an estimator is given, X and y in any of their forms, as one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from unrolled.learn.columns import Array
from unrolled.learn.kinds import check_kind, in_range, naming_overflow

Form = Literal["matrix", "cube", "ragged"]
RAGGED = (
    "every sequence of {name} should be (steps,) or (steps, {per}) of numbers, "
    "with as many dimensions as the others"
)
Target = Literal["step", "sequence"]


@dataclass(frozen=True)
class Batch:
    """Sequences ``data`` [n, T, I], zero past each one's ``lengths`` [n].

    ``form`` is how they were given: a matrix [n, T] of one input, a cube [n, T, I], or a ragged
    list of [T_i, I].
    """

    data: Array
    lengths: NDArray[np.int64]
    form: Form


@dataclass(frozen=True)
class Goals:
    """Targets ``data``: [n, O] for sequences, or [n, T, O] for steps, NaN past each length.

    ``columns`` says whether the caller's y has an axis for O of its own.
    """

    data: Array
    target: Target
    columns: bool


@naming_overflow("X")
def read_sequences(estimator: BaseEstimator, X: Any, *, reset: bool) -> Batch:
    """``X`` as a batch; sets or checks what scikit-learn keeps of it (``n_features_in_``).

    Raises:
        ValueError: it holds NaN or infinity, masked values, dates or categories, no rows, or
            another number of inputs than in fit.
    """
    check_kind(X, "X")
    X = _listed(X)
    form = _form(X)
    if not reset:
        form = _checked_form(estimator, X, form)
    if form == "ragged":
        return _read_ragged(estimator, X, reset=reset)
    if form == "cube":
        cube = check_array(X, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="X")
        cube = in_range(cube, "X")
        cube = cube[:, :, np.newaxis] if cube.ndim == 2 else cube
        if 0 in cube.shape[1:]:
            raise ValueError(
                f"X should be (n, steps, inputs) with at least one step and one input, "
                f"got {cube.shape}"
            )
        _keep_inputs(estimator, cube.shape[2], reset=reset)
        return Batch(cube, np.full(len(cube), cube.shape[1]), "cube")
    matrix = in_range(validate_data(estimator, X, reset=reset, dtype=np.float64), "X")
    return Batch(matrix[:, :, np.newaxis], np.full(len(matrix), matrix.shape[1]), "matrix")


@naming_overflow("y")
def read_goals(y: Any, batch: Batch, target: Literal["auto", "step", "sequence"]) -> Goals:
    """``y`` beside its batch.

    Raises:
        ValueError: its shape fits neither one value for each sequence nor one for each step.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    check_kind(y, "y")
    if batch.form == "ragged" and target != "sequence" and _is_ragged_goals(y):
        return _read_ragged_goals(y, batch)
    array = in_range(
        check_array(y, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y"), "y"
    )
    check_consistent_length(batch.data, array)
    steps = batch.data.shape[1]
    per_step = array.ndim == 3 or (
        array.ndim == 2 and target != "sequence" and array.shape[1] == steps
    )
    if target == "step" and not (per_step and array.shape[1] == steps):
        raise ValueError(
            f"y should have one value for each of the {steps} steps of X, shape "
            f"({len(array)}, {steps}) or ({len(array)}, {steps}, n_targets), got {array.shape}"
        )
    if array.ndim > 3 or (array.ndim == 3 and (array.shape[1] != steps or target == "sequence")):
        raise ValueError(
            f"y should be (n,) or (n, n_targets) for sequences, or (n, {steps}) or "
            f"(n, {steps}, n_targets) for steps, got {array.shape}"
        )
    if per_step:
        columns = array.ndim == 3
        return Goals(array if columns else array[:, :, np.newaxis], "step", columns)
    columns = array.ndim == 2
    return Goals(array if columns else array[:, np.newaxis], "sequence", columns)


def _form(X: Any) -> Form:
    """What X looks like by itself.

    Raises:
        ValueError: it is a list of sequences of which some have more dimensions than others.
    """
    if not isinstance(X, list | tuple):
        return "cube" if getattr(X, "ndim", None) == 3 else "matrix"
    if _is_ragged(X):
        return "ragged"
    try:
        return "cube" if np.ndim(X) == 3 else "matrix"
    except ValueError:
        raise ValueError(RAGGED.format(name="X", per="inputs")) from None


def _checked_form(estimator: BaseEstimator, X: Any, form: Form) -> Form:
    """What X is to a fitted estimator.

    Two dimensions are sequences of one input. Their second axis is scikit-learn's features where
    fit met a matrix as well, and has that many steps; else it is time, of any length.

    Raises:
        ValueError: sequences of several inputs were expected, or a matrix.
    """
    fitted: Form = estimator._form
    inputs: int = estimator.n_features_in_
    if fitted == "matrix" and form != "matrix":
        raise ValueError(
            f"X should be a matrix (n, {inputs}) of {inputs} steps of one input as in fit, got "
            f"{'sequences' if form == 'ragged' else 'three dimensions'}"
        )
    if fitted == "matrix" or form != "matrix" or np.ndim(X) != 2:
        return form
    if inputs > 1:
        raise ValueError(
            f"X should be sequences of {inputs} inputs as in fit, (n, steps, {inputs}) or a list "
            f"of (steps, {inputs}), got {np.shape(X)}"
        )
    return "ragged" if fitted == "ragged" and isinstance(X, list | tuple) else "cube"


def _is_ragged_goals(y: Any) -> bool:
    """Whether y has a value for each step of ragged sequences."""
    y = _listed(y)
    return isinstance(y, list | tuple) and any(
        hasattr(row, "__len__") and getattr(row, "ndim", 1) > 0 for row in y
    )


def _listed(values: Any) -> Any:
    """An array or a pandas series of sequences as a list of them; anything else as it is."""
    is_of_objects = getattr(values, "dtype", None) == np.dtype(object)
    return list(values) if is_of_objects and getattr(values, "ndim", None) == 1 else values


def _is_ragged(X: Any) -> bool:
    """Whether X is a list of sequences of different lengths, or of two-dimensional sequences."""
    if not isinstance(X, list | tuple) or not X:
        return False
    try:
        dims = {np.ndim(row) if hasattr(row, "__len__") else 0 for row in X}
    except ValueError:  # a sequence that is itself ragged
        return False
    if dims == {2}:
        return True
    return dims == {1} and len({len(row) for row in X}) > 1


def _read_ragged(estimator: BaseEstimator, X: Sequence[Any], *, reset: bool) -> Batch:
    rows = [_sequence(row, "X") for row in X]
    rows = [row[:, np.newaxis] if row.ndim == 1 else row for row in rows]
    widths = sorted({row.shape[1] for row in rows})
    if len(widths) > 1:
        raise ValueError(f"every sequence of X should have the same inputs, got {widths} of them")
    lengths = np.array([len(row) for row in rows])
    if lengths.min() == 0:
        raise ValueError(f"sequence {int(lengths.argmin())} of X has no step. Leave it out")
    in_range(check_array(np.concatenate(rows), input_name="X"), "X")
    _keep_inputs(estimator, widths[0], reset=reset)
    _check_names(estimator, X, reset=reset)
    return Batch(_padded(rows, lengths, 0.0), lengths, "ragged")


def _check_names(estimator: BaseEstimator, X: Sequence[Any], *, reset: bool) -> None:
    """That all frames among the sequences have the columns of the first, or those of fit.

    By scikit-learn's own check of a single frame, which also keeps the names or warns.
    """
    for row in [row for row in X if hasattr(row, "columns")] or [np.asarray(X[0])]:
        if np.ndim(row) == 2:
            validate_data(estimator, row, reset=reset, skip_check_array=True)
            reset = False


def _read_ragged_goals(y: Sequence[Any], batch: Batch) -> Goals:
    for row in y:
        _check_sequence(row, "y")
    try:
        rows = [np.asarray(row, dtype=np.float64) for row in y]
        columns = rows[0].ndim == 2
        rows = [row if columns else row[:, np.newaxis] for row in rows]
        widths = {row.shape[1:] for row in rows}
    except (TypeError, ValueError, IndexError):
        widths = set()
    if len(widths) != 1 or len(next(iter(widths))) != 1:
        raise ValueError(RAGGED.format(name="y", per="n_targets"))
    check_consistent_length(batch.data, rows)
    for index, (row, length) in enumerate(zip(rows, batch.lengths, strict=True)):
        if len(row) != length:
            raise ValueError(
                f"sequence {index} has {length} steps in X and {len(row)} in y; "
                "they should be the same"
            )
    in_range(check_array(np.concatenate(rows), input_name="y"), "y")
    return Goals(_padded(rows, batch.lengths, np.nan), "step", columns)


def _sequence(row: Any, name: str) -> Array:
    _check_sequence(row, name)
    return np.asarray(row, dtype=np.float64)


def _check_sequence(row: Any, name: str) -> None:
    check_kind(row, name)
    if np.iscomplexobj(row):
        raise ValueError(f"Complex data not supported in the sequences of {name}")


def _padded(rows: Sequence[Array], lengths: NDArray[np.int64], fill: float) -> Array:
    padded = np.full((len(rows), int(lengths.max()), rows[0].shape[1]), fill)
    for row, place in zip(rows, padded, strict=True):
        place[: len(row)] = row
    return padded


def _keep_inputs(estimator: BaseEstimator, inputs: int, *, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = inputs
        if hasattr(estimator, "feature_names_in_"):  # of a frame that an earlier fit was given
            del estimator.feature_names_in_
    elif inputs != estimator.n_features_in_:
        raise ValueError(
            f"X has {inputs} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )

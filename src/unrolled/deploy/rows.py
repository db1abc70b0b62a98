"""What a stream is given as rows: numbers in an array, in the order of the run's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from unrolled.deploy.plan import Array
from unrolled.errors import InputError, clip
from unrolled.masked import count_masked


def numbers(values: Any, name: str) -> Array:
    """Anything that NumPy makes real numbers of, as an array.

    Raises:
        InputError: it is none, or some are masked.
    """
    refuse_masked(values, name)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            return _of_objects(array, name)
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:  # the last of a tensor with a gradient
        raise InputError(f"{name}: numbers were expected ({clip(error)})") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: real numbers were expected, got {array.dtype}")
    return array


def _of_objects(array: Array, name: str) -> Array:
    """As a row of a pandas frame has them, whose other columns are text."""
    for value in array.flat:
        is_other = isinstance(value, bool | np.bool_ | np.timedelta64)
        if is_other or not isinstance(value, Real | Decimal):
            got = repr(value) if isinstance(value, str) else type(value).__name__
            raise InputError(f"{name}: real numbers were expected, got {clip(got, 60)}")
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise InputError(f"{name}: a whole number is beyond double precision") from error


def refuse_masked(values: Any, name: str) -> None:
    """That nothing is masked.

    Raises:
        InputError: something is.
    """
    if count := count_masked(values):
        raise InputError(
            f"{name}: numbers were expected, got {count} that are masked. Fill them in "
            f"({name}.filled(value)), or leave the row out"
        )


def by_name(x: Any, inputs: Sequence[str], name: str) -> Any:
    """What has names, with the columns ``inputs`` in their order; what has none as it is.

    Names have a data frame, a series that is one of its rows, an array of records, a dict and a
    named tuple, and a list of the last two.

    Args:
        x: one row for each stream, if ``name`` is ``x``, or several.
        inputs: the columns of a run.
        name: of ``x``, in an error.

    Raises:
        InputError: it lacks a column, or has one twice.
    """
    if isinstance(x, list | tuple) and x and all(map(_is_named, x)):
        return [_chosen(row, inputs, name, _names_in(row)) for row in x]
    is_row = name == "x"
    if is_row and _is_named(x):
        return _chosen(x, inputs, name, _names_in(x))
    names = _names_of(x, is_row=is_row and len(inputs) > 1)
    return x if names is None else _chosen(x, inputs, name, names)


def _is_named(row: Any) -> bool:
    return isinstance(row, Mapping) or (isinstance(row, tuple) and hasattr(row, "_fields"))


def _names_in(row: Any) -> list[Any]:
    return list(row if isinstance(row, Mapping) else row._fields)


def _chosen(x: Any, inputs: Sequence[str], name: str, names: list[Any]) -> Any:
    twice = next((column for column in inputs if names.count(column) > 1), None)
    if twice is not None:
        raise InputError(f"{name} has two columns named {twice!r}. Leave one of them out")
    missing = [column for column in inputs if column not in names]
    if missing:
        raise InputError(
            f"{name} should have the columns {_listed(inputs)}, got {_listed(names)}. "
            f"Name {_listed(missing)}, or give an array, whose columns have no names"
        )
    if isinstance(x, Mapping):
        return [x[column] for column in inputs]
    if isinstance(x, tuple):
        return [x[names.index(column)] for column in inputs]
    if isinstance(x, np.ndarray | np.void):
        return np.stack([x[column] for column in inputs], axis=-1)
    if names == list(inputs):
        return x
    columns = list(inputs)
    return x.select(columns) if hasattr(x, "select") else x[columns]


def _names_of(x: Any, *, is_row: bool) -> list[Any] | None:
    """The columns' names, of a frame of pandas, polars or pyarrow, or of records; None without.

    A frame that was made of an array counts its columns, as pandas does: these are no names. Of a
    pandas series that is a row, as a frame's ``iterrows`` gives it, the index has them.
    """
    if isinstance(x, np.ndarray | np.generic):
        return None if x.dtype.names is None else list(x.dtype.names)
    if not hasattr(x, "__array__"):  # a lazy frame of polars warns when it is asked for names
        return None
    found = getattr(x, "column_names", None)  # pyarrow's, whose columns are their values
    if found is None:
        found = getattr(x, "columns", None)
    if found is None and is_row and getattr(x, "ndim", None) == 1:
        found = getattr(x, "index", None)
        found = found if _are_texts(found) else None  # numbers and dates are of its own rows
    if found is None:
        return None
    try:
        names = list(found)
    except TypeError:
        return None
    return None if names == list(range(len(names))) else names


def _are_texts(index: Any) -> bool:
    return isinstance(index, Iterable) and all(isinstance(name, str) for name in index)


def _listed(names: Sequence[Any]) -> str:
    return clip(", ".join(map(repr, names)))

"""Arrays and frames whose values would become other numbers, without a word, as they are cast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import numpy as np

from unrolled.errors import clip
from unrolled.learn.cells import LARGEST
from unrolled.learn.columns import Array, shown
from unrolled.masked import count_masked, is_masked_array


def check_kind(values: Any, name: str) -> None:
    """That no value is masked, a date, a duration or a category.

    NumPy casts these to floats: what lies under the mask, days since 1970, codes. What it refuses
    itself, as text that is no number, is left to it and to scikit-learn.

    Args:
        values: an array, a list of arrays, a data frame or a series; anything else passes.
        name: what the caller knows them by.

    Raises:
        ValueError: there is one.
    """
    if count := count_masked(values):
        what = "is a masked array" if is_masked_array(values) else "has masked arrays"
        raise ValueError(
            f"{name} {what}, and {count} of its values are masked. Fill them in, or "
            "leave these sequences out"
        )
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "mM":
            raise _wrong(name, values.dtype)
    elif isinstance(values, list | tuple):
        for row in values:
            if isinstance(row, np.ndarray):
                check_kind(row, name)
    else:
        _check_frame(values, name)


def _check_frame(values: Any, name: str) -> None:
    try:
        frame = nw.from_native(values, eager_only=True, allow_series=True, pass_through=True)
        dtypes = frame.schema if isinstance(frame, nw.DataFrame) else {}
    except nw.exceptions.DuplicateError as error:
        raise ValueError(f"{name} has two columns of one name. Rename one of them") from error
    if isinstance(frame, nw.Series):
        _check_dtype(name, frame.dtype)
    for column, dtype in dtypes.items():
        _check_dtype(f"{name}'s column {shown(column)}", dtype)


def in_range(values: Array, name: str) -> Array:
    """The values, if none is beyond single precision, in which networks compute.

    Raises:
        ValueError: one is.
    """
    if values.size and (largest := np.abs(values[np.isfinite(values)]).max(initial=0.0)) > LARGEST:
        raise ValueError(
            f"{name} holds a number of size {largest:g}, too large for single precision, which "
            f"ends at {LARGEST:.1e}. Change its unit"
        )
    return values


@contextmanager
def naming_overflow(name: str) -> Iterator[None]:
    """What NumPy says of a whole number beyond every float is said as of others that are too large.

    And what torch says of a tensor that no array can be made of, such as one with a gradient.

    Raises:
        ValueError: there was one.
    """
    try:
        yield
    except OverflowError as error:
        raise ValueError(
            f"{name} holds a whole number too large for single precision, which ends at "
            f"{LARGEST:.1e}. Change its unit"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"{name} can't be made an array ({clip(error)})") from error


def _check_dtype(name: str, dtype: Any) -> None:
    if dtype.is_temporal() or dtype.is_nested() or dtype in (nw.Categorical, nw.Enum, nw.Binary):
        raise _wrong(name, dtype)


def _wrong(name: str, held: Any) -> ValueError:
    return ValueError(f"{name} holds {shown(held)}, not numbers. Convert it, or leave it out")

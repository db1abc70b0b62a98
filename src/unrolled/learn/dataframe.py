"""Takes the columns of a data frame of pandas, polars or pyarrow, or says what else they hold."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
from narwhals.typing import IntoDataFrame

from unrolled.errors import InputError
from unrolled.learn.cells import CellError, Words, is_missing, too_large
from unrolled.learn.columns import Array, Columns, Labels, Wanted, shown
from unrolled.learn.labels import AT_ONCE, times

NAME = "the table"
"""What a message calls a table that is no file."""


def take_frame(source: IntoDataFrame, wanted: Wanted) -> Columns:
    """The columns that are wanted.

    Raises:
        InputError: it is no data frame; or a column is missing, stands there twice, or holds what
            is not a number.
    """
    frame = _frame(source)
    places = wanted.places(NAME, frame.columns)
    if len(frame) == 0:
        raise InputError(f"{NAME}: has columns but no rows")
    wanted.check_memory(NAME, len(frame))
    return Columns(
        count=len(frame),
        numbers={
            column: _numbers(column, frame[column]) for column in wanted.numbers if column in places
        },
        labels=None if wanted.group is None else _labels(wanted.group, frame[wanted.group]),
    )


def _frame(source: Any) -> nw.DataFrame[Any]:
    try:
        frame: nw.DataFrame[Any] = nw.from_native(source, eager_only=True)
        frame.columns  # noqa: B018 - pandas and pyarrow let two columns have one name
    except nw.exceptions.DuplicateError:
        names = list(getattr(source, "column_names", None) or source.columns)
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"{NAME}: two columns are named {shown(twice)}. Rename one of them"
        ) from None
    except TypeError:
        kind = type(source)
        repair = " Call collect() first" if kind.__name__ == "LazyFrame" else ""
        raise InputError(
            f"{NAME}: a file's name, or a data frame of pandas, polars or pyarrow was expected, "
            f"got {kind.__module__}.{kind.__qualname__}.{repair}"
        ) from None
    return frame


def _numbers(column: str, series: nw.Series[Any]) -> Array:
    kind = series.dtype
    # Casts of decimals are off by a last bit: these are read from their digits.
    if (kind.is_numeric() and kind != nw.Decimal) or kind == nw.Boolean:
        return _cast(series)
    if kind not in (nw.String, nw.Object, nw.Unknown, nw.Decimal):
        raise _wrong_type(column, kind)
    try:
        values = series.to_list()
        if kind == nw.Unknown and not all(map(_is_number, values)):
            native = series.to_native()
            raise _wrong_type(column, getattr(native, "dtype", None) or native.type)
        words = [_word(index, value) for index, value in enumerate(values)]
        return np.array(Words().read(words))
    except CellError as error:
        raise InputError(
            f"{NAME}: column {shown(column)}, row {error.index + 1}: {error}"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{NAME}: column {shown(column)} holds text that is not UTF-8") from error


def _cast(series: nw.Series[Any]) -> Array:
    try:
        # Null becomes NaN here. A fill_null would wait for polars' threads, which a forked process
        # has not.
        floats = series.cast(nw.Float64).to_numpy()
    except pa.ArrowInvalid:  # whole numbers of more digits than a float has, which are rounded
        floats = series.to_arrow().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(floats, dtype=np.float64)


def _wrong_type(column: str, kind: Any) -> InputError:
    return InputError(
        f"{NAME}: column {shown(column)} holds {shown(kind)}, not numbers. "
        "Convert it, or leave it out"
    )


def _is_number(value: Any) -> bool:
    # NumPy counts its durations among the whole numbers.
    return is_missing(value) or (
        isinstance(value, Real | Decimal | np.bool_) and not isinstance(value, np.timedelta64)
    )


def _word(index: int, value: Any) -> str:
    """A cell of any kind as a text that is read as a number, if it is one."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, Decimal | bool | np.bool_):
        return str(value)
    if not _is_number(value):
        raise CellError(
            index,
            f"{shown(value)} is not a number but a {type(value).__name__}. Convert the column, or "
            "leave it out",
        )
    try:
        number = float(value)
    except OverflowError:
        raise CellError(index, too_large("a whole number of over 308 digits")) from None
    if math.isinf(number) and number != value:  # one of more than double precision
        raise CellError(index, too_large(str(value)))
    return repr(number)


def _labels(column: str, series: nw.Series[Any]) -> list[Any]:
    kind = series.dtype
    if kind.is_nested() or kind == nw.Binary:
        raise InputError(f"{NAME}: group column {shown(column)} holds {shown(kind)}, not labels")
    labels = Labels(NAME, column)
    if kind.is_temporal():  # polars and Python cut what is less than a microsecond
        for part in times(labels.where, series.to_arrow()):
            labels.extend(part)
        return labels.rows
    for start in range(0, len(series), AT_ONCE):  # a category would become a text for each row
        labels.extend(series[start : start + AT_ONCE].to_list())
    return labels.rows

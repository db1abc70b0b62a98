"""NumPy's masked arrays: what lies under a mask is no value, and every cast takes it for one."""

from __future__ import annotations

from typing import Any

import numpy as np


def count_masked(values: Any) -> int:
    """How many values are masked in an array, or in the arrays within lists, tuples and objects."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.getmaskarray(values).sum())
    if isinstance(values, np.ndarray):
        return sum(map(count_masked, values.flat)) if values.dtype == object else 0
    if isinstance(values, list | tuple):
        return sum(map(count_masked, values))
    return 0

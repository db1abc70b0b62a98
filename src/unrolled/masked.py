"""NumPy's masked arrays: what lies under a mask is no value, and every cast takes it for one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_masked_array(values: Any) -> bool:
    """Whether it is one, with something masked or not.

    Before ``numpy.ma`` is there no array is one; a stream need not wait until it is imported.
    """
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(values, module.MaskedArray)


def count_masked(values: Any) -> int:
    """How many values are masked in an array, or in the arrays within lists, tuples and objects."""
    if is_masked_array(values):
        return int(np.ma.getmaskarray(values).sum())
    if isinstance(values, np.ndarray):
        return sum(map(count_masked, values.flat)) if values.dtype == object else 0
    if isinstance(values, list | tuple):
        return sum(map(count_masked, values))
    return 0

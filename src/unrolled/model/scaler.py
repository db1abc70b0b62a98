"""Standard scaling, one mean and one scale for each column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaler:
    """z = (x − mean) / scale, column by column: ``mean`` [F] and ``scale`` [F]."""

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, values: Array) -> Scaler:
        """From the finite entries of ``values`` [N, F]; a constant column keeps the scale 1.

        The scale is the standard deviation with N in the denominator, as in scikit-learn's
        ``StandardScaler``.
        """
        known = np.ma.masked_invalid(values)
        mean = known.mean(axis=0).filled(0.0)
        spread = known.std(axis=0).filled(0.0)
        # A spread at the level of rounding is no information: dividing by it would invent some.
        negligible = spread <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(negligible, 1.0, spread))

    @classmethod
    def identity(cls, columns: int) -> Scaler:
        """Leaves its columns as they are."""
        return cls(np.zeros(columns), np.ones(columns))

    def transform(self, values: Array) -> Array:
        """``values`` [..., F] in scaled units."""
        return (values - self.mean) / self.scale

    def inverse(self, values: Array) -> Array:
        """``values`` [..., F] in the units of the data."""
        return values * self.scale + self.mean

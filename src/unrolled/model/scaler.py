"""Standard scaling, one mean and one scale for each column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.runfile import GREATEST

Array = NDArray[np.float64]

ROUNDING = 10 * np.finfo(np.float64).eps
"""A spread of this share of the mean is what rounding leaves, rather than information."""

MOST = GREATEST / 2
"""Standard deviations that a number may have where a network reads it, as on a stream."""
MOST_SQUARED = 1e18
"""And where its error is squared, in single precision, and summed."""


@dataclass(frozen=True)
class Scaler:
    """z = (x − mean) / scale, column by column: ``mean`` [F] and ``scale`` [F]."""

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, values: Array) -> Scaler:
        """From the finite entries of ``values`` [N, F]; a constant column keeps the scale 1.

        The scale is the standard deviation with N in the denominator, as in scikit-learn's
        ``StandardScaler``, but for columns so small or large that their squares leave double
        precision: there it is right as well. A spread at the level of rounding counts as none.
        """
        mean, spread = moments(values)
        # Dividing by what rounding leaves would invent information.
        return cls(mean, np.where(is_rounding(mean, spread), 1.0, spread))

    @classmethod
    def identity(cls, columns: int) -> Scaler:
        """Leaves its columns as they are."""
        return cls(np.zeros(columns), np.ones(columns))

    def transform(self, values: Array) -> Array:
        """``values`` [..., F] in scaled units."""
        return (values - self.mean) / self.scale

    def is_beyond(self, values: Array, most: float = MOST) -> NDArray[np.bool_]:
        """Which finite entries of ``values`` [..., F] are more than ``most`` scales off the mean.

        By as many as the default says, a sum within the network may be more than single precision
        can hold, and what comes out of it NaN, or the same as for any other such number.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            limit = most * np.abs(self.scale)
            far: NDArray[np.bool_] = np.abs(values - self.mean) > limit
        far &= np.isfinite(values)
        return far

    def inverse(self, values: Array) -> Array:
        """``values`` [..., F] in the units of the data."""
        return values * self.scale + self.mean


def moments(values: Array) -> tuple[Array, Array]:
    """The mean [F] and the standard deviation [F] of the finite entries of ``values`` [N, F].

    0 where there are none; the deviation is 0 for equal entries alone.
    """
    known = np.ma.masked_invalid(values)
    unit = _unit(np.abs(known).max(axis=0).filled(0.0))
    if (unit != 1.0).any():
        known = known / unit
    mean = known.mean(axis=0).filled(0.0)
    spread = known.std(axis=0).filled(0.0)
    least = np.where(spread > 0.0, np.finfo(np.float64).smallest_subnormal, 0.0)
    return mean * unit, np.maximum(spread * unit, least)


def is_rounding(mean: Array, spread: Array) -> NDArray[np.bool_]:
    """Whether values with this mean [F] and this spread [F] differ by what rounding leaves."""
    negligible: NDArray[np.bool_] = spread <= ROUNDING * np.abs(mean)
    return negligible


def _unit(largest: Array) -> Array:
    """A power of two for each column [F], by which its squares come within double precision."""
    exponent = np.frexp(largest)[1]
    return np.ldexp(1.0, np.where(np.abs(exponent) < 500, 0, np.minimum(exponent, 1023)))

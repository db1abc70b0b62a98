"""Scaling: scikit-learn's, on the values that are known."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from unrolled.model import Scaler


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def assert_like_sklearn(values):
    mine, theirs = Scaler.fit(values), StandardScaler().fit(values)
    np.testing.assert_allclose(mine.mean, theirs.mean_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(mine.scale, theirs.scale_, rtol=1e-9)
    np.testing.assert_allclose(
        mine.transform(values), theirs.transform(values), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("unit", [1e-20, 1e-3, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1.0, -1000.0])
def test_it_scales_as_scikit_learn_does(rng, unit, offset):
    assert_like_sklearn((rng.normal(size=(200, 3)) + offset) * unit)


def test_missing_values_are_left_out_as_in_scikit_learn(rng):
    values = rng.normal(size=(100, 3))
    values[rng.random(size=values.shape) < 0.3] = np.nan
    assert_like_sklearn(values)


def test_infinite_values_are_left_out_too(rng):
    values = rng.normal(size=(100, 2))
    expected = Scaler.fit(values[5:])
    values[:5] = [[np.inf, -np.inf]] * 5
    fitted = Scaler.fit(values)
    np.testing.assert_allclose(fitted.mean, expected.mean)
    np.testing.assert_allclose(fitted.scale, expected.scale)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e9, 1e-30, 12345.678])
def test_a_constant_column_keeps_the_scale_1(value):
    fitted = Scaler.fit(np.full((37, 1), value))
    assert fitted.scale == 1.0
    np.testing.assert_allclose(fitted.mean, value, rtol=1e-14)


def test_a_column_without_a_known_value_is_left_as_it_is():
    fitted = Scaler.fit(np.full((5, 1), np.nan))
    assert (fitted.mean.tolist(), fitted.scale.tolist()) == ([0.0], [1.0])


def test_inverse_undoes_transform(rng):
    values = rng.normal(size=(4, 50, 3)) * [1.0, 1e-6, 1e6] + [5.0, 0.0, -1e7]
    fitted = Scaler.fit(values.reshape(-1, 3))
    np.testing.assert_allclose(fitted.inverse(fitted.transform(values)), values, rtol=1e-12)


def test_identity_leaves_values_as_they_are(rng):
    values = rng.normal(size=(5, 2))
    np.testing.assert_array_equal(Scaler.identity(2).transform(values), values)
    np.testing.assert_array_equal(Scaler.identity(2).inverse(values), values)


@pytest.mark.parametrize("exponent", [-1070, -1000, -600, -510, -499, 0, 499, 510, 900, 1020])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_it_is_right_at_the_ends_of_double_precision(rng, exponent, offset):
    """Squares of such numbers underflow or overflow; a power of two changes no digit."""
    values = np.round(8 * (rng.uniform(-1.0, 1.0, size=(200, 2)) + offset)) / 8
    plain, far = Scaler.fit(values), Scaler.fit(np.ldexp(values, exponent))
    # What is left of the digits of a subnormal number.
    digits = max(1e-12, 2.0 ** (-1074 - exponent))
    np.testing.assert_allclose(np.ldexp(far.mean, -exponent), plain.mean, atol=digits)
    np.testing.assert_allclose(np.ldexp(far.scale, -exponent), plain.scale, atol=digits)


def test_columns_of_all_sizes_stand_side_by_side(rng):
    values = rng.normal(size=(100, 1)) * [1e-300, 1.0, 1e300, 0.0]
    expected = [*(np.std(values[:, 1]) * np.array([1e-300, 1.0, 1e300])), 1.0]
    np.testing.assert_allclose(Scaler.fit(values).scale, expected)


def test_the_least_spread_that_there_is_is_no_zero():
    least = np.finfo(np.float64).smallest_subnormal
    assert Scaler.fit(np.array([[0.0], [least]])).scale == least

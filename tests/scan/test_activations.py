"""The core's functions of one number against mpmath, on every instruction set of this machine."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from unrolled.scan import native

_core = pytest.importorskip("unrolled._core", reason="built without a compiler")

CORES = range(len(native.isas()))
DTYPES = {"f32": np.float32, "f64": np.float64}
UNITS = {"f32": 2.0, "f64": 4.0}
TRUTH = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "sqrt": mpmath.sqrt,
}
LEAST = {"f32": 1e-45, "f64": 5e-324}
MOST = {"f32": 3.4e38, "f64": 1.7e308}

every_core = pytest.mark.parametrize("core", CORES, ids=native.isas())
every_dtype = pytest.mark.parametrize("kind", DTYPES)
every_function = pytest.mark.parametrize("name", TRUTH)


def activate(core: int, kind: str, name: str, x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x, dtype=DTYPES[kind])
    y = np.full_like(x, 7)
    instruct(core, kind, name, x, y, x.size)
    return y


def instruct(core: int, kind: str, name: str, x: np.ndarray, y: np.ndarray, count: int) -> None:
    run = _core.instruct_f32 if kind == "f32" else _core.instruct_f64
    run(core, name, [(x.ctypes.data, count)], (y.ctypes.data, count))


def points(kind: str) -> np.ndarray:
    """Where the function changes, where it saturates, where exp changes its power of two."""
    random = np.random.default_rng(0)
    dense = random.uniform(-30, 30, 1500)
    small = np.exp(random.uniform(np.log(1e-30), np.log(1.0), 500)) * random.choice([-1, 1], 500)
    far = random.uniform(-1000, 1000, 300)
    edges = np.arange(-150, 151) * math.log(2) / 2
    near = np.concatenate([np.nextafter(edges, np.inf), edges, np.nextafter(edges, -np.inf)])
    limits = [0.0, -0.0, 9.01, -9.01, 20, -20, 22, -22, 87.3, -87.3, 88.8, -88.8, 103.9, -103.9]
    ones = 1 + random.uniform(-1e-3, 1e-3, 200)
    return np.concatenate([dense, small, far, near, limits, ones]).astype(DTYPES[kind])


def units_off(found: np.ndarray, truth: list[mpmath.mpf]) -> np.ndarray:
    """The distance in units in the last place of the true value, subnormal numbers included."""
    spacing = np.spacing(np.abs(np.array([float(t) for t in truth])).astype(found.dtype))
    return np.array(
        [
            float(abs(mpmath.mpf(float(f)) - t) / mpmath.mpf(float(s)))
            for f, t, s in zip(found, truth, spacing, strict=True)
        ]
    )


@every_core
@every_dtype
@every_function
def test_right_to_the_last_places(core: int, kind: str, name: str) -> None:
    x = points(kind)
    x = np.abs(x[x != 0]) if name in ("log", "sqrt") else x
    with mpmath.workprec(200):
        truth = [TRUTH[name](mpmath.mpf(float(value))) for value in x]
        # What is too small or large to be written is tested below, as infinity and 0.
        is_number = [LEAST[kind] < abs(t) < MOST[kind] for t in truth]
        x, truth = x[is_number], [t for t, is_one in zip(truth, is_number, strict=True) if is_one]
        off = units_off(activate(core, kind, name, x), truth)
    worst = int(off.argmax())
    assert off[worst] <= UNITS[kind], f"{name}({x[worst]!r}) is {off[worst]:.2f} units off"


@every_core
@every_dtype
@every_function
def test_what_is_no_number_comes_out_as_in_torch(core: int, kind: str, name: str) -> None:
    x = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-310, 3e38], dtype=DTYPES[kind])
    function = {"softplus": torch.nn.functional.softplus}.get(name) or getattr(torch, name)
    expected = function(torch.from_numpy(x))
    found = torch.from_numpy(activate(core, kind, name, x))
    torch.testing.assert_close(found, expected, equal_nan=True)
    signs = torch.signbit(torch.stack([found, expected]))[:, ~expected.isnan()]
    assert torch.equal(signs[0], signs[1]) or name == "sigmoid"


@every_core
@every_dtype
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33])
def test_nothing_is_written_past_the_end(core: int, kind: str, count: int) -> None:
    x = np.linspace(-3, 3, 40, dtype=DTYPES[kind])
    y = np.full_like(x, 7)
    instruct(core, kind, "tanh", x, y, count)
    assert (y[count:] == 7).all()
    np.testing.assert_allclose(y[:count], np.tanh(x[:count]), rtol=1e-6)

"""What can be done to numbers in a cell's equations, unit by unit, and over the units of a row.

Every operation is right at its own limits: where torch has it too, values and derivatives are
torch's, at ties, for NaN and for the infinities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """An operation on ``arity`` numbers.

    ``on_numbers`` computes it in Python, and ``written`` is how it stands in an equation, with a
    place for each operand. ``precedence`` says how tightly that binds: 4 for what needs no
    brackets, 3 for powers, 2 for products, 1 for sums, 0 for comparisons.
    """

    arity: int
    on_numbers: Callable[..., float]
    written: str
    precedence: int = 4


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _divide(x: float, y: float) -> float:
    if y != 0:
        return x / y
    if x == 0 or math.isnan(x):
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


def _sigmoid(x: float) -> float:
    return 1 / (1 + _exp(-x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(_exp(-abs(x)))


def _least(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else min(x, y)


def _greatest(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else max(x, y)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))  # 0 of NaN, as torch has it


UNIT_BY_UNIT: dict[str, Operation] = {
    "negative": Operation(1, lambda x: -x, "−{}", 2),
    "add": Operation(2, lambda x, y: x + y, "{} + {}", 1),
    "subtract": Operation(2, lambda x, y: x - y, "{} − {}", 1),
    "multiply": Operation(2, lambda x, y: x * y, "{} ⊙ {}", 2),
    "divide": Operation(2, _divide, "{} / {}", 2),
    "power": Operation(2, _power, "{}^{}", 3),
    "absolute": Operation(1, abs, "|{}|"),
    "sign": Operation(1, _sign, "sign({})"),
    "exp": Operation(1, _exp, "exp({})"),
    "log": Operation(1, _log, "log({})"),
    "sqrt": Operation(1, _sqrt, "sqrt({})"),
    "sigmoid": Operation(1, _sigmoid, "σ({})"),
    "tanh": Operation(1, math.tanh, "tanh({})"),
    "relu": Operation(1, lambda x: x if x > 0 or math.isnan(x) else 0.0, "relu({})"),
    "softplus": Operation(1, _softplus, "softplus({})"),
    "minimum": Operation(2, _least, "min({}, {})"),
    "maximum": Operation(2, _greatest, "max({}, {})"),
    "less": Operation(2, lambda x, y: float(x < y), "{} < {}", 0),
    "less_equal": Operation(2, lambda x, y: float(x <= y), "{} ≤ {}", 0),
    "equal": Operation(2, lambda x, y: float(x == y), "{} = {}", 0),
    "where": Operation(3, lambda c, x, y: x if c != 0 else y, "where({}, {}, {})"),
    "detach": Operation(1, lambda x: x, "detach({})"),
}
"""By name. Comparisons give 1 or 0, ``where`` takes all but 0 for true, and ``detach`` gives what
it is given: only derivatives tell the difference."""

OVER_UNITS: dict[str, Operation] = {"mean": Operation(1, lambda x: x, "mean({})")}
"""What makes one number a row of the numbers of all its units."""

OPERATIONS = UNIT_BY_UNIT | OVER_UNITS

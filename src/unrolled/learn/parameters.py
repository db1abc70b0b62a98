"""What the parameters of an estimator may be, checked when it is fitted, as scikit-learn asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Allowed:
    """A test of a value, what passes it in words, and further values that do without the test."""

    test: Callable[[Any], bool]
    words: str
    others: tuple[str | None, ...] = ()

    def check(self, name: str, value: Any) -> None:
        """Raises unless ``value`` is allowed.

        Raises:
            ValueError: it is not.
        """
        is_other = (value is None or isinstance(value, str)) and value in self.others
        if not is_other and not self.test(value):
            expected = ", or ".join([self.words, *(repr(other) for other in self.others)])
            raise ValueError(f"{name} should be {expected}, got {value!r}")


def whole(*others: str | None, most: int | None = None) -> Allowed:
    """A count, of at most ``most``."""
    words = "a whole number of at least 1"
    if most is None:
        return Allowed(_is_count, words, others)
    return Allowed(
        lambda value: _is_count(value) and int(value) <= most, f"{words}, at most {most}", others
    )


def counts(most: int) -> Allowed:
    """None, or counts by name, each of at most ``most``."""
    return Allowed(
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(name, str) for name in value)
            and all(_is_count(count) and int(count) <= most for count in value.values())
        ),
        f"whole numbers from 1 to {most} by name",
        (None,),
    )


def above_zero(most: float = math.inf, *others: str | None) -> Allowed:
    """A number of at most ``most``."""
    words = "above 0" if most == math.inf else f"in (0, {most:g}]"
    return Allowed(lambda value: _is_number(value) and 0 < value <= most, words, others)


def share() -> Allowed:
    """Of a whole, which it is not."""
    return Allowed(lambda value: _is_number(value) and 0 <= value < 1, "in [0, 1)")


def one_of(choices: tuple[str, ...]) -> Allowed:
    """A word."""
    return Allowed(
        lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}"
    )


def yes_or_no() -> Allowed:
    """A bool: of other values, few say what they seem to ("no" is true)."""
    return Allowed(lambda value: isinstance(value, bool | np.bool_), "True or False")


def check_parameters(parameters: Mapping[str, Any], allowed: Mapping[str, Allowed]) -> None:
    """Raises unless each parameter is allowed.

    Raises:
        ValueError: one of them is not what ``allowed`` says of it.
    """
    for name, rule in allowed.items():
        rule.check(name, parameters[name])


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)

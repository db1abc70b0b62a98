"""Texts in cells as numbers; what is none is named as what it is, with the repair."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from unrolled.learn.columns import shown

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "nil", "none", "-nan", "#n/a", "<na>")
"""What is read as a missing number, in lower case: pandas' words, and nil."""
TRUTHS = {"true": 1.0, "false": 0.0}
"""A column of nothing else is read as numbers, as a column of booleans is."""
INFINITE = ("inf", "infinity")

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).tiny)

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
CURRENCY = r"(?:[$€£¥₹₽₩₿]|USD|EUR|GBP|CHF|JPY|CNY)"
GROUPED = r"[+-]?\d{1,3}(?:%s\d{3})+"
KINDS = tuple(
    (re.compile(pattern, re.IGNORECASE), fault)
    for pattern, fault in (
        (rf"(?:{NUMBER}|[+-]?[\d.,]*\d)\s*[%‰]", "it has a percent sign. Leave the sign out"),
        (
            rf"[+-]?{CURRENCY}\s*[+-]?[\d., ']+|[+-]?[\d., ']+\s*{CURRENCY}",
            "it has a currency. Leave it out",
        ),
        (
            r"[+-]?\d{1,3},\d{3}",
            "it has a decimal comma or separates thousands. Write a point, or nothing",
        ),
        (
            rf"{GROUPED % '[.]'},\d*|[+-]?\d*,\d+(?:e[+-]?\d+)?",
            "it has a decimal comma. Write a decimal point",
        ),
        (
            rf"{GROUPED % '.'}(?:\.\d*)?|{GROUPED % '[.]'}",
            "it separates thousands. Write the digits without separators",
        ),
        (
            r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ].*)?|\d{1,2}:\d{2}(:\d{2}([.,]\d*)?)?( ?[ap]m)?"
            r"|\d{1,4}[- ][a-zäé]{3,9}\.?[- ]\d{2,4}(,? .*)?",
            "it is a date or a time. Leave the column out, or turn it into a number, such as the "
            "hours since the start",
        ),
        (
            r"true|false|yes|no|on|off",
            "it is a truth value. Write 1 or 0 in the whole column",
        ),
        (r"[−–—][\d.]+", "its minus sign is not the usual one. Write -"),
        (r"[<>≤≥~±]\s*[\d.,]+", "it is a bound. Write the value alone, or leave the cell empty"),
        (r"[+-]?\d+(_\d+)+", "it has an underscore. Write the digits alone"),
        (r"0x[\da-f]+", "it is hexadecimal. Write it with decimal digits"),
        (r"\([\d.,]+\)", "it is in brackets. Write a minus sign"),
        (
            rf"{NUMBER}\s*[^\d\s.,+-][^\d]{{0,11}}",
            "it has a unit. Write the number alone",
        ),
    )
)
"""What cells hold that are nearly numbers, in the order in which they are tried."""


class CellError(ValueError):
    """The text at ``index`` of a chunk is no number; the message says why, with the repair."""

    def __init__(self, index: int, message: str):
        super().__init__(message)
        self.index = index


class Words:
    """Reads a column's texts, which come in chunks: all of them numbers, or all true or false."""

    def __init__(self) -> None:
        self._kind: Literal["number", "truth"] | None = None

    def read(self, words: Sequence[str]) -> list[float]:
        """The numbers of a chunk, NaN where one is missing.

        Raises:
            CellError: one of its texts is no number.
        """
        known = None if self._kind == "truth" else _all_numbers(words)
        if known is None:
            return [self._number(words, index) for index in range(len(words))]
        if not all(map(math.isnan, known)):
            self._kind = "number"
        return known

    def _number(self, words: Sequence[str], index: int) -> float:
        word = words[index].strip()
        if word.lower() in MISSING_WORDS:
            return math.nan
        kind: Literal["number", "truth"] = "truth" if word.lower() in TRUTHS else "number"
        value = TRUTHS[word.lower()] if kind == "truth" else _value(word)
        if value is None or self._kind not in (None, kind):
            raise CellError(index, _fault(words, word))
        self._kind = kind
        if abs(value) > LARGEST and word.lower().lstrip("+-") not in INFINITE:
            raise CellError(index, too_large(f"{value:g}" if math.isfinite(value) else word))
        return value


def is_missing(value: Any) -> bool:
    """Whether a value from Python stands for a missing one: None, NaN, pandas' NA and NaT."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def too_large(number: str) -> str:
    """What is said of a number that single precision can't hold."""
    return (
        f"{number if len(number) <= 40 else number[:40] + '…'} is too large for single precision, "
        f"which ends at {LARGEST:.1e}. Correct it, or change the column's unit"
    )


def too_small(spread: float) -> str:
    """What is said of a column whose standard deviation single precision can't hold."""
    return (
        f"varies by {spread:.2g} alone (standard deviation), too little for single precision, "
        f"which begins at {SMALLEST:.1e}. Change its unit"
    )


def too_far(number: float, most: float, fitted: str) -> str:
    """What is said of a number that is over ``most`` standard deviations off ``fitted``."""
    return (
        f"{number:g} is more than {most:g} standard deviations off {fitted}, which is beyond what "
        "the network's single precision can tell"
    )


def only_rounding(values: Any, where: str = "") -> str:
    """What is said of a column whose finite ``values`` [n] differ by what rounding leaves."""
    return (
        f"varies in the last digits of double precision alone{where} ({values.min():.17g} to "
        f"{values.max():.17g}). Subtract what all its values have in common, or leave it out"
    )


def _all_numbers(words: Sequence[str]) -> list[float] | None:
    """All of them at once, which is much faster; None if one needs a closer look."""
    try:
        values = list(map(float, words))
    except ValueError:
        return None
    if "_" in "".join(words) or max(map(abs, values), default=0.0) > LARGEST:
        return None
    return values


def _value(word: str) -> float | None:
    # Python's 1_000 is nobody's number in a table, but may well be somebody's typing error.
    try:
        return None if "_" in word else float(word)
    except ValueError:
        return None


def _fault(words: Sequence[str], word: str) -> str:
    """What a text is that is no number, and what to do about it."""
    start = f"{shown(word)} is not a number"
    if len(word) <= 80:
        for pattern, fault in KINDS:
            if pattern.fullmatch(word):
                return f"{start}: {fault}"
    known = [text.strip() for text in words if text.strip().lower() not in MISSING_WORDS]
    others = sum(_value(text) is None for text in known)
    if others > 1 and 2 * others > len(known):
        return (
            f"{start}: the column seems to hold text, such as categories. Leave it out, or give "
            "each category a column of 0 and 1"
        )
    return f"{start}. Correct it, or leave the cell empty and choose --missing drop or interpolate"

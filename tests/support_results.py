"""Trials as a results file has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unrolled.reproduce.published import ROWS
from unrolled.reproduce.results import lags_of, writing
from unrolled.reproduce.tables import FAITHFUL, OF_1997, Result

ROW_OF = {row.key: row for row in ROWS}

STEPS = 100

TRIAL = Result(
    row="4-100",
    column=FAITHFUL,
    network=OF_1997,
    seed=0,
    solved=True,
    sequences=74_000,
    wrong=1,
    tested=2560,
    error=0.01,
    weights=93,
    horizon=46,
    steps=STEPS,
    gradient=json.dumps([0.5 * 0.9**lag for lag in lags_of(STEPS)]),
    seconds=12.5,
    version="0.1.0",
    processor="a processor",
)
"""A faithful trial that is as published, its gradient 0.9 times smaller with each step."""


def trials(count: int, first: int = 0, **changes: Any) -> list[Result]:
    """So many, with seeds from ``first`` on."""
    return [replace(TRIAL, seed=first + number, **changes) for number in range(count)]


def put(path: Path, results: Iterable[Result]) -> Path:
    """Writes a results file."""
    with writing(path, Result) as file:
        for result in results:
            file.add(result)
    return path

"""The paper's networks have as many weights here as there."""

from __future__ import annotations

import pytest

from unrolled.reproduce.published import QUICK, ROWS

WEIGHTS = {
    "1-4x1-0.1": 264, "1-3x2-0.1": 276, "1-3x2-0.2": 276, "1-4x1-0.5": 264, "1-3x2-0.5": 276,
    "2a": 10504, "2b": 10504,
    "2c-50-50": 364, "2c-100-100": 664, "2c-200-200": 1264, "2c-500-500": 3064,
    "2c-1000-1000": 6064, "2c-1000-500": 3064, "2c-1000-200": 1264, "2c-1000-100": 664,
    "2c-1000-50": 364,
    "3a-100-3": 102, "3a-100-1": 102, "3a-1000-3": 102, "3c-3": 102, "3c-1": 102,
    "4-100": 93, "4-500": 93, "4-1000": 93, "5-140": 93, "5-13": 93, "6a": 156, "6b": 308,
}  # fmt: skip
"""As tables 1 to 9 of the paper have them."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_weights(row) -> None:
    assert row.recipe().architecture.weights == WEIGHTS[row.key]


def test_every_row_is_there_once() -> None:
    assert [row.key for row in ROWS] == list(WEIGHTS)


def test_today_s_networks_learn_every_task_once() -> None:
    tasks = [repr(row.task()) for row in ROWS if row.task is not None]
    assert len(tasks) == len(set(tasks)) == 23


def test_quick_rows_are_rows() -> None:
    assert set(QUICK) <= {row.key for row in ROWS}

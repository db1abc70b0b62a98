"""What the page says of initial values: medians, what was never reached, what diverged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from unrolled.reproduce.course import NEVER
from unrolled.reproduce.initial import NETWORKS, SEEDS, UPDATES, Outcome
from unrolled.reproduce.initial_page import draw, table, text
from unrolled.reproduce.results import lags_of, writing
from unrolled.reproduce.sections import write_sections

LSTM_CHRONO = "LSTM, chrono"
BASE = Outcome(
    "adding", 100, LSTM_CHRONO, 0, sequences=40_000, loss=0.02, score=0.9, tested=512, chance=0.2,
    beaten=1_000, solved=9_000, weights=4_513, steps=99, horizon_before=40, horizon_after=99,
    gradient_before=json.dumps([0.5**lag for lag in lags_of(99)]),
    gradient_after=json.dumps([1.0] * len(lags_of(99))),
    seconds=1.0, version="0", processor="",
)  # fmt: skip
DIVERGED = replace(BASE, loss=float("nan"), horizon_after=NEVER, gradient_after="[]")


def cells(records: list[Outcome]) -> list[str]:
    """What the tables say of the network, one after the other."""
    lines = [line for line in table(records).splitlines() if line.startswith(f"| {LSTM_CHRONO} ")]
    return [line.split("|")[2].strip() for line in lines]


def three(*changes: dict[str, float]) -> list[Outcome]:
    return [replace(BASE, seed=seed, **change) for seed, change in enumerate(changes)]  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            three({"loss": 0.1}, {"loss": 0.02}, {"loss": 0.06}),
            ["0.3 (0.1 to 0.5)", "1,000 / 9,000", "40 → 99"],
        ),
        (
            three({"solved": NEVER}, {"solved": 5_000}, {"solved": 7_000}),
            ["0.1 (0.1 to 0.1)", "1,000 / 6,000 (2 of 3)", "40 → 99"],
        ),
        (
            [replace(BASE, beaten=NEVER, solved=NEVER)],
            ["0.1 (0.1 to 0.1)", "never / never", "40 → 99"],
        ),
        ([BASE, DIVERGED], ["1 of 2 diverged", "1,000 / 9,000", "40 → 99"]),
        ([DIVERGED], ["1 of 1 diverged", "1,000 / 9,000", "40 → diverged"]),
    ],
)
def test_a_line_of_the_table(records: list[Outcome], said: list[str]) -> None:
    assert cells(records) == said


def test_a_network_without_trials_has_no_numbers() -> None:
    other = next(line for line in table([BASE]).splitlines() if line.startswith("| GRU, chrono"))
    assert other == "| GRU, chrono |  |"


def test_a_task_without_trials_has_no_table() -> None:
    assert "Copying" not in table([BASE])


def test_the_text_says_the_setting() -> None:
    said = text()
    for name, start in NETWORKS.items():
        assert f"{start.rate:g} for {name.split(',')[0]}" in said
    for length, updates in UPDATES.items():
        assert f"{updates:,} at T = {length:,}" in said
    assert f"{len(SEEDS)} trials" in said


def test_the_page_has_the_section_with_its_picture(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with writing(tmp_path / "initial.csv", Outcome) as results:
        results.add(BASE)
    *_, section = write_sections(tmp_path, tmp_path)
    assert table([BASE]) in section
    (picture,) = (tmp_path / "images").iterdir()
    assert f"](images/{picture.name})" in section
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_drawn_is_what_was_measured(tmp_path: Path) -> None:
    names = ("one", "same", "other")
    worse = replace(BASE, loss=0.18)
    for name, records in zip(names, ([BASE], [BASE], [worse, DIVERGED]), strict=True):
        draw(tmp_path / f"{name}.png", records, shown=100)
    one, same, other = (imread(tmp_path / f"{name}.png") for name in names)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)

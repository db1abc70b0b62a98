"""What the page says of continual prediction is what the file of results says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from unrolled.reproduce.continual import SEEDS, Continual
from unrolled.reproduce.continual_kinds import KINDS, LIMITS
from unrolled.reproduce.continual_page import CHOICES, PUBLISHED, compared, section, table
from unrolled.reproduce.continual_picture import continual_picture
from unrolled.reproduce.results import writing
from unrolled.reproduce.sections import NOT_RUN, write_sections

FORGETTING = "LSTM with forget gates"
PERFECT = Continual(
    FORGETTING, 0, "perfect", streams=9_000, symbols=800_000, tests=40, length=100_000.0,
    weights=424, horizon=12, steps=99, gradient="[1.0]", seconds=1.0, version="0", processor="",
)  # fmt: skip
GOOD = replace(
    PERFECT, ending="good", streams=12_000, symbols=LIMITS.symbols + 100, length=30_000.0
)
REST = replace(PERFECT, ending="rest", streams=30_000, length=140.0)


def seeds(*records: Continual) -> list[Continual]:
    return [replace(record, seed=seed) for seed, record in enumerate(records)]


def lines(records: list[Continual], kind: str) -> list[list[str]]:
    """What the table says of a kind: the published figures, and those found here."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(records).splitlines()]
    (place,) = (number for number, row in enumerate(rows) if row[0] == kind)
    return [row[1:] for row in rows[place : place + 2]]


def test_what_was_found_stands_beneath_what_was_published() -> None:
    other = replace(PERFECT, streams=11_000, horizon=20)
    published, here = lines(seeds(PERFECT, other, GOOD, REST), FORGETTING)
    assert published == [
        *("published", "100", "18%", "18,889", "29%", "39,171", "53%", "145", "", ""),
    ]
    assert here == [
        *("here", "4", "50% (15% to 85%)", "10,000", "25%", "30,000", "25%", "140", "1", "12"),
    ]


def test_what_there_is_none_of_has_no_number() -> None:
    _, here = lines(seeds(REST), FORGETTING)
    assert here == ["here", "1", "0% (0% to 79%)", "", "0%", "", "100%", "140", "0", "12"]
    assert lines([], "LSTM")[1] == ["here", "0", *[""] * 8]


def test_published_shares_are_of_all_networks() -> None:
    assert all(p.perfect + p.good + p.rest == 100 for p in PUBLISHED.values())


@pytest.mark.parametrize(
    ("perfect", "said"),
    [
        (18, "are within the interval"),
        (60, "are below the interval"),
        (2, "are above the interval"),
    ],
)
def test_a_complete_kind_is_compared(perfect: int, said: str) -> None:
    records = seeds(*[PERFECT] * perfect, *[REST] * (len(SEEDS) - perfect))
    (text,) = compared(records)
    assert said in text
    assert ("did not reproduce" in text) == (perfect != 18)
    assert not [*compared(records[1:])]


def test_the_section_says_what_is_missing_and_what_was_chosen() -> None:
    text = section(seeds(PERFECT, REST))
    assert f"Not complete: 2 of {len(KINDS) * len(SEEDS)} trials" in text
    assert f"{LIMITS.symbols:,} symbols" in text
    assert all(choice in text for choice in CHOICES)


def test_the_sections_have_it_run_or_not(tmp_path: Path) -> None:
    first = write_sections(tmp_path, tmp_path)[0]
    assert NOT_RUN in first
    assert CHOICES[0] in first
    with writing(tmp_path / "continual.csv", Continual) as results:
        results.add(PERFECT)
    assert "50%" not in first
    assert "100% (21% to 100%)" in write_sections(tmp_path, tmp_path)[0]
    assert (tmp_path / "images" / "reproduction-continual.png").exists()


def test_what_is_drawn_is_what_was_found(tmp_path: Path) -> None:
    pictures = []
    for number, records in enumerate([[], seeds(PERFECT, GOOD, REST), seeds(PERFECT, GOOD, GOOD)]):
        continual_picture(records).savefig(tmp_path / f"{number}.png")
        pictures.append(imread(tmp_path / f"{number}.png"))
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])

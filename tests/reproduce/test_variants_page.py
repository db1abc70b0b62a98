"""What the page says of the variants: medians, significance, what diverged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mpmath
import numpy as np
import pytest
from matplotlib.image import imread

from unrolled.reproduce.course import NEVER
from unrolled.reproduce.results import writing
from unrolled.reproduce.sections import write_sections
from unrolled.reproduce.variants import SETTINGS, VANILLA, Outcome
from unrolled.reproduce.variants_page import draw, p_value, table, text

BASE = Outcome(
    "adding", VANILLA, 0, updates=4_000, loss=0.02, score=0.96, tested=2_560, chance=0.2,
    solved=1_500, weights=1_281, horizon=99, steps=99, gradient="[]", seconds=1.0, version="0",
    processor="",
)  # fmt: skip
DIVERGED = replace(BASE, variant="NOAF", loss=float("inf"), solved=NEVER, horizon=NEVER, score=0.0)


def trials(variant: str, *losses: float) -> list[Outcome]:
    return [
        replace(BASE, variant=variant, seed=seed, loss=loss) for seed, loss in enumerate(losses)
    ]


def line(records: Sequence[Outcome], variant: str) -> list[str]:
    """What the table says of a variant."""
    (found,) = (text for text in table(records).splitlines() if text.startswith(f"| {variant} "))
    return [cell.strip() for cell in found.split("|")[1:-1]]


GOOD, BAD, MIXED = (0.010, 0.012, 0.011), (0.18, 0.19, 0.2), (0.009, 0.013, 0.012)


@pytest.mark.parametrize("others", [BAD, MIXED])
def test_p_is_welchs(others: tuple[float, ...]) -> None:
    """By the formulas of Welch 1947, and the t-distribution's tail as an incomplete beta."""
    a, b = np.array(GOOD), np.array(others)
    of_a, of_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    t = (a.mean() - b.mean()) / np.sqrt(of_a + of_b)
    degrees = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    within = degrees / (degrees + t**2)
    expected = mpmath.betainc(degrees / 2, 0.5, 0, within, regularized=True)
    found = p_value(trials("NP", *others), trials(VANILLA, *GOOD))
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(
    "group", [[replace(BASE, variant="NP")], [DIVERGED, *trials("NOAF", *GOOD)]]
)
def test_there_is_no_p_of_one_trial_or_of_what_diverged(group: list[Outcome]) -> None:
    assert p_value(group, trials(VANILLA, *GOOD)) is None


def test_a_line_of_the_table() -> None:
    records = trials(VANILLA, 0.01, 0.02, 0.06)
    records[2] = replace(records[2], solved=NEVER, score=0.5)
    assert line(records, VANILLA) == [
        VANILLA, "1,281", "0.960", "0.1 (0.05 to 0.3)", "2 of 3", "1,500", "99", "",
    ]  # fmt: skip


def test_a_variant_that_diverged() -> None:
    said = line([BASE, DIVERGED], "NOAF")
    assert said[3:] == ["1 diverged", "0 of 1", "never", "", ""]


@pytest.mark.parametrize(("losses", "bold"), [(BAD, True), (MIXED, False)])
def test_what_is_significant_is_bold(losses: tuple[float, ...], bold: bool) -> None:
    p = line([*trials(VANILLA, *GOOD), *trials("NP", *losses)], "NP")[-1]
    assert p.startswith("**") == bold


def test_the_text_says_the_setting() -> None:
    said = text()
    for setting in SETTINGS.values():
        assert f"{setting.training.updates:,} updates" in said
    for word in ("at random", "Welch", "peepholes", "JapaneseVowels"):
        assert word in said


def test_the_page_has_the_section_with_its_picture(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with writing(tmp_path / "variants.csv", Outcome) as results:
        results.add(BASE)
    (section,) = (part for part in write_sections(tmp_path, tmp_path) if table([BASE]) in part)
    (picture,) = (tmp_path / "images").iterdir()
    assert f"](images/{picture.name})" in section
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_drawn_is_what_was_measured(tmp_path: Path) -> None:
    vanilla = trials(VANILLA, *GOOD)
    drawn = {
        "one": [*vanilla, *trials("NP", *BAD)],
        "same": [*vanilla, *trials("NP", *BAD)],
        "other": [*vanilla, *trials("NP", *MIXED), DIVERGED],
    }
    for name, records in drawn.items():
        draw(tmp_path / f"{name}.png", records)
    one, same, other = (imread(tmp_path / f"{name}.png") for name in drawn)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)

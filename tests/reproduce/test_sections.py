"""The sections on the other parts, from their files to the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import InputError
from unrolled.reproduce import initial, languages, variants
from unrolled.reproduce.hierarchy import LANGUAGES
from unrolled.reproduce.results import lags_of, writing
from unrolled.reproduce.sections import write_sections

GRADIENT = json.dumps([1.0] * len(lags_of(9)))
RANGES = json.dumps([[first, last, 0.5] for first, last in LANGUAGES["even-pairs"].ranges()])
MEASURED: dict[str, Any] = {
    "weights": 99, "steps": 9, "seconds": 1.0, "version": "0", "processor": "",
}  # fmt: skip
LEARNED: dict[str, Any] = {
    "seed": 0, "loss": 0.1, "score": 0.9, "tested": 512, "chance": 0.2, "solved": -1,
}  # fmt: skip
RECORDS: dict[str, Any] = {
    "variants": variants.Outcome(
        "adding", "V", updates=9, horizon=3, gradient=GRADIENT, **LEARNED, **MEASURED
    ),
    "languages": languages.Accuracy(
        "even-pairs", "LSTM", 0, 0.01, 0.5, RANGES, "[]", horizon=3, gradient=GRADIENT, **MEASURED
    ),
    "initial": initial.Outcome(
        "copying", 100, "LSTM, chrono", sequences=9, beaten=-1, horizon_before=3, horizon_after=3,
        gradient_before=GRADIENT, gradient_after=GRADIENT, **LEARNED, **MEASURED,
    ),
}  # fmt: skip
"""A trial of each part, by the part's name."""


def put(folder: Path, part: str, record: Any) -> Path:
    path = folder / f"{part}.csv"
    with writing(path, type(record)) as results:
        results.add(record)
    return path


@pytest.mark.parametrize("part", RECORDS)
def test_a_section_is_written_with_its_pictures(part: str, tmp_path: Path) -> None:
    put(tmp_path, part, RECORDS[part])
    sections = write_sections(tmp_path, tmp_path / "docs")
    assert sum("Not run yet." in section for section in sections) == len(sections) - 1
    drawn = [*(tmp_path / "docs" / "images").glob(f"reproduction-{part}*.png")]
    assert drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


@pytest.mark.parametrize("part", RECORDS)
def test_a_trial_that_the_part_lacks_is_refused(part: str, tmp_path: Path) -> None:
    path = put(tmp_path, part, replace(RECORDS[part], seed=99))
    with pytest.raises(InputError, match=rf"{path}: has a trial that the part {part} lacks .*99\)"):
        write_sections(tmp_path, tmp_path / "docs")

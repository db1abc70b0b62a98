"""What the tests of the reproduction share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unrolled.reproduce import vowels


@pytest.fixture
def utterances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files as those of JapaneseVowels, of 18 and 27 utterances, in place of them."""
    rng = np.random.default_rng(0)
    for split, count in (("TRAIN", 18), ("TEST", 27)):
        lines = ["#About it", "@problemName JapaneseVowels", "@data"]
        for i in range(count):
            values = rng.normal(3.0, 2.0, (12, 7 + i % 5)).round(6)
            lines.append(":".join([*(",".join(map(str, row)) for row in values), str(1 + i % 9)]))
        (tmp_path / f"JapaneseVowels_{split}.ts").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(vowels, "folder", lambda: tmp_path)
    vowels._scaled.cache_clear()
    yield tmp_path
    vowels._scaled.cache_clear()

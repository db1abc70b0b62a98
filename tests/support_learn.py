"""What the tests of training from a table share: small tables, small settings, a small run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from unrolled.learn.baselines import Score
from unrolled.learn.settings import TrainSettings

QUICK: dict[str, Any] = {
    "window": 6,
    "hidden_size": 4,
    "epochs": 2,
    "batch_size": 64,
    "threads": 1,
}
"""Settings under which a training run takes a fraction of a second."""


def quick(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"input": ["sin"], "target": ["cos"], **QUICK, **changes})


def score_of(scores: Mapping[str, Score | None], name: str = "network") -> Score:
    """A score that there is."""
    found = scores[name]
    assert found is not None
    return found


def r2_of(scores: Mapping[str, Score | None], name: str = "network") -> float:
    """R² of a truth that varies."""
    found = score_of(scores, name).r2
    assert found is not None
    return found


def wave_frame(rows: int = 200) -> pl.DataFrame:
    """A sine and its cosine, in different units, so that nothing comes out right unscaled."""
    t = 0.3 * np.arange(rows)
    return pl.DataFrame({"sin": 20.0 + 5.0 * np.sin(t), "cos": 300.0 * np.cos(t) - 40.0})


def write_wave(path: Path, rows: int = 200) -> Path:
    frame = wave_frame(rows)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path

"""What the tests of the estimator share: a quick one, and X in each of its forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import SequenceRegressor

Array = NDArray[np.float64]

N, T, INPUTS = 12, 5, 2
LENGTHS = [3, 5, 1, 4, 5, 2, 3, 5, 4, 2, 1, 3]


def quick(**changes: Any) -> SequenceRegressor:
    return SequenceRegressor(**{"hidden_size": 3, "epochs": 2, "random_state": 0, **changes})


def ragged(rng: np.random.Generator, *, flat: bool = False) -> list[Array]:
    rows = [rng.normal(size=(length, INPUTS)) for length in LENGTHS]
    return [row[:, 0] for row in rows] if flat else rows


def forms_of_x(rng: np.random.Generator) -> dict[str, Any]:
    cube = rng.normal(size=(N, T, INPUTS))
    return {
        "cube": cube,
        "cube as lists": cube.tolist(),
        "matrix": cube[:, :, 0],
        "matrix as lists": cube[:, :, 0].tolist(),
        "frame": pd.DataFrame(cube[:, :, 0], columns=[f"t{step}" for step in range(T)]),
        "ragged": ragged(rng),
        "ragged tuple": tuple(ragged(rng)),
        "ragged as lists": [row.tolist() for row in ragged(rng)],
        "ragged of one input": ragged(rng, flat=True),
        "ragged object array": np.array([*ragged(rng), None], dtype=object)[:-1],
        "list of frames": [pd.DataFrame(row) for row in ragged(rng)],
    }

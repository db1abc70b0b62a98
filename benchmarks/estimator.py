"""How well SequenceRegressor learns scikit-learn's own small data: python benchmarks/estimator.py.

R² on the 200 sequences of ten steps that scikit-learn's checks of a regressor train on, and of
which they ask for more than 0.5; one step informs, the rest is noise. For every cell, over seeds,
with the defaults and with the earlier ones ("before"), which counted epochs alone. Columns: how
many seeds, R² (median, least, and how many are not above 0.5), the median of the epochs trained.
"""

from __future__ import annotations

from statistics import median
from typing import Annotated, Any

import torch
import typer
from sklearn.utils.estimator_checks import _regression_dataset

from report import table, versions, wide_console
from unrolled import SequenceRegressor
from unrolled.model.choice import NAMES

SETTINGS: dict[str, dict[str, Any]] = {
    "before": {"epochs": 100, "patience": 15, "validation_fraction": 0.15},
    "defaults": {},
}


def main(seeds: Annotated[int, typer.Option(help="How many, from 0 on.")] = 20) -> None:
    torch.set_num_threads(1)
    x, y = _regression_dataset()
    console = wide_console()
    made = table(
        "scikit-learn's data for a check",
        ("cell", "settings", "seeds"),
        ("R² median", "least", "not above 0.5", "epochs"),
    )
    for cell in NAMES:
        for name, settings in SETTINGS.items():
            scores, epochs = [], []
            for seed in range(seeds):
                with console.status(f"{cell}, {name}, seed {seed}"):
                    model = SequenceRegressor(cell, random_state=seed, **settings).fit(x, y)
                scores.append(model.score(x, y))
                epochs.append(model.n_iter_)
            short = sum(score <= 0.5 for score in scores)
            made.add_row(
                *(cell, name, str(seeds), f"{median(scores):.3f}", f"{min(scores):.3f}"),
                *(str(short), f"{median(epochs):g}"),
            )
    console.print(made)
    console.print(versions("1 thread"))


if __name__ == "__main__":
    typer.run(main)

"""How far a stream, which carries its state through, is from predictions window by window.

    python examples/windows_or_stream.py

Trains each cell on the demo's table and on the three real ones of docs/results.md, with the options
that stand there, and prints the table of docs/stream.md: the error on the test rows of either way,
and how far they are apart. The stream reads all rows from the table's first on. Rows in which an
input is missing it does not see, and goes on after them.
"""

from typing import Any

import numpy as np
import pandas as pd
import tables

import unrolled
from unrolled.learn.wave import train_wave
from unrolled.model.choice import CellName

CELLS: tuple[CellName, ...] = ("rnn", "lstm", "gru")
SUNSPOTS = {"ahead": 1, "window": 24, "difference": True}
CO2 = {"ahead": 1, "window": 52, "difference": True, "missing": "interpolate"}
GLUCOSE = {"window": 24, "missing": "drop", "epochs": 30, "patience": 6, "batch_size": 256}


def demo() -> pd.DataFrame:
    """The sine and the cosine of ``demo/predictions.csv``."""
    t = train_wave("rnn").t
    return pd.DataFrame({"sin": np.sin(t), "cos": np.cos(t)})


CASES: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "the demo's": (demo, "sin", "cos", {}),
    "sunspots": (tables.sunspots, "SUNACTIVITY", "SUNACTIVITY", SUNSPOTS),
    "CO2": (tables.co2, "co2", "co2", CO2),
    "glucose": (tables.glucose, "isig", "glucose", GLUCOSE),
}


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def main() -> None:
    print("| table | network | RMSE by windows | RMSE of the stream | apart (RMS) |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, (make, read, predicted, options) in CASES.items():
        frame = make()
        for cell in CELLS:
            settings = unrolled.TrainSettings(
                input=[read], target=[predicted], cell=cell, threads=1, **options
            )
            training = unrolled.train_table(frame, settings)
            inputs = training.table.inputs
            known = np.isfinite(inputs).all(axis=1)
            streamed = np.full((len(inputs), 1), np.nan)
            streamed[known] = unrolled.Stream(training.run).step_many(inputs[known])
            of_stream, of_windows = streamed[training.test_rows], training.predicted
            errors = (of_windows - training.truth, of_stream - training.truth)
            numbers = [root_mean_square(v) for v in (*errors, of_stream - of_windows)]
            print(f"| {name} | {cell.upper()} |", " | ".join(f"{v:.4g}" for v in numbers), "|")


if __name__ == "__main__":
    main()

"""Trains every cell on the three real tables and writes docs/results.md anew.

    make results

Each line of the tables comes from ``unrolled train`` as a user would type it, three times with
three seeds; the baselines come from the same command. It takes about ten minutes on two
cores.
"""

import json
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tables

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("results")
SEEDS = (0, 1, 2)
CELLS = ("rnn", "lstm", "gru")
BASELINES = {"mean": "the mean", "last value": "the last value", "ridge": "ridge on the window"}


@dataclass(frozen=True)
class Case:
    """One table, how to train on it, and what to know when reading its scores."""

    title: str
    table: str
    target: str
    unit: str
    arguments: str
    note: str


CASES = (
    Case(
        "Sunspots, next year's number from the last 24 years",
        "sunspots",
        "SUNACTIVITY",
        "sunspots",
        "--input SUNACTIVITY --target SUNACTIVITY --ahead 1 --window 24 --difference",
        "Only 21 years are left to test on, so that seeds differ a good deal.",
    ),
    Case(
        "CO2 over Mauna Loa, next week's from the last year",
        "co2",
        "co2",
        "parts per million",
        "--input co2 --target co2 --ahead 1 --window 52 --difference --missing interpolate",
        "The series rises all the time, so that the test years lie outside the range that was "
        "trained on: that is what `--difference` is for.",
    ),
    Case(
        "Glucose from the sensor's current, two hours of it",
        "glucose",
        "glucose",
        "mg/dl",
        "--input isig --target glucose --window 24 --missing drop --epochs 30 --patience 6 "
        "--batch-size 256",
        "Gaps, and readings that are the word `nil`, are left out.",
    ),
)


def command(case: Case, cell: str, seed: int, name: str = "") -> list[str]:
    table = FOLDER / f"{case.table}.csv"
    out = FOLDER / f"{case.table}-{name or cell}-{seed}"
    line = f"train {table} {case.arguments} --cell {cell} --seed {seed} --threads 1 --out {out}"
    return ["unrolled", *shlex.split(line)]


def train(case: Case, cell: str, seed: int, name: str = "") -> dict[str, Any]:
    """The metrics of one run, which is made if it is not there yet."""
    words = command(case, cell, seed, name)
    folder = Path(words[-1])
    if not (folder / "metrics.json").exists():
        unrolled = str(Path(sys.executable).with_name(words[0]))
        subprocess.run([unrolled, *words[1:]], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "metrics.json").read_text())


def section(case: Case) -> str:
    runs = {cell.upper(): [train(case, cell, seed) for seed in SEEDS] for cell in CELLS}
    if "--difference" in case.arguments:
        levels = replace(case, arguments=case.arguments.replace("--difference", ""))
        runs["LSTM without `--difference`"] = [
            train(levels, "lstm", seed, "levels") for seed in SEEDS
        ]
    first = runs["LSTM"][0]
    lines = [
        f"## {case.title}",
        "",
        f"RMSE on the test rows in {case.unit}; the network's for seeds "
        f"{', '.join(map(str, SEEDS))}. {first['windows']['training']:,} windows to train on, "
        f"{first['windows']['validation']:,} to stop by, {first['windows']['test']:,} to test. "
        f"{case.note}",
        "",
        "| predicted by | RMSE (median) | each seed | weights | seconds (median) |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for label, metrics in runs.items():
        errors = [m["test"][case.target]["network"]["rmse"] for m in metrics]
        seconds = statistics.median(m["seconds"] for m in metrics)
        lines.append(
            f"| {label} | {statistics.median(errors):.4g} | "
            f"{', '.join(f'{e:.4g}' for e in errors)} | {metrics[0]['weights']:,} | {seconds:.0f} |"
        )
    for name, label in BASELINES.items():
        score = first["test"][case.target][name]
        value = f"{score['rmse']:.4g}" if score else "not known when predicting"
        lines.append(f"| {label} | {value} | | | |")
    lines += ["", "```sh", shlex.join(command(case, "lstm", 0)), "```", ""]
    return "\n".join(lines)


def main() -> None:
    tables.write(FOLDER)
    head = (
        "# Results on real tables\n\n"
        "Written by `make results`, which trains each of these with `unrolled train`; the tables "
        "come from packages (`examples/tables.py`). The rows are split in time: the first 70 % "
        "train, the next 15 % stop the training, the last 15 % give the scores. Settings are the "
        "defaults but for what the commands say; the options were chosen while looking at these "
        "tables, so that the figures show what the tool does, not what it would do on a table "
        "nobody has seen. Seconds are by the clock, of a machine that may have had other work.\n\n"
    )
    (ROOT / "docs" / "results.md").write_text(head + "\n".join(section(case) for case in CASES))


if __name__ == "__main__":
    main()

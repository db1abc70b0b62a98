"""Sizes beyond all memory: one line that says how much it would be, before anything is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from support_cli import Command
from support_learn import write_wave
from unrolled import resources
from unrolled.errors import InputError

TRAIN = ["train", "wave.csv", "--input", "sin", "--target", "cos", "--window", 6, "--out", "run"]
BEYOND = {
    "a layer's units": [*TRAIN, "--hidden-size", 10**7],
    "a size of the cell's own": [*TRAIN, "--cell", "ProjectedLSTM", "--size", f"proj={2 * 10**8}"],
    "a size of more digits than fit": [
        *TRAIN,
        "--cell",
        "ProjectedLSTM",
        "--size",
        f"proj=1{'0' * 30}",
    ],
    "units of more digits than fit": [*TRAIN, "--hidden-size", 10**30],
    "layers": [*TRAIN, "--num-layers", 100_000],
    "a window": [*TRAIN, "--window", 10**9],
    "rows ahead": [*TRAIN, "--ahead", 10**18],
    "windows in an update": [*TRAIN, "--batch-size", 10**30],
    "epochs": [*TRAIN, "--epochs", 10**30],
    "threads": [*TRAIN, "--threads", 10**9],
    "a seed": [*TRAIN, "--seed", 10**30],
    "a task's length": ["tasks", "adding", "--length", 10**9],
    "a task's length beyond 64 bits": ["tasks", "copying", "--length", 10**30],
    "as many symbols as steps": ["tasks", "noise-free-lag", "--length", 2**31 - 2],
    "a stream of strings": ["tasks", "continual-reber", "--length", 10**9],
    "sequences in an update": ["tasks", "adding", "--batch-size", 10**9],
    "sequences that score": ["tasks", "adding", "--test-size", 2 * 10**9],
    "a task's units": ["tasks", "adding", "--hidden-size", 10**7],
    "updates": ["tasks", "adding", "--steps", 10**30],
    "the demo's seed": ["demo", "--seed", 10**30],
    "rows shown": ["inspect", "nowhere", "--steps", 10**30],
}


@pytest.mark.parametrize("args", BEYOND.values(), ids=BEYOND)
def test_it_is_refused_in_one_line_and_nothing_is_written(
    unrolled: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[object]
) -> None:
    write_wave(tmp_path / "wave.csv")
    monkeypatch.chdir(tmp_path)
    outcome = unrolled(*args)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("unrolled: error: ")
    assert len(line) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["wave.csv"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([*TRAIN, "--hidden-size", 10**6], "a network of 4,000,013,000,001 weights"),
        (["tasks", "adding", "--length", 10**9], "32 sequences of 1,000,000,000 steps"),
    ],
)
def test_it_says_how_much_it_would_be_and_how_much_there_is(
    unrolled: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[object],
    words: str,
) -> None:
    write_wave(tmp_path / "wave.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "available_memory", lambda: 8 * 10**9)
    line = unrolled(*args).err
    assert words in line
    assert " TB of memory, and 8.0 GB is free. Lower --" in line


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_settings_nested_a_thousand_deep_are_refused(
    unrolled: Command, tmp_path: Path, kind: str
) -> None:
    config, nest = tmp_path / f"settings.{kind}", "[" * 3000 + "]" * 3000
    config.write_text(f'{{"input": {nest}}}' if kind == "json" else f"input = {nest}")
    outcome = unrolled("train", "--config", config)
    assert outcome.code == 2
    assert outcome.err == (
        f"unrolled: error: {config}: can't be read: is nested too deep. Correct it\n"
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_550_000, "1.5 MB"), (10**30, "EB")],
)
def test_bytes_are_said_in_words(size: int, words: str) -> None:
    assert words in resources.in_words(size)


def test_a_limit_of_the_container_counts(tmp_path: Path) -> None:
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 1\ninactive_file 50\n",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert resources._of_container(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert resources._of_container(tmp_path) is None


def test_nothing_is_refused_where_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: None)
    resources.check_memory(10**30, "it", "Lower it")
    monkeypatch.setattr(resources, "available_memory", lambda: 0)
    with pytest.raises(InputError, match=r"it would take at least 1\.0 kB of memory, and 0 bytes"):
        resources.check_memory(1000, "it", "Lower it")

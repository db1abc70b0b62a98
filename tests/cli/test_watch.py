"""``unrolled train --watch``: what it adds to the folder and to what is printed."""

import json
import sys

import polars as pl
import pytest

from support_learn import wave_frame, write_wave

QUICK = ["--window", 6, "--hidden-size", 4, "--epochs", 2, "--threads", 1, "--batch-size", 4]
COLUMNS = ["--input", "sin", "--target", "cos"]
ADDED = {"watch.jsonl", "watch.png"}


@pytest.fixture(autouse=True)
def _without_tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def data(tmp_path):
    return write_wave(tmp_path / "wave.csv")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_it_adds_records_and_a_picture_and_changes_no_weight(unrolled, data, out, tmp_path):
    alone = tmp_path / "alone"
    unrolled("train", data, *COLUMNS, "--out", alone, *QUICK)
    outcome = unrolled(
        "train", data, *COLUMNS, "--out", out, *QUICK, "--watch", "--watch-every", 30
    )
    assert outcome.code == 0, outcome.err
    assert names(out) - names(alone) == ADDED
    assert [record["update"] for record in records(out / "watch.jsonl")] == [1, 30, 60]
    assert f"look at {out}/picture.png and {out}/watch.png" in outcome.out
    assert "exploded" not in outcome.out
    model = "model.safetensors"
    assert (out / model).read_bytes() == (alone / model).read_bytes()


def test_a_file_of_settings_may_ask_for_it_and_a_flag_take_it_back(unrolled, data, tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text('input = "sin"\ntarget = "cos"\nwatch = true\nwatch-every = 40\n')
    for flags, found in (([], [1, 40]), (["--no-watch"], None)):
        out = tmp_path / f"run{len(flags)}"
        unrolled("train", data, "--config", config, "--out", out, *QUICK, *flags)
        path = out / "watch.jsonl"
        assert ([r["update"] for r in records(path)] if path.exists() else None) == found
    settings = json.loads((tmp_path / "run0" / "metrics.json").read_text())["settings"]
    assert (settings["watch"], settings["watch_every"]) == (True, 40)


def test_every_none_is_refused(unrolled, data, out):
    outcome = unrolled("train", data, *COLUMNS, "--out", out, "--watch", "--watch-every", 0)
    assert outcome.code == 2
    assert "--watch-every: Input should be greater than 0, got 0" in outcome.err


def test_an_explosion_is_one_line_with_step_layer_and_norm(unrolled, tmp_path, out):
    """One wild target in a calm series."""
    frame = wave_frame(800).with_columns(
        pl.when(pl.int_range(800) == 400).then(1e7).otherwise("cos").alias("cos")
    )
    frame.write_csv(tmp_path / "wild.csv")
    outcome = unrolled(
        "train", tmp_path / "wild.csv", *COLUMNS, "--out", out, *QUICK,
        "--batch-size", 2, "--learning-rate", 0.01, "--watch", "--watch-every", 1000,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.out.splitlines() if "exploded" in line]
    found = [r for r in records(out / "watch.jsonl") if r["kind"] == "explosion"]
    first = found[0]
    assert line.startswith(
        f"Watched: the gradient exploded in epoch {first['epoch']}, step {first['step']} "
        f"(update {first['update']}): norm {first['gradient_norm']:.3g}, "
    )
    assert f"in {first['layer']} ({first['weight']})" in line
    more = f"({len(found) - 1} more in {out}/watch.jsonl)"
    assert (more in line) == (len(found) > 1)


def test_a_training_that_diverges_leaves_its_records_beside_the_folder(unrolled, data, tmp_path):
    out = tmp_path / "runs" / "one"
    command = ["train", data, *COLUMNS, "--out", out, *QUICK, "--learning-rate", 1e30]
    outcome = unrolled(*command, "--watch")
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if "error" in line]
    assert "Watched: the last gradient was that of epoch 1, step 1 (update 1): norm " in line
    left = tmp_path / "runs" / "one.watch.jsonl"
    assert line.endswith(f"What was watched until then is in {left}")
    assert not out.exists()
    assert [record["update"] for record in records(left)] == [1]
    again = unrolled(*command[:-2], "--watch")
    assert again.code == 0, again.err


def test_a_run_over_a_watched_one_leaves_nothing_of_it(unrolled, data, out):
    command = ["train", data, *COLUMNS, "--out", out, *QUICK]
    unrolled(*command, "--watch")
    (out / "tensorboard").mkdir()
    (out / "tensorboard" / "events.out.tfevents.unrolled").write_text("old")
    (out / "tensorboard" / "notes.txt").write_text("mine")
    assert unrolled(*command, "--overwrite").code == 0
    assert not ADDED & names(out)
    assert names(out / "tensorboard") == {"notes.txt"}

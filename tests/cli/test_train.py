"""``unrolled train`` from the shell's side: what it takes, prints and writes."""

import json

import matplotlib.image
import numpy as np
import polars as pl
import pytest
import torch

from support_learn import wave_frame, write_wave
from unrolled.learn import train as train_module
from unrolled.model import load_run

QUICK = ["--window", 6, "--hidden-size", 4, "--epochs", 2, "--threads", 1]
COLUMNS = ["--input", "sin", "--target", "cos"]
FILES = [
    "config.json",
    "metrics.json",
    "model.safetensors",
    "picture.png",
    "predictions.csv",
    "sample.csv",
]


@pytest.fixture
def data(tmp_path):
    return write_wave(tmp_path / "wave.csv")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_a_run_folder_and_says_where(unrolled, data, out):
    outcome = unrolled("train", data, *COLUMNS, "--out", out, *QUICK)
    assert outcome.code == 0
    assert names(out) == FILES
    assert names(out.parent) == ["run", "wave.csv"]
    assert f"Wrote {out}/: look at {out}/picture.png" in outcome.out
    assert load_run(out).table.inputs == ["sin"]


def test_the_sample_is_the_test_rows_as_they_stand_in_the_table(unrolled, data, out):
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK, "--test", 0.2)
    assert pl.read_csv(out / "sample.csv").equals(pl.read_csv(data)[-40:])


def test_the_sample_has_some_of_the_last_rows_of_each_series(unrolled, tmp_path, out):
    data = tmp_path / "two.csv"
    frame = wave_frame(5000).with_columns(who=pl.Series(["x", "y"] * 2500))
    frame.write_csv(data)
    flags = ["--group", "who", "--epochs", 1, "--test", 0.3]
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK, *flags)
    sample = pl.read_csv(out / "sample.csv")
    assert sample.columns == ["who", "sin", "cos"]
    assert sample["who"].to_list() == ["x"] * 400 + ["y"] * 400
    last = frame.filter(who="x")[-400:].select("who", "sin", "cos")
    assert sample.filter(who="x").equals(last)


def test_a_gap_in_the_test_rows_is_one_in_the_sample(unrolled, tmp_path, out):
    data, gap = tmp_path / "holed.csv", pl.int_range(200) == 195
    frame = wave_frame().with_columns(sin=pl.when(~gap).then(pl.col("sin")))
    frame.write_csv(data)
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK, "--missing", "drop")
    assert pl.read_csv(out / "sample.csv")["sin"][-5] is None


def test_it_prints_the_network_beside_its_baselines(unrolled, data, out):
    outcome = unrolled("train", data, *COLUMNS, "--out", out, *QUICK)
    for name, score in metrics_of(out)["test"]["cos"].items():
        label = {"network": "LSTM", "mean": "the mean", "ridge": "ridge regression"}.get(name)
        if label is None:
            continue
        (line,) = [line for line in outcome.out.splitlines() if line.startswith(f"│ {label} ")]
        assert f"{score['rmse']:.4g}" in line
    assert "the target is no input" in " ".join(outcome.out.split())
    assert "The LSTM LOSES to ridge regression on 'cos'" in outcome.out


def test_the_metrics_hold_all_that_was_decided(unrolled, data, out):
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK, "--seed", 5, "--clip", 0.5)
    metrics = metrics_of(out)
    assert metrics["windows"] == {"training": 135, "validation": 25, "test": 25}
    assert "ridge" in metrics["beaten_by"]["cos"]
    assert metrics["epochs"] == len(metrics["validation_mse"]) == 2
    assert metrics["interrupted"] is False
    assert metrics["settings"]["seed"] == 5
    assert metrics["settings"]["clip"] == 0.5
    assert metrics["test"]["cos"]["last value"] is None


def test_the_predictions_are_in_the_tables_units_and_beside_their_rows(unrolled, data, out):
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK)
    frame = pl.read_csv(out / "predictions.csv")
    assert frame.columns == ["row", "cos", "cos_predicted"]
    assert frame["row"].to_list() == list(range(176, 201))
    truth = wave_frame()["cos"].to_numpy()[frame["row"].to_numpy() - 1]
    np.testing.assert_allclose(frame["cos"], truth)
    rmse = float(np.sqrt(np.mean((frame["cos_predicted"].to_numpy() - truth) ** 2)))
    assert rmse == pytest.approx(metrics_of(out)["test"]["cos"]["network"]["rmse"])


def test_the_picture_is_a_png(unrolled, data, out):
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK)
    height, width = matplotlib.image.imread(out / "picture.png").shape[:2]
    assert min(height, width) > 400


@pytest.mark.parametrize(
    "flags",
    [
        ["--cell", "rnn"],
        ["--cell", "gru", "--num-layers", 2, "--dropout", 0.2],
        ["--bidirectional"],
        ["--window", 1],
        ["--clip", 0],
        ["--ahead", 3],
        ["--validation", 0.3, "--test", 0.3, "--batch-size", 7],
    ],
    ids=lambda flags: " ".join(map(str, flags)),
)
def test_the_flags_take_effect(unrolled, data, out, flags):
    assert unrolled("train", data, *COLUMNS, "--out", out, *QUICK, *flags).code == 0
    settings = metrics_of(out)["settings"]
    for flag, value in zip(flags[::2], [*flags[1::2], True], strict=False):
        assert settings[flag.removeprefix("--").replace("-", "_")] == value
    network = load_run(out).network.config
    assert network.cell == settings["cell"]
    assert network.bidirectional == settings["bidirectional"]


def test_threads_are_what_the_flag_says_while_it_trains(unrolled, data, out, monkeypatch):
    whole, met, before = train_module._train, [], torch.get_num_threads()

    def noted(*args):
        met.append(torch.get_num_threads())
        return whole(*args)

    monkeypatch.setattr(train_module, "_train", noted)
    unrolled("train", data, *COLUMNS, "--out", out, *QUICK, "--threads", before + 1)
    assert met == [before + 1]
    assert torch.get_num_threads() == before


def test_inputs_and_targets_may_be_several(unrolled, tmp_path, out):
    frame = wave_frame().with_columns(tan=pl.col("sin") / pl.col("cos"))
    frame.write_csv(tmp_path / "wave.csv")
    outcome = unrolled(
        "train", tmp_path / "wave.csv", "--input", "sin", "--input", "tan",
        "--target", "cos", "--target", "tan", "--ahead", 1, "--out", out, *QUICK,
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.out.count("(test)") == 2
    scores = metrics_of(out)["test"]
    assert list(scores) == ["cos", "tan"]
    assert scores["cos"]["last value"] is None
    assert scores["tan"]["last value"] is not None
    assert pl.read_csv(out / "predictions.csv").columns == [
        "row", "for_row", "cos", "cos_predicted", "tan", "tan_predicted",
    ]  # fmt: skip


def test_a_group_makes_many_series(unrolled, tmp_path, out):
    frame = wave_frame().with_columns(who=pl.Series(["x", "y"] * 100))
    frame.write_csv(tmp_path / "wave.csv")
    assert (
        unrolled(
            "train", tmp_path / "wave.csv", *COLUMNS, "--group", "who", "--out", out, *QUICK
        ).code
        == 0
    )
    frame = pl.read_csv(out / "predictions.csv")
    assert frame["who"].to_list() == ["x" if row % 2 else "y" for row in frame["row"]]
    assert metrics_of(out)["windows"]["training"] == 2 * 65


@pytest.mark.parametrize("kind", ["parquet", "tsv"])
def test_other_kinds_of_file_give_the_same_numbers_as_csv(unrolled, data, tmp_path, kind):
    other = tmp_path / f"wave.{kind}"
    frame = pl.read_csv(data)
    frame.write_parquet(other) if kind == "parquet" else frame.write_csv(other, separator="\t")
    for source, out in ((data, "one"), (other, "two")):
        unrolled("train", source, *COLUMNS, "--out", tmp_path / out, *QUICK)
    one, two = (tmp_path / out / "model.safetensors" for out in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_the_same_command_gives_the_same_files_but_for_the_seconds(unrolled, data, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        unrolled("train", data, *COLUMNS, "--out", folder, *QUICK)
    for name in ("config.json", "model.safetensors", "predictions.csv"):
        one, two = ((folder / name).read_bytes() for folder in folders)
        assert one == two
    one, two = map(metrics_of, folders)
    assert one.pop("seconds") > 0
    assert two.pop("seconds") > 0
    assert one == two


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_file_may_give_all_of_it_and_flags_win(unrolled, data, tmp_path, out, kind):
    values = {
        "data": str(data), "out": str(out), "input": "sin", "target": ["cos"], "window": 6,
        "hidden-size": 3, "epochs": 1, "threads": 1, "cell": "gru",
    }  # fmt: skip
    config = tmp_path / f"settings.{kind}"
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    config.write_text(json.dumps(values) if kind == "json" else lines)
    outcome = unrolled("train", "--config", config, "--cell", "rnn")
    assert outcome.code == 0, outcome.err
    settings = metrics_of(out)["settings"]
    assert (settings["cell"], settings["hidden_size"], settings["epochs"]) == ("rnn", 3, 1)


def test_names_are_printed_and_drawn_as_they_are(unrolled, tmp_path, out):
    """Neither the markup of the screen's library nor the mathematics of the picture's."""
    names = {"sin": "speed [/x] [bold]", "cos": "$\\foo$ :smile: 余弦"}
    wave_frame().rename(names).write_csv(tmp_path / "wave.csv")
    outcome = unrolled(
        "train", tmp_path / "wave.csv", "--input", names["sin"], "--target", names["cos"],
        "--input", names["cos"], "--ahead", 1, "--out", out, *QUICK,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"{names['cos']} on the last" in outcome.out
    assert names["cos"] in pl.read_csv(out / "predictions.csv").columns


def test_overwriting_is_asked_for_and_spares_what_it_did_not_write(unrolled, data, out):
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "metrics.json").write_text("old")
    command = ["train", data, *COLUMNS, "--out", out, *QUICK]
    refused = unrolled(*command)
    assert refused.code == 2
    assert refused.err == (
        f"unrolled: error: {out}: exists and is not empty. "
        "Name another with --out, or add --overwrite\n"
    )
    assert names(out) == ["metrics.json", "notes.txt"]
    assert unrolled(*command, "--overwrite").code == 0
    assert names(out) == sorted([*FILES, "notes.txt"])
    assert (out / "notes.txt").read_text() == "mine"
    assert metrics_of(out)["epochs"] == 2


def test_a_learning_rate_far_too_large_stops_with_one_line_and_writes_nothing(unrolled, data, out):
    outcome = unrolled("train", data, *COLUMNS, "--out", out, *QUICK, "--learning-rate", 1e30)
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if "error" in line]
    assert line.startswith("unrolled: error: training stopped: the loss became ")
    assert "in epoch 1, step 2" in line
    assert "--learning-rate" in line
    assert "Traceback" not in outcome.err
    assert names(out.parent) == ["wave.csv"]

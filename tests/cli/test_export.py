"""``unrolled export``: a run folder in, an ONNX file out, compared with the run on test rows."""

import re

import numpy as np
import polars as pl
import pytest
import torch

from support_learn import wave_frame, write_wave
from support_onnx import Exported
from support_run import reseal
from unrolled.learn.predict import predict_table
from unrolled.model import load_run
from unrolled.runfile import SAMPLE

QUICK = ["--window", 6, "--hidden-size", 32, "--epochs", 3, "--threads", 1]


def write_sample(folder, frame):
    """As the run's own."""
    frame.write_csv(folder / SAMPLE)
    reseal(folder)


@pytest.fixture
def trained(unrolled, tmp_path):
    """Trains on the wave with these flags; gives the run folder, with test rows of its own."""

    def train(*flags, target="cos"):
        data, out = write_wave(tmp_path / "wave.csv"), tmp_path / "run"
        columns = ["--input", "sin", "--target", target]
        outcome = unrolled("train", data, *columns, "--out", out, *QUICK, *flags)
        assert outcome.code == 0, outcome.err
        write_sample(out, wave_frame()[-60:])
        return out

    return train


def the_error(text):
    """The one line that stderr has."""
    (line,) = text.splitlines()
    assert line.startswith("unrolled: error: ")
    return line


def test_the_file_predicts_as_the_run_does(unrolled, trained, tmp_path):
    run, out = trained(), tmp_path / "deep" / "model.onnx"
    outcome = unrolled("export", run, out, "--no-stateful")
    assert outcome.code == 0, outcome.err
    size = out.stat().st_size
    assert f"Wrote {out}: {size:,} bytes" in outcome.out
    rows = torch.tensor(wave_frame()["sin"].to_list()).unfold(0, 6, 1).unsqueeze(-1)
    found = Exported.at(out)(rows)[0][:, -1, 0]
    mine = predict_table(load_run(run), wave_frame()).frame["cos_predicted"]
    np.testing.assert_allclose(found, mine, rtol=1e-4)


def test_it_says_how_far_apart_the_two_are(unrolled, trained, tmp_path):
    outcome = unrolled("export", trained(), tmp_path / "model.onnx")
    (apart,) = re.findall(r"cos in ONNX Runtime, on 55 windows: at most (\S+) from", outcome.out)
    assert 0 < float(apart) < 1e-3


def test_states_are_inputs_and_outputs_unless_told_otherwise(unrolled, trained, tmp_path):
    unrolled("export", trained(), tmp_path / "model.onnx")
    assert list(Exported.at(tmp_path / "model.onnx").inputs) == ["input", "lengths", "h_0", "c_0"]


def test_a_run_without_test_rows_is_written_but_not_compared(unrolled, trained, tmp_path):
    run = trained()
    (run / SAMPLE).unlink()
    outcome = unrolled("export", run, tmp_path / "model.onnx")
    assert outcome.code == 0
    assert "Not compared with the run: the run has no sample.csv" in outcome.err
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize(("flag", "name"), [("--int8", "int8"), ("--bf16", "bfloat16")])
def test_the_loss_of_small_weights_is_printed(unrolled, trained, tmp_path, flag, name):
    run, out = trained("--cell", "gru"), tmp_path / "model.onnx"
    outcome = unrolled("export", run, out, flag, "--tolerance", 1)
    assert outcome.code == 0, outcome.err
    row = next(line for line in outcome.out.splitlines() if "│ cos" in line)
    before, after, growth, deviation = (cell.strip() for cell in row.strip("│").split("│")[1:])
    assert float(growth.rstrip("%")) / 100 == pytest.approx(
        float(after) / float(before) - 1, abs=2e-3
    )
    assert 0 < float(deviation) < 100
    assert "on 55 windows of sample.csv" in " ".join(outcome.out.split())
    assert f"Wrote {out}: {out.stat().st_size:,} bytes with {name} weights" in outcome.out
    assert Exported.at(out).metadata["unrolled.weights"] == name


def test_a_loss_over_the_tolerance_is_refused(unrolled, trained, tmp_path):
    """On rows whose targets are the run's own predictions, any change is a loss."""
    run, out, rows = trained(), tmp_path / "model.onnx", tmp_path / "rows.csv"
    predicted = predict_table(load_run(run), wave_frame()).frame["cos_predicted"].to_list()
    wave_frame().with_columns(cos=pl.Series([0.0] * 5 + predicted)).write_csv(rows)
    outcome = unrolled("export", run, out, "--int8", "--data", rows)
    assert outcome.code == 2
    words = r"with int8 weights the error \(RMSE\) of 'cos' grows from .* and 10% is allowed"
    assert re.search(words, the_error(outcome.err))
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--int8", "--bf16"], "--int8 and --bf16 exclude each other"),
        (["--tolerance", 0.5], "--tolerance is for --int8 and --bf16"),
        (["--missing", "maybe"], "--missing: one of error, drop, interpolate was expected"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_flags_that_say_nothing_are_refused(unrolled, trained, tmp_path, flags, words):
    outcome = unrolled("export", trained(), tmp_path / "model.onnx", *flags)
    assert outcome.code == 2
    assert words in the_error(outcome.err)
    assert not (tmp_path / "model.onnx").exists()


def test_small_weights_need_rows_to_be_measured_on(unrolled, trained, tmp_path):
    run = trained()
    (run / SAMPLE).unlink()
    outcome = unrolled("export", run, tmp_path / "model.onnx", "--bf16")
    assert outcome.code == 2
    assert "Give test rows with --data, a table with the columns sin, cos" in the_error(outcome.err)
    assert not (tmp_path / "model.onnx").exists()


def test_rows_without_a_target_measure_nothing(unrolled, trained, tmp_path):
    run = trained()
    write_sample(run, wave_frame().drop("cos"))
    outcome = unrolled("export", run, tmp_path / "model.onnx", "--int8")
    assert outcome.code == 2
    assert "no whole window has its targets (cos) known" in the_error(outcome.err)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("given", ["data", "sample"])
@pytest.mark.parametrize("kind", ["no column", "all missing"])
def test_whole_weights_are_compared_on_inputs_alone(unrolled, trained, tmp_path, kind, given):
    run, rows = trained(), wave_frame()[-60:]
    rows = rows.drop("cos") if kind == "no column" else rows.with_columns(cos=None)
    flags = []
    if given == "data":
        rows.write_csv(tmp_path / "rows.csv")
        flags = ["--data", tmp_path / "rows.csv"]
    else:
        write_sample(run, rows)
    outcome = unrolled("export", run, tmp_path / "model.onnx", *flags)
    assert outcome.code == 0, outcome.err
    words = r"cos in ONNX Runtime, on 55 windows: at most \S+ from the run's own predictions\n"
    assert re.search(words, outcome.out)
    assert outcome.err == ""


def test_too_few_test_rows_do_not_keep_a_run_from_being_written(unrolled, trained, tmp_path):
    run = trained()
    write_sample(run, wave_frame(5))
    outcome = unrolled("export", run, tmp_path / "model.onnx")
    assert outcome.code == 0
    assert "the longest stretch without a gap has 5 rows" in outcome.err
    assert (tmp_path / "model.onnx").is_file()


def test_a_file_that_exists_is_replaced_only_on_request(unrolled, trained, tmp_path):
    run, out = trained(), tmp_path / "model.onnx"
    out.write_text("mine")
    refused = unrolled("export", run, out)
    assert refused.code == 2
    assert "exists. Name another with the argument OUT, or add --overwrite" in the_error(
        refused.err
    )
    assert out.read_text() == "mine"
    assert unrolled("export", run, out, "--overwrite").code == 0
    assert Exported.at(out).outputs


def test_a_folder_that_is_no_run_is_told(unrolled, tmp_path):
    outcome = unrolled("export", tmp_path / "nowhere", tmp_path / "model.onnx")
    assert outcome.code == 2
    assert "no such run folder" in the_error(outcome.err)


def test_rows_with_holes_are_dealt_with_as_told(unrolled, trained, tmp_path):
    run = trained()
    holed = wave_frame()[-60:].with_columns(
        pl.when(pl.int_range(60) == 30).then(None).otherwise(pl.col("sin")).alias("sin")
    )
    holed.write_csv(tmp_path / "holed.csv")
    flags = ["--data", tmp_path / "holed.csv"]
    assert unrolled("export", run, tmp_path / "model.onnx", *flags).code == 2
    outcome = unrolled("export", run, tmp_path / "model.onnx", *flags, "--missing", "drop")
    assert "on 49 windows" in outcome.out


@pytest.mark.parametrize("flags", [[], ["--int8", "--tolerance", 1e9], ["--no-stateful"]])
@pytest.mark.parametrize("difference", [False, True])
def test_numbers_that_float32_would_drop_are_refused_and_exact_with_double(
    unrolled, tmp_path, flags, difference
):
    """Seconds since 1970, which a run reads as they are or as their changes."""
    time = wave_frame().with_columns(sin=pl.col("sin") + 1.7e9)
    time.write_csv(tmp_path / "time.csv")
    columns = ["--input", "sin", "--target", "sin", "--ahead", 1]
    columns += ["--difference"] if difference else []
    run, out = tmp_path / "run", tmp_path / "model.onnx"
    trained = unrolled("train", tmp_path / "time.csv", *columns, "--out", run, *QUICK)
    assert trained.code == 0, trained.err
    flags = [*flags, "--data", tmp_path / "time.csv"]
    refused = unrolled("export", run, out, *flags)
    assert refused.code == 2
    assert "Take and give float64: --double, or double=True" in the_error(refused.err)
    assert not out.exists()
    outcome = unrolled("export", run, out, *flags, "--double")
    assert outcome.code == 0, outcome.err
    assert out.is_file()

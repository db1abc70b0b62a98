"""``unrolled predict``: a run folder and a table in, a CSV file in the table's units out."""

import shutil

import numpy as np
import polars as pl
import pytest

from support_learn import wave_frame, write_wave
from unrolled.learn.predict import predict_table
from unrolled.model import load_run

QUICK = ["--window", 6, "--hidden-size", 8, "--epochs", 15, "--learning-rate", 0.03]


@pytest.fixture
def trained(unrolled, tmp_path):
    """Trains on the wave with these flags; gives the run folder."""

    def train(*flags, target="cos"):
        data, out = write_wave(tmp_path / "wave.csv"), tmp_path / "run"
        columns = ["--input", "sin", "--target", target]
        outcome = unrolled("train", data, *columns, "--out", out, *QUICK, "--threads", 1, *flags)
        assert outcome.code == 0, outcome.err
        return out

    return train


@pytest.fixture
def predicted(unrolled, tmp_path):
    def predict(run, frame, *flags):
        new, out = tmp_path / "new.csv", tmp_path / "deep" / "p.csv"
        frame.write_csv(new)
        outcome = unrolled("predict", run, new, "--out", out, *flags)
        assert outcome.code == 0, outcome.err
        frame = pl.read_csv(out)
        assert f"Wrote {len(frame)} predictions to {out}" in outcome.out
        return frame, outcome

    return predict


def test_the_predictions_of_the_test_rows_are_those_that_training_wrote(trained, predicted):
    run = trained()
    frame, _ = predicted(run, wave_frame())
    written = pl.read_csv(run / "predictions.csv")
    again = frame.filter(pl.col("row").is_in(written["row"].to_list()))
    np.testing.assert_allclose(again["cos_predicted"], written["cos_predicted"], rtol=1e-4)
    assert again["cos"].to_list() == written["cos"].to_list()


def test_the_predictions_are_in_the_tables_own_units(trained, predicted):
    frame, _ = predicted(trained(), wave_frame())
    truth = frame["cos"].to_numpy()
    error = frame["cos_predicted"].to_numpy() - truth
    assert np.abs(error).mean() < 0.25 * truth.std()  # of a wave that goes from -340 to 260


def test_every_row_with_a_whole_window_behind_it_is_predicted(trained, predicted):
    frame, outcome = predicted(trained(), wave_frame())
    assert frame["row"].to_list() == list(range(6, 201))
    assert "5 rows have no prediction of their own" in outcome.err


def test_a_table_of_just_one_window_has_one_prediction(trained, predicted):
    frame, _ = predicted(trained(), wave_frame(6))
    assert frame["row"].to_list() == [6]


def test_the_target_need_not_be_known(trained, predicted):
    frame, _ = predicted(trained(), wave_frame().drop("cos"))
    assert frame.columns == ["row", "cos_predicted"]


def test_with_ahead_the_forecast_past_the_end_is_there(trained, predicted):
    frame, _ = predicted(trained("--ahead", 2, target="sin"), wave_frame())
    assert frame["row"].to_list() == list(range(6, 201))
    assert frame["for_row"].to_list() == [*range(8, 201), None, None]
    assert frame["sin"].to_list()[:-2] == pytest.approx(wave_frame()["sin"].to_list()[7:])
    assert frame["sin_predicted"].is_finite().all()
    assert frame["sin"].to_list()[-2:] == [None, None]


def test_with_a_group_each_series_is_predicted_by_itself(unrolled, predicted, tmp_path):
    two = wave_frame().with_columns(who=pl.Series(["x", "y"] * 100))
    two.write_csv(tmp_path / "two.csv")
    run = tmp_path / "grouped"
    columns = ["--input", "sin", "--target", "cos", "--group", "who"]
    unrolled("train", tmp_path / "two.csv", *columns, "--out", run, *QUICK, "--threads", 1)
    frame, _ = predicted(run, two)
    assert frame.columns == ["row", "who", "cos", "cos_predicted"]
    assert frame["row"].to_list() == list(range(11, 201))
    assert frame["who"].to_list() == ["x", "y"] * 95


@pytest.mark.parametrize(("missing", "lost"), [("drop", 6), ("interpolate", 1)])
def test_missing_values_are_dealt_with_as_told(trained, predicted, missing, lost):
    holed = wave_frame().with_columns(
        pl.when(pl.int_range(200) == 100).then(None).otherwise(pl.col("sin")).alias("sin")
    )
    frame, _ = predicted(trained(), holed, "--missing", missing)
    assert len(frame) == 195 - lost
    assert 101 not in frame["row"]


def test_what_training_did_about_missing_values_is_done_again(trained, predicted):
    holed = wave_frame().with_columns(
        pl.when(pl.int_range(200) == 100).then(None).otherwise(pl.col("sin")).alias("sin")
    )
    frame, _ = predicted(trained("--missing", "drop"), holed)
    assert len(frame) == 189


@pytest.mark.parametrize("flags", [["--bidirectional"], ["--cell", "gru", "--num-layers", 2]])
def test_other_networks_come_back_as_well(trained, predicted, flags):
    run = trained(*flags)
    written = pl.read_csv(run / "predictions.csv")
    frame, _ = predicted(run, wave_frame())
    again = frame.filter(pl.col("row").is_in(written["row"].to_list()))
    np.testing.assert_allclose(again["cos_predicted"], written["cos_predicted"], rtol=1e-4)


def test_a_run_folder_is_self_contained(trained, predicted, tmp_path):
    """It may be moved, and its model needs two files of it."""
    run = trained()
    before, _ = predicted(run, wave_frame())
    moved = tmp_path / "elsewhere" / "renamed"
    moved.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(run / name, moved)
    shutil.rmtree(run)
    (tmp_path / "wave.csv").unlink()
    after, _ = predicted(moved, wave_frame(), "--overwrite")
    assert after.equals(before)


def test_the_command_and_python_say_the_same(trained, predicted):
    run = trained()
    frame, _ = predicted(run, wave_frame())
    mine = predict_table(load_run(run), wave_frame()).frame
    np.testing.assert_allclose(frame["cos_predicted"], mine["cos_predicted"], rtol=1e-6)

"""Real tables: they train, and the network is worth more than the mean.

None of them is part of this repository; the packages that bring them are for the tests.
"""

import gzip
import json
import sys
from importlib.resources import files

import numpy as np
import pandas as pd
import polars as pl
import pytest
from statsmodels.datasets import co2, sunspots

from support_learn import quick, r2_of, score_of
from unrolled.cli.app import main
from unrolled.errors import InputError
from unrolled.learn.predict import predict_table
from unrolled.learn.train import train_table
from unrolled.model import load_run

READINGS = 4000
"""How many of the glucose sensor's rows the tests take: two weeks of them."""


@pytest.fixture(scope="module")
def sunspot_table():
    return sunspots.load_pandas().data[["SUNACTIVITY"]]


@pytest.fixture(scope="module")
def co2_table():
    """A value a week, with weeks that nobody measured."""
    return co2.load_pandas().data.reset_index(drop=True)


@pytest.fixture(scope="module")
def glucose_table():
    """The sensor's current and the glucose on a regular grid of five minutes: gaps are rows."""
    packed = files("bokeh_sampledata").joinpath("_data", "CGM.csv.gz").read_bytes()
    raw = pl.read_csv(gzip.decompress(packed), infer_schema_length=None).head(READINGS)
    return (
        raw.select(
            time=pl.col("datetime").str.to_datetime().dt.truncate("5m"),
            isig=pl.col("isig"),
            glucose=pl.col("glucose"),
        )
        .unique("time", keep="first")
        .sort("time")
        .upsample("time", every="5m")
    )


def beats_the_mean(scores):
    return scores["network"].rmse < scores["mean"].rmse


def test_sunspots_from_their_own_past(sunspot_table):
    settings = quick(
        input=["SUNACTIVITY"], target=["SUNACTIVITY"], ahead=1, window=22, hidden_size=16,
        epochs=40, learning_rate=0.01, batch_size=32,
    )  # fmt: skip
    scores = train_table(sunspot_table, settings).scores["SUNACTIVITY"]
    assert all(scores[name] is not None for name in ("network", "mean", "last value", "ridge"))
    assert beats_the_mean(scores)
    assert score_of(scores).rmse < 1.2 * score_of(scores, "last value").rmse
    assert r2_of(scores) > 0.5


def test_co2_with_its_gaps_and_its_trend(co2_table):
    """A rising series: without differences the network would have to leave what it has seen."""
    settings = quick(
        input=["co2"], target=["co2"], ahead=1, window=26, hidden_size=16, epochs=5,
        learning_rate=0.01, missing="interpolate", difference=True,
    )  # fmt: skip
    training = train_table(co2_table, settings)
    scores = training.scores["co2"]
    assert beats_the_mean(scores)
    assert score_of(scores).rmse < 1.2 * score_of(scores, "last value").rmse
    assert r2_of(scores) > 0.9
    # Weeks that nobody measured are no one's truth.
    assert np.isfinite(training.truth).all()


def test_co2s_gaps_stop_the_training_until_the_user_decides(co2_table):
    first = 1 + int(np.argmax(co2_table["co2"].isna()))
    columns = {"input": ["co2"], "target": ["co2"], "ahead": 1}
    with pytest.raises(InputError, match=rf"column 'co2', row {first}: the value is missing"):
        train_table(co2_table, quick(**columns))


def test_co2_has_fewer_windows_where_gaps_are_dropped(co2_table):
    counts = {}
    for missing in ("drop", "interpolate"):
        settings = quick(
            input=["co2"], target=["co2"], ahead=1, window=26, epochs=1, missing=missing
        )
        counts[missing] = train_table(co2_table, settings).counts
    for part in ("training", "validation", "test"):
        assert 0 < counts["drop"][part] <= counts["interpolate"][part]
    assert counts["drop"]["training"] < counts["interpolate"]["training"]


def test_glucose_from_the_sensors_current(glucose_table):
    """From sequence to sequence: a window's every step is a prediction of its own."""
    settings = quick(
        input=["isig"], target=["glucose"], cell="gru", window=24, hidden_size=16, epochs=10,
        learning_rate=0.01, missing="drop",
    )  # fmt: skip
    training = train_table(glucose_table, settings)
    scores = training.scores["glucose"]
    assert scores["last value"] is None  # the glucose is what nobody knows
    assert scores["ridge"] is not None
    assert beats_the_mean(scores)
    assert 40 < training.predicted.mean() < 400  # milligrams in a decilitre


def test_the_word_nil_of_the_glucose_table_is_a_missing_value(glucose_table):
    isig = glucose_table["isig"]
    assert isig.dtype == pl.String
    assert (isig == "nil").any() or isig.null_count() > 0
    training = train_table(
        glucose_table,
        quick(input=["isig"], target=["glucose"], window=24, epochs=1, missing="drop"),
    )
    unknown = np.isnan(training.table.inputs[:, 0])
    expected = isig.is_null() | (isig.str.strip_chars().str.to_lowercase() == "nil")
    np.testing.assert_array_equal(unknown, expected.fill_null(True).to_numpy())


def test_a_real_table_goes_through_the_command_and_back(sunspot_table, tmp_path, monkeypatch):
    data, run, out = tmp_path / "sunspots.csv", tmp_path / "run", tmp_path / "next.csv"
    sunspot_table.to_csv(data, index=False)
    commands = [
        ["train", data, "--input", "SUNACTIVITY", "--target", "SUNACTIVITY", "--ahead", 1,
         "--window", 22, "--hidden-size", 4, "--epochs", 2, "--threads", 1, "--out", run],
        ["predict", run, data, "--out", out],
    ]  # fmt: skip
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
    scores = json.loads((run / "metrics.json").read_text())["test"]["SUNACTIVITY"]
    assert set(scores) == {"network", "mean", "last value", "ridge"}
    written = pd.read_csv(out)
    assert written["row"].iloc[-1] == len(sunspot_table)
    assert np.isnan(written["for_row"].iloc[-1])  # next year, of which the table knows nothing
    again = predict_table(load_run(run), sunspot_table).frame["SUNACTIVITY_predicted"]
    np.testing.assert_allclose(written["SUNACTIVITY_predicted"], again, rtol=1e-5)

"""What the package makes lies where its data lie, wherever torch makes tensors by default.

A program for a GPU says ``torch.set_default_device("cuda")`` once. Here it is "meta", which holds
no numbers: whatever was made on it by mistake can't be computed with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import unrolled
from support_cli import run
from unrolled.learn.settings import TrainSettings
from unrolled.tasks import TASKS, make_task


@pytest.fixture
def model() -> unrolled.LSTM:
    return unrolled.LSTM(2, 3, num_layers=2)


@pytest.fixture(autouse=True)
def _elsewhere(model: unrolled.LSTM) -> object:  # noqa: ARG001 - on the CPU, before
    with torch.device("meta"):
        yield


def on_cpu(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cpu")


@pytest.mark.parametrize("lengths", [None, [3, 6, 1, 4]])
def test_looking_into_a_model(
    model: unrolled.LSTM, tmp_path: Path, lengths: list[int] | None
) -> None:
    x = on_cpu(6, 4, 2)
    trace = unrolled.record(model, x, lengths=lengths, gradients=True)
    assert trace.to_frame().height > 0
    diagnosis = unrolled.diagnose(model, x, lengths=lengths)
    unrolled.report(trace, tmp_path / "trace.html")
    unrolled.report(diagnosis, tmp_path / "diagnosis.html")


def test_training_on_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(20, 5))
    model = unrolled.SequenceRegressor(epochs=2, watch=True).fit(x, x[:, 0])
    assert np.isfinite(model.predict(x)).all()


def test_training_on_a_table_and_running_it() -> None:
    table = pl.DataFrame({"x": np.sin(np.arange(200) / 9), "y": np.cos(np.arange(200) / 9)})
    settings = TrainSettings(input=["x"], target=["y"], epochs=2, window=8, watch=True)
    trained = unrolled.train_table(table, settings).run
    assert unrolled.predict_table(trained, table).frame.height > 0
    assert np.isfinite(unrolled.Stream(trained).step([0.5])).all()


def test_a_run_is_loaded_where_it_runs(tmp_path: Path) -> None:
    pl.DataFrame({"x": np.sin(np.arange(200) / 9)}).write_csv(tmp_path / "t.csv")
    flags = ["--input", "x", "--target", "x", "--ahead", "1", "--window", "8", "--epochs", "1"]
    outcome = run("train", tmp_path / "t.csv", *flags, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    weights = unrolled.load_run(tmp_path / "run").network.parameters()
    assert {weight.device.type for weight in weights} == {"cpu"}


@pytest.mark.parametrize("name", TASKS)
def test_drawing_a_task(name: str) -> None:
    batch = make_task(name).batch(3, 0)
    assert batch.inputs.device.type == "cpu"


def test_exporting_and_importing(model: unrolled.LSTM, tmp_path: Path) -> None:
    unrolled.export_onnx(model, tmp_path / "m.onnx")
    (back,) = unrolled.import_onnx(tmp_path / "m.onnx").values()
    x = on_cpu(6, 4, 2)
    torch.testing.assert_close(back(x)[0], model(x)[0])

"""``unrolled demo``, run once in earnest: what it writes, and whether a network has learnt."""

import csv
import json
import math
import subprocess
from contextlib import contextmanager

import matplotlib.image
import numpy as np
import pytest
import torch
from filelock import FileLock

from support_cli import program
from unrolled.learn import wave
from unrolled.learn.wave import CELLS, SETTLING, STRETCH
from unrolled.model import load_run


@pytest.fixture(scope="module")
def demo(tmp_path_factory, worker_id):
    """The demo's folder and what it printed; the workers of pytest-xdist share one run."""
    place = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        place = place.parent
    folder, printed = place / "demo", place / "demo.txt"
    with FileLock(place / "demo.lock"):
        if not printed.exists():
            done = subprocess.run(
                program("demo", "--out", folder), capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return folder, printed.read_text()


@pytest.fixture(scope="module")
def metrics(demo):
    return json.loads((demo[0] / "metrics.json").read_text())


@pytest.fixture(scope="module")
def predictions(demo):
    with (demo[0] / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def test_its_sample_is_the_unseen_stretch_that_was_predicted(demo, predictions):
    with (demo[0] / "sample.csv").open(newline="") as file:
        sample = list(csv.DictReader(file))
    assert sample == [{"sin": row["sin"], "cos": row["cos"]} for row in predictions]


def test_it_writes_a_run_folder_with_metrics_predictions_and_a_picture(demo):
    assert sorted(path.name for path in demo[0].iterdir()) == [
        "config.json",
        "metrics.json",
        "model.safetensors",
        "picture.png",
        "predictions.csv",
        "sample.csv",
    ]


def test_the_lstm_learns_the_wave(metrics):
    assert metrics["lstm"]["unseen_mse"] < 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_every_network_tells_the_rising_from_the_falling_wave(metrics, cell):
    # One that can't predicts 0 throughout: a mean squared error of a half.
    assert metrics[cell]["unseen_mse"] < 0.01


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_the_numbers_of_weights_are_those_of_the_equations(metrics, cell, gates):
    assert metrics[cell]["weights"] == gates * (32 * 1 + 32 * 32 + 32 + 32) + 32 + 1


def test_the_table_on_the_screen_has_the_metrics_numbers(demo, metrics):
    for cell in CELLS:
        (line,) = [line for line in demo[1].splitlines() if f" {cell.upper()} " in line]
        assert f"{metrics[cell]['unseen_mse']:.1e}" in line
        assert f"{metrics[cell]['weights']:,}" in line


def test_the_errors_are_those_of_the_predictions(metrics, predictions):
    scored = [row for row in predictions if row["scored"] == "true"]
    assert (len(scored), len(predictions)) == (STRETCH, STRETCH + SETTLING)
    for cell in CELLS:
        error = np.square(column(scored, f"cos_{cell}") - column(scored, "cos")).mean()
        assert error == pytest.approx(metrics[cell]["unseen_mse"], rel=1e-6)


def test_the_predictions_are_beside_the_wave_itself(predictions):
    t = column(predictions, "t")
    np.testing.assert_allclose(column(predictions, "sin"), np.sin(t), atol=1e-12)
    np.testing.assert_allclose(column(predictions, "cos"), np.cos(t), atol=1e-12)


def test_no_phase_of_the_test_was_one_of_the_training(predictions):
    step = math.pi / 10
    phases = np.mod(column(predictions, "t") / step, 1.0)  # training's are whole steps
    np.testing.assert_allclose(phases, 0.5, atol=1e-6)


def test_the_saved_model_gives_the_written_predictions(demo, predictions):
    run = load_run(demo[0])
    assert run.table.inputs == ["sin"]
    assert run.table.targets == ["cos"]
    sine = torch.tensor(column(predictions, "sin"), dtype=torch.float32).view(1, -1, 1)
    with torch.no_grad():
        output, _ = run.network(sine)
    np.testing.assert_allclose(output.flatten().numpy(), column(predictions, "cos_lstm"), atol=1e-5)


def test_the_best_epoch_was_the_one_of_the_least_validation_error(metrics):
    for cell in CELLS:
        errors = metrics[cell]["validation_mse"]
        assert metrics[cell]["best_epoch"] == 1 + int(np.argmin(errors))
        assert len(errors) == metrics[cell]["epochs"] == len(metrics[cell]["training_mse"])


def test_the_picture_is_one_to_look_at(demo):
    path = demo[0] / "picture.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    assert 800 <= width <= 2400
    assert 600 <= height <= 2400
    blank = (pixels[..., :3] > 0.99).all(axis=-1).mean()
    assert 0.5 < blank < 0.98  # lines on white: neither empty nor filled


def test_ctrl_c_ends_the_whole_of_it_and_writes_nothing(unrolled, tmp_path, monkeypatch):
    begun = []

    @contextmanager
    def interrupted(label, _):
        def stop(_):
            raise KeyboardInterrupt

        begun.append(label)
        yield stop

    monkeypatch.setattr(wave, "WINDOWS_PER_EPOCH", 2)
    monkeypatch.setattr("unrolled.cli.demo.progress", interrupted)
    outcome = unrolled("demo", "--out", tmp_path / "demo")
    assert outcome.code == 130
    assert len(begun) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_not_empty_is_refused_before_the_work(unrolled, tmp_path):
    (tmp_path / "mine.txt").write_text("1")
    outcome = unrolled("demo", "--out", tmp_path)
    assert outcome.code == 2
    assert outcome.err == (
        f"unrolled: error: {tmp_path}: exists and is not empty. "
        "Name another with --out, or add --overwrite\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

"""A trained run and an estimator as ONNX files: in the table's own units, window by window."""

import json
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from support_learn import quick, wave_frame
from support_nn import assert_close
from support_onnx import ALL, Exported
from unrolled.deploy.onnx_export import build
from unrolled.deploy.onnx_quantize import predict_windows
from unrolled.deploy.parts import parts_of
from unrolled.learn.samples import sample_of
from unrolled.model import save_run

FORECAST = {"input": ["sin", "cos"], "target": ["cos"], "ahead": 2}
RUNS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"cell": "gru", "num_layers": 2, "target": ["cos", "sin"], "ahead": 1},
    "bidirectional": {"bidirectional": True},
    "ahead": FORECAST,
    "difference": {**FORECAST, "difference": True},
    "two targets": {"input": ["cos"], "target": ["sin", "cos"], "ahead": 1, "difference": True},
    "both": {**FORECAST, "difference": True, "bidirectional": True, "cell": "rnn"},
}

every_run = pytest.mark.parametrize("name", RUNS)


@pytest.fixture(scope="module")
def trained():
    """A run by its name, trained once."""
    known = {}

    def train(name):
        if name not in known:
            known[name] = unrolled.train_table(wave_frame(), quick(**RUNS[name])).run
        return known[name]

    return train


@pytest.fixture
def exported(tmp_path):
    return lambda model, **options: Exported(model, tmp_path / "model.onnx", **options)


def zeros(file, batch):
    """The states that a run's file begins with; a row before the first is none of them."""
    return {
        name: torch.zeros(shape[0], batch, shape[2])
        for name, shape in file.inputs.items()
        if name[0] in "hc"
    }


@every_run
@pytest.mark.parametrize("stateful", [True, False])
def test_a_window_gives_the_runs_own_prediction_in_the_tables_units(trained, name, stateful):
    run = trained(name)
    sample = sample_of(run, wave_frame())
    found = predict_windows(build(parts_of(run), stateful=stateful), sample.windows)
    np.testing.assert_allclose(found, sample.predicted, rtol=1e-5, atol=1e-3)


@every_run
def test_windows_of_several_lengths_end_where_they_end(trained, exported, name):
    """In a batch, padded with what must not be read."""
    run = trained(name)
    windows = sample_of(run, wave_frame()).windows[:3]
    before = windows.shape[1] - run.table.window  # the row that changes are counted from
    file, lengths = exported(run, stateful=False), torch.tensor([6, 1, 4])
    padded = windows.copy()
    for row, length in zip(padded, lengths, strict=True):
        row[before + length :] = 1e9
    output = file(padded, lengths)[0]
    for place, length in enumerate(lengths):
        alone = file(windows[place : place + 1, : before + length])[0][0]
        found = output[place] if alone.ndim == 1 else output[place, :length]
        assert_close(found, alone, 1e-4)


@pytest.mark.parametrize("name", ["lstm", "gru", "ahead", "difference", "two targets"])
def test_row_by_row_with_the_state_fed_back_is_the_whole_stretch(trained, exported, name):
    file = exported(trained(name))
    columns = trained(name).table.inputs
    rows = torch.tensor(wave_frame(30)[columns].to_numpy().tolist()).unsqueeze(0)
    has_row = "row_0" in file.inputs
    states = zeros(file, 1) | ({"row_0": rows[:, 0]} if has_row else {})
    stretch = rows[:, 1:]
    whole, *ends = file(stretch, **states)
    steps = []
    for row in stretch.split(1, dim=1):
        output, *last = file(row, **states)
        states = dict(zip([n.replace("_n", "_0") for n in file.outputs][1:], last, strict=True))
        steps.append(output)
    assert_close(torch.cat(steps, dim=1), whole, 1e-4)
    assert_close(list(states.values()), ends, 1e-5)


@pytest.mark.parametrize("lengths", [[3, 0, 5]])
def test_the_last_real_row_comes_back_to_count_the_next_change_from(trained, exported, lengths):
    file = exported(trained("difference"))
    rows, before = torch.randn(3, 5, 2), torch.randn(3, 2)
    found = file(rows, torch.tensor(lengths), row_0=before, **zeros(file, 3))
    last = found[list(file.outputs).index("row_n")]
    assert_close(last, torch.stack([rows[0, 2], before[1], rows[2, 4]]), 0.0)


def test_a_bidirectional_run_gives_one_prediction_for_each_window(trained, exported):
    file = exported(trained("bidirectional"), stateful=False)
    assert file.outputs == {"output": ["batch", 1]}


def test_without_states_a_run_that_reads_changes_takes_one_row_more(trained, exported):
    file = exported(trained("difference"), stateful=False)
    assert file.inputs["input"] == ["batch", "rows", 2]
    assert file(torch.randn(3, 7, 2))[0].shape == (3, 6, 1)


def test_a_run_folder_is_taken_by_its_path(trained, exported, tmp_path):
    (tmp_path / "run").mkdir()
    save_run(trained("lstm"), tmp_path / "run")
    windows = sample_of(trained("lstm"), wave_frame()).windows
    from_path = exported(str(tmp_path / "run"), stateful=False)(windows)
    assert_close(from_path, exported(trained("lstm"), stateful=False)(windows), 0.0)


def test_names_units_and_scales_stand_in_the_metadata(exported):
    frame = wave_frame().rename({"sin": "current [mA]", "cos": "出口 (°C)"})
    settings = quick(input=["current [mA]"], target=["出口 (°C)"], ahead=3)
    run = unrolled.train_table(frame, settings).run
    found = exported(run).metadata
    (read,), (made,) = (json.loads(found[f"unrolled.{kind}"]) for kind in ("inputs", "targets"))
    assert (read["name"], read["unit"]) == ("current [mA]", "mA")
    assert (made["name"], made["unit"]) == ("出口 (°C)", "°C")
    assert read["mean"] == run.input_scaler.mean[0]
    assert made["scale"] == run.target_scaler.scale[0]
    rest = {name: found[f"unrolled.{name}"] for name in ("window", "ahead", "difference")}
    assert rest == {"window": "6", "ahead": "3", "difference": "false"}
    assert found["unrolled.weights"] == "float32"


def test_a_column_without_a_unit_has_none(trained, exported):
    (made,) = json.loads(exported(trained("lstm")).metadata["unrolled.targets"])
    assert made["unit"] is None


def test_the_columns_are_named_at_the_input_and_output(trained, exported):
    graph = exported(trained("ahead")).model.graph
    assert graph.input[0].doc_string == "sin, cos, in the table's units"
    assert graph.output[0].doc_string == "cos, in the table's units"


@pytest.fixture
def regressor():
    return unrolled.SequenceRegressor("gru", 4, epochs=2, random_state=0)


def test_an_estimator_of_steps_gives_its_predictions(exported, regressor):
    X = 10 + 3 * torch.randn(12, 7, 2).numpy()
    regressor.fit(X, X.cumsum(1))
    file = exported(regressor, stateful=False)
    np.testing.assert_allclose(file(X)[0], regressor.predict(X), rtol=1e-4)


def test_an_estimator_of_sequences_gives_one_prediction_each(exported, regressor):
    X = [np.random.default_rng(n).normal(5, 2, (n, 2)) for n in (4, 7, 1, 3)]
    regressor.fit(X, [row.mean() for row in X])
    padded = np.zeros((4, 7, 2))
    for row, values in zip(padded, X, strict=True):
        row[: len(values)] = values
    found = exported(regressor, stateful=False)(padded, torch.tensor([len(row) for row in X]))
    assert found[0].shape == (4, 1)
    np.testing.assert_allclose(found[0][:, 0], regressor.predict(X), rtol=1e-4)


def test_a_file_says_nothing_of_a_table_that_there_is_not(exported, regressor):
    X = np.random.default_rng(0).normal(size=(6, 5, 1))
    found = exported(regressor.fit(X, X[:, 0, 0])).metadata
    assert found.keys() == {"unrolled.weights", "unrolled.digest"}
    assert found["unrolled.weights"] == "float32"


def test_lengths_of_all_rows_may_be_left_at_minus_one(trained, exported):
    windows = sample_of(trained("lstm"), wave_frame()).windows[:4]
    file = exported(trained("lstm"), stateful=False)
    assert_close(file(windows, ALL), file(windows, torch.full((4,), 6)), 0.0)

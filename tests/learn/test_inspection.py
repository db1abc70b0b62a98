"""What ``unrolled inspect`` shows of a run: the network's own numbers, in the table's units."""

from __future__ import annotations

import functools

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.image import imread

from support_learn import quick, wave_frame
from unrolled.errors import InputError
from unrolled.inspect.pictures import save_pictures
from unrolled.inspect.scene import Recorded, Scene
from unrolled.learn.features import predict_ends
from unrolled.learn.inspection import inspect_run
from unrolled.learn.results import save_training
from unrolled.learn.train import train_table
from unrolled.model import Run


@functools.cache
def trained(rows: int = 200, **changes) -> Run:
    """A quickly trained run on the wave; lists come as tuples, to be kept."""
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in changes.items()}
    frame = grouped() if "group" in settings else wave_frame(rows)
    return train_table(frame, quick(**settings)).run


def grouped() -> pl.DataFrame:
    """Two series in turn, and the one named y goes on."""
    two = wave_frame().with_columns(who=pl.Series(["x", "y"] * 100))
    return pl.concat([two, wave_frame(40).with_columns(who=pl.lit("y"))])


def holed(*rows: int) -> pl.DataFrame:
    """The wave with its sine missing in these rows, counted from 1."""
    there = ~pl.int_range(1, 201).is_in(list(rows))
    return wave_frame().with_columns(sin=pl.when(there).then(pl.col("sin")))


def recorded(scene: Scene) -> Recorded:
    assert scene.recorded is not None
    return scene.recorded


def lines(scene, kind):
    return {s.name: s.values for s in recorded(scene).series if s.kind == kind}


def outputs(run, scaled):
    """The network's outputs over rows that follow each other [n, O], from a zero state."""
    with torch.no_grad():
        return run.network(torch.from_numpy(scaled).float()[None])[0][0].double().numpy()


def test_the_predictions_are_the_networks_own_over_the_whole_stretch():
    run, frame = trained(), wave_frame()
    scene = inspect_run(run, frame, steps=50)
    read = run.input_scaler.transform(frame["sin"].to_numpy()[-50:, None])
    expected = run.target_scaler.inverse(outputs(run, read))[:, 0]
    np.testing.assert_allclose(lines(scene, "prediction")["cos"], expected, rtol=1e-4)


def test_inputs_and_targets_are_the_tables_own_numbers():
    scene = inspect_run(trained(), wave_frame(), steps=50)
    last = wave_frame()[-50:]
    np.testing.assert_allclose(lines(scene, "input")["sin"], last["sin"], rtol=1e-6)
    np.testing.assert_allclose(lines(scene, "target")["cos"], last["cos"], rtol=1e-6)


def test_the_gates_are_those_of_the_rows_shown_from_a_zero_state():
    scene = inspect_run(trained(), wave_frame(), steps=50)
    (layer,) = recorded(scene).layers
    assert recorded(scene).steps == 50
    assert layer.values["forget"].shape == (50, 4)
    assert not layer.received["cell"][0].any()
    assert layer.received["cell"][1:].any()


def test_a_table_without_the_target_shows_no_target():
    scene = inspect_run(trained(), wave_frame().drop("cos"))
    assert lines(scene, "target") == {}
    assert scene.diagnosis is not None


def test_several_inputs_and_targets_have_a_line_each():
    run = trained(input=("sin", "cos"), target=("cos", "sin"), ahead=1)
    scene = inspect_run(run, wave_frame(), steps=20)
    assert list(lines(scene, "input")) == ["sin", "cos"]
    assert list(lines(scene, "prediction")) == ["cos", "sin"]
    assert recorded(scene).sizes.inputs == 2


def test_with_difference_a_prediction_is_the_rows_value_and_a_change():
    run = trained(input=("cos",), difference=True, ahead=1)
    frame = wave_frame()
    scene = inspect_run(run, frame, steps=30)
    level = frame["cos"].to_numpy()
    changes = run.input_scaler.transform(np.diff(level)[-30:, None])
    made = run.target_scaler.inverse(outputs(run, changes))[:, 0] + level[-30:]
    predicted = lines(scene, "prediction")["cos"]
    assert np.isnan(predicted[0])
    np.testing.assert_allclose(predicted[1:], made[:-1], rtol=1e-4)
    assert "change from the row before" in scene.note


def test_with_difference_the_first_row_of_a_table_is_not_shown():
    run = trained(input=("cos",), difference=True, ahead=1)
    assert recorded(inspect_run(run, wave_frame(20))).steps == 19


def test_ahead_a_prediction_stands_at_the_row_that_it_is_about():
    run = trained(target=("sin",), ahead=3)
    scene = inspect_run(run, wave_frame(), steps=20)
    predicted = lines(scene, "prediction")["sin"]
    read = run.input_scaler.transform(wave_frame()["sin"].to_numpy()[-20:, None])
    made = run.target_scaler.inverse(outputs(run, read))[:, 0]
    assert np.isnan(predicted[:3]).all()
    np.testing.assert_allclose(predicted[3:], made[:-3], rtol=1e-4)
    assert "made 3 rows before" in scene.note


def test_fewer_rows_than_the_predictions_are_ahead_show_no_prediction():
    scene = inspect_run(trained(target=("sin",), ahead=3), wave_frame(), steps=3)
    assert lines(scene, "prediction") == {}


def test_a_stretch_of_one_window_is_predicted_as_predict_does():
    run, frame = trained(), wave_frame()
    scene = inspect_run(run, frame, steps=run.table.window, end=100)
    expected = predict_ends(run, frame["sin"].to_numpy()[:, None], np.array([99]))
    assert lines(scene, "prediction")["cos"][-1] == pytest.approx(expected[0, 0], rel=1e-4)


def test_in_two_directions_a_prediction_has_seen_what_comes_after():
    scene = inspect_run(trained(bidirectional=True), wave_frame(), steps=30)
    assert [layer.direction for layer in recorded(scene).layers] == ["forward", "reverse"]
    assert "what comes after" in scene.note
    assert scene.diagnosis is not None
    assert scene.diagnosis.lyapunov is None


def test_a_stack_shows_each_of_its_layers():
    scene = inspect_run(trained(cell="gru", num_layers=2), wave_frame(), steps=30)
    assert [layer.layer for layer in recorded(scene).layers] == [0, 1]


def test_the_rows_end_where_they_are_told_to():
    scene = inspect_run(trained(), wave_frame(), steps=10, end=57)
    np.testing.assert_allclose(lines(scene, "input")["sin"], wave_frame()["sin"][47:57], rtol=1e-6)
    assert "Rows 48 to 57 of the table" in scene.note


def test_the_longest_series_is_shown_unless_another_is_named():
    run = trained(group="who")
    scene = inspect_run(run, grouped(), steps=10)
    assert "series y" in scene.note
    named = inspect_run(run, grouped(), steps=10, group="x")
    expected = grouped().filter(who="x")["sin"][-10:]
    np.testing.assert_allclose(lines(named, "input")["sin"], expected, rtol=1e-6)
    assert "Rows 181 to 199 of the table, series x" in named.note


def test_of_a_table_with_gaps_the_last_stretch_without_one_is_shown():
    scene = inspect_run(trained(), holed(100, 199), missing="drop")
    assert "Rows 101 to 198" in scene.note
    assert recorded(scene).steps == 98


def test_gaps_are_filled_if_told_and_the_note_says_so():
    scene = inspect_run(trained(), holed(150), missing="interpolate")
    assert recorded(scene).steps == 200
    assert "In 1 row an input was missing" in scene.note


@pytest.mark.parametrize("gate", ["forget", "cell"])
def test_a_series_of_the_scene_is_finite(gate):
    scene = inspect_run(trained(), holed(100), missing="drop")
    assert np.isfinite(recorded(scene).layers[0].values[gate]).all()


def test_memory_is_measured_on_stretches_as_long_as_the_one_shown():
    diagnosis = inspect_run(trained(), wave_frame(), steps=30).diagnosis
    assert diagnosis is not None
    assert diagnosis.steps == 30


def test_memory_is_measured_by_the_error_where_there_is_a_target(monkeypatch):
    seen = []

    def watched(_, inputs, target=None, **__):
        seen.append((tuple(inputs.shape), None if target is None else tuple(target.shape)))

    monkeypatch.setattr("unrolled.learn.inspection.diagnose", watched)
    inspect_run(trained(), wave_frame(), steps=30)
    inspect_run(trained(), wave_frame(20), steps=30)
    inspect_run(trained(), wave_frame().drop("cos"), steps=30)
    assert seen == [((16, 30, 1), (16, 30, 1)), ((1, 20, 1), (1, 20, 1)), ((16, 30, 1), None)]


def test_stretches_to_measure_on_never_cross_a_gap(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "unrolled.learn.inspection.diagnose", lambda _, inputs, **__: seen.append(inputs)
    )
    far = grouped().with_columns(sin=pl.col("sin") + 1e6 * (pl.col("who") == "y"))
    inspect_run(trained(group="who"), far, steps=95)
    (inputs,) = seen
    assert len(inputs) == 16
    assert inputs.diff(dim=1).abs().max() < 100


def test_the_note_speaks_chinese_as_well():
    scene = inspect_run(trained(bidirectional=True), wave_frame(), language="zh")
    assert "第 1 至 200 行" in scene.note
    assert scene.title == "LSTM：由 sin 预测 cos"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 2}, "3 to 1000 rows"),
        ({"steps": 1001}, "3 to 1000 rows"),
        ({"end": 0}, "a row from 1 to 200"),
        ({"end": 201}, "a row from 1 to 200"),
        ({"end": 2}, "fewer than 3 rows"),
        ({"group": "x"}, "without a group column"),
    ],
)
def test_what_can_not_be_shown_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        inspect_run(trained(), wave_frame(), **arguments)


def test_an_unknown_series_is_refused_with_the_near_miss():
    with pytest.raises(InputError, match=r"no series 'z'\. It has: x, y"):
        inspect_run(trained(group="who"), grouped(), group="z")


KINDS = {
    "booleans": [True, False],
    "as JSON writes them": ["true", "false"],
    "as Python writes them": ["True", "False"],
}


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("named", ["true", "True", "TRUE"])
def test_a_series_of_booleans_is_named_in_any_way(labels, named):
    """Whatever kind of file the table was, and whoever wrote it."""
    frame = wave_frame().with_columns(who=pl.Series(labels * 100))
    scene = inspect_run(trained(group="who"), frame, group=named)
    assert "Rows 1 to 199 of the table, series" in scene.note


@pytest.mark.parametrize("labels", [["true", "True"], ["TRUE", "True"]])
def test_where_letters_tell_two_series_apart_they_have_to_be_said(labels):
    frame = wave_frame().with_columns(who=pl.Series(labels * 100))
    named = inspect_run(trained(group="who"), frame, group="True")
    assert "Rows 2 to 200 of the table, series True" in named.note


def test_a_row_of_another_series_is_refused():
    with pytest.raises(InputError, match="of the series that is shown"):
        inspect_run(trained(group="who"), grouped(), group="x", end=10)


def test_a_row_that_is_left_out_is_refused():
    with pytest.raises(InputError, match="without a gap lead up to this one"):
        inspect_run(trained(), holed(100), missing="drop", end=100)


def test_a_table_of_two_rows_is_refused():
    with pytest.raises(InputError, match="2 rows that can be shown, fewer than 3"):
        inspect_run(trained(), wave_frame(2))


def test_a_missing_input_is_refused_unless_told_what_to_do():
    with pytest.raises(InputError, match="'sin', row 150"):
        inspect_run(trained(), holed(150))


def test_a_missing_column_is_refused():
    with pytest.raises(InputError, match="no column 'sin'"):
        inspect_run(trained(), wave_frame().drop("sin"))


def test_a_run_without_its_folder_needs_a_table():
    with pytest.raises(InputError, match="give a table"):
        inspect_run(trained())


def test_names_of_any_length_are_drawn_at_once(tmp_path):
    """matplotlib took half a minute over 5,000 letters, and warned that nothing else had room."""
    names = {"sin": "s" * 5000, "cos": "c" * 5000}
    settings = quick(input=[names["sin"]], target=[names["cos"]])
    training = train_table(wave_frame().rename(names), settings)
    save_training(training, str(tmp_path))
    shown = inspect_run(tmp_path, steps=9)
    widths = {len(imread(path)[0]) for path in save_pictures(shown, tmp_path, formats=["png"])}
    assert max(widths) < 2000

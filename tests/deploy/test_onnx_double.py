"""Numbers that are large beside their spread: float32 is refused for them, and float64 is exact."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

import unrolled
from support_learn import quick
from unrolled.deploy.onnx_export import build
from unrolled.deploy.onnx_quantize import export_quantized, predict_windows
from unrolled.deploy.parts import parts_of
from unrolled.learn.samples import sample_of
from unrolled.model import Scaler, save_run

LARGE = 1.7e9
"""Seconds since 1970. float32 tells them apart in steps of 128."""
DIFFERENCE: dict[str, Any] = {"input": ["x", "y"], "target": ["y"], "difference": True}


def frame(x=0.0, y=0.0, size=1.0):
    t = 0.3 * np.arange(80)
    return pl.DataFrame({"x": size * np.sin(t) + x, "y": size * np.cos(t) + y})


def train(table, **settings):
    wanted = {"input": ["x"], "target": ["y"], "ahead": 1, **settings}
    return unrolled.train_table(table, quick(**wanted)).run


def apart(run, table, **options):
    """How far a file's predictions are from its run's at the most."""
    sample = sample_of(run, table)
    return np.abs(
        predict_windows(build(parts_of(run), **options), sample.windows) - sample.predicted
    ).max()


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"cell": "gru", "num_layers": 2}, {"bidirectional": True}, DIFFERENCE,
     {**DIFFERENCE, "bidirectional": True, "cell": "rnn"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("level", [0.0, LARGE, -1e12])
def test_float64_predicts_as_the_run_does_at_any_level(level, settings, stateful):
    table = frame(level, level)
    run = train(table, **settings)
    rounding = 1e-6 + 2 * np.spacing(abs(level))
    assert apart(run, table, stateful=stateful, double=True) < rounding


@pytest.mark.parametrize("size", [1e-36, 1e-9, 1e30])
def test_float64_predicts_as_the_run_does_at_any_size(size):
    table = frame(size=size)
    run = train(table)
    assert apart(run, table, stateful=False, double=True) < 1e-6 * size


@pytest.mark.parametrize(
    ("levels", "named"),
    [({"x": LARGE}, "x"), ({"y": -LARGE}, "y"), ({"x": 1e5}, "x")],
)
@pytest.mark.parametrize("given", ["run", "folder", "estimator"])
def test_float32_is_refused_where_it_would_drop_the_digits(given, levels, named, tmp_path):
    table = frame(**levels)
    model: Any
    if given == "estimator":
        X, y = (table[name].to_numpy().reshape(8, 10) for name in "xy")
        model = unrolled.SequenceRegressor("gru", 2, epochs=1).fit(X, y)
    else:
        model = train(table)
    if given == "folder":
        (tmp_path / "run").mkdir()
        save_run(model, tmp_path / "run")
        model = tmp_path / "run"
    column = "number 0 of the (inputs|targets)" if given == "estimator" else f"column '{named}'"
    words = rf"^{column}: around its mean, .* float64: --double, or double=True$"
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.export_onnx(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    unrolled.export_onnx(model, tmp_path / "m.onnx", double=True)


@pytest.mark.parametrize("double", [False, True])
def test_numbers_that_are_zero_in_float32_are_refused_in_either(double, tmp_path):
    """ONNX Runtime leaves out what subtracts such a mean, as if it were zero.

    A run may be older than the refusal of such a column in training.
    """
    run = train(frame(x=1.0))
    scaler = run.input_scaler
    tiny = replace(run, input_scaler=Scaler(scaler.mean * 1e-100, scaler.scale * 1e-100))
    with pytest.raises(unrolled.InputError, match=r"^column 'x': .* Change its unit and train"):
        unrolled.export_onnx(tiny, tmp_path / "m.onnx", double=double)


@pytest.mark.parametrize("level", [0.0, 300.0, 5000.0])
def test_float32_is_what_a_file_takes_where_it_holds_the_numbers(level, tmp_path):
    table = frame(level, level)
    run = train(table)
    unrolled.export_onnx(run, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_inputs()[0].type == "tensor(float)"
    assert apart(run, table, stateful=True) < 1e-3


def test_row_by_row_with_the_state_fed_back_it_is_the_stream(tmp_path):
    table = frame(LARGE, LARGE)
    run = train(table, **DIFFERENCE)
    unrolled.export_onnx(run, tmp_path / "m.onnx", double=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    rows = table.to_numpy()
    expected = unrolled.Stream(run).step_many(rows)[1:]
    state = {name: np.zeros((1, 1, 4), np.float32) for name in ("h_0", "c_0")}
    state["row_0"] = rows[:1]
    found = []
    for row in rows[1:]:
        feed = {"input": row[None, None], "lengths": np.array([-1], np.int32), **state}
        output, *last = session.run(None, feed)
        names = [port.name.replace("_n", "_0") for port in session.get_outputs()][1:]
        state = dict(zip(names, last, strict=True))
        found.append(output[0, 0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_module_alone_may_take_float64_too(tmp_path):
    module = unrolled.GRU(2, 3).eval()
    unrolled.export_onnx(module, tmp_path / "m.onnx", stateful=False, double=True)
    x = torch.randn(5, 1, 2)
    feed = {"input": x.double().numpy(), "lengths": np.array([-1], np.int32)}
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, feed)
    assert found.dtype == np.float64
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-6)


def test_its_weights_are_read_as_from_any_file(tmp_path):
    run = train(frame(LARGE))
    unrolled.export_onnx(run, tmp_path / "m.onnx", double=True)
    (again,) = unrolled.import_onnx(tmp_path / "m.onnx").values()
    for name, weight in run.network.recurrent.named_parameters():
        assert torch.equal(again.get_parameter(name), weight)


def test_a_level_that_only_the_rows_know_is_found_by_measuring(tmp_path):
    """Of a column that is read as its change no scaler says where it stands."""
    table = frame(y=LARGE)
    run = train(table, **DIFFERENCE)
    sample = sample_of(run, table)

    def export(**options):
        return export_quantized(
            run, tmp_path / "m.onnx", "bfloat16", sample.windows, sample.truth,
            predicted=sample.predicted, tolerance=1e9, **options,
        )  # fmt: skip

    words = r"^'y': in ONNX Runtime the predictions are .* 1% of .* --double, or double=True$"
    with pytest.raises(unrolled.InputError, match=words):
        export()
    assert not (tmp_path / "m.onnx").exists()
    export(double=True)


@pytest.mark.parametrize("name", ["stateful", "double"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(name, tmp_path):
    flags: dict[str, Any] = {name: 1}
    with pytest.raises(unrolled.InputError, match=f"^{name}: True or False was expected, got 1"):
        unrolled.export_onnx(unrolled.GRU(2, 3), tmp_path / "m.onnx", **flags)

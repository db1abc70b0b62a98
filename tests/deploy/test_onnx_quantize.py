"""Weights of 8 and 16 bits: smaller files, and a loss that is measured before one appears."""

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_learn import quick, wave_frame
from support_nn import KINDS, random_hx, random_input
from support_onnx import Exported, named, run
from unrolled.deploy.onnx_export import build, write
from unrolled.deploy.onnx_quantize import Measured, export_quantized, predict_windows
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError
from unrolled.learn.samples import sample_of

PLAIN = [kind for kind in KINDS if "proj_size" not in kind.options]
BITS = {"float32": 32, "bfloat16": 16, "int8": 8}

both_storages = pytest.mark.parametrize("storage", ["bfloat16", "int8"])


@pytest.fixture(scope="module")
def wave_run():
    return unrolled.train_table(wave_frame(), quick(hidden_size=64, epochs=8)).run


@pytest.fixture
def sample(wave_run):
    return sample_of(wave_run, wave_frame())


@both_storages
@pytest.mark.parametrize("kind", PLAIN, ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_cell_runs_with_small_weights(tmp_path, storage, kind, bidirectional):
    module, _ = kind.pair(num_layers=2, bidirectional=bidirectional)
    write(build(parts_of(module), stateful=True, storage=storage), tmp_path / "m.onnx")
    x, hx = random_input(module), random_hx(module)
    found = Exported.at(tmp_path / "m.onnx")(x, **named(hx))
    for mine, theirs in zip(run(module, x, hx), found, strict=True):
        assert (mine - theirs).abs().max() < 0.1
    assert not torch.equal(found[0], run(module, x, hx)[0])


@both_storages
def test_the_weights_take_as_many_bits_as_are_said(storage):
    model = nn.Sequential(unrolled.LSTM(64, 256), nn.Linear(256, 256))
    sizes = {
        name: build(parts_of(model), stateful=True, storage=name).ByteSize()
        for name in ("float32", storage)
    }
    assert sizes[storage] / sizes["float32"] == pytest.approx(BITS[storage] / 32, abs=0.03)


def test_a_row_of_zeros_stays_zero(tmp_path):
    module = unrolled.RNN(2, 3)
    with torch.no_grad():
        module.get_parameter("weight_ih_l0")[1] = 0
    write(build(parts_of(module), stateful=True, storage="int8"), tmp_path / "m.onnx")
    again = unrolled.import_onnx(tmp_path / "m.onnx")["l0"]
    weight = again.get_parameter("weight_ih_l0")
    assert not weight[1].any()
    assert torch.isfinite(weight).all()


@both_storages
def test_the_loss_is_that_of_the_file_on_the_windows(tmp_path, wave_run, sample, storage):
    path = tmp_path / "m.onnx"
    told = export_quantized(
        wave_run, path, storage, sample.windows, sample.truth,
        predicted=sample.predicted, tolerance=1,
    )  # fmt: skip
    assert told.bytes_after == path.stat().st_size < told.bytes_before
    found = predict_windows(Exported.at(path).model, sample.windows)
    error = np.sqrt(((found - sample.truth) ** 2).mean(axis=0))
    np.testing.assert_allclose(told.rmse_after, error)
    own = np.sqrt(((sample.predicted - sample.truth) ** 2).mean(axis=0))
    np.testing.assert_allclose(told.rmse_before, own, rtol=1e-5)
    np.testing.assert_allclose(told.growth, error / own - 1, atol=1e-5)
    np.testing.assert_allclose(told.deviation, abs(found - sample.predicted).max(0), rtol=1e-2)


@both_storages
def test_a_loss_over_the_tolerance_is_refused_before_a_file_appears(
    tmp_path, wave_run, sample, storage
):
    """Measured against the float32 network's own predictions any change is a loss."""
    truth = sample.predicted + 1e-3
    with pytest.raises(InputError, match=rf"with {storage} weights the error.*'cos' grows from"):
        export_quantized(
            wave_run, tmp_path / "m.onnx", storage, sample.windows, truth,
            predicted=sample.predicted,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def measured(before, after, spread=1.0):
    return Measured("int8", 0, 0, *(np.array([value]) for value in (before, after, 0.0, spread)))


@pytest.mark.parametrize(
    ("before", "after", "growth"),
    [
        (2.0, 3.0, 0.5),
        (2.0, 1.0, -0.5),
        (0.0, 0.0, 0.0),
        (1e-9, 5e-7, 0.0),  # both at the level of float32's rounding
        (0.0, 1e-3, 999.0),
    ],
)
def test_growth_is_a_share_of_the_error(before, after, growth):
    assert measured(before, after).growth == pytest.approx(growth)


def test_a_constant_target_has_no_spread_to_divide_by():
    assert measured(0.0, 0.0, spread=0.0).growth == 0.0

"""Streams with products in 8 bits: the bits of a quantized module, a step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import unrolled
from support_stream import KINDS, make_run, module, rows
from unrolled.deploy import stepping
from unrolled.deploy.plan import Array
from unrolled.scan import native

needs_the_core = pytest.mark.skipif(not native.is_built(), reason="the bits are the core's")


def whole(model: torch.nn.Module, x: Array) -> Array:
    with torch.no_grad():
        output: Array = model(torch.from_numpy(x))[0].numpy()
    return output


@needs_the_core
@pytest.mark.parametrize("batch", [1, 3, 130])
@pytest.mark.parametrize(("layers", "hidden"), [(1, 4), (2, 33), (1, 70)])
@pytest.mark.parametrize("kind", KINDS)
def test_stepping_gives_the_bits_of_the_quantized_module(
    kind: str, layers: int, hidden: int, batch: int
) -> None:
    model = module(kind, hidden, layers)
    x = rows(12, batch, 3, dtype=np.float32)
    stream = unrolled.Stream(model, batch, int8=True)
    stepped = [stream.step(row) for row in x]
    np.testing.assert_array_equal(stepped, whole(unrolled.quantize(model), x))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_compiler_it_is_the_same_but_for_roundings(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = module(kind, 9)
    x = rows(1, 3, 3, dtype=np.float32)
    expected = whole(unrolled.quantize(model), x)
    monkeypatch.setattr(stepping, "compiled", None)
    stream = unrolled.Stream(model, 3, int8=True)
    assert stream.backend == "numpy"
    np.testing.assert_allclose(stream.step_many(x), expected, rtol=1e-5, atol=1e-6)


def saved(stream: unrolled.Stream, folder: Path) -> unrolled.Stream:
    stream.save(folder / "stream.safetensors")
    return unrolled.Stream.load(folder / "stream.safetensors")


def copied(stream: unrolled.Stream, _: Path) -> unrolled.Stream:
    return copy.deepcopy(stream)


@pytest.mark.parametrize("again", [saved, copied])
def test_it_is_saved_and_copied(
    again: Callable[[unrolled.Stream, Path], unrolled.Stream], tmp_path: Path
) -> None:
    stream = unrolled.Stream(make_run(), int8=True)
    stream.step_many(rows(3, 1, 2))
    other = again(stream, tmp_path)
    assert "LSTM in 8 bits" in repr(other)
    assert other.is_of_same_model(stream)
    x = rows(5, 1, 2)
    np.testing.assert_array_equal(other.step_many(x), stream.step_many(x))


def test_a_run_is_off_by_little() -> None:
    run, x = make_run(), rows(20, 1, 2)
    found, expected = (unrolled.Stream(run, int8=int8).step_many(x) for int8 in (True, False))
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)


def test_a_cell_that_is_written_down_is_refused() -> None:
    with pytest.raises(unrolled.InputError, match="for RNN, LSTM and GRU"):
        unrolled.Stream(unrolled.Recurrent(unrolled.cells.IndRNN, 2, 3), int8=True)


def test_float64_is_refused() -> None:
    with pytest.raises(unrolled.InputError, match=r"model\.float\(\)"):
        unrolled.Stream(unrolled.GRU(2, 3).double(), int8=True)


def test_more_numbers_than_can_be_summed_are_refused() -> None:
    with pytest.raises(unrolled.InputError, match="up to 65536 inputs and units"):
        unrolled.Stream(unrolled.RNN(2**16 + 1, 1), int8=True)

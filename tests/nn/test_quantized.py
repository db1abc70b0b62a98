"""Modules with weights in 8 bits: against whole numbers in NumPy, the reference, and torch.ao."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from support_nn import use_backend
from support_quantized import quantized
from unrolled.scan import native, plan

Array = NDArray[np.float64]

WAYS = [
    (isa, way)
    for number, isa in enumerate(native.isas())
    for way in native.core.products(number, "int8")
]
"""An instruction set, and a way to multiply bytes that this machine has with it."""

OPTIONS = {
    "plain": {},
    "no biases": {"bias": False},
    "batch_first": {"batch_first": True},
    "bidirectional stack": {"num_layers": 3, "bidirectional": True},
}

each_kind = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
each_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


@pytest.fixture(params=WAYS, ids="-".join)
def way(request, monkeypatch):
    """Passes run on this instruction set, and multiply bytes in this way."""
    isa, name = request.param
    use_backend(monkeypatch, native.isas()[0])
    monkeypatch.setattr(native, "isa", lambda: native.isas().index(isa))
    monkeypatch.setattr(plan, "_products", lambda *_: name)
    plan._plans.cache_clear()
    yield name
    plan._plans.cache_clear()


every_way = pytest.mark.usefixtures("way")
needs_the_core = pytest.mark.skipif(not native.is_built(), reason="the bits are the core's")


def flat(results: Any) -> list[Tensor]:
    """The output and the last states."""
    output, last = results
    return [output, *(last if isinstance(last, tuple) else (last,))]


def are_close(found: Any, expected: Any) -> bool:
    """Whether they agree but for what a rounding to another whole number moves.

    After many steps there is one somewhere; after a step hardly ever.
    """
    pairs = list(zip(flat(found), flat(expected), strict=True))
    moves = 0.0 if len(found[0]) == 1 else 1 / 127
    return all(torch.allclose(a, b, rtol=0, atol=1e-5 + moves) for a, b in pairs)


# --- the numbers ----------------------------------------------------------------------------------


def to_bytes(x: Array) -> tuple[NDArray[np.int64], Array]:
    """Whole numbers of each row, and its scale, as the module's documentation has them."""
    scale = np.abs(x).max(axis=-1, keepdims=True) / 127
    return np.rint(x / np.where(scale > 0, scale, 1)).astype(np.int64), scale


def product(w: Array, x: Array) -> Array:
    """x [B, K] by w [M, K] in whole numbers, [B, M]."""
    (a, of_a), (b, of_b) = to_bytes(x), to_bytes(w)
    return np.asarray((a @ b.T) * of_a * of_b.T)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def between_ties(rows: int, columns: int) -> Tensor:
    """Numbers of which nobody doubts to which whole ones they are rounded."""
    found = torch.randint(-126, 127, (rows, columns)) + torch.rand(rows, columns) * 0.6 - 0.3
    found[:, 0] = 127
    return found / 128


@every_way
@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (3, 7), (5, 16), (9, 40), (64, 33)])
def test_a_step_of_the_lstm_is_in_whole_numbers(sizes: tuple[int, int]) -> None:
    inputs, hidden = sizes
    module = unrolled.LSTM(inputs, hidden)
    with torch.no_grad():
        module.get_parameter("weight_ih_l0").copy_(between_ties(4 * hidden, inputs))
        module.get_parameter("weight_hh_l0").copy_(between_ties(4 * hidden, hidden))
    x, h, c = between_ties(3, inputs), between_ties(3, hidden), torch.randn(3, hidden)
    w = {name: value.detach().double().numpy() for name, value in module.named_parameters()}
    sums = product(w["weight_ih_l0"], x.double().numpy()) + w["bias_ih_l0"]
    sums += product(w["weight_hh_l0"], h.double().numpy()) + w["bias_hh_l0"]
    i, f, g, _ = np.split(sums, 4, axis=1)
    cell = sigmoid(f) * c.double().numpy() + sigmoid(i) * np.tanh(g)
    _, (_, found) = unrolled.quantize(module)(x[None], (h[None], c[None]))
    assert np.allclose(found[0], cell, rtol=1e-5, atol=1e-5)


@every_way
@each_kind
@each_options
@pytest.mark.parametrize("steps", [1, 6])
def test_the_core_computes_what_the_reference_does(
    kind: str, options: dict[str, Any], steps: int
) -> None:
    module = quantized(kind, 6, 19, **options)
    x = torch.randn(steps, 7, 6)
    x = x.transpose(0, 1) if "batch_first" in options else x
    with unrolled.backend("reference"):
        expected = module(x)
    assert are_close(module(x), expected)


@every_way
@pytest.mark.parametrize("steps", [1, 6])
def test_a_projection_is_in_8_bits_too(steps: int) -> None:
    module = quantized("LSTM", 6, 19, proj_size=5, num_layers=2)
    x = torch.randn(steps, 7, 6)
    with unrolled.backend("reference"):
        expected = module(x)
    assert are_close(module(x), expected)


@needs_the_core
def test_all_ways_of_an_instruction_set_give_the_same_bits(monkeypatch: Any) -> None:
    module, x = quantized("GRU", 37, 70), torch.randn(9, 13, 37)
    found = []
    for way in native.core.products(native.isa(), "int8"):
        monkeypatch.setattr(plan, "_products", lambda *_, way=way: way)
        plan._plans.cache_clear()
        found.append(module(x)[0])
    plan._plans.cache_clear()
    assert all(torch.equal(each, found[0]) for each in found)


@every_way
@each_kind
def test_a_row_has_the_same_bits_in_every_batch(kind: str) -> None:
    module, x = quantized(kind, 12, 50), torch.randn(6, 17, 12)
    together = module(x)[0]
    for row in (0, 5, 16):
        assert torch.equal(module(x[:, row : row + 1])[0][:, 0], together[:, row])


@needs_the_core
def test_more_threads_change_no_bit() -> None:
    module, x = quantized("LSTM", 32, 128), torch.randn(20, 16, 32)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(module(x)[0])
    torch.set_num_threads(before)
    assert torch.equal(*found)


@every_way
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_spoils_its_own_row_alone(wrong: float) -> None:
    module, x = quantized("GRU", 5, 20), torch.randn(4, 3, 5)
    expected = module(x)[0]
    x[1, 2, 3] = wrong
    found = module(x)[0]
    assert torch.equal(found[:, :2], expected[:, :2])
    assert torch.equal(found[0], expected[0])
    assert found[1:, 2].isnan().all()


@every_way
@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-31, 1e30])
def test_numbers_of_any_size(size: float) -> None:
    """No scale overflows or is divided by."""
    module = unrolled.RNN(5, 20, nonlinearity="relu")
    x = torch.randn(4, 3, 5) * size
    found, expected = unrolled.quantize(module)(x)[0], module(x)[0]
    assert torch.allclose(found, expected, rtol=0.1, atol=0.02 * max(1.0, size))


@every_way
def test_the_largest_numbers_are_none_too_large() -> None:
    module, x = quantized("GRU", 5, 20), torch.randn(4, 3, 5)
    x[1, 2, 3] = 3.3e38
    with unrolled.backend("reference"):
        expected = module(x)
    assert torch.allclose(module(x)[0], expected[0], atol=1e-5)


@each_kind
def test_lengths_and_packed_sequences(kind: str) -> None:
    module, x = quantized(kind, 4, 9, bidirectional=True), torch.randn(6, 3, 4)
    lengths = [4, 6, 1]
    by_lengths = module(x, lengths=lengths)
    packed, last = module(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))
    assert torch.equal(pad_packed_sequence(packed, total_length=6)[0], by_lengths[0])
    assert all(map(torch.equal, flat((x, last))[1:], flat(by_lengths)[1:]))


# --- how far it is off ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is", "ignore:torch.quantize_per")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_it_is_nearer_to_the_module_than_torchs_own(kind: str) -> None:
    """torch.ao's dynamic quantization has one scale for a whole matrix, and one for a batch."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"rnn": getattr(torch.nn, kind)(24, 64)})
    x = torch.randn(40, 8, 24)
    theirs = torch.ao.quantization.quantize_dynamic(model, {type(model["rnn"])})
    of = [each["rnn"](x)[0].detach() for each in (model, unrolled.quantize(model), theirs)]
    off, theirs_off = [float((each - of[0]).square().mean()) for each in of[1:]]
    assert 0 < off < theirs_off / 2

"""Initial values by a cell's equations: which rows are set, and to what."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import unrolled
from unrolled import cells
from unrolled.cells import Form, linear, sigmoid, tanh
from unrolled.errors import InputError
from unrolled.nn.init import chrono_, identity_, orthogonal_, unit_forget_bias_

INPUTS, H, LONGEST = 3, 6, 50


class Named(unrolled.Cell):
    """An LSTM without an output gate, whose gates have the names of papers."""

    def step(self, x: Any, h: Any, c: Any) -> Any:
        f = sigmoid(linear(x, h))
        i = sigmoid(linear(x, h))
        c = f * c + i * tanh(linear(x, h))
        return tanh(c), c


def rows(module, name, part):
    """A gate's rows of a parameter."""
    return getattr(module, name)[part * H : (part + 1) * H]


FORGET = {
    "LSTM": (lambda: unrolled.LSTM(INPUTS, H), 1, 1.0),
    "projected": (lambda: unrolled.LSTM(INPUTS, H, proj_size=2), 1, 1.0),
    "torch": (lambda: torch.nn.LSTM(INPUTS, H), 1, 1.0),
    "GRU": (lambda: unrolled.GRU(INPUTS, H), 1, 1.0),
    "described": (lambda: unrolled.Recurrent(cells.LSTM, INPUTS, H), 1, 1.0),
    "peephole": (lambda: unrolled.Recurrent(cells.PeepholeLSTM, INPUTS, H), 1, 1.0),
    "sLSTM": (lambda: unrolled.Recurrent(cells.SLSTM, INPUTS, H), 1, 1.0),
    "JANET": (lambda: unrolled.Recurrent(cells.JANET, INPUTS, H), 0, 1.0),
    "MinLSTM": (lambda: unrolled.Recurrent(cells.MinLSTM, INPUTS, H), 0, 1.0),
    "with zoneout": (
        lambda: unrolled.Recurrent(cells.zoneout(cells.LSTM, cell=0.2), INPUTS, H), 1, 1.0
    ),
    "of one's own": (lambda: unrolled.Recurrent(Named, INPUTS, H), 0, 1.0),
    "coupled, by the input gate": (lambda: unrolled.Recurrent(cells.CIFG, INPUTS, H), 0, -1.0),
    "MGU, which keeps by 1 − f": (lambda: unrolled.Recurrent(cells.MGU, INPUTS, H), 0, -1.0),
}  # fmt: skip
"""Modules with the part of the bias that is the forget gate's, and which way it keeps."""


@pytest.mark.parametrize(("make", "part", "sign"), FORGET.values(), ids=FORGET)
def test_the_forget_gates_rows_alone_are_set(make, part, sign):
    module = make()
    before = {name: value.clone() for name, value in module.named_parameters()}
    unit_forget_bias_(module)
    for name, value in module.named_parameters():
        if name in ("bias_ih_l0", "bias_hh_l0"):
            wanted = sign if name == "bias_ih_l0" else 0.0
            assert torch.equal(rows(module, name, part), torch.full((H,), wanted))
            before[name][part * H : (part + 1) * H] = wanted
        assert torch.equal(value, before[name])


def test_every_layer_and_direction_is_set():
    module = unrolled.LSTM(INPUTS, H, num_layers=2, bidirectional=True)
    unit_forget_bias_(module, 2.0)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert (rows(module, f"bias_ih_{suffix}", 1) == 2).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: unrolled.LSTM(INPUTS, H),
        lambda: unrolled.Recurrent(cells.PeepholeLSTM, INPUTS, H),
        lambda: unrolled.Recurrent(cells.SLSTM, INPUTS, H),
    ],
    ids=["LSTM", "peephole", "sLSTM"],
)
def test_chrono_sets_the_input_gate_against_the_forget_gate(make):
    module = make()
    chrono_(module, LONGEST)
    forget = rows(module, "bias_ih_l0", 1)
    assert torch.equal(rows(module, "bias_ih_l0", 0), -forget)
    assert ((forget >= 0) & (forget <= math.log(LONGEST - 1))).all()
    assert forget.unique().numel() == H


def test_chrono_is_uniform_in_the_steps_that_are_remembered():
    module = unrolled.LSTM(1, 4000)
    chrono_(module, LONGEST)
    steps = module.get_parameter("bias_ih_l0")[4000:8000].double().exp()
    assert steps.mean().item() == pytest.approx(LONGEST / 2, rel=0.05)
    assert steps.std().item() == pytest.approx((LONGEST - 2) / math.sqrt(12), rel=0.05)


def test_chrono_on_a_gru_makes_the_update_gate_keep():
    module = unrolled.GRU(INPUTS, H)
    reset = rows(module, "bias_ih_l0", 0).clone()
    chrono_(module, LONGEST)
    assert (rows(module, "bias_ih_l0", 1) >= 0).all()
    assert torch.equal(rows(module, "bias_ih_l0", 0), reset)


def test_chrono_on_an_input_gate_of_a_matrix_of_its_own():
    module = unrolled.Recurrent(cells.EALSTM, INPUTS, H, static_size=2)
    chrono_(module, LONGEST)
    bias = module.get_parameter("bias_static_l0")
    assert torch.equal(bias, -rows(module, "bias_ih_l0", 0))


def test_a_generator_draws_the_same_again():
    found = []
    for _ in range(2):
        module = unrolled.LSTM(INPUTS, H)
        chrono_(module, LONGEST, torch.Generator().manual_seed(3))
        found.append(rows(module, "bias_ih_l0", 1))
    assert torch.equal(*found)


SQUARE = {
    "RNN": (lambda: unrolled.RNN(INPUTS, H), {"weight_hh_l0": 1}),
    "LSTM": (lambda: unrolled.LSTM(INPUTS, H), {"weight_hh_l0": 4}),
    "GRU with the reset before": (
        lambda: unrolled.Recurrent(cells.GRUResetBefore, INPUTS, H),
        {"weight_hh_l0": 2, "weight_kept_l0": 1},
    ),
}


@pytest.mark.parametrize(("make", "matrices"), SQUARE.values(), ids=SQUARE)
def test_each_gates_recurrent_matrix_is_orthogonal(make, matrices):
    module = make()
    orthogonal_(module, gain=2.0)
    for name, parts in matrices.items():
        for part in range(parts):
            matrix = rows(module, name, part)
            torch.testing.assert_close(matrix @ matrix.T, 4 * torch.eye(H))


@pytest.mark.parametrize(("make", "matrices"), SQUARE.values(), ids=SQUARE)
def test_each_gates_recurrent_matrix_is_the_identity(make, matrices):
    module = make()
    before = module.weight_ih_l0.clone()
    identity_(module, scale=0.5)
    for name, parts in matrices.items():
        assert torch.equal(getattr(module, name), (0.5 * torch.eye(H)).repeat(parts, 1))
    assert torch.equal(module.weight_ih_l0, before)


def test_a_projection_is_no_recurrent_matrix():
    module = unrolled.LSTM(INPUTS, H, proj_size=2)
    before = module.get_parameter("weight_hr_l0").clone()
    orthogonal_(module)
    assert torch.equal(module.get_parameter("weight_hr_l0"), before)
    for part in range(4):
        matrix = rows(module, "weight_hh_l0", part)
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(2))


def test_a_matrix_in_blocks_has_blocks_that_are_the_identity():
    module = unrolled.Recurrent(cells.SLSTM(heads=2), INPUTS, H)
    identity_(module)
    matrix = module.get_parameter("weight_hh_l0")
    assert torch.equal(matrix, torch.eye(H // 2).repeat(8, 1))


def test_an_identity_keeps_a_positive_state_of_an_irnn():
    module = unrolled.RNN(INPUTS, H, nonlinearity="relu", bias=False)
    identity_(module)
    state = torch.rand(1, 2, H)
    _, last = module(torch.zeros(20, 2, INPUTS), state)
    assert torch.equal(last, state)


class Excitatory(unrolled.Cell):
    def step(self, x: Any, h: Any) -> Any:
        return tanh(linear(x) + linear(h, bias=False, form=Form(excitatory=0.8)))


REFUSED = {
    "no forget gate": (unit_forget_bias_, lambda: unrolled.RNN(INPUTS, H), "RNN has no forget"),
    "none in 1997": (
        lambda module: chrono_(module, LONGEST),
        lambda: unrolled.Recurrent(cells.LSTM1997, INPUTS, H),
        "LSTM1997 has no forget gate",
    ),
    "no bias": (
        unit_forget_bias_, lambda: unrolled.LSTM(INPUTS, H, bias=False), "has no bias.*bias=True"
    ),
    "no time": (lambda module: chrono_(module, 1), lambda: unrolled.LSTM(INPUTS, H), "at least 2"),
    "no matrix": (
        orthogonal_, lambda: unrolled.Recurrent(cells.IndRNN, INPUTS, H), "no recurrent matrix"
    ),
    "signs": (
        identity_, lambda: unrolled.Recurrent(Excitatory, INPUTS, H), "weight_hh.*another form"
    ),
    "antisymmetric": (
        orthogonal_, lambda: unrolled.Recurrent(cells.AntisymmetricRNN, INPUTS, H), "another form"
    ),
    "parametrized": (
        orthogonal_,
        lambda: torch.nn.utils.parametrizations.spectral_norm(
            unrolled.RNN(INPUTS, H), "weight_hh_l0"
        ),
        "weight_hh_l0 is parametrized",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("preset", "make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_cell_has_not_is_refused(preset, make, message):
    with pytest.raises(InputError, match=message):
        preset(make())


def test_what_is_no_recurrent_module_is_refused():
    linear_layer: Any = torch.nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"a recurrent module was expected.*got Linear"):
        orthogonal_(linear_layer)

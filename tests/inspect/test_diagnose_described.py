"""The diagnosis of cells that are written down, against autograd and answers that are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import unrolled
from support_cells import SHIPPED, SPECIAL
from support_nn import BACKENDS, use_backend
from unrolled import cells
from unrolled.cells import Cell, linear, sigmoid, tanh, weight
from unrolled.cells.detached import undetached
from unrolled.cells.options import described
from unrolled.inspect.jacobian import state_jacobians
from unrolled.inspect.steps import layers_of

T, B, INPUTS, HIDDEN = 9, 3, 3, 4
F64 = torch.float64


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


class Fixed(torch.nn.Module):
    """A module with what its cell takes besides the input."""

    def __init__(self, cell, **options):
        super().__init__()
        others = [s for s in described(cell).sizes if s not in ("input", "hidden")]
        sizes: dict[str, Any] = {f"{size}_size": INPUTS for size in others}
        self.module = unrolled.Recurrent(cell, INPUTS, HIDDEN, **sizes, **options)
        self.constants = {
            q.name: torch.randn(B, self.module.units[q.size], dtype=F64)
            for q in self.module.cell.constants
        }

    def forward(self, x, hx=None, lengths=None):
        rows = x.shape[1]
        return self.module(x, hx, lengths, **{n: c[:rows] for n, c in self.constants.items()})


def model_of(cell, **options):
    return Fixed(cell, dtype=F64, **options).eval()


@pytest.mark.parametrize("cell", [*SHIPPED, *SPECIAL], ids=lambda cell: cell.__name__)
def test_jacobians_are_autograds(cell):
    """Of one more step of the module, were nothing detached, by the states that it is given."""
    model, x = model_of(cell), torch.randn(T, B, INPUTS, dtype=F64)
    trace = unrolled.record(model, x)
    whole = model_of(undetached(model.module.cell))
    whole.load_state_dict(model.state_dict())
    whole.constants = model.constants
    (layer,) = layers_of(model.module, trace, "module")
    names = [state.name for state in model.module.cell.states]
    found = state_jacobians(layer, 0, T)
    for t in range(1, T):
        before = [trace.get(name)[t - 1 : t, :1] for name in names]

        def step(*states, t=t):
            return whole(x[t : t + 1, :1], states)[1]

        blocks = torch.autograd.functional.jacobian(step, tuple(before))
        widths = [value.shape[-1] for value in before]
        expected = torch.cat(
            [
                torch.cat([b.reshape(n, m) for b, m in zip(row, widths, strict=True)], 1)
                for row, n in zip(blocks, widths, strict=True)
            ]
        )
        torch.testing.assert_close(found[t - 1], expected)


@pytest.mark.parametrize("cell", SHIPPED, ids=lambda cell: cell.__name__)
def test_gradient_by_lag_is_autograds(cell):
    """∂L_T/∂s_{T−k}: the last k steps run from the state before them, and autograd asked."""
    model, x = model_of(cell, num_layers=2), torch.randn(T, B, INPUTS, dtype=F64)
    found = unrolled.diagnose(model, x, ends=1).gradient_by_lag
    for lag in (1, 2, T - 1):
        _, states = model(x[: T - lag])
        states = [state.detach().requires_grad_() for state in states]
        loss = model(x[T - lag :], tuple(states))[0][-1].sum()
        gradients = torch.autograd.grad(loss, states, allow_unused=True, materialize_grads=True)
        squares = torch.stack([g.square().sum((0, 2)) for g in gradients]).sum(0)
        torch.testing.assert_close(found[lag], squares.sqrt().mean(), rtol=1e-9, atol=1e-14)


def test_an_output_that_other_states_are_made_of_counts_once():
    """The state y is made of the new h; by the joint state nothing is counted twice."""

    class Behind(Cell):
        def step(self, x, h, y):
            h = tanh(linear(x, h) + y)
            return h, sigmoid(h) * 0.5

    model, x = model_of(Behind), torch.randn(T, B, INPUTS, dtype=F64)
    found = unrolled.diagnose(model, x, ends=1).gradient_by_lag
    _, states = model(x[: T - 2])
    states = [state.detach().requires_grad_() for state in states]
    gradients = torch.autograd.grad(model(x[T - 2 :], tuple(states))[0][-1].sum(), states)
    squares = torch.stack([g.square().sum((0, 2)) for g in gradients]).sum(0)
    torch.testing.assert_close(found[2], squares.sqrt().mean())


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_that_is_written_down_is_told_what_the_module_is(name):
    module = getattr(unrolled, name)(INPUTS, HIDDEN, num_layers=2, dtype=F64)
    written = unrolled.Recurrent(getattr(cells, name), INPUTS, HIDDEN, num_layers=2, dtype=F64)
    written.load_state_dict(module.state_dict())
    x = torch.randn(T, B, INPUTS, dtype=F64)
    found, expected = str(unrolled.diagnose(written, x)), str(unrolled.diagnose(module, x))
    assert found == expected.replace("RNN (tanh)", "RNN")


def test_a_leak_has_the_time_constants_that_it_was_given():
    """h' = (1 − α)·h + …: τ = −1/ln(1 − α), whatever the input."""
    module = unrolled.Recurrent(cells.LeakyRNN(time_constant=10.0), INPUTS, HIDDEN, dtype=F64)
    d = unrolled.diagnose(module, torch.randn(T, B, INPUTS, dtype=F64))
    (memory,) = d.memories
    assert memory.state == "potential"
    for constants in memory.time_constants.values():
        assert constants.flatten().tolist() == pytest.approx([-1 / math.log(0.9)] * HIDDEN)


def test_a_gate_that_sees_its_state_is_measured_along_the_data():
    class Seeing(Cell):
        def step(self, x, h):
            keep = sigmoid(linear(x) + weight("peep") * h)
            return keep * h + (1 - keep) * tanh(linear(x, h))

    module = unrolled.Recurrent(Seeing, INPUTS, HIDDEN, dtype=F64)
    x = torch.randn(T, B, INPUTS, dtype=F64)
    keep = unrolled.record(module, x).get("keep")
    found = unrolled.diagnose(module, x).time_constants
    torch.testing.assert_close(found["trajectory"][0], -1 / keep.log().mean((0, 1)))
    torch.testing.assert_close(found["mean"][0], -1 / keep.mean((0, 1)).log())
    bias = module.get_parameter("bias_ih_l0")[:HIDDEN]
    torch.testing.assert_close(found["bias"][0], -1 / torch.sigmoid(bias.detach()).log())


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (cells.IndRNN, ["No time constants: no state of the IndRNN", "use an LSTM or a GRU"]),
        (cells.LSTM1997, ["Of the state cell a step always keeps 1"]),
        (cells.PeepholeLSTM, ["raise the bias of the gate forget"]),
        (cells.MGU, ["lower the bias of the gate forget"]),
        (cells.SLSTM, ["state cell, state normaliser: Time constants by the mean gate"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_letter_says_what_can_be_said(cell, words):
    module = unrolled.Recurrent(cell, 1, HIDDEN)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    text = str(unrolled.diagnose(module, torch.randn(60, B, 1)))
    assert all(word in text for word in words), text


def test_random_numbers_rest():
    """The model runs in eval mode: zoneout is a mean there, and its share of the state as well."""
    module = unrolled.Recurrent(cells.zoneout(cells.GRU, hidden=0.5), INPUTS, HIDDEN, dtype=F64)
    x = torch.randn(T, B, INPUTS, dtype=F64)
    first, second = unrolled.diagnose(module, x), unrolled.diagnose(module, x)
    assert torch.equal(first.gradient_by_lag, second.gradient_by_lag)
    update = unrolled.record(module.eval(), x).get("update")
    kept = 0.5 + 0.5 * update
    torch.testing.assert_close(first.time_constants["mean"][0], -1 / kept.mean((0, 1)).log())

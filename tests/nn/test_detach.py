"""Cells that detach, beside loops of torch's operations with ``.detach()``."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, jvp, vmap

import unrolled
from support_nn import BACKENDS, use_backend
from unrolled.cells import Cell, detach, linear, sigmoid, tanh, weight, where
from unrolled.nn import Recurrent

T, B, INPUTS, H = 7, 3, 2, 5


class TruncatedLSTM(Cell):
    """Gradients go back through the cell state alone."""

    def step(self, x, hidden, cell):
        old = detach(hidden)
        write = sigmoid(linear(x, old))
        forget = sigmoid(linear(x, old))
        candidate = tanh(linear(x, old))
        output = sigmoid(linear(x, old))
        cell = detach(forget) * cell + write * candidate
        return output * tanh(cell), cell


def by_loop(module, x, hidden, cell):
    """The same with torch's operations."""
    outputs = []
    for now in x:
        gates = now @ module.weight_ih_l0.T + hidden.detach() @ module.weight_hh_l0.T
        i, f, g, o = (gates + module.bias_ih_l0).chunk(4, -1)
        cell = f.sigmoid().detach() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs), (hidden, cell)


def by_module(module, x, hidden, cell):
    output, last = module(x, (hidden[None], cell[None]))
    return output, tuple(state[0] for state in last)


def loss(run, module, *given):
    output, (hidden, cell) = run(module, *given)
    return (output**3).sum() + (hidden * cell).sum()


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


@pytest.fixture
def module():
    return Recurrent(TruncatedLSTM, INPUTS, H, dtype=torch.float64)


@pytest.fixture
def given():
    shapes = (T, B, INPUTS), (B, H), (B, H)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def gradients(run, module, given, **options):
    leaves = [*given, *module.parameters()]
    return torch.autograd.grad(
        loss(run, module, *given), leaves, allow_unused=True, materialize_grads=True, **options
    )


def test_values_and_gradients_are_those_of_a_loop(module, given):
    torch.testing.assert_close(by_module(module, *given), by_loop(module, *given))
    found, expected = (gradients(run, module, given) for run in (by_module, by_loop))
    torch.testing.assert_close(found, expected)
    assert not found[1].any(), "a gradient by the hidden state before the first step"


def test_second_derivatives_are_those_of_a_loop(module, given):
    def curvature(run):
        first = gradients(run, module, given, create_graph=True)
        leaves = [given[0], given[2], *module.parameters()]
        return torch.autograd.grad(sum(f.square().sum() for f in first), leaves)

    torch.testing.assert_close(curvature(by_module), curvature(by_loop))


# torch scripts its own rules for it when they are first used.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_forward_mode_is_that_of_a_loop(module, given):
    given = tuple(value.detach() for value in given)
    ways = tuple(torch.randn_like(value) for value in given)
    with unrolled.backend("auto"):
        found, expected = (
            jvp(lambda *values, run=run: run(module, *values), given, ways)
            for run in (by_module, by_loop)
        )
    torch.testing.assert_close(found, expected)


def test_gradients_of_each_row_are_those_of_a_loop(module, given):
    rows = tuple(value.detach().movedim(-2, 0).unsqueeze(-2) for value in given)
    with unrolled.backend("auto"):
        found, expected = (
            vmap(grad(lambda *values, run=run: loss(run, module, *values), (0, 2)))(*rows)
            for run in (by_module, by_loop)
        )
    torch.testing.assert_close(found, expected)


def test_compiled_by_torch_it_has_the_same_gradients(module, given):
    def run(module, *given):
        return torch.compile(by_module, backend="aot_eager", fullgraph=True)(module, *given)

    torch.testing.assert_close(gradients(run, module, given), gradients(by_loop, module, given))


class WholeLSTM(Cell):
    def step(self, x, hidden, cell):
        write = sigmoid(linear(x, hidden))
        forget = sigmoid(linear(x, hidden))
        candidate = tanh(linear(x, hidden))
        output = sigmoid(linear(x, hidden))
        cell = forget * cell + write * candidate
        return output * tanh(cell), cell


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("enabled", [True, False], ids=["training", "inference"])
def test_forward_it_changes_no_bit(enabled, dtype):
    one, other = (Recurrent(cell, 9, 33, dtype=dtype) for cell in (TruncatedLSTM, WholeLSTM))
    other.load_state_dict(one.state_dict())
    x = torch.randn(20, 14, 9, dtype=dtype)
    with torch.set_grad_enabled(enabled):
        (found, last), (expected, states) = one(x), other(x)
    torch.testing.assert_close((found, last), (expected, states), rtol=0, atol=0)


class Blind(Cell):
    """Learns from nothing that is below it."""

    def step(self, x, h):
        return tanh(linear(detach(x), h))


class Gained(Cell):
    def step(self, x, h):
        gain = weight()
        return tanh(linear(x) + detach(gain) * h)


class Compared(Cell):
    def step(self, x, h):
        threshold = weight()
        return where(h < threshold, tanh(linear(x)), 0.5 * h)


class Reservoir(Cell):
    def step(self, x, h):
        return detach(tanh(linear(x, h)))


class Remembering(Cell):
    """The output hangs on nothing that learns, and the other state does."""

    def step(self, x, h, c):
        return detach(tanh(linear(x, h))), tanh(linear(x)) + 0.5 * c


@pytest.mark.parametrize(
    ("cell", "left"),
    [(Blind, {"x", "l0"}), (Gained, {"gain"}), (Compared, {"threshold"})],
)
def test_what_no_gradient_reaches_has_none_rather_than_zeros(cell, left):
    """An optimiser leaves alone what has none, and would decay what has zeros."""
    module = Recurrent(cell, INPUTS, H, num_layers=2)
    x = torch.randn(T, B, INPUTS, requires_grad=True)
    module(x)[0].square().sum().backward()
    found = {"x": x.grad} | {name: weight.grad for name, weight in module.named_parameters()}
    none = {name for name in found if left & {*name.split("_")}}
    assert {name for name, gradient in found.items() if gradient is None} == none


def test_the_last_states_of_the_layer_below_learn_all_the_same():
    module = Recurrent(Blind, INPUTS, H, num_layers=2)
    module(torch.randn(T, B, INPUTS))[1][0].square().sum().backward()
    assert all(weight.grad is not None for weight in module.parameters())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_hangs_on_nothing_that_learns_wants_no_gradient(bidirectional):
    module = Recurrent(Reservoir, INPUTS, H, bidirectional=bidirectional)
    x = torch.randn(T, B, INPUTS, requires_grad=True)
    output, (last,) = module(x)
    assert not output.requires_grad
    assert not last.requires_grad
    saliency = unrolled.diagnose(module, x).saliency_by_lag
    assert saliency is not None
    assert not saliency.any()


def test_each_state_wants_its_own():
    output, (h, c) = Recurrent(Remembering, INPUTS, H)(torch.randn(T, B, INPUTS))
    assert [each.requires_grad for each in (output, h, c)] == [False, False, True]


def test_a_weight_that_is_detached_may_be_multiplied():
    class Seen(Cell):
        def step(self, x, h):
            gain = weight()
            return tanh(linear(x, h) + gain * linear(detach(gain)))

    module = Recurrent(Seen, INPUTS, H, dtype=torch.float64)
    x = torch.randn(T, B, INPUTS, dtype=torch.float64)
    h, outputs = torch.zeros(B, H, dtype=torch.float64), []
    w = dict(module.named_parameters())
    for now in x:
        gates = now @ w["weight_ih_l0"].T + h @ w["weight_hh_l0"].T + w["bias_ih_l0"]
        seen = w["gain_l0"].detach() @ w["weight_gain_l0"].T + w["bias_gain_l0"]
        h = torch.tanh(gates + w["gain_l0"] * seen)
        outputs.append(h)
    expected, found = torch.stack(outputs), module(x)[0]
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(o.square().sum(), [*w.values()]) for o in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert "detach(gain)" in unrolled.draw(Seen)


class TruncatedRNN(Cell):
    def step(self, x, h):
        return tanh(linear(x, detach(h)))


class WholeRNN(Cell):
    def step(self, x, h):
        return tanh(linear(x, h))


def test_the_gradient_by_lag_ends_where_it_is_cut():
    module = Recurrent(TruncatedRNN, INPUTS, H)
    diagnosis = unrolled.diagnose(module, torch.randn(T, B, INPUTS))
    assert diagnosis.gradient_by_lag[0] > 0
    assert not diagnosis.gradient_by_lag[1:].any()


def test_the_lyapunov_spectrum_is_that_of_what_the_step_does():
    one, other = Recurrent(TruncatedRNN, INPUTS, H), Recurrent(WholeRNN, INPUTS, H)
    other.load_state_dict(one.state_dict())
    x = torch.randn(30, B, INPUTS)
    found, expected = (unrolled.diagnose(module, x).lyapunov for module in (one, other))
    assert found is not None
    assert expected is not None
    torch.testing.assert_close(found.exponents, expected.exponents)

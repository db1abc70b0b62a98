"""The diagnosis against cases whose answers are known: by theory, by construction, by autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_nn import BACKENDS, Kind, every_kind, tensors, total, use_backend
from unrolled.errors import InputError
from unrolled.inspect.jacobian import lyapunov_spectrum, state_jacobians
from unrolled.inspect.steps import layers_of

T, B, HIDDEN = 24, 3, 5
F64 = torch.float64


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


def linear_rnn(matrix: torch.Tensor) -> unrolled.RNN:
    """h_t = W·h_{t−1} + x_t while the states stay above 0, where relu is the identity."""
    rnn = unrolled.RNN(len(matrix), len(matrix), nonlinearity="relu", bias=False, dtype=F64)
    with torch.no_grad():
        rnn.get_parameter("weight_hh_l0").copy_(matrix)
        rnn.get_parameter("weight_ih_l0").copy_(torch.eye(len(matrix)))
    return rnn


class Read(nn.Module):
    """A recurrent module of which one unit is read."""

    def __init__(self, recurrent, unit):
        super().__init__()
        self.recurrent, self.unit = recurrent, unit

    def forward(self, x):
        return self.recurrent(x)[0][..., self.unit : self.unit + 1]


# --- The gradient by lag.


@every_kind
def test_gradient_by_lag_is_autograds(kind: Kind):
    """∂L_T/∂s_{T−k}: the last k steps run from the state before them, and autograd asked."""
    module, _ = kind.pair(num_layers=2, dtype=F64)
    x = torch.randn(T, B, 2, dtype=F64)
    found = unrolled.diagnose(module, x, ends=1).gradient_by_lag
    for lag in (1, 2, 7, T - 1):
        _, state = module(x[: T - lag])
        state = state if isinstance(state, tuple) else (state,)
        state = [s.detach().requires_grad_() for s in state]
        hx = tuple(state) if module.mode == "LSTM" else state[0]
        loss = module(x[T - lag :], hx)[0][-1].sum()
        squares = total(g.square().sum((0, 2)) for g in torch.autograd.grad(loss, state))
        torch.testing.assert_close(found[lag], squares.sqrt().mean(), rtol=1e-10, atol=0)


def test_a_gradient_whose_square_is_no_number_is_measured():
    module = linear_rnn(0.1 * torch.eye(3)).float()
    found = unrolled.diagnose(module, torch.rand(30, 1, 3) + 0.1, ends=1).gradient_by_lag
    torch.testing.assert_close(
        found[29] / found[0], torch.tensor(1e-29, dtype=F64), rtol=1e-4, atol=0
    )


def test_ends_are_averaged():
    """And where only the late ones reach, it goes on as they do."""
    module = unrolled.GRU(2, HIDDEN, dtype=F64)
    x = torch.randn(T, B, 2, dtype=F64)
    found = unrolled.diagnose(module, x, ends=2).gradient_by_lag
    early = unrolled.diagnose(module, x[: T // 2], ends=1).gradient_by_lag
    late = unrolled.diagnose(module, x, ends=1).gradient_by_lag
    torch.testing.assert_close(found[: T // 2], (early + late[: T // 2]) / 2)
    growth = late[T // 2 :] / late[T // 2 - 1 : -1]
    torch.testing.assert_close(found[T // 2 :] / found[T // 2 - 1 : -1], growth)


def test_rows_end_at_their_lengths():
    module = unrolled.LSTM(2, HIDDEN, dtype=F64)
    x, lengths = torch.randn(T, B, 2, dtype=F64), [T, 9, 5]
    found = unrolled.diagnose(module, x, lengths=lengths, ends=1)
    alone = [
        unrolled.diagnose(module, x[:n, row : row + 1], ends=1) for row, n in enumerate(lengths)
    ]
    for name in ("gradient_by_lag", "saliency_by_lag"):
        mean = torch.stack([getattr(d, name)[:5] for d in alone]).mean(0)
        torch.testing.assert_close(getattr(found, name)[:5], mean)


def test_a_loss_looks_at_the_end():
    """Twice the loss, twice the gradient; the target is the end step's own."""
    module = unrolled.GRU(2, HIDDEN, batch_first=True, dtype=F64)
    x, target = torch.randn(B, T, 2, dtype=F64), torch.randn(B, T, HIDDEN, dtype=F64)
    seen = []

    def loss(y, target):
        seen.append(target)
        return ((y - target) ** 2).sum()

    one = unrolled.diagnose(module, x, target, loss, ends=1).gradient_by_lag
    assert torch.equal(seen[-1], target[:, -1])
    two = unrolled.diagnose(module, x, target, lambda y, t: 2 * loss(y, t), ends=1)
    torch.testing.assert_close(two.gradient_by_lag, 2 * one)


@pytest.mark.parametrize(
    ("scale", "verdict"), [(0.5, "vanishing"), (1.0, "steady"), (1.5, "exploding")]
)
def test_a_scaled_identity_has_the_rate_of_its_scale(scale, verdict):
    d = unrolled.diagnose(linear_rnn(scale * torch.eye(3)), torch.rand(T, B, 3, dtype=F64) + 0.1)
    assert d.decay.rate == pytest.approx(scale, rel=1e-9)
    assert d.decay.r2 == pytest.approx(1)
    assert d.verdict == verdict
    assert d.lyapunov is not None
    assert d.lyapunov.exponents.tolist() == pytest.approx([math.log(scale)] * 3, abs=1e-12)
    expected = -1 / math.log(scale) if scale < 1 else math.inf
    assert d.decay.time_scale == pytest.approx(expected)


@pytest.mark.parametrize("delay", [1, 4, 11])
def test_a_delay_line_has_its_delay_for_a_horizon(delay):
    """A shift register that is read at its end."""
    line = linear_rnn(torch.diag(torch.ones(delay), -1))
    d = unrolled.diagnose(Read(line, delay), torch.rand(T, B, delay + 1, dtype=F64) + 0.1)
    assert d.horizon == delay
    assert d.verdict == "vanishing"


@pytest.mark.parametrize("keeps", [0.5, 0.9, 0.99])
def test_a_forget_gate_held_at_f_has_the_time_constant_of_f(keeps):
    lstm = unrolled.LSTM(1, HIDDEN, dtype=F64)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.zero_()
        lstm.get_parameter("weight_ih_l0").uniform_(-1, 1)
        lstm.get_parameter("weight_ih_l0")[HIDDEN : 2 * HIDDEN] = 0
        lstm.get_parameter("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = math.log(keeps / (1 - keeps))
    d = unrolled.diagnose(lstm, torch.randn(T, B, 1, dtype=F64))
    expected = -1 / math.log(keeps)
    for name in ("bias", "mean", "trajectory"):
        assert d.time_constants[name].flatten().tolist() == pytest.approx([expected] * HIDDEN)
    assert d.decay.time_scale == pytest.approx(expected)


# --- The Lyapunov spectrum.


def test_a_linear_rnn_has_the_logarithms_of_its_eigenvalues():
    """A matrix without negative entries keeps the states above 0, where relu is the identity."""
    upper = torch.tensor([[0.9, 0.3, 0.1], [0.0, 0.6, 0.2], [0.0, 0.0, 0.3]], dtype=F64)
    mix = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.2, 0.1, 1]], dtype=F64)
    matrix = (mix @ upper @ torch.linalg.inv(mix)).clamp(min=0)
    expected = torch.linalg.eigvals(matrix).abs().log().sort(descending=True).values
    d = unrolled.diagnose(linear_rnn(matrix), torch.rand(1000, 1, 3, dtype=F64) + 0.1, ends=1)
    assert d.lyapunov is not None
    torch.testing.assert_close(d.lyapunov.exponents, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [1.5, 2.5])
def test_a_random_tanh_network_has_the_published_exponent(gain):
    """Molgedey, Schuchhardt & Schuster 1992, Phys. Rev. Lett. 69, 3717, for many units:
    λ = ½ ln(g²⟨tanh'²⟩), with ⟨·⟩ over a Gaussian of the variance q = g²⟨tanh²⟩."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(500):
        q = gain**2 * (weights * np.tanh(np.sqrt(q) * nodes) ** 2).sum()
    slopes = (1 - np.tanh(np.sqrt(q) * nodes) ** 2) ** 2
    expected = 0.5 * math.log(gain**2 * (weights * slopes).sum())
    hidden = 300
    rnn = unrolled.RNN(1, hidden, bias=False, dtype=F64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        random = torch.randn(hidden, hidden, generator=generator, dtype=F64)
        rnn.get_parameter("weight_hh_l0").copy_(gain * random / hidden**0.5)
        rnn.get_parameter("weight_ih_l0").zero_()
    hx = torch.randn(1, 1, hidden, generator=generator, dtype=F64)
    trace = unrolled.record(rnn, torch.zeros(160, 1, 1, dtype=F64), hx)
    (layer,) = layers_of(rnn, trace, "")
    largest = float(lyapunov_spectrum(state_jacobians(layer, 0, 160), transient=40)[0])
    assert largest == pytest.approx(expected, abs=0.02)  # a finite network, for a finite time


@every_kind
def test_jacobians_are_autograds(kind: Kind):
    """Of torch's own module, a step at a time."""
    module, theirs = kind.pair(dtype=F64)
    x = torch.randn(6, 1, 2, dtype=F64)
    trace = unrolled.record(module, x)
    (layer,) = layers_of(module, trace, "")
    found = state_jacobians(layer, 0, 6)
    states = ["hidden", "cell"] if module.mode == "LSTM" else ["hidden"]
    widths = [trace.get(name).shape[-1] for name in states]
    for t in range(5):

        def step(state, x_t=x[t + 1 : t + 2]):
            before = [part.view(1, 1, -1) for part in state.split(widths)]
            _, after = theirs(x_t, tuple(before) if len(before) > 1 else before[0])
            return torch.cat(tensors(after), -1).flatten()

        expected = torch.autograd.functional.jacobian(
            step, torch.cat([trace.get(name)[t, 0] for name in states])
        )
        torch.testing.assert_close(found[t], expected)


def test_the_spectrum_of_a_stack_is_that_of_its_layers():
    d = unrolled.diagnose(unrolled.GRU(2, HIDDEN, num_layers=3), torch.randn(T, B, 2))
    assert d.lyapunov is not None
    joined = torch.cat(d.lyapunov.by_layer).sort(descending=True).values
    assert torch.equal(d.lyapunov.exponents, joined)
    assert len(joined) == 3 * HIDDEN


def test_two_directions_have_no_spectrum():
    d = unrolled.diagnose(unrolled.GRU(2, HIDDEN, bidirectional=True), torch.randn(T, B, 2))
    assert d.lyapunov is None


# --- Saliency, saturation, dead units.


@pytest.mark.parametrize("outputs", [2, 20], ids=["exact", "estimated"])
def test_saliency_is_the_norm_of_the_jacobian(outputs):
    module = nn.Sequential(unrolled.RNN(2, HIDDEN, dtype=F64))
    read = nn.Linear(HIDDEN, outputs, dtype=F64)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.read = module[0], read

        def forward(self, x):
            return self.read(self.rnn(x)[0])

    model, x = Model(), torch.randn(T, 1, 2, dtype=F64)
    found = unrolled.diagnose(model, x).saliency_by_lag
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x)[-1, 0], x)
    expected = jacobian[:, :, 0].square().sum((0, 2)).sqrt().flip(0)
    # By 16 random signs the square has a standard deviation of 35% at most, the norm of 18%.
    tolerance = 1e-9 if outputs == 2 else 4 * 0.18
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=1e-12)


def test_pinned_gates_are_found():
    lstm = unrolled.LSTM(1, HIDDEN)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[:HIDDEN] = -30
        lstm.get_parameter("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = 30
    d = unrolled.diagnose(lstm, torch.randn(T, B, 1))
    assert d.saturation[0, "input"].low.tolist() == [1.0] * HIDDEN
    assert d.saturation[0, "forget"].high.tolist() == [1.0] * HIDDEN
    assert d.saturation[0, "output"].share < 0.5


def test_units_that_never_move_are_found():
    rnn = unrolled.RNN(1, HIDDEN, bias=False)
    with torch.no_grad():
        rnn.get_parameter("weight_ih_l0")[2] = 0
        rnn.get_parameter("weight_hh_l0")[2] = 0
    assert unrolled.diagnose(rnn, torch.randn(T, B, 1)).dead_units == {0: [2]}


# --- The letter.


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (unrolled.RNN(1, 4), ["VANISHING", "use an LSTM or a GRU"]),
        (unrolled.LSTM(1, 4), ["VANISHING", "raise the bias of the forget gate", "Time constants"]),
        (unrolled.GRU(1, 4), ["raise the bias of the update gate"]),
    ],
    ids=["RNN", "LSTM", "GRU"],
)
def test_the_letter_ties_its_advice_to_figures(module, words):
    d = unrolled.diagnose(module, torch.randn(60, B, 1))
    text = str(d)
    assert all(word in text for word in words), text
    assert f"Horizon: {d.horizon} steps" in text


def test_the_letter_of_an_explosion_says_to_clip():
    d = unrolled.diagnose(linear_rnn(1.5 * torch.eye(3)), torch.rand(T, B, 3, dtype=F64) + 0.1)
    assert "clip_grad_norm_" in str(d)
    assert "a factor 1.5 a step" in str(d)


# --- The model stays as it was; what can't be is refused.


def test_nothing_of_the_model_is_touched():
    model = nn.Sequential(nn.LSTM(2, 4), nn.Identity())
    model[0].register_forward_hook(lambda _m, _i, out: out[0])
    model.train()
    unrolled.diagnose(model, torch.randn(T, B, 2))
    assert model.training
    assert type(model[0]) is nn.LSTM
    assert all(w.grad is None for w in model.parameters())


def test_dropout_is_off():
    lstm = unrolled.LSTM(2, 4, num_layers=2, dropout=0.9)
    x = torch.randn(T, B, 2)
    first, second = (unrolled.diagnose(lstm, x).gradient_by_lag for _ in range(2))
    assert torch.equal(first, second)


def test_one_of_several_modules_has_to_be_named():
    model = nn.Sequential(nn.GRU(2, 4), nn.GRU(4, 4))
    model[0].register_forward_hook(lambda _m, _i, out: out[0])
    with pytest.raises(InputError, match=r"module=one of \['0', '1'\], got None"):
        unrolled.diagnose(model, torch.randn(T, B, 2))
    assert unrolled.diagnose(model, torch.randn(T, B, 2), module="1").module == "1"


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="3 steps at least"):
        unrolled.diagnose(unrolled.GRU(2, 4), torch.randn(2, B, 2))


def test_a_batch_without_rows_is_refused():
    with pytest.raises(InputError, match="no rows"):
        unrolled.diagnose(unrolled.GRU(2, 4), torch.randn(T, 0, 2))


def test_a_cell_is_refused():
    with pytest.raises(InputError, match="is a cell, which takes its steps one by one"):
        unrolled.diagnose(nn.Sequential(nn.GRUCell(2, 4)), torch.randn(T, 2))


def test_states_that_are_not_finite_are_refused():
    x = torch.randn(T, B, 2)
    x[5, 1] = math.nan
    with pytest.raises(InputError, match="layer 0 is not finite from step 5 of row 1 on"):
        unrolled.diagnose(unrolled.GRU(2, 4), x)

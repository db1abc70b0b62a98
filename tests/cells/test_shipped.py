"""The cells that come with the package, held against their papers' equations, written anew here.

These run one row through its steps, in NumPy, and take the weights by the labels of their parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support_cells import SHIPPED
from unrolled import cells
from unrolled.cells import Cell
from unrolled.nn import Recurrent

INPUTS, H, T, S = 3, 4, 6, 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Weights:
    """A module's weights by matrix and label: ``w("ih", "input")``."""

    def __init__(self, module):
        self.numbers = {n[:-3]: p.detach().numpy() for n, p in module.named_parameters()}
        self.cell = module.cell

    def __call__(self, name, label=None):
        whole = self.numbers.get(f"weight_{name}", self.numbers.get(name))
        return whole if label is None else self._part(f"weight_{name}", whole, label)

    def b(self, label, name="ih"):
        return self._part(f"bias_{name}", self.numbers[f"bias_{name}"], label)

    def _part(self, weight, whole, label):
        labels = [part.label for part in self.cell.weights_by_name[weight].parts]
        return whole[H * labels.index(label) :][:H]

    def gate(self, label, x, h):
        return self("ih", label) @ x + self("hh", label) @ h + self.b(label)


def peephole(w, x, h, c, _):
    i = sigmoid(w.gate("input", x, h) + w("peephole_input") * c)
    f = sigmoid(w.gate("forget", x, h) + w("peephole_forget") * c)
    c = f * c + i * np.tanh(w.gate("candidate", x, h))
    o = sigmoid(w.gate("output", x, h) + w("peephole_output") * c)
    return o * np.tanh(c), c


def cifg(w, x, h, c, _):
    i = sigmoid(w.gate("input", x, h))
    c = (1 - i) * c + i * np.tanh(w.gate("candidate", x, h))
    return sigmoid(w.gate("output", x, h)) * np.tanh(c), c


def lstm1997(w, x, h, c, _):
    g = 4 * sigmoid(w.gate("candidate", x, h)) - 2
    c = c + sigmoid(w.gate("input", x, h)) * g
    return sigmoid(w.gate("output", x, h)) * (2 * sigmoid(c) - 1), c


def truncated_lstm1997(w, x, h, c, i, o, _):
    def net(label):
        before = ("input", i), ("output", o)
        return w.gate(label, x, h) + sum(w(name, label) @ gate for name, gate in before)

    g = 4 / (1 + np.exp(-net("candidate"))) - 2
    i, o = sigmoid(net("input")), sigmoid(net("output"))
    c = c + i * g
    return o * (2 / (1 + np.exp(-c)) - 1), c, i, o


def seeing(w, label, x, y, c):
    return sigmoid(w.gate(label, x, y) + w(f"peephole_{label}") * c)


def nig(w, x, y, c, _):
    c = np.tanh(w.gate("candidate", x, y)) + c * seeing(w, "forget", x, y, c)
    return np.tanh(c) * seeing(w, "output", x, y, c), c


def nfg(w, x, y, c, _):
    c = np.tanh(w.gate("candidate", x, y)) * seeing(w, "input", x, y, c) + c
    return np.tanh(c) * seeing(w, "output", x, y, c), c


def nog(w, x, y, c, _):
    i, f = seeing(w, "input", x, y, c), seeing(w, "forget", x, y, c)
    c = np.tanh(w.gate("candidate", x, y)) * i + c * f
    return np.tanh(c), c


def niaf(w, x, y, c, _):
    i, f = seeing(w, "input", x, y, c), seeing(w, "forget", x, y, c)
    c = w.gate("candidate", x, y) * i + c * f
    return np.tanh(c) * seeing(w, "output", x, y, c), c


def noaf(w, x, y, c, _):
    i, f = seeing(w, "input", x, y, c), seeing(w, "forget", x, y, c)
    c = np.tanh(w.gate("candidate", x, y)) * i + c * f
    return c * seeing(w, "output", x, y, c), c


def peephole_cifg(w, x, y, c, _):
    i = seeing(w, "input", x, y, c)
    c = np.tanh(w.gate("candidate", x, y)) * i + c * (1 - i)
    return np.tanh(c) * seeing(w, "output", x, y, c), c


def no_peepholes(w, x, y, c, _):
    i, f, o = (sigmoid(w.gate(label, x, y)) for label in ("input", "forget", "output"))
    c = np.tanh(w.gate("candidate", x, y)) * i + c * f
    return np.tanh(c) * o, c


def fgr(w, x, y, c, i, f, o, _):
    def gate(label, c):
        r_i, r_f, r_o = (w(name, label) for name in ("input", "forget", "output"))
        net = w.gate(label, x, y) + w(f"peephole_{label}") * c
        return sigmoid(net + r_i @ i + r_f @ f + r_o @ o)

    input, forget = gate("input", c), gate("forget", c)  # noqa: A001 - its name
    c = np.tanh(w.gate("candidate", x, y)) * input + c * forget
    output = gate("output", c)
    return np.tanh(c) * output, c, input, forget, output


def normalised(a, gain, bias):
    return (a - a.mean()) / np.sqrt(a.var() + 1e-5) * gain + bias


def layer_norm(w, x, h, c, _):
    def stacked(name):
        return np.concatenate([w(f"{name}_{gate}") for gate in "ifco"])

    gates = normalised(w("ih") @ x, stacked("gain_x"), 0)
    gates = gates + normalised(w("hh") @ h, stacked("gain_h"), stacked("bias"))
    i, f, g, o = gates.reshape(4, H)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalised(c, w("gain_cell"), w("bias_cell"))), c


def reset_before(w, x, h, _):
    r, z = sigmoid(w.gate("reset", x, h)), sigmoid(w.gate("update", x, h))
    n = np.tanh(w("ih", "candidate") @ x + w("kept") @ (r * h) + w.b("candidate"))
    return (z * h + (1 - z) * n,)


def mgu(w, x, h, _):
    f = sigmoid(w.gate("forget", x, h))
    n = np.tanh(w("ih", "candidate") @ x + w("kept") @ (f * h) + w.b("candidate"))
    return ((1 - f) * h + f * n,)


def janet(w, x, h, _):
    s = w.gate("score", x, h)
    return (sigmoid(s) * h + (1 - sigmoid(s - 1)) * np.tanh(w.gate("candidate", x, h)),)


def min_gru(w, x, h, _):
    z = sigmoid(w("ih", "update") @ x + w.b("update"))
    return ((1 - z) * h + z * (w("ih", "candidate") @ x + w.b("candidate")),)


def min_lstm(w, x, h, _):
    f = sigmoid(w("ih", "forget") @ x + w.b("forget"))
    i = sigmoid(w("ih", "input") @ x + w.b("input"))
    n = w("ih", "candidate") @ x + w.b("candidate")
    return (f / (f + i) * h + i / (f + i) * n,)


def ind_rnn(w, x, h, _):
    return (np.maximum(w("ih") @ x + w.b("hidden") + w("recurrent") * h, 0),)


def ea_lstm(w, x, h, c, static):
    i = sigmoid(w("static") @ static + w.b("input", "static"))
    c = sigmoid(w.gate("forget", x, h)) * c + i * np.tanh(w.gate("candidate", x, h))
    return sigmoid(w.gate("output", x, h)) * np.tanh(c), c


def leaky(w, x, r, p, _):
    share = np.minimum(0.5 / np.exp(w("log_time_constant")), 1)
    recurrent = np.abs(w("hh")) * np.array([1, 1, 1, -1])
    p = (1 - share) * p + share * (w("ih") @ x + w.b("driven") + recurrent @ r)
    return np.maximum(p, 0), p


def antisymmetric(w, x, h, _):
    turned = w("hh") - w("hh").T - 0.01 * np.eye(H)
    return (h + 0.1 * np.tanh(turned @ h + w("ih") @ x + w.b("change")),)


def slstm(w, x, h, c, n, m, _):
    """The stabilised form, equations 15 to 17, beside the plain one, 8 to 14."""

    def gate(label):
        blocks = w("hh", label).reshape(2, H // 2, H // 2)
        return (
            w("ih", label) @ x
            + w.b(label)
            + np.concatenate(
                [block @ part for block, part in zip(blocks, h.reshape(2, -1), strict=True)]
            )
        )

    log_i, log_f = gate("log_input"), -np.log1p(np.exp(-gate("forget")))
    after = np.where(n == 0, log_i, np.maximum(log_f + m, log_i))
    i, f = np.exp(log_i - after), np.exp(log_f + m - after)
    c, n = f * c + i * np.tanh(gate("candidate")), f * n + i
    return sigmoid(gate("output")) * c / n, c, n, after


PAPERS: dict[Any, Any] = {
    cells.PeepholeLSTM: peephole,
    cells.CIFG: cifg,
    cells.LSTM1997: lstm1997,
    cells.TruncatedLSTM1997: truncated_lstm1997,
    cells.VanillaLSTM: peephole,
    cells.NIG: nig,
    cells.NFG: nfg,
    cells.NOG: nog,
    cells.NIAF: niaf,
    cells.NOAF: noaf,
    cells.PeepholeCIFG: peephole_cifg,
    cells.NP: no_peepholes,
    cells.FGR: fgr,
    cells.LayerNormLSTM: layer_norm,
    cells.GRUResetBefore: reset_before,
    cells.MGU: mgu,
    cells.JANET: janet,
    cells.MinGRU: min_gru,
    cells.MinLSTM: min_lstm,
    cells.IndRNN: ind_rnn,
    cells.EALSTM: ea_lstm,
    cells.LeakyRNN(step_size=0.5, excitatory=0.75): leaky,
    cells.AntisymmetricRNN: antisymmetric,
    cells.SLSTM(heads=2): slstm,
}


@pytest.mark.parametrize("cell", PAPERS)
def test_a_cell_is_its_papers(cell):
    sizes: dict[str, Any] = {"static_size": S} if cell is cells.EALSTM else {}
    module = Recurrent(cell, INPUTS, H, dtype=torch.float64, **sizes)
    for parameter in module.parameters():
        parameter.data.normal_()
    x = torch.randn(T, INPUTS, dtype=torch.float64)
    state = tuple(torch.randn(1, H, dtype=torch.float64).abs() for _ in module.cell.states)
    static = torch.randn(S, dtype=torch.float64)
    constants = {"static": static} if sizes else {}
    output, last = module(x, state, **constants)
    weights, now = Weights(module), [s[0].numpy() for s in state]
    for t in range(T):
        now = PAPERS[cell](weights, x[t].numpy(), *now, static.numpy())
        np.testing.assert_allclose(output[t].detach(), now[0], rtol=1e-12, atol=1e-12)
    for found, expected in zip(last, now, strict=True):
        np.testing.assert_allclose(found[0].detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", SHIPPED)
def test_every_cell_has_an_oracle_and_a_loop_to_be_timed_against(cell):
    held = {type(one) if isinstance(one, Cell) else one for one in PAPERS}
    held |= {type(one) for one, *_ in TORCHS}
    assert cell in held
    loops = (Path(__file__).parents[2] / "benchmarks" / "loops.py").read_text(encoding="utf-8")
    assert f'"{cell.__name__}"' in loops or cell is cells.ProjectedLSTM


def test_an_slstm_is_its_equations_without_the_stabiliser():
    """Where nothing overflows the stabiliser changes no output: equations 8 to 14."""
    module = Recurrent(cells.SLSTM, INPUTS, H, dtype=torch.float64)
    w, x = Weights(module), torch.randn(T, INPUTS, dtype=torch.float64)
    h = c = n = np.zeros(H)
    for now, found in zip(x.numpy(), module(x)[0].detach(), strict=True):
        i, f = np.exp(w.gate("log_input", now, h)), sigmoid(w.gate("forget", now, h))
        c, n = f * c + i * np.tanh(w.gate("candidate", now, h)), f * n + i
        h = sigmoid(w.gate("output", now, h)) * c / n
        np.testing.assert_allclose(found, h, rtol=1e-10)


TORCHS = [
    (cells.RNN(), torch.nn.RNN, {}),
    (cells.RNN("relu"), torch.nn.RNN, {"nonlinearity": "relu"}),
    (cells.LSTM(), torch.nn.LSTM, {}),
    (cells.GRU(), torch.nn.GRU, {}),
    (cells.ProjectedLSTM(), torch.nn.LSTM, {"proj_size": 2}),
    (cells.RNN(bias=False), torch.nn.RNN, {"bias": False}),
    (cells.LSTM(bias=False), torch.nn.LSTM, {"bias": False}),
    (cells.GRU(bias=False), torch.nn.GRU, {"bias": False}),
    (cells.ProjectedLSTM(bias=False), torch.nn.LSTM, {"bias": False, "proj_size": 2}),
]


@pytest.mark.parametrize(("cell", "module", "options"), TORCHS)
@pytest.mark.parametrize("more", [{}, {"num_layers": 2, "bidirectional": True}])
def test_torchs_cells_are_torchs_and_take_their_weights(cell, module, options, more):
    theirs = module(INPUTS, H, dtype=torch.float64, **options, **more)
    sizes = {name: value for name, value in options.items() if name == "proj_size"}
    ours = Recurrent(cell, INPUTS, H, dtype=torch.float64, **more, **sizes)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, 5, INPUTS, dtype=torch.float64)
    (expected, hx), (output, last) = theirs(x), ours(x)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    for found, state in zip(last, hx if isinstance(hx, tuple) else (hx,), strict=True):
        torch.testing.assert_close(found, state, rtol=1e-12, atol=1e-12)
    output.square().sum().backward()
    expected.square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-10)

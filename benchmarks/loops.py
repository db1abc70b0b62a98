"""The shipped cells as their users have them without us: loops of torch's operations over time.

Each is written as one would write it for speed: the products with the input for all steps at once,
one product a step for all gates. They take a module's weights by their names without ``_l0``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, softplus

Weights = Mapping[str, Tensor]
Loop = Callable[[Weights, Tensor, list[Tensor]], Tensor]
"""From the weights, an input [T, B, I] and the states [B, H] (behind them the constants) to the
outputs [T, B, H]."""


def over_time(step: Callable[..., tuple[Tensor, ...]]) -> Loop:
    """The loop over a step, which gets the input's products, the weights and the states."""

    def loop(w: Weights, x: Tensor, states: list[Tensor]) -> Tensor:
        of_input = linear(x, w["weight_ih"], w.get("bias_ih"))
        outputs = []
        for now in of_input.unbind():
            states = list(step(w, now, *states))
            outputs.append(states[0])
        return torch.stack(outputs)

    return loop


def _gates(w: Weights, x: Tensor, h: Tensor, count: int) -> tuple[Tensor, ...]:
    return (x + linear(h, w["weight_hh"], w.get("bias_hh"))).chunk(count, -1)


def rnn(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return (torch.tanh(_gates(w, x, h, 1)[0]),)


def lstm(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _gates(w, x, h, 4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    x_r, x_z, x_n = x.chunk(3, -1)
    h_r, h_z, h_n = linear(h, w["weight_hh"], w["bias_hh"]).chunk(3, -1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return (n + z * (h - n),)


def peephole(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _gates(w, x, h, 4)
    i = torch.sigmoid(i + w["peephole_input"] * c)
    f = torch.sigmoid(f + w["peephole_forget"] * c)
    c = f * c + i * torch.tanh(g)
    o = torch.sigmoid(o + w["peephole_output"] * c)
    return o * torch.tanh(c), c


def cifg(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, g, o = _gates(w, x, h, 3)
    i = torch.sigmoid(i)
    c = (1 - i) * c + i * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def lstm1997(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, g, o = _gates(w, x, h, 3)
    c = c + torch.sigmoid(i) * (4 * torch.sigmoid(g) - 2)
    return torch.sigmoid(o) * (2 * torch.sigmoid(c) - 1), c


def truncated_lstm1997(
    w: Weights, x: Tensor, h: Tensor, c: Tensor, i: Tensor, o: Tensor
) -> tuple[Tensor, ...]:
    before = linear(h.detach(), w["weight_hh"])
    before = before + linear(i.detach(), w["weight_input"])
    before = before + linear(o.detach(), w["weight_output"])
    i, g, o = (x + before).chunk(3, -1)
    i, o = torch.sigmoid(i), torch.sigmoid(o)
    c = c + i * (4 * torch.sigmoid(g) - 2)
    return o * (2 * torch.sigmoid(c) - 1), c, i, o


def no_input_gate(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    f, g, o = _gates(w, x, h, 3)
    c = torch.sigmoid(f + w["peephole_forget"] * c) * c + torch.tanh(g)
    return torch.sigmoid(o + w["peephole_output"] * c) * torch.tanh(c), c


def no_forget_gate(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, g, o = _gates(w, x, h, 3)
    c = c + torch.sigmoid(i + w["peephole_input"] * c) * torch.tanh(g)
    return torch.sigmoid(o + w["peephole_output"] * c) * torch.tanh(c), c


def no_output_gate(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g = _gates(w, x, h, 3)
    i = torch.sigmoid(i + w["peephole_input"] * c)
    c = torch.sigmoid(f + w["peephole_forget"] * c) * c + i * torch.tanh(g)
    return torch.tanh(c), c


def no_input_activation(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _gates(w, x, h, 4)
    i = torch.sigmoid(i + w["peephole_input"] * c)
    c = torch.sigmoid(f + w["peephole_forget"] * c) * c + i * g
    return torch.sigmoid(o + w["peephole_output"] * c) * torch.tanh(c), c


def no_output_activation(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _gates(w, x, h, 4)
    i = torch.sigmoid(i + w["peephole_input"] * c)
    c = torch.sigmoid(f + w["peephole_forget"] * c) * c + i * torch.tanh(g)
    return torch.sigmoid(o + w["peephole_output"] * c) * c, c


def peephole_cifg(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, g, o = _gates(w, x, h, 3)
    i = torch.sigmoid(i + w["peephole_input"] * c)
    c = (1 - i) * c + i * torch.tanh(g)
    return torch.sigmoid(o + w["peephole_output"] * c) * torch.tanh(c), c


def full_gate_recurrence(
    w: Weights, x: Tensor, h: Tensor, c: Tensor, i: Tensor, f: Tensor, o: Tensor
) -> tuple[Tensor, ...]:
    gates = [linear(gate, w[f"weight_{n}"]) for gate, n in ((i, "input"), (f, "forget"))]
    of_i, of_f, of_o = (gates[0] + gates[1] + linear(o, w["weight_output"])).chunk(3, -1)
    i, f, g, o = _gates(w, x, h, 4)
    i = torch.sigmoid(i + of_i + w["peephole_input"] * c)
    f = torch.sigmoid(f + of_f + w["peephole_forget"] * c)
    c = f * c + i * torch.tanh(g)
    o = torch.sigmoid(o + of_o + w["peephole_output"] * c)
    return o * torch.tanh(c), c, i, f, o


def normalised_lstm(w: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    def gain(of: str) -> Tensor:
        return torch.cat([w[f"{of}_{gate}"] for gate in "ifco"])

    size = x.shape[-1:]
    gates = layer_norm(x, size, gain("gain_x")) + gain("bias")
    gates = gates + layer_norm(linear(h, w["weight_hh"]), size, gain("gain_h"))
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    shown = layer_norm(c, c.shape[-1:], w["gain_cell"], w["bias_cell"])
    return torch.sigmoid(o) * torch.tanh(shown), c


def gru_reset_before(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    x_r, x_z, x_n = x.chunk(3, -1)
    h_r, h_z = linear(h, w["weight_hh"]).chunk(2, -1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + linear(r * h, w["weight_kept"]))
    return (z * h + (1 - z) * n,)


def mgu(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    x_f, x_n = x.chunk(2, -1)
    f = torch.sigmoid(x_f + linear(h, w["weight_hh"]))
    n = torch.tanh(x_n + linear(f * h, w["weight_kept"]))
    return ((1 - f) * h + f * n,)


def janet(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    s, n = _gates(w, x, h, 2)
    return (torch.sigmoid(s) * h + (1 - torch.sigmoid(s - 1)) * torch.tanh(n),)


def min_gru(_: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    z, n = x.chunk(2, -1)
    z = torch.sigmoid(z)
    return ((1 - z) * h + z * n,)


def min_lstm(_: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    f, i, n = x.chunk(3, -1)
    f, i = torch.sigmoid(f), torch.sigmoid(i)
    return ((f * h + i * n) / (f + i),)


def ind_rnn(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return (torch.relu(x + w["recurrent"] * h),)


def ea_lstm(w: Weights, x: Tensor, h: Tensor, c: Tensor, i: Tensor) -> tuple[Tensor, ...]:
    f, g, o = _gates(w, x, h, 3)
    c = torch.sigmoid(f) * c + i * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c, i


def ea_lstm_over_time(
    w: Weights, x: Tensor, states: list[Tensor], step: Callable[..., tuple[Tensor, ...]] = ea_lstm
) -> Tensor:
    h, c, static = states
    gate = torch.sigmoid(linear(static, w["weight_static"], w["bias_static"]))
    return over_time(step)(w, x, [h, c, gate])


def leaky(w: Weights, x: Tensor, r: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    share = torch.clamp(1 / torch.exp(w["log_time_constant"]), max=1.0)
    p = (1 - share) * p + share * (x + linear(r, w["weight_hh"]))
    return torch.relu(p), p


def antisymmetric(w: Weights, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    turned = linear(h, w["weight_hh"] - w["weight_hh"].T)
    return (h + 0.1 * torch.tanh(turned + x - 0.01 * h),)


def slstm(w: Weights, x: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _gates(w, x, h, 4)
    kept = m - softplus(-f)
    m = torch.where(n == 0, i, torch.maximum(kept, i))
    take, keep = torch.exp(i - m).clamp(max=1.0), torch.exp(kept - m).clamp(max=1.0)
    c, n = keep * c + take * torch.tanh(g), keep * n + take
    return torch.sigmoid(o) * c / n, c, n, m


STEPS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "RNN": rnn,
    "LSTM": lstm,
    "GRU": gru,
    "PeepholeLSTM": peephole,
    "CIFG": cifg,
    "LSTM1997": lstm1997,
    "TruncatedLSTM1997": truncated_lstm1997,
    "VanillaLSTM": peephole,
    "NIG": no_input_gate,
    "NFG": no_forget_gate,
    "NOG": no_output_gate,
    "NIAF": no_input_activation,
    "NOAF": no_output_activation,
    "PeepholeCIFG": peephole_cifg,
    "NP": lstm,
    "FGR": full_gate_recurrence,
    "LayerNormLSTM": normalised_lstm,
    "GRUResetBefore": gru_reset_before,
    "MGU": mgu,
    "JANET": janet,
    "MinGRU": min_gru,
    "MinLSTM": min_lstm,
    "IndRNN": ind_rnn,
    "LeakyRNN": leaky,
    "AntisymmetricRNN": antisymmetric,
    "SLSTM": slstm,
    "EALSTM": ea_lstm,
}
"""One step of each cell, by the cells' names."""

LOOPS: dict[str, Loop] = {name: over_time(step) for name, step in STEPS.items()} | {
    "EALSTM": ea_lstm_over_time
}
"""The loops over them."""

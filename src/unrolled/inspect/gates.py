"""What the gates of a trace say of a module's memory: time constants, saturation, dead units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.inspect.trace import Trace
from unrolled.scan import Weights
from unrolled.summary import Summarised

KEEPING = {"LSTM": ("forget", 1), "GRU": ("update", 1)}
"""The gate that says how much of the state stays, and its place among the weights' gates."""
SIGMOID = ("input", "forget", "output", "reset", "update")
GATES: Mapping[str, tuple[str, ...]] = {
    "LSTM": (*SIGMOID[:3], "candidate"),
    "GRU": (*SIGMOID[3:], "candidate"),
    "RNN_TANH": ("hidden",),
    "RNN_RELU": (),
}
"""What can be pinned, by the module's mode."""
MOVES = 1e-5
"""A unit whose hidden state stays within so much never moves."""


@dataclass(frozen=True, repr=False)
class Saturation(Summarised):
    """The share of steps and rows at which each unit's gate is pinned, [H] each, from 0 to 1.

    ``low``: below 0.05, for a tanh below −0.95. ``high``: above 0.95.
    """

    low: Tensor
    high: Tensor

    @property
    def share(self) -> float:
        """Of all units together, low or high."""
        return float((self.low + self.high).mean())


def time_constants(
    mode: str, trace: Trace, module: str, weights: list[Weights]
) -> dict[str, Tensor]:
    """τ = −1/ln f of each unit [L, H], in steps, from what its cell keeps in a step.

    f is the forget gate of an LSTM or the update gate of a GRU (as torch has it: h' stays by z);
    an RNN has no such gate and no entry. Three answers, for three questions:

    ``bias``: f = σ(b_f), with no input and no state: what the unit was set to (Tallec & Ollivier
    2018, arXiv 1804.11188). Infinite where f rounds to 1; missing without biases.
    ``mean``: f the mean of the gate over all steps and rows.
    ``trajectory``: ln f the mean of ln f over them, which is what a cell state really loses over a
    stretch, Π f_t. Never above ``mean`` (Jensen's inequality): a gate that opens now and then
    forgets more than its mean tells.
    """
    if mode not in KEEPING:
        return {}
    gate, place = KEEPING[mode]
    mask = trace.masks[module]
    found: dict[str, list[Tensor]] = {"bias": [], "mean": [], "trajectory": []}
    for layer, w in enumerate(weights):
        f = trace.get(gate, module, layer)[mask]
        found["mean"].append(-1 / f.mean(0).log())
        found["trajectory"].append(-1 / f.log().mean(0))
        if w.bias_ih is not None and w.bias_hh is not None:
            hidden = f.shape[-1]
            bias = (w.bias_ih + w.bias_hh)[place * hidden : (place + 1) * hidden]
            found["bias"].append(-1 / torch.sigmoid(bias).log())
    return {name: torch.stack(layers) for name, layers in found.items() if layers}


def saturation(
    mode: str, trace: Trace, module: str, layers: int
) -> dict[tuple[int, str], Saturation]:
    """How much of the time each gate is pinned, by layer and gate.

    A pinned gate passes next to no gradient through its own weights: σ' = g(1 − g) is below 0.05
    and 1 − g² below 0.1 there. A cell state is no gate, and the hidden state one of an RNN with
    tanh alone.
    """
    mask = trace.masks[module]
    return {
        (layer, gate): pinned(gate, trace.get(gate, module, layer)[mask])
        for layer in range(layers)
        for gate in GATES[mode]
    }


def pinned(gate: str, value: Tensor) -> Saturation:
    """Of one gate [N, H], by its name."""
    least = 0.05 if gate in SIGMOID else -0.95
    return Saturation((value < least).double().mean(0), (value > 0.95).double().mean(0))


def dead_units(trace: Trace, module: str, layers: int) -> dict[int, list[int]]:
    """By layer, the units whose hidden state never moves by more than 1e-5 over all the data."""
    mask = trace.masks[module]
    found: Mapping[int, Tensor] = {
        layer: trace.get("hidden", module, layer)[mask] for layer in range(layers)
    }
    return {
        layer: (value.amax(0) - value.amin(0) <= MOVES).nonzero().flatten().tolist()
        for layer, value in found.items()
    }

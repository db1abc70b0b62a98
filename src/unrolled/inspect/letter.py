"""A diagnosis in words: what was measured, what it means, what to try."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from unrolled.inspect.diagnosis import Diagnosis

CELLS = {"RNN_TANH": "RNN (tanh)", "RNN_RELU": "RNN (relu)", "LSTM": "LSTM", "GRU": "GRU"}
PINNED = 0.5
"""Above this share of steps a gate's saturation is worth a word."""


def letter(d: Diagnosis) -> str:
    """The findings and the advice, a paragraph each; every advice stands on a figure above it."""
    where = f"at {d.module!r}" if d.module else "(the model itself)"
    lines = [f"The {CELLS[d.cell]} {where}, over {d.steps} steps: {d.verdict.upper()}", ""]
    lines += ["Measured", *(f"  * {finding}" for finding in _findings(d))]
    if advice := _advice(d):
        lines += ["", "To try", *(f"  * {one}" for one in advice)]
    return "\n".join(lines)


def _findings(d: Diagnosis) -> list[str]:
    g, last = d.gradient_by_lag, len(d.gradient_by_lag) - 1
    left = float(g[-1] / g[0]) if float(g[0]) > 0 else 0.0
    found = [
        f"Of the gradient at the end, {_share(left)} is left {last} steps earlier "
        f"(a factor {d.decay.rate:.3g} a step, {_scale(d.decay.time_scale)})."
    ]
    if d.horizon >= last:
        found.append(
            f"Horizon: the whole window of {last} steps is above {_share(d.horizon_share)}; "
            "the memory may reach further than was measured."
        )
    else:
        found.append(
            f"Horizon: {d.horizon} steps; what lies further back reaches the weights with less "
            f"than {_share(d.horizon_share)} of the gradient."
        )
    if d.lyapunov is not None:
        largest = d.lyapunov.largest
        means = "differences die out" if largest < 0 else "differences grow: the state is chaotic"
        found.append(
            f"Largest Lyapunov exponent: {largest:+.3g} a step, that is a factor "
            f"{d.lyapunov.gradient_factor:.3g} in the long run: {means}."
        )
    for name, question in (
        ("bias", "by the biases alone"),
        ("mean", "by the mean gate"),
        ("trajectory", "along the data"),
    ):
        if name in d.time_constants:
            found.append(f"Time constants {question}: {_spread(d.time_constants[name])}.")
    for (layer, gate), pinned in d.saturation.items():
        if pinned.share > PINNED:
            low, high = float(pinned.low.mean()), float(pinned.high.mean())
            found.append(
                f"Layer {layer}: the {gate} is pinned for {_share(pinned.share)} of the time "
                f"({_share(low)} at the bottom, {_share(high)} at the top)."
            )
    for layer, units in d.dead_units.items():
        if units:
            found.append(f"Layer {layer}: {len(units)} units never move: {_some(units)}.")
    return found


def _advice(d: Diagnosis) -> list[str]:
    found = []
    last = len(d.gradient_by_lag) - 1
    if d.verdict == "exploding":
        found.append(
            f"Clip the gradient's norm (torch.nn.utils.clip_grad_norm_): it grows by a factor "
            f"{d.decay.rate:.3g} a step."
        )
        if d.cell.startswith("RNN"):
            found.append(
                "Start the recurrent weights smaller or orthogonal: the largest factor a step "
                "should be near 1."
            )
    if d.verdict == "vanishing":
        if d.cell.startswith("RNN"):
            found.append(
                f"If what matters lies more than {d.horizon} steps back, use an LSTM or a GRU: "
                "an RNN has no path on which the gradient is kept."
            )
        elif "bias" in d.time_constants:
            gate = "forget" if d.cell == "LSTM" else "update"
            found.append(
                f"If what matters lies more than {d.horizon} steps back, raise the {gate} gate's "
                f"bias (to 1 or more; ln(T − 1) = {math.log(max(last, 2)):.1f} keeps a window of "
                f"{last + 1}): the median time constant by the biases is "
                f"{_number(float(d.time_constants['bias'].median()))} steps."
            )
        if d.horizon < last // 2:
            found.append(
                f"If it does not, a window of about {max(2 * d.horizon, 1)} steps trains as well, "
                f"and faster, than one of {last + 1}: the horizon is {d.horizon}."
            )
    if d.verdict != "exploding" and d.horizon >= last:
        found.append(
            f"Lengthen the window: at {last} steps the gradient is still above "
            f"{_share(d.horizon_share)}."
        )
    if any(pinned.share > PINNED for pinned in d.saturation.values()):
        found.append(
            "Scale the inputs to about −1 … 1, or start the weights smaller: a gate that is pinned "
            "most of the time learns next to nothing."
        )
    dead = sum(map(len, d.dead_units.values()))
    if dead:
        found.append(f"A smaller hidden size: {dead} units do nothing on these data.")
    return found


def _share(value: float) -> str:
    if value > 10:
        return f"{value:,.3g} times as much"
    percent = 100 * value
    return f"{percent:.3g}%" if percent >= 0.01 or percent == 0 else f"{percent:.1e}%"


def _scale(steps: float) -> str:
    return "no decay" if math.isinf(steps) else f"to 1/e in {_number(steps)} steps"


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:,.3g}"


def _spread(values: Tensor) -> str:
    flat = values.flatten().double()
    low, median, high = (_number(float(v)) for v in (flat.min(), flat.median(), flat.max()))
    return f"{low} to {high} steps, median {median}"


def _some(units: list[int]) -> str:
    return ", ".join(map(str, units[:10])) + (" …" if len(units) > 10 else "")

"""How a quantity falls or grows with the lag: its rate, its horizon, and what to call it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unrolled.cells.description import Description, reads
from unrolled.cells.detached import origins
from unrolled.inspect.trace import Trace

Verdict = Literal["vanishing", "steady", "exploding"]

FLAT = 1e-20
"""Of ln g: what varies less than this is a constant, but for rounding."""


@dataclass(frozen=True)
class Decay:
    """The straight line through ln g(k) by least squares.

    Attributes:
        rate: the factor a step, e to the slope: 0.5 halves, 1 keeps, 1.5 explodes.
        time_scale: τ = −1 / ln rate in steps, in which g falls to 1/e; infinite where it grows.
        r2: the share of ln g's variance that the line explains, 1 for a pure exponential.
    """

    rate: float
    time_scale: float
    r2: float


def fitted_decay(g: Tensor) -> Decay:
    """The decay of g(1), g(2), … [K]; what has fallen below 1e-30 of the largest is left out.

    The first lag is not looked at: the step of the loss reads the state by another way (for an
    LSTM the cell state is not in it) than the steps between.
    """
    lags = torch.arange(len(g), dtype=torch.float64, device="cpu")
    use = (g > g.max() * 1e-30) & (lags > 0) & g.isfinite()
    if int(use.sum()) < 2:
        return Decay(rate=0.0, time_scale=0.0, r2=1.0)
    x, y = lags[use], g[use].double().log()
    x, y = x - x.mean(), y - y.mean()
    slope = float((x * y).sum() / x.square().sum())
    left, whole = float((y - slope * x).square().sum()), float(y.square().sum())
    return Decay(
        rate=math.exp(slope),
        time_scale=-1 / slope if slope < 0 else math.inf,
        r2=1.0 if whole < FLAT else 1 - left / whole,
    )


def horizon(g: Tensor, share: float) -> int:
    """The largest lag at which g(k)/g(0) exceeds the share."""
    found = (g > share * g[0]).nonzero()
    return int(found.max()) if len(found) else 0


def verdict(g: Tensor, vanishing: float, exploding: float) -> Verdict:
    """By what is left of g(0) at the largest lag."""
    left = float(g[-1]) / float(g[0]) if float(g[0]) > 0 else 0.0
    if left < vanishing:
        return "vanishing"
    return "steady" if left <= exploding else "exploding"


def joint_norms(trace: Trace, module: str, layers: int) -> Tensor:
    """‖∂L/∂s_t‖ of the joint state [T, B]: as the steps after t and the loss see it.

    In double precision: a gradient of 1e-20 is one, and its square no number in single.
    """
    output, *others = trace.given[module].cell.states
    parts = [_of_output(trace, module, layers - 1)]
    parts += [trace.get(output.name, module, layer, kind="carried") for layer in range(layers - 1)]
    parts += [
        trace.get(state.name, module, layer, kind="carried")
        for layer in range(layers)
        for state in others
    ]
    squares = [part.double().square().sum(-1) for part in parts]
    return torch.stack(squares).sum(0).sqrt()


def _of_output(trace: Trace, module: str, layer: int) -> Tensor:
    """By a layer's output: as it is handed on, and as it is given out."""
    cell, mask = trace.given[module].cell, trace.masks[module]
    total = trace.get(cell.output.name, module, layer, kind="gradient")
    if not _is_read_again(cell):
        return total
    # In the total is what the step's other states say, too, which is theirs. What is given out
    # before the end is then left aside.
    ends = mask & ~torch.cat([mask[1:], torch.zeros_like(mask[:1])])
    carried = trace.get(cell.output.name, module, layer, kind="carried")
    return torch.where(ends.unsqueeze(-1), total, carried)


def _is_read_again(cell: Description) -> bool:
    """Whether a step makes other states of its output, by which a gradient comes back to it."""
    made_of, detached = {cell.next[0]}, origins(cell)
    for line in cell.lines:
        if line.name not in detached and not made_of.isdisjoint(reads(line)):
            made_of.add(line.name)
    return cell.next[0] in cell.by_name and not made_of.isdisjoint(cell.next[1:])


class MeanByLag:
    """The mean over rows and ends, by how many steps before a row's end.

    Where not all of them reach back so far, g grows from one lag to the next as the mean of those
    does that reach: else a step would show where the short ones drop out.
    """

    def __init__(self, steps: int) -> None:
        self.sums = torch.zeros(steps, dtype=torch.float64, device="cpu")
        self.sums_before = torch.zeros(steps, dtype=torch.float64, device="cpu")
        self.rows = 0

    def add(self, values: Tensor, lengths: Tensor) -> None:
        """``values`` [T, B] of rows that end after so many steps."""
        for row, length in enumerate(lengths.tolist()):
            by_lag = values[:length, row].flip(0).detach().double().cpu()
            self.sums[:length] += by_lag
            self.sums_before[1:length] += by_lag[:-1]
            self.rows += length > 0

    def result(self) -> Tensor:
        """For all lags; 0 from where nothing is left."""
        growth = self.sums / self.sums_before
        growth[0] = self.sums[0] / max(self.rows, 1)
        return growth.nan_to_num(nan=0.0).cumprod(0)

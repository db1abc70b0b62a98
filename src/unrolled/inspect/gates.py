"""What the lines of a trace say of a module's memory: time constants, saturation, dead units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.ranges import Range, saturating
from unrolled.cells.shares import Share, is_learned, kept_share
from unrolled.inspect.steps import Layer, from_recorded, of_share
from unrolled.inspect.trace import Direction, Trace
from unrolled.summary import Summarised

MOVES = 1e-5
"""A unit whose output stays within so much never moves."""


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


@dataclass(frozen=True, repr=False)
class Memory(Summarised):
    """What a step keeps of a state, where the equations say s_t = a ⊙ s_{t−1} + ….

    Attributes:
        state: the state's name.
        share: a, where it is one number, whatever happens; else None.
        time_constants: τ = −1/ln a of each unit [L, H], in steps: see :func:`memories`. Empty where
            ``share`` says all.
    """

    state: str
    share: float | None
    time_constants: Mapping[str, Tensor]


def memories(layers: Sequence[Layer]) -> tuple[Memory, ...]:
    """The states of which a step keeps a share, unit by unit, and their time constants.

    That share, a, is read from the equations: where a state's line has the form
    s_t = a ⊙ s_{t−1} + …. Of an LSTM's cell state it is the forget gate, of torch's GRU the update
    gate; a plain RNN has no such state. What a state gets back through its matrices is in the rest,
    and so is not in a. Three answers, for three questions:

    ``bias``: a with no input and no state: what the unit was set to, σ(b_f) in an LSTM (Tallec &
    Ollivier 2018, arXiv 1804.11188). Infinite where a rounds to 1; missing where a is made without
    biases or weights of the units.
    ``mean``: a the mean over all steps and rows.
    ``trajectory``: ln a the mean of ln a over them, which is what a state really loses over a
    stretch, Π a_t. Never above ``mean`` (Jensen's inequality): a gate that opens now and then
    forgets more than its mean tells.

    Args:
        layers: the recorded layers of a module.
    """
    (cell,) = {layer.cell for layer in layers}
    all_steps = [layer.values(layer.trace.masks[layer.module].nonzero()) for layer in layers]
    found = []
    for state in cell.states:
        share = kept_share(cell, state.name)
        if share is None:
            continue
        if not isinstance(share.value, str):
            found.append(Memory(state.name, float(share.value), {}))
            continue
        kept = [_kept(share, values) for values in all_steps]
        constants = {
            "mean": torch.stack([_steps(a.mean(0).abs().log()) for a in kept]),
            "trajectory": torch.stack([_steps(a.abs().log().mean(0)) for a in kept]),
        }
        if is_learned(cell, share):
            alone = [_kept(share, layer.alone())[0] for layer in layers]
            constants = {"bias": torch.stack([_steps(a.abs().log()) for a in alone]), **constants}
        found.append(Memory(state.name, None, constants))
    return tuple(found)


def _kept(share: Share, values: Mapping[str, Any]) -> Tensor:
    """What is kept [N, ·], where all lines are known."""
    found = of_share(share, values)
    assert isinstance(found, Tensor)
    return found


def _steps(logarithm: Tensor) -> Tensor:
    """τ, infinite where nothing is lost."""
    return torch.where(logarithm < 0, -1 / logarithm, torch.inf)


def recorded_constants(
    trace: Trace, module: str, layer: int, direction: Direction
) -> Tensor | None:
    """``trajectory`` of the first state that has one [H], from what was recorded alone.

    None where the equations have no such state, or what it keeps has no name in them.
    """
    cell = trace.given[module].cell
    mask = trace.masks[module]
    where: Any = (module, layer, direction)
    known = {key.gate: v[mask] for key, v in trace.values.items() if key[:3] == where}
    for state, following in zip(cell.states, cell.next, strict=True):
        known.setdefault(following, known[state.name])
    known |= {state.name: trace.before(state.name, *where)[mask] for state in cell.states}
    values = from_recorded(cell, {name: value.double() for name, value in known.items()})
    for state in cell.states:
        share = kept_share(cell, state.name)
        kept = None if share is None else of_share(share, values)
        if isinstance(kept, Tensor):
            return _steps(kept.abs().log().mean(0))
    return None


def saturation(trace: Trace, module: str, layers: int) -> dict[tuple[int, str], Saturation]:
    """How much of the time each gate is pinned, by layer and gate.

    A gate is what the equations squash, by a sigmoid or tanh, and give a name. A pinned one passes
    next to no gradient through its own weights: σ' = g(1 − g) is below 0.05 and 1 − g² below 0.1
    there. A cell state is no gate, and the hidden state one of an RNN with tanh alone.
    """
    mask = trace.masks[module]
    return {
        (layer, gate): pinned(within, trace.get(gate, module, layer)[mask])
        for layer in range(layers)
        for gate, within in saturating(trace.given[module].cell).items()
    }


def pinned(within: Range, value: Tensor) -> Saturation:
    """Of one gate [N, H], which is squashed into this range."""
    low, high = within
    margin = 0.05 if low == 0 else 0.05 * (high - low) / 2
    is_low, is_high = value < low + margin, value > high - margin
    return Saturation(is_low.double().mean(0), is_high.double().mean(0))


def dead_units(trace: Trace, module: str, layers: int) -> dict[int, list[int]]:
    """By layer, the units whose output never moves by more than 1e-5 over all the data."""
    mask, output = trace.masks[module], trace.given[module].cell.output.name
    found: Mapping[int, Tensor] = {
        layer: trace.get(output, module, layer)[mask] for layer in range(layers)
    }
    return {
        layer: (value.amax(0) - value.amin(0) <= MOVES).nonzero().flatten().tolist()
        for layer, value in found.items()
    }

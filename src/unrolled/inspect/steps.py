"""A recorded module's steps again, from what was recorded: every line of the equations at each.

The steps are taken side by side: each was given what the trace says that it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import Description, Line, reads
from unrolled.cells.layers import names
from unrolled.cells.shares import Share
from unrolled.inspect.trace import Trace
from unrolled.scan import equations, forms
from unrolled.scan.spec import Spec


@dataclass(frozen=True)
class Layer:
    """A layer of a recorded module, in the forward direction, with its weights in float64.

    Attributes:
        trace: what was recorded, outside of training.
        module: whose.
        layer: from 0.
        cell: its equations.
        units: how many numbers each size has.
        weights: what multiplies, by name.
    """

    trace: Trace
    module: str
    layer: int
    cell: Description
    units: Mapping[str, int]
    weights: Mapping[str, Tensor]

    @property
    def parts(self) -> equations.Parts:
        """The parts of matrices and biases."""
        return equations.parts(self.cell, self.weights, self.units)

    @property
    def joint_units(self) -> int:
        """n, the numbers of all states together."""
        return sum(self.units[state.size] for state in self.cell.states)

    def values(self, where: Tensor) -> dict[str, Tensor]:
        """What was given and all lines, by name [N, ·], at these steps of these rows [N, 2]."""
        steps, rows = where.unbind(1)
        given, name = self.trace.given[self.module], self.module
        starts = torch.tensor(given.starts, device=steps.device)
        calls = torch.searchsorted(starts, steps.contiguous(), right=True) - 1
        known = {self.cell.input.name: self._read()[steps, rows]}
        for state in self.cell.states:
            known[state.name] = self.trace.before(state.name, name, self.layer)[steps, rows]
        for constant, values in given.constants.items():
            known[constant] = values[calls, rows]
        return self._step({n: value.double() for n, value in known.items()}, len(where))

    def alone(self) -> dict[str, Tensor]:
        """All lines [1, ·] of a step from states of 0 with an input of 0."""
        like = self.trace.given[self.module].input.new_empty(0, dtype=torch.float64)
        quantities = (self.cell.input, *self.cell.states, *self.cell.constants)
        return self._step({q.name: like.new_zeros(1, self.units[q.size]) for q in quantities}, 1)

    def _read(self) -> Tensor:
        """What the layer read at every step [T, B, ·]: the input, or what the layer below gave."""
        if self.layer == 0:
            return self.trace.given[self.module].input
        output = self.cell.output.name
        below = [
            value
            for key, value in self.trace.values.items()
            if key[:2] == (self.module, self.layer - 1) and key.gate == output
        ]
        return torch.cat(below, -1)

    def _step(self, known: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        like = known[self.cell.input.name]
        for draw in self.cell.draws:
            known[draw.name] = like.new_full((count, self.units[draw.size]), draw.resting)
        for weight in self.cell.weights:
            if weight.kind in ("vector", "scalar"):
                width = self.units[weight.parts[0].size]
                known[weight.name] = self.weights[weight.name].expand(count, width)
        return equations.Step.of(self.cell, self.weights, self.units).run(known)


def layers_of(module: Any, trace: Trace, name: str) -> list[Layer]:
    """The layers of a module whose steps are in the trace under this name."""
    given = trace.given[name]
    spec = Spec(
        given.cell, tuple(given.units.items()), module.num_layers, bool(module.bidirectional)
    )
    found = []
    for layer in range(module.num_layers):
        units = spec.units_of(layer)
        learned = {
            name: getattr(module, f"{name}_l{layer}").detach().double()
            for name in names(given.cell)
        }
        weights = forms.multiplies(given.cell, learned, units)
        found.append(Layer(trace, name, layer, given.cell, units, weights))
    return found


def from_recorded(cell: Description, known: Mapping[str, Tensor]) -> dict[str, Any]:
    """What can be computed from recorded lines and states alone, without weights.

    Args:
        cell: the equations.
        known: recorded lines and the states before the step, by name.
    """
    found: dict[str, Any] = dict(known)
    for line in cell.lines:
        if (
            line.name not in found
            and isinstance(line, Line)
            and all(n in found for n in reads(line))
        ):
            found[line.name] = equations.computed(line, found)
    return found


def of_share(share: Share, values: Mapping[str, Any]) -> Tensor | float | None:
    """What a step keeps of a state [N, ·], or the number that it is; None where a line is missing.

    Args:
        share: from :func:`unrolled.cells.shares.kept_share`.
        values: lines of the step, by name.
    """
    found = dict(values)
    for line in share.lines:
        if any(name not in found for name in reads(line)):
            return None
        found[line.name] = equations.computed(line, found)
    return found.get(share.value) if isinstance(share.value, str) else share.value

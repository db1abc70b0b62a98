"""Which step, layer and unit of a recorded row a picture shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unrolled.errors import InputError
from unrolled.inspect.known import title_of
from unrolled.inspect.scene import Array, Layer, Recorded


@dataclass(frozen=True)
class View:
    """One layer of a recorded row at one step.

    Attributes:
        recorded: the row.
        layer: one of its layers, in one direction.
        place: of the step among those shown, from 0.
        unit: from 0, or None for the mean over the units.
    """

    recorded: Recorded
    layer: Layer
    place: int
    unit: int | None

    @classmethod
    def of(cls, recorded: Recorded, *, step: int | None, unit: int | None, layer: int) -> View:
        """The view, checked; see :func:`unrolled.inspect.pictures.save_pictures`."""
        count = len(recorded.layers)
        if not -count <= layer < count:
            raise InputError(f"layer: {-count} to {count - 1} was expected, got {layer}")
        shown, hidden = recorded.layers[layer], recorded.sizes.hidden
        if unit is not None and not 0 <= unit < hidden:
            raise InputError(f"unit: 0 to {hidden - 1} was expected, got {unit}")
        last = recorded.first + recorded.steps - 1
        if step is not None and not recorded.first <= step <= last:
            raise InputError(f"step: {recorded.first} to {last} was expected, got {step}")
        place = _busiest(shown, recorded.output) if step is None else step - recorded.first
        return cls(recorded, shown, place, unit)

    @property
    def step(self) -> int:
        """The step, of the row's own."""
        return self.recorded.first + self.place

    @property
    def cell(self) -> str:
        """What the cell is called, without its activation."""
        return title_of(self.recorded.name).split()[0]

    @property
    def heading(self) -> str:
        """Whose values they are."""
        layer = f"layer {self.layer.layer}"
        if self.recorded.sizes.directions > 1:
            layer += f" ({self.layer.direction})"
        whose = f"mean over {self.recorded.sizes.hidden} units"
        if self.unit is not None:
            whose = f"unit {self.unit}"
        return f"{title_of(self.recorded.name)}, {layer}, step {self.step}: {whose}"

    def values(self, place: int | None = None) -> dict[str, float]:
        """By role, what the unit has at a step, or what the units have in the mean.

        ``read``, x_t, is among them in the first layer of a module with one input. A unit beyond
        the projection has no hidden state.
        """
        place = self.place if place is None else place
        found = {
            role: float(values[place].mean() if self.unit is None else values[place, self.unit])
            for role, values in self.layer.quantities().items()
            if self.unit is None or self.unit < values.shape[1]
        }
        inputs = [line for line in self.recorded.series if line.kind == "input"]
        if self.recorded.sizes.inputs == len(inputs) == 1 and self.layer.layer == 0:
            found["read"] = float(inputs[0].values[place])
        return {role: value for role, value in found.items() if not math.isnan(value)}


def _busiest(layer: Layer, output: str) -> int:
    """The step at which the units write most; of a cell without gates, at which it changes most."""
    quantities = layer.quantities()
    changes = quantities.get("written")
    if changes is None:
        changes = quantities[output] - quantities[layer.before(output)]
    written: Array = np.abs(changes).mean(axis=1)
    return int(np.nanargmax(written)) if np.isfinite(written).any() else len(written) // 2

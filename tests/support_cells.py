"""Cells that the tests share, and numbers for them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from unrolled import cells
from unrolled.cells import (
    Cell,
    Description,
    absolute,
    detach,
    exp,
    hard_sigmoid,
    hard_tanh,
    linear,
    log,
    mask,
    maximum,
    mean,
    minimum,
    noise,
    relu,
    sigmoid,
    sign,
    softplus,
    softsign,
    sqrt,
    tanh,
    variance,
    weight,
    where,
)

SHIPPED = [
    cell
    for cell in (getattr(cells, name) for name in cells.__all__)
    if isinstance(cell, type) and issubclass(cell, Cell) and cell is not Cell
]
"""The classes of the cells that come with the package."""

UNITS = {"input": 3, "hidden": 4, "proj": 2, "static": 3, "first": 3, "second": 3, "one": 1}


class Everything(Cell):
    """All that a cell can say, in one."""

    def step(self, x, h, c, s, *, static):
        dropped = mask(0.5)
        per_unit, for_all = weight(), weight(size="one")
        first = linear(x, h, static)
        middle = maximum(first, for_all) / (1.5 + abs(c)) ** 3 - softplus(s) * per_unit
        kept = middle * h * dropped
        second = hard_sigmoid(linear(kept)) + softsign(first) + relu(per_unit * first)
        third = exp(-first * first) * log(1 + c * c)
        third = third + where(first > mean(c), sqrt(1 + s * s), minimum(s, -h))
        normal = (second - mean(second)) / sqrt(variance(second) + 1e-3)
        after = s * 0.5 + hard_tanh(middle) + sign(second) * per_unit
        return tanh(normal) + third, c * for_all + absolute(second), after


class Swap(Cell):
    """States that are each other's before, and one that turns round."""

    def step(self, x, h, a, b, c):
        read = tanh(linear(x, h) + a - b * c)
        return read, b, a, -c


class Shift(Cell):
    """The last inputs, one after the other, as a whole in a sum."""

    sizes: ClassVar = {"first": "input", "second": "input"}

    def step(self, x, h, first, second):
        return tanh(linear(x, h) + linear(first) + linear(second)), x, first


class Late(Cell):
    """A state that is written while sums and means of a later stage still read it."""

    def step(self, x, h, c):
        gate = sigmoid(linear(x, h))
        new = gate * c
        read = tanh(linear(new) + linear(c) + mean(c) * c)
        return read, new


class Twice(Cell):
    """The same value for two states, and a gate for all units."""

    def step(self, x, h, c):
        gate = sigmoid(mean(linear(x, h)))
        new = gate * h + (1 - gate) * tanh(linear(x) + c)
        return new, new


class Bare(Cell):
    """No sum at all, and the input unit by unit."""

    sizes: ClassVar = {"h": "input"}

    def step(self, x, h):
        keep = sigmoid(weight("logit", size="input"))
        return keep * h + (1 - keep) * x


class Unlearned(Cell):
    """Weights by which no loss can be differentiated."""

    def step(self, x, h):
        return tanh(linear(x)) + where(linear(h, name="gate") > 0, h, 0.0)


class Euler(Cell):
    """What is carried on beside what is learned."""

    def step(self, x, h):
        return h + 0.1 * tanh(linear(x, h) + h)


class Clipped(Cell):
    """A state whose derivative waits for others, beside an input that is only multiplied."""

    def step(self, x, h, c):
        v = linear(h, c, size="input")
        return tanh(c + linear(v, size="hidden")), hard_tanh(hard_sigmoid(h)) + linear(c, x) * 0


class Added(Cell):
    """Two sums of names of their own, added: they have one derivative."""

    def step(self, x, h):
        read = linear(x)
        carried = linear(h)
        return tanh(read + carried)


class Own(Cell):
    """A state that is a sum over the whole of itself."""

    def step(self, x, h, c):
        return tanh(linear(x, h)), linear(c, x)


class Beside(Cell):
    """A value in a sum, and unit by unit beside another."""

    def step(self, x, h):
        v = linear(x)
        u = tanh(v)
        return tanh(h * linear(u) + u + v)


class Scalars(Cell):
    """A state and a weight of one number, each read in two ways."""

    sizes: ClassVar = {"s": "one"}

    def step(self, x, h, s):
        g = weight(size="one")
        read = linear(x * s, size="input", name="read")
        return tanh(linear(x, h) * s * g + tanh(g) + mean(read * g)), tanh(s)


class Drawn(Cell):
    """Random numbers wherever numbers can stand; one is named as a number is written."""

    def step(self, x, h):
        inf, kept = noise(0.1), mask(0.9)
        read = maximum(kept, tanh(linear(x, h) + linear(inf))) * mean(kept)
        return minimum(read * tanh(absolute(inf)), float("inf"))


class OfWeights(Cell):
    """The mean of what is learned, and a state of that alone."""

    def step(self, x, h, s):
        gain = weight()
        return tanh(linear(x, h) * mean(gain) + s), tanh(gain)


class Detached(Cell):
    """What can be detached: a state and the input beside themselves, a sum, a weight, numbers."""

    def step(self, x, h, c, s):
        dropped, gain = mask(0.5), weight()
        old = detach(h)
        carried = linear(h)
        read = tanh(linear(x, old) + detach(carried) + detach(gain) * gain * detach(mean(c)))
        more = linear(detach(x), detach(dropped)) + linear(detach(c))
        c = detach(read) * c + old * tanh(more + s) * carried
        return tanh(c) * h, c, detach(read)


SPECIAL = [
    *(
        Swap,
        Shift,
        Late,
        Twice,
        Bare,
        Unlearned,
        Everything,
        Euler,
        Clipped,
        Added,
        Own,
        Beside,
        Scalars,
    ),
    *(Drawn, OfWeights, Detached),
]
"""Cells each of which says something unusual."""


def known_for(description: Description, batch: int = 5) -> dict[str, Tensor]:
    """All that a step of the cell is given, in float64, with gradients."""
    shapes: dict[str, tuple[int, ...]] = {description.input.name: (batch, UNITS["input"])}
    for quantity in (*description.states, *description.constants):
        shapes[quantity.name] = (batch, UNITS[quantity.size])
    for draw in description.draws:
        shapes[draw.name] = (batch, UNITS[draw.size])
    for w in description.weights:
        rows = sum(UNITS[part.size] for part in w.parts)
        if w.columns is not None:
            shapes[w.name] = (rows, UNITS[w.columns])
        else:
            shapes[w.name] = () if w.kind == "scalar" else (rows,)
    return {
        name: torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for name, shape in shapes.items()
    }

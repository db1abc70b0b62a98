"""The backward equations, held against torch's differentiation of the same step."""

from __future__ import annotations

import pytest
import torch

from support_cells import SHIPPED, SPECIAL, UNITS, known_for
from unrolled.cells import Cell, absolute, linear, maximum, minimum, relu, tanh
from unrolled.cells.derive import differentiate
from unrolled.scan import equations


def derivatives(description, known, given):
    """By each thing that is known: by our equations, and by torch."""
    parts = equations.parts(description, known, UNITS)
    values = equations.Step.of(description, known, UNITS).run(known)
    backward = differentiate(description)
    starts = dict(zip(backward.given, given, strict=True))
    loss = sum((values[n] * d).sum() for n, d in zip(description.next, given, strict=True))
    expected = torch.autograd.grad(loss, list(known.values()), allow_unused=True)
    with torch.no_grad():
        found = equations.step_back(backward, {**values, **starts}, parts, UNITS)
    ours = {name: found[by] for name, by in backward.by.items()}
    return ours, dict(zip(known, expected, strict=True)), values


def summed(derivative, like):
    """What all rows say of what they share."""
    wide = derivative.expand(5, like.shape[-1] if like.dim() else 1)
    return wide if like.dim() == 2 else wide.sum(0) if like.dim() == 1 else wide.sum()


def of_matrix(description, name, ours, values):
    """The gradient of a matrix or a bias, from what the equations say of the sums."""
    parts = []
    weight = description.weights_by_name[name]
    columns = () if weight.columns is None else (UNITS[weight.columns],)
    for number, part in enumerate(weight.parts):
        total = torch.zeros(UNITS[part.size], *columns, dtype=torch.float64)
        for line in [line for line in description.sums if line.name in ours]:
            by = ours[line.name].expand(5, UNITS[line.size])
            for product in line.products:
                if (product.weight, product.part) == (name, number):
                    total = total + by.T @ values[product.of]
            for bias in line.biases:
                if (bias.weight, bias.part) == (name, number):
                    total = total + by.sum(0)
        parts.append(total)
    return torch.cat(parts)


@pytest.mark.parametrize("cell", [*SHIPPED, *SPECIAL])
def test_they_are_torchs(cell):
    description = cell().description
    known = known_for(description)
    given = [torch.randn(5, UNITS[s.size], dtype=torch.float64) for s in description.states]
    ours, expected, values = derivatives(description, known, given)
    drawn = {draw.name for draw in description.draws}
    for name, tensor in known.items():
        if name in drawn:
            continue
        if name in ours:
            found = summed(ours[name], tensor)
        elif name in description.weights_by_name:
            found = of_matrix(description, name, ours, values)
        else:
            found = torch.zeros_like(tensor)
        wanted = torch.zeros_like(tensor) if expected[name] is None else expected[name]
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def of_ties(self, x, h):
    return maximum(h, 1) + minimum(h, linear(x)) + relu(h) + absolute(h)


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan"), float("inf"), -float("inf")])
def test_at_ties_and_at_the_limits_they_are_torchs(value):
    description = type("Ties", (Cell,), {"step": of_ties})().description
    known = known_for(description)
    for tensor in known.values():
        tensor.data.fill_(0.0)
    known["h"].data.fill_(value)
    given = [torch.ones(5, UNITS["hidden"], dtype=torch.float64)]
    ours, expected, _ = derivatives(description, known, given)
    torch.testing.assert_close(summed(ours["h"], known["h"]), expected["h"], equal_nan=True)


def test_nothing_is_computed_for_what_no_state_depends_on():
    class Watched(Cell):
        def step(self, x, h):
            h = tanh(linear(x, h))
            watched = absolute(h)
            return h if watched is not None else x

    backward = differentiate(Watched().description)
    assert not [line for line in backward.lines if "watched" in str(line)]

"""Modules of described cells, what they are given, and what comes of it, as tests share them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unrolled
from support_cells import SHIPPED, SPECIAL
from unrolled import cells
from unrolled.cells.options import described
from unrolled.nn import Recurrent

OPTIONAL = [
    cells.zoneout(cells.LSTM, hidden=0.1, cell=0.2),
    cells.variational_dropout(cells.GRU, x=0.3, hidden=0.2),
    cells.LeakyRNN(noise=0.3, excitatory=0.75),
    cells.SLSTM(heads=3),
]


def named(cell: Any) -> str:
    return described(cell).name


every_cell = pytest.mark.parametrize("cell", [*SHIPPED, *OPTIONAL, *SPECIAL], ids=named)


def double(cell, inputs=3, hidden=6, **options):
    description = described(cell)
    others = [s for s in description.sizes if s not in ("input", "hidden")]
    options |= {f"{name}_size": 4 for name in others}
    module = Recurrent(
        description,
        inputs,
        hidden,
        dtype=torch.float64,
        **options,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5 / hidden**0.5)
    return module


def given(module, rows, steps, *, states=True):
    """An input, states and constants, with gradients."""

    def made(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    depth = module.num_layers * (2 if module.bidirectional else 1)
    units = module.units
    hx = [made(depth, rows, units[s.size]) for s in module.cell.states] if states else None
    constants = {c.name: made(rows, units[c.size]) for c in module.cell.constants}
    return made(steps, rows, module.input_size), hx, constants


def results(module, backend, x, hx, constants, lengths=None):
    """What comes out, and the gradients of a weighting of it by all that is given and learned."""
    torch.manual_seed(1)
    with unrolled.backend(backend):
        output, last = module(x, hx, lengths, **constants)
        found = [output, *last]
        generator = torch.Generator().manual_seed(0)
        loss = sum(
            (f * torch.randn(f.shape, generator=generator, dtype=f.dtype)).sum() for f in found
        )
        leaves = [x, *(hx or []), *constants.values(), *module.parameters()]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [*found, *gradients]


def assert_as_by_equations(module, *what, **options):
    ours = results(module, "native", *what, **options)
    theirs = results(module, "reference", *what, **options)
    for found, expected in zip(ours, theirs, strict=True):
        largest = 1 + float(expected.detach().abs().max()) if expected.numel() else 1.0
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * largest)

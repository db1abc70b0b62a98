"""How a small change of the state at one step changes the state at the next, from a trace."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from unrolled.cells.derive import Backward, differentiate
from unrolled.cells.description import Description
from unrolled.cells.detached import undetached
from unrolled.inspect.steps import Layer
from unrolled.scan import equations

MOST_NUMBERS = 1 << 22
"""A line of the equations is computed for at most so many numbers at once."""


def state_jacobians(layer: Layer, row: int, steps: int) -> Tensor:
    """∂s_t/∂s_{t−1} along a row, by the backward equations of the cell.

    The joint state s is all states of the cell, one after the other, in the order in which they are
    handed on. The equations are differentiated symbolically (:mod:`unrolled.cells.derive`) and
    computed for all numbers of the state at once. These are the derivatives of what the step does:
    also by what the cell detaches, through which no gradient goes.

    Args:
        layer: a layer of a recorded module.
        row: of the batch.
        steps: how many steps the row has.

    Returns:
        [steps − 1, n, n] in float64: from each step to the next.
    """
    at_once = max(1, MOST_NUMBERS // layer.joint_units**2)
    where = torch.tensor([[step, row] for step in range(1, steps)], device="cpu")
    return torch.cat([_jacobians(layer, some) for some in torch.split(where, at_once)])


def _jacobians(layer: Layer, where: Tensor) -> Tensor:
    """Of these steps [N, n, n]."""
    cell, units, n = layer.cell, layer.units, layer.joint_units
    values, backward = layer.values(where), _backward(cell)
    widths = [units[state.size] for state in cell.states]
    like = values[cell.input.name]
    # Row k: the derivative of the k-th number of the state after the step.
    each = torch.eye(n, dtype=like.dtype, device=like.device).unsqueeze(1)
    given = zip(backward.given, torch.split(each, widths, -1), strict=True)
    found = equations.step_back(backward, {**values, **dict(given)}, layer.parts, units)
    columns = [
        found[backward.by[state.name]].expand(n, len(where), width)
        if state.name in backward.by
        else like.new_zeros(n, len(where), width)
        for state, width in zip(cell.states, widths, strict=True)
    ]
    return torch.cat(columns, -1).transpose(0, 1)


@cache
def _backward(cell: Description) -> Backward:
    return differentiate(undetached(cell))


def lyapunov_spectrum(jacobians: Tensor, transient: int) -> Tensor:
    """The exponents at which small differences of the state grow or shrink, per step.

    λ_i = lim (1/T) Σ_t ln |R_t,ii|, where Q_t·R_t = J_t·Q_{t−1}: Benettin et al. 1980 (Meccanica
    15); for recurrent networks Engelken, Wolf & Abbott 2023, "Lyapunov spectra of chaotic
    recurrent neural networks" (Phys. Rev. Research 5), and Vogt et al. 2022, "On Lyapunov exponents
    for RNNs" (Front. Appl. Math. Stat. 8).

    Args:
        jacobians: ∂s_t/∂s_{t−1} [T, ..., n, n].
        transient: so many steps turn the directions, and are not counted.

    Returns:
        [..., n], the largest first, in nats a step; −inf where a direction is lost altogether.
    """
    q = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype, device=jacobians.device)
    q = q.expand(jacobians.shape[1:]).clone()
    total = torch.zeros(jacobians.shape[1:-1], dtype=jacobians.dtype, device=jacobians.device)
    for step, jacobian in enumerate(jacobians):
        q, r = torch.linalg.qr(jacobian @ q)
        if step >= transient:
            total += r.diagonal(dim1=-2, dim2=-1).abs().log()
    return (total / max(len(jacobians) - transient, 1)).sort(-1, descending=True).values

"""Random numbers: those that a cell reads, and dropout's between the layers."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.description import Draw
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Drawn, Given, Kind, Spec


def draw(spec: Spec, given: Given) -> Drawn:
    """Those of a whole pass, in the order in which a pass by the equations draws them.

    So the same seed gives the same numbers, whoever runs the pass.
    """
    if not spec.draws and given.dropout == 0:
        return Drawn()
    sequences, rows, dropout = given.sequences, given.rows, given.dropout
    data, width = sequences.data, spec.directions * spec.kinds[0].widths[0]
    of_cells, noises = [], []
    for index, kind in enumerate(spec.kinds):
        if spec.draws:
            of_cells.append(draw_of_cell(kind, sequences, rows))
        is_last = index >= len(spec.kinds) - spec.directions
        is_whole = index % spec.directions == spec.directions - 1
        if dropout > 0 and is_whole and not is_last:
            noises.append(draw_noise(data.new_empty(*data.shape[:-1], width), dropout))
    return Drawn(of_cells, noises)


def draw_of_cell(kind: Kind, sequences: Sequences, rows: int) -> dict[str, Tensor]:
    """A layer's: [N, ·] where they are drawn at every step, else of each row [B, ·]."""
    data = sequences.data
    steps = prod(data.shape[:-1])  # not numel, which is a number where torch.export has a symbol
    return {
        draw.name: _drawn(
            draw, data, (steps if draw.each == "step" else rows, kind.units[draw.size])
        )
        for draw in kind.cell.draws
    }


def _drawn(draw: Draw, like: Tensor, shape: tuple[int, int]) -> Tensor:
    options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
    if draw.law == "normal":
        return torch.randn(shape, **options) * draw.parameter
    return (torch.rand(shape, **options) < draw.parameter).to(like.dtype)


def resting(kind: Kind, rows: int, like: Tensor) -> dict[str, Tensor]:
    """What stands for a cell's random numbers outside of training, of each row [B, ·]."""
    return {
        draw.name: like.new_full((rows, kind.units[draw.size]), draw.resting)
        for draw in kind.cell.draws
    }


def draw_noise(like: Tensor, probability: float) -> Tensor:
    """What dropout multiplies by: 0 with the probability, else what keeps the mean.

    Drawn as torch's dropout draws it, so that the same seed gives the same mask; where nothing is
    kept nothing is drawn.
    """
    if probability == 1:
        return torch.zeros_like(like)
    keep = 1.0 - probability
    return torch.empty_like(like).bernoulli_(keep).div_(keep)

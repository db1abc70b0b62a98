"""What multiplies, from what is learned: blocks, signs, masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.cells.description import Description, Form, Weight
from unrolled.cells.layers import MASK, SIGN


def multiplies(
    description: Description, values: Mapping[str, Tensor], units: Mapping[str, int]
) -> dict[str, Tensor]:
    """Of each weight what stands in the equations: [rows, columns] of a matrix.

    Args:
        description: the cell.
        values: the weights, their signs [columns] and masks [rows, columns].
        units: how many numbers each size has.
    """
    if all(_is_plain(weight.form) for weight in description.weights):
        return dict(values)
    found = {}
    for weight in description.weights:
        learned = values[weight.name]
        if not _is_plain(weight.form):
            parts = torch.split(learned, [units[part.size] for part in weight.parts])
            learned = torch.cat([_part(part, weight.form) for part in parts])
            if weight.form.excitatory is not None:
                learned = learned.abs() * values[SIGN + weight.name]
            if weight.form.masked:
                learned = learned * values[MASK + weight.name]
        found[weight.name] = learned
    return found


def _is_plain(form: Form) -> bool:
    """Whether what is learned is what multiplies; Dynamo does not compare with another form."""
    is_whole = form.blocks == 1 and not form.antisymmetric
    return is_whole and form.excitatory is None and not form.masked


def _part(learned: Tensor, form: Form) -> Tensor:
    if form.blocks == 1:
        return learned - learned.T if form.antisymmetric else learned
    rows, columns = learned.shape
    apart = learned.view(form.blocks, rows // form.blocks, columns)
    if form.antisymmetric:
        apart = apart - apart.mT
    # torch has no types for it.
    whole: Tensor = torch.block_diag(*apart.unbind())  # type: ignore[no-untyped-call]
    return whole


def beside(name: str, weight: Weight, units: Mapping[str, int], like: Tensor) -> Tensor:
    """What a weight has beside what is learned, as it begins: signs, or a mask of ones."""
    assert weight.columns is not None
    columns = units[weight.columns]
    if name.startswith(MASK):
        return like.new_ones(sum(units[part.size] for part in weight.parts), columns)
    assert weight.form.excitatory is not None
    excite = round(weight.form.excitatory * columns)
    return torch.cat([like.new_ones(excite), -like.new_ones(columns - excite)])

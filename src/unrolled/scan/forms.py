"""What multiplies, from what is learned: blocks, signs, masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.cells.description import Description, Form, Weight

SIGN, MASK = "sign_", "mask_"
"""What stands before a weight's name in those of its signs and its mask."""


def given(weight: Weight) -> tuple[str, ...]:
    """The names of what a weight has beside what is learned."""
    names = (weight.form.excitatory is not None, SIGN), (weight.form.masked, MASK)
    return tuple(prefix + weight.name for has, prefix in names if has)


def multiplies(
    description: Description, values: Mapping[str, Tensor], units: Mapping[str, int]
) -> dict[str, Tensor]:
    """Of each weight what stands in the equations: [rows, columns] of a matrix.

    Args:
        description: the cell.
        values: the weights, their signs [columns] and masks [rows, columns].
        units: how many numbers each size has.
    """
    if not description.has_forms:
        return dict(values)
    found = {}
    for weight in description.weights:
        learned = values[weight.name]
        if weight.form != Form():
            parts = torch.split(learned, [units[part.size] for part in weight.parts])
            learned = torch.cat([_part(part, weight.form) for part in parts])
            if weight.form.excitatory is not None:
                learned = learned.abs() * values[SIGN + weight.name]
            if weight.form.masked:
                learned = learned * values[MASK + weight.name]
        found[weight.name] = learned
    return found


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


def shape(weight: Weight, units: Mapping[str, int]) -> tuple[int, ...]:
    """That of what is learned.

    Raises:
        ValueError: the form does not go with these sizes.
    """
    rows = [units[part.size] for part in weight.parts]
    if weight.columns is None:
        return () if weight.kind == "scalar" else (sum(rows),)
    columns, blocks = units[weight.columns], weight.form.blocks
    for size in (*rows, columns):
        if size % blocks:
            raise ValueError(
                f"{weight.name} is in {blocks} blocks, and {size} numbers are no multiple of that"
            )
    if weight.form.antisymmetric and set(rows) != {columns}:
        raise ValueError(f"{weight.name} is antisymmetric, and {rows[0]} by {columns} is no square")
    return sum(rows), columns // blocks


def beside(name: str, weight: Weight, units: Mapping[str, int], like: Tensor) -> Tensor:
    """What a weight has beside what is learned, as it begins: signs, or a mask of ones."""
    assert weight.columns is not None
    columns = units[weight.columns]
    if name.startswith(MASK):
        return like.new_ones(sum(units[part.size] for part in weight.parts), columns)
    assert weight.form.excitatory is not None
    excite = round(weight.form.excitatory * columns)
    return torch.cat([like.new_ones(excite), -like.new_ones(columns - excite)])

"""A cell's layers: how many numbers each size has in one of them, and which tensors it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from unrolled.cells.description import INPUT, Description, Weight

SIGN, MASK = "sign_", "mask_"
"""What stands before a weight's name in those of its signs and its mask."""


def given(weight: Weight) -> tuple[str, ...]:
    """The names of what a weight has beside what is learned."""
    names = (weight.form.excitatory is not None, SIGN), (weight.form.masked, MASK)
    return tuple(prefix + weight.name for has, prefix in names if has)


def names(cell: Description) -> list[str]:
    """The names of all that a layer has, what stands beside what is learned among them."""
    return [name for weight in cell.weights for name in (weight.name, *given(weight))]


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


def tensors(weight: Weight, units: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A weight and what it has beside what is learned, each with its shape.

    Raises:
        ValueError: as in :func:`shape`.
    """
    yield weight.name, shape(weight, units)
    for name in given(weight):
        assert weight.columns is not None
        rows, columns = sum(units[part.size] for part in weight.parts), units[weight.columns]
        yield name, (rows, columns) if name.startswith(MASK) else (columns,)


def units_of(
    cell: Description, units: Mapping[str, int], layer: int, directions: int = 1
) -> dict[str, int]:
    """How many numbers each size has in a layer: the first reads the input, others outputs."""
    below = directions * units[cell.output.size]
    return {**units, INPUT: units[INPUT] if layer == 0 else below}


def fault_of_layers(
    cell: Description, units: Mapping[str, int], num_layers: int, directions: int = 1
) -> str | None:
    """Why there can't be so many layers, None if there can.

    A state or constant as large as the input has to be so in every layer.
    """
    of_input = [q.name for q in (*cell.states, *cell.constants) if q.size == INPUT]
    above = units_of(cell, units, 1, directions)[INPUT]
    if num_layers == 1 or not of_input or above == units[INPUT]:
        return None
    return (
        f"{of_input[0]} has input_size numbers, {units[INPUT]}, and the layer above reads {above}. "
        "Use one layer, or another size for it"
    )

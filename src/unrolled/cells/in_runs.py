"""Cells in run folders: which a run can have, and the tensors in its file; nothing is built.

For both readers of a run, with torch and without.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from unrolled.cells.built_in import BUILT_IN, OF_RUNS
from unrolled.cells.description import HIDDEN, INPUT, ONE, Description
from unrolled.cells.layers import names, shape, tensors, units_of
from unrolled.errors import InputError
from unrolled.files import Kind, short


def equations_of(cell: str | Description) -> Description:
    """The cell that a run has: one of :data:`OF_RUNS` by its name, or any other."""
    return BUILT_IN[OF_RUNS[cell]].equations if isinstance(cell, str) else cell


def usable(cell: Description) -> Description:
    """The cell, if all it needs is an input and numbers of units.

    Raises:
        InputError: it needs more.
    """
    if cell.constants:
        raise InputError(
            f"{cell.name} reads {cell.constants[0].name} beside the input, the same at every step, "
            "and the rows of a table are the input alone. Choose a cell without constants"
        )
    for state in cell.states:
        if state.size in (INPUT, ONE):
            raise InputError(
                f"{cell.name} has the state {state.name} of {state.size}_size numbers, and a "
                "network here has states of hidden_size, or of a size of the cell's own. Choose a "
                "cell with such states"
            )
    found = names(cell)
    if len(set(found)) < len(found):
        raise InputError(f"{cell.name} has two weights of one name. Give one another name")
    return cell


def check_sizes(cell: Description, sizes: Mapping[str, int], repair: str) -> None:
    """That just the sizes are given that a cell has besides the input's and the hidden units.

    Args:
        cell: the cell.
        sizes: the numbers, by the names that the sizes have in the cell.
        repair: what to do about a size that is missing; ``{}`` stands for its name.

    Raises:
        InputError: one is missing, or the cell has none of a name.
    """
    own = [size for size in cell.sizes if size not in (INPUT, HIDDEN)]
    for name in own:
        if name not in sizes:
            raise InputError(
                f"{cell.name} has a size of its own, {name}, and it is not given. "
                + repair.format(name)
            )
    for name in sizes:
        if name not in own:
            there = f"its own are {', '.join(own)}" if own else "it has none of its own"
            raise InputError(f"{cell.name} has no size {short(name)}: {there}. Leave it out")


@dataclass(frozen=True)
class Layers:
    """The recurrent layers of a network, as they stand in a file.

    ``sizes`` are those that the cell has besides the input's and the hidden units, by their names.
    """

    cell: Description
    inputs: int
    hidden: int
    num_layers: int
    bidirectional: bool
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """How many numbers a step gives, in both directions together if there are two."""
        return self.units[self.cell.output.size] * (2 if self.bidirectional else 1)

    def tensors(self) -> Iterator[tuple[str, Kind]]:
        """All tensors, one after the other, with their names."""
        for suffix, units in self._each():
            for weight in self.cell.weights:
                for name, of_it in tensors(weight, units):
                    yield f"network.recurrent.{name}{suffix}", Kind("F32", of_it)

    def count_weights(self) -> int:
        """How many numbers there are to learn: signs and masks are none."""
        return sum(
            math.prod(shape(weight, units))
            for _, units in self._each()
            for weight in self.cell.weights
        )

    def check(self) -> None:
        """That the sizes go together, which the first two layers tell.

        Raises:
            InputError: they don't.
        """
        check_sizes(self.cell, self.sizes, "Name it among sizes")
        try:
            for _ in replace(self, num_layers=min(self.num_layers, 2)).tensors():
                pass
        except ValueError as error:
            raise InputError(f"{self.cell.name}: {error}. Choose other sizes") from error

    @property
    def units(self) -> dict[str, int]:
        """How many numbers each size has in the first layer."""
        return {INPUT: self.inputs, HIDDEN: self.hidden, **self.sizes, ONE: 1}

    def _each(self) -> Iterator[tuple[str, dict[str, int]]]:
        """What stands behind the names in a layer and direction, and how large its sizes are."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        for layer in range(self.num_layers):
            for direction in directions:
                units = units_of(self.cell, self.units, layer, len(directions))
                yield f"_l{layer}{direction}", units

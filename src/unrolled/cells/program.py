"""A cell's equations as a program for the compiled core.

A program is plain data, as csrc/program.h has it: where every operand lies, and stages of sums and
instructions. It is made once for a cell and its sizes. What it says the core checks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.cells.description import Description
from unrolled.cells.given import Given, Kept
from unrolled.cells.program_back import Back


@dataclass(frozen=True, eq=False)
class Program:
    """A layer in one direction.

    Attributes:
        inputs: the names of what is read at every step: the cell's input, then draws.
        constants: of what is the same at every step: the cell's constants, then draws.
        weights: the names of the weights that the core is given.
        kept: what a forward pass keeps.
        adds_to_input: whether the gradient of the input is added to what is there.
        is_learned: of each weight, whether the backward pass writes all of its gradient.
        handed: the arguments of the core's ``Program``.
    """

    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    weights: tuple[str, ...]
    kept: Kept
    adds_to_input: bool
    is_learned: tuple[bool, ...]
    handed: tuple[Any, ...]


def link(
    cell: Description, units: Mapping[str, int], *, draws: bool, watched: Iterable[str] = ()
) -> Program:
    """The program of a cell with so many numbers of each size.

    Args:
        cell: the cell.
        units: how many numbers each size has.
        draws: whether random numbers are given; else their resting values stand for them.
        watched: the names of lines to keep besides what the backward pass needs.

    Raises:
        NotLinkedError: the core can't run it.
    """
    given = Given(cell, units, draws)
    back = Back(given)
    kept = given.kept([*back.kept, *watched])
    besides = kept.places.keys() - {*back.kept}
    infer, train = given.forward({}), given.forward(kept.places, besides)
    handed_back = back.handed_with(kept)
    handed_infer, handed_train = infer.handed(), train.handed()
    handed = (
        *given.handed(),
        handed_infer,
        handed_train,
        handed_back,
        kept.width,
        back.width,
        [-1 if place is None else place for place in kept.after],
        back.to_input,
        back.weight_gradients,
    )
    return Program(
        given.inputs,
        given.constants,
        tuple(given.weights),
        kept,
        back.adds_to_input,
        tuple(back.learned[i] == given.shape(w)[0] for i, w in enumerate(given.weights.values())),
        handed,
    )

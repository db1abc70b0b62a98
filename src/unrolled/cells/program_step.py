"""A cell's equations as a program for streams: one step forward, and nothing to go back by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.cells.description import Description
from unrolled.cells.given import Given

NOTHING: tuple[Any, ...] = ([], [], 0, [])
"""Equations that do nothing, as the core takes them."""


@dataclass(frozen=True, eq=False)
class StepProgram:
    """A layer outside of training.

    Attributes:
        weights: the names of the weights that the core is given.
        resting: the values of the constants that come after the cell's: random numbers at rest that
            a matrix multiplies.
        handed: the arguments of the core's ``LinkedProgram``.
    """

    weights: tuple[str, ...]
    resting: tuple[float, ...]
    handed: tuple[Any, ...]


def link_step(cell: Description, units: Mapping[str, int]) -> StepProgram:
    """The program of a cell with so many numbers of each size.

    Its forward equations are those of :func:`unrolled.cells.program.link` without draws.

    Raises:
        NotLinkedError: the core can't run it.
    """
    given = Given(cell, units, draws=False)
    infer = given.forward({}).handed()
    draws = {draw.name: draw.resting for draw in cell.draws}
    handed: tuple[Any, ...] = (
        *given.handed(),
        infer,
        NOTHING,
        NOTHING,
        0,
        0,
        [-1] * len(cell.states),
        [],
        [],
    )
    resting = tuple(draws[name] for name in given.constants[len(cell.constants) :])
    return StepProgram(tuple(given.weights), resting, handed)

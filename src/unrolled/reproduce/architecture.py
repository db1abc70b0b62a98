"""The networks of 1997 as their papers count them: memory blocks, gates, biases, read-outs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from unrolled.cells import Cell, Description
from unrolled.cells.description import INPUT, Sum
from unrolled.cells.detached import origins
from unrolled.cells.options import described

CANDIDATE = "candidate"
"""What our cells call the line that a memory cell takes in; the others with weights are gates."""

Biased = Literal["gates", "cells", "outputs"]


@dataclass(frozen=True)
class Architecture:
    """Memory blocks between inputs and outputs.

    The cells of a block share its gates (Hochreiter & Schmidhuber 1997, section 4). Each weight is
    counted once, however often a cell of ours has it.

    Attributes:
        cell: its equations, with a gate for each memory cell. States that are gates are what the
            hidden layer reads of the gates of the step before.
        inputs: I.
        outputs: O, logistic units that read the memory cells' outputs.
        blocks: how many memory blocks there are.
        size: the memory cells of a block.
        biased: which units have a bias.
        shortcut: whether the outputs read the inputs, too.
    """

    cell: type[Cell]
    inputs: int
    outputs: int
    blocks: int
    size: int
    biased: frozenset[Biased] = frozenset({"gates", "cells", "outputs"})
    shortcut: bool = False

    @property
    def cells(self) -> int:
        """N, the memory cells."""
        return self.blocks * self.size

    @cached_property
    def description(self) -> Description:
        """The cell as data."""
        return described(self.cell)

    @cached_property
    def units(self) -> dict[str, int]:
        """How many units of the hidden layer compute each line with weights: cells or blocks."""
        matrix = next(w for w in self.description.weights if w.columns == INPUT)
        labels = [part.label for part in matrix.parts]
        return {label: self.cells if label == CANDIDATE else self.blocks for label in labels}

    @cached_property
    def reads(self) -> dict[str, int]:
        """What the hidden layer reads, by the names of the equations, and of how many units."""
        found: dict[str, int] = {}
        for line in self.description.lines:
            for product in line.products if isinstance(line, Sum) else ():
                found.setdefault(self.source(product.of), 0)
        for name in found:
            if name == self.description.input.name:
                found[name] = self.inputs
            else:
                found[name] = self.blocks if name in self.units else self.cells
        return found

    def source(self, name: str) -> str:
        """The input or state that a line is the value of, if it is that of a detached one."""
        return origins(self.description).get(name, name)

    @cached_property
    def hidden_weights(self) -> int:
        """How many weights lead into the hidden layer, biases among them."""
        return sum(self.units.values()) * sum(self.reads.values()) + sum(self.biases.values())

    @cached_property
    def biases(self) -> dict[str, int]:
        """How many biases each line of :attr:`units` has."""
        return {
            label: count if ("cells" if label == CANDIDATE else "gates") in self.biased else 0
            for label, count in self.units.items()
        }

    @property
    def output_bias(self) -> int:
        """How many biases an output has: 1 or 0."""
        return int("outputs" in self.biased)

    @property
    def output_reads(self) -> int:
        """What an output reads: the cells, the 1 of its bias, and the inputs, in this order."""
        return self.cells + self.output_bias + self.shortcut * self.inputs

    @property
    def weights(self) -> int:
        """How many there are in all, as the papers' tables have it."""
        return self.hidden_weights + self.outputs * self.output_reads

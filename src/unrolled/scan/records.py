"""What was recorded of a pass, as plain values.

Numbers are laid out as the pass's input is, [T, B, ·] or ragged [N, ·]: a column for each unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from unrolled.cells.description import Description
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import State


@dataclass
class LayerRecord:
    """One layer in one direction: its gates, activated, and its states after every step, by name.

    Once the loss is known: ``total`` is its gradient by each state, and ``carried`` by each state
    as it is handed on to the next step alone. They differ by what the step itself gives out: the
    output and, of the cell state, what the hidden state of the same step shows of it.
    """

    values: dict[str, Tensor]
    total: dict[str, Tensor] = field(default_factory=dict)
    carried: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class PassRecord:
    """A pass as it ran.

    Attributes:
        name: what the cell is called: torch's mode, or the description's name.
        cell: its description.
        units: how many numbers each of its sizes has in the first layer.
        directions: D.
        sequences: what it read.
        initial: the states that it began with.
        constants: by name [B, ·].
        layers: L·D records, in the order of the ``initial`` states.
        sources: what the loss has to be differentiated by, so that the gradients are known.
    """

    name: str
    cell: Description
    units: Mapping[str, int]
    directions: int
    sequences: Sequences
    initial: State
    constants: Mapping[str, Tensor]
    layers: list[LayerRecord]
    sources: list[Tensor]

"""What a recurrent pass is, as values: the cells, and the options of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.built_in import BUILT_IN
from unrolled.scan.sequences import Sequences

State = tuple[Tensor, ...]
"""One tensor for each of the cell's states, in the order of :attr:`Cell.states`."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A kind of recurrent cell.

    ``gates`` are in the order in which their rows stand in the weights (torch's order), and
    ``states`` in the order in which a step takes and returns them; the first state is the output.
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]


CELLS = {cell.mode: Cell(cell.mode, cell.gates, cell.states) for cell in BUILT_IN.values()}
"""Every cell by its name, which is torch's ``mode``."""


class Weights(NamedTuple):
    """The weights of one layer in one direction; what the layer lacks is None.

    ``ih`` [G·H, I], ``hh`` [G·H, P], ``bias_ih`` [G·H], ``bias_hh`` [G·H], ``hr`` [P, H], where
    P is the size of the hidden state: H, or the size of the projection.
    """

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    hr: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Spec:
    """One recurrent pass: ``num_layers`` layers of ``cell`` in one or two directions.

    ``dropout`` is the probability in force between the layers (0 outside training), and
    ``training`` the module's mode, by which cuDNN keeps what its backward pass reads. With
    ``recompute_every`` the compiled core keeps for the backward pass only the states at every so
    many steps and repeats what lies between; the results are the same.
    """

    cell: Cell
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    projected: bool = False
    dropout: float = 0.0
    training: bool = False
    recompute_every: int | None = None

    @property
    def directions(self) -> int:
        """D, the number of directions."""
        return 2 if self.bidirectional else 1

    def description(self) -> Description:
        """The cell as its equations say it."""
        return BUILT_IN[self.cell.name].described(bias=self.bias, projected=self.projected)

    def zeros(self, sequences: Sequences, flat: list[Tensor]) -> State:
        """The states that a pass without given ones begins with."""
        sizes, data = sequences.batch_sizes, sequences.data
        batch = data.shape[1] if sizes is None else int(sizes[0])
        w = self.weights(flat)[0]
        widths = {"hidden": w.hh.shape[1], "cell": w.hh.shape[0] // len(self.cell.gates)}
        depth = self.num_layers * self.directions
        return tuple([data.new_zeros(depth, batch, widths[name]) for name in self.cell.states])

    def weights(self, flat: Sequence[Any]) -> list[Weights]:
        """The flat list of all weights, in torch's order, cut into layers and directions.

        Returns L·D entries: layer 0 forward, layer 0 reverse, layer 1 forward, and so on.

        Raises:
            ValueError: there are too few or too many.
        """
        size = 2 + 2 * self.bias + self.projected
        if len(flat) != size * self.num_layers * self.directions:
            raise ValueError(
                f"{size * self.num_layers * self.directions} weights were expected, got {len(flat)}"
            )
        rows = [flat[start : start + size] for start in range(0, len(flat), size)]
        if self.projected and not self.bias:
            return [Weights(ih, hh, hr=hr) for ih, hh, hr in rows]
        return [Weights(*row) for row in rows]

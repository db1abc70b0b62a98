"""The cells that have kernels of their own: what the house knows of each, from its equations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from unrolled.cells import elman, gru, lstm
from unrolled.cells.description import Description


@dataclass(frozen=True, eq=False)
class BuiltIn:
    """A cell with kernels of its own; ``mode`` is torch's name for it."""

    mode: str
    cell: elman.RNN | gru.GRU | lstm.LSTM

    @property
    def name(self) -> str:
        """The cell's own, which is that of torch's module as well."""
        return type(self.cell).__name__

    @property
    def settings(self) -> dict[str, Any]:
        """What tells it from others of its name: arguments of the cell and of the module."""
        return {name: value for name, value in vars(self.cell).items() if name != "bias"}

    @property
    def title(self) -> str:
        """What people call it: LSTM, RNN (tanh)."""
        return f"{self.name} ({', '.join(self.settings.values())})" if self.settings else self.name

    @cached_property
    def equations(self) -> Description:
        """The cell with both biases, and without a projection."""
        return self.cell.description

    def described(self, *, bias: bool = True, projected: bool = False) -> Description:
        """The cell as a module of torch's has it.

        Raises:
            ValueError: it can't be projected.
        """
        if projected and self.mode not in PROJECTED:
            raise ValueError(f"a hidden state that is projected was expected of {[*PROJECTED]}")
        return _described(PROJECTED[self.mode] if projected else self.cell, bias)

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """In the order in which their rows stand in the weights."""
        return tuple(part.label for part in self.equations.weights[0].parts)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """In the order in which a step takes and returns them; the first is the output."""
        return tuple(state.name for state in self.equations.states)


@cache
def _described(cell: elman.RNN | gru.GRU | lstm.LSTM, bias: bool) -> Description:
    return replace(cell, bias=bias).description


PROJECTED = lstm.PROJECTED

_KERNELS: dict[str, elman.RNN | gru.GRU | lstm.LSTM] = {
    **elman.KERNELS,
    **lstm.KERNELS,
    **gru.KERNELS,
}
BUILT_IN = {mode: BuiltIn(mode, cell) for mode, cell in _KERNELS.items()}
"""Every one by its mode."""

OF_RUNS = elman.OF_RUNS | lstm.OF_RUNS | gru.OF_RUNS
"""The mode of each of those that a run can name."""

(DEFAULT,) = lstm.OF_RUNS
"""What a run has if nothing is said."""

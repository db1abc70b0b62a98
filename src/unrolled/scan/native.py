"""The compiled core: whether it is there, and how it is told where numbers lie."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

from unrolled.cells.built_in import BUILT_IN
from unrolled.instructions import chosen
from unrolled.scan.sequences import Sequences

try:
    from unrolled import _core
except ImportError:  # built without a compiler
    _core = None  # type: ignore[assignment]

core: Any = _core
"""The compiled core, None where there is none. It takes addresses: only plans make its passes."""


def is_built() -> bool:
    """Whether the compiled core is there."""
    return _core is not None


def check_cells() -> None:
    """That the core has the cells that this package has kernels for.

    Raises:
        ImportError: it has others.
    """
    if not is_built():
        return
    # An older core has no such list.
    theirs = dict(getattr(_core, "cells", list)())
    ours = {mode: len(cell.gates) for mode, cell in BUILT_IN.items()}
    if theirs != ours:
        raise ImportError(
            f"the compiled core has cells with so many gates: {theirs}, and the package expects "
            f"{ours}: one of them is older. Install the package anew"
        )


check_cells()


def isas() -> list[str]:
    """The instruction sets that this machine and build have, the best last."""
    return _core.isas() if is_built() else []


@cache
def isa() -> int:
    """The place in :func:`isas` of the one that runs: ``UNROLLED_ISA``, or the best.

    Raises:
        RuntimeError: ``UNROLLED_ISA`` names one that this machine or build does not have.
    """
    return chosen(isas())


Memory = tuple[int, int]
"""An address, and how many numbers lie there. The core keeps within them, or refuses."""

NO_MEMORY: Memory = (0, 0)

Place = tuple[int, int, int, int, int]
"""Where the numbers of a matrix over the steps lie: a :data:`Memory`'s two, where in it step 0 of
row 0 is, or would be, and how many numbers are between two steps and between two rows."""

NOWHERE: Place = (0, 0, 0, 0, 0)


class Steps(NamedTuple):
    """Which steps the rows have; ``sizes`` is None where every row has every step."""

    time: int
    batch: int
    sizes: Any = None

    @classmethod
    def of(cls, sequences: Sequences, batch: int) -> Steps:
        """Those of these sequences, of which there are ``batch``, those without a step too.

        Raises:
            RuntimeError: ragged sequences don't say of themselves what they are.
        """
        data, sizes = sequences.data, sequences.batch_sizes
        if sizes is None:
            return cls(data.shape[0], data.shape[1])
        # Read once: they are the caller's, who may change them meanwhile.
        listed = sizes.tolist()
        bounds = [batch, *listed, 0]
        if sum(listed) != data.shape[0] or any(a < b for a, b in pairwise(bounds)):
            raise RuntimeError(
                f"batch_sizes should fall from at most {batch} and add up to the "
                f"{data.shape[0]} rows of data, got {listed[:20]}"
            )
        return cls(len(listed), batch, _core.Sizes(batch, listed))

    def offset(self, step: int) -> int:
        """How many pairs of a step and a row there are before this step."""
        return step * self.batch if self.sizes is None else int(self.sizes.offset(step))

    def bounds(self, every: int | None, *, reverse: bool) -> list[int]:
        """Where the stretches of so many steps begin as a scan meets them, and the last one ends.

        None for one stretch.
        """
        if every is None or every >= self.time:
            return [self.time, 0] if reverse else [0, self.time]
        if reverse:
            return [*range(self.time, 0, -every), 0]
        return [*range(0, self.time, every), self.time]

    def stretch(self, begin: int, end: int, *, reverse: bool) -> tuple[Any, int]:
        """The steps between these two for the core, and how many pairs of a step and a row.

        A stretch of a reverse scan goes down, from ``begin`` to ``end``.
        """
        if reverse:
            begin, end = end, begin
        if self.sizes is None:
            dense = _dense_layout(self.time, self.batch, reverse, begin, end)
            return dense, (end - begin) * self.batch
        count = self.offset(end) - self.offset(begin)
        return _core.Layout(self.sizes, reverse, begin, end), count

    def place(self, data: Tensor) -> Place:
        """Where ``data`` [T, B, F] or [N, F] lies, whose last dimension is dense."""
        if data.numel() == 0:
            return NOWHERE
        if self.sizes is None:
            (time, batch, width), (step, row, _) = data.shape, data.stride()
            return data.data_ptr(), (time - 1) * step + (batch - 1) * row + width, 0, step, row
        (count, width), (row, _) = data.shape, data.stride()
        return data.data_ptr(), (count - 1) * row + width, 0, 0, row

    def place_from(self, data: Tensor, begin: int, end: int) -> Place:
        """Where ``data`` [K, F] lies, which holds a stretch of the steps, one after the other."""
        if data.numel() == 0:
            return NOWHERE
        width = data.shape[-1]
        origin = -self.offset(min(begin, end)) * width
        return data.data_ptr(), data.numel(), origin, self.batch * width, width


@lru_cache(maxsize=1024)
def _dense_layout(steps: int, batch: int, reverse: bool, begin: int, end: int) -> Any:
    """Layouts are values: made once for all calls that are alike."""
    return _core.Layout(steps, batch, reverse, begin, end)


def layout(steps: int, rows: int) -> Any:
    """All steps of rows that have every step, from the first, for the core."""
    return _dense_layout(steps, rows, False, 0, steps)


def dense(data: Tensor) -> Tensor:
    """``data``, copied if its last dimension does not lie dense in memory."""
    return data if data.stride(-1) == 1 or data.shape[-1] == 1 else data.contiguous()


def memory(tensor: Tensor | None) -> Memory:
    """Where a tensor lies that is dense."""
    return NO_MEMORY if tensor is None else (tensor.data_ptr(), tensor.numel())

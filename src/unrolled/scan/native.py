"""The compiled core: one layer in one direction, forward and backward.

The only file that calls the core. It checks what it hands over (type, device, layout) and owns
every buffer; csrc/contract.h says what each of them is. float32 and float64 on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.instructions import chosen
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import CELLS, Cell, Spec, State, Weights

try:
    from unrolled import _core
except ImportError:  # built without a compiler
    _core = None  # type: ignore[assignment]


def is_built() -> bool:
    """Whether the compiled core is there."""
    return _core is not None


def _kept() -> dict[str, int]:
    """How many numbers a unit of each cell keeps of each step, by the core.

    Raises:
        ImportError: the core has other cells than this package.
    """
    if not is_built():
        return {}
    # An older core has no such list.
    cells: list[tuple[str, int, int]] = getattr(_core, "cells", list)()
    theirs = {name: gates for name, gates, _ in cells}
    ours = {cell.name: len(cell.gates) for cell in CELLS.values()}
    if theirs != ours:
        raise ImportError(
            f"the compiled core has cells with so many gates: {theirs}, and the package expects "
            f"{ours}: one of them is older. Install the package anew"
        )
    return {name: kept for name, _, kept in cells}


KEPT = _kept()


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
    def of(cls, sequences: Sequences, batch: int | None) -> Steps:
        """Those of these sequences, of which there are ``batch``, those without a step too.

        Raises:
            RuntimeError: ragged sequences don't say of themselves what they are.
        """
        data, sizes = sequences.data, sequences.batch_sizes
        if sizes is None:
            return cls(data.shape[0], data.shape[1])
        # Read once: they are the caller's, who may change them meanwhile.
        listed = sizes.tolist()
        batch = listed[0] if batch is None else batch
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
        every = self.time if every is None else every
        if reverse:
            return [*range(self.time, 0, -every), 0]
        return [*range(0, self.time, every), self.time]

    def stretch(self, begin: int, end: int, *, reverse: bool) -> tuple[Any, int]:
        """The steps between these two for the core, and how many pairs of a step and a row.

        A stretch of a reverse scan goes down, from ``begin`` to ``end``.
        """
        if reverse:
            begin, end = end, begin
        count = self.offset(end) - self.offset(begin)
        if self.sizes is None:
            return _dense_layout(self.time, self.batch, reverse, begin, end), count
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


def dense(data: Tensor) -> Tensor:
    """``data``, copied if its last dimension does not lie dense in memory."""
    return data if data.stride(-1) == 1 or data.shape[-1] == 1 else data.contiguous()


class Kept(NamedTuple):
    """What a forward scan leaves for the backward one, a step after the other, [N, ·].

    ``gates`` [N, S·H], ``cells`` [N, H], and the hidden states before projection ``raw`` [N, H],
    each where there is such a thing.
    """

    gates: Tensor | None = None
    cells: Tensor | None = None
    raw: Tensor | None = None


class Carried(NamedTuple):
    """What the loss says of the states of each step, a step after the other, [N, ·].

    ``hidden`` [N, P] and ``cell`` [N, H] of the states as they are handed on to the next step,
    ``total`` [N, P] of the hidden state handed on and given out.
    """

    hidden: Tensor
    cell: Tensor | None
    total: Tensor


class Plan:
    """One layer's shapes in one direction, checked, with the core's pass for them."""

    def __init__(self, isa: int, cell: Cell, dtype: torch.dtype, shapes: Any) -> None:
        """``shapes`` are those of :class:`Weights`, None for what the layer lacks."""
        self.shapes = shapes
        ih, hh, _, _, hr = shapes
        self.hidden, self.width = hh[0] // len(cell.gates), hh[1]
        self.inputs = ih[-1]
        rows = len(cell.gates) * self.hidden
        fitting = (
            (rows, self.inputs),
            (rows, self.hidden if hr is None else hr[0]),
            (rows,),
            (rows,),
            (self.width, self.hidden),
        )
        for name, found, expected in zip(WEIGHTS, shapes, fitting, strict=True):
            _check_shape(name, found, expected)
        self.has_cell = "cell" in cell.states
        self.kept = (
            KEPT[cell.name] * self.hidden,
            self.hidden if self.has_cell else 0,
            0 if hr is None else self.hidden,
        )
        """The widths of what is kept, as in :class:`Kept`."""
        kind = _core.PassF32 if dtype == torch.float32 else _core.PassF64
        projection = 0 if hr is None else self.width
        self.core = kind(isa, cell.name, self.inputs, self.hidden, projection)


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@lru_cache(maxsize=1024)
def _plans(isa: int, spec: Spec, dtype: torch.dtype, shapes: tuple[Any, ...]) -> list[Plan]:
    """Plans are values: made, and the shapes checked, once for all calls that are alike."""
    plans = [Plan(isa, spec.cell, dtype, of_layer) for of_layer in spec.weights(shapes)]
    first = plans[0]
    for number, plan in enumerate(plans):
        reads = first.inputs if number < spec.directions else spec.directions * first.width
        _check_shape("weight_ih", plan.shapes[0], (plan.shapes[0][0], reads))
        _check_shape(
            "weight_hh", plan.shapes[1], (len(spec.cell.gates) * first.hidden, first.width)
        )
    return plans


class Scan:
    """One layer in one direction with its weights, which the caller holds alive.

    ``index`` is the place of the layer and direction in the states, and ``weights`` are where its
    :class:`Weights` lie.
    """

    def __init__(self, plan: Plan, addresses: Sequence[Any], index: int, *, reverse: bool) -> None:
        self.plan, self.index, self.reverse = plan, index, reverse
        self.weights = tuple(
            [
                NO_MEMORY if shape is None else (address, prod(shape))
                for address, shape in zip(addresses, plan.shapes, strict=True)
            ]
        )

    def empty_kept(self, like: Tensor, count: int) -> Kept:
        """Room for what ``count`` pairs of a step and a row leave for a backward scan."""
        return Kept(*[like.new_empty(count, width) if width else None for width in self.plan.kept])

    def empty_carried(self, like: Tensor, count: int) -> Carried:
        """Room for what a backward scan says of the states of ``count`` pairs."""
        plan, new = self.plan, like.new_empty
        cell = new(count, plan.hidden) if plan.has_cell else None
        return Carried(new(count, plan.width), cell, new(count, plan.width))

    def forward(
        self,
        layout: Any,
        data: Place,
        initial: State | None,
        output: Place,
        last: State,
        kept: Kept | None,
    ) -> None:
        """Writes ``output``, its slice of the states ``last``, and ``kept``.

        Args:
            layout: the steps to run, see :meth:`Steps.stretch`.
            data: the layer's input, I numbers for each step of each row.
            initial: each state of all layers and directions [L·D, B, ·]; None for zeros.
            output: P numbers likewise.
            last: as ``initial``.
            kept: for a backward pass, None where none may follow.
        """
        gates, cells, raw = Kept() if kept is None else kept
        self.plan.core.forward(
            layout,
            self.weights,
            data,
            *self.slices(initial),
            output,
            *self.slices(last),
            _memory(gates),
            _memory(cells),
            _memory(raw),
            torch.get_num_threads(),
        )

    def slices(self, states: Sequence[Tensor | None] | None) -> tuple[Memory, Memory]:
        """Where this layer's and direction's hidden and cell state lie."""
        if states is None:
            return NO_MEMORY, NO_MEMORY
        hidden = self._slice(states[0])
        return hidden, self._slice(states[1]) if self.plan.has_cell else NO_MEMORY

    def _slice(self, state: Tensor | None) -> Memory:
        if state is None or state.numel() == 0:
            return NO_MEMORY
        before = self.index * state.stride(0)
        return state.data_ptr() + before * state.element_size(), state.numel() - before


class ScanBack:
    """The backward pass of a scan: all steps at once or in stretches, the last ones first.

    The gradients of the weights are then the same to the last bit.
    """

    def __init__(
        self, scan: Scan, steps: Steps, like: Tensor, wanted: Weights, *, stretches: int
    ) -> None:
        """``wanted`` says of each weight whether its gradient is."""
        self.scan = scan
        self.gradients = [
            like.new_empty(shape) if shape is not None and is_wanted else None
            for shape, is_wanted in zip(scan.plan.shapes, wanted, strict=True)
        ]
        """Those of the weights, once all steps have been run; None for what is not wanted."""
        self._wanted = sum(1 << i for i, g in enumerate(self.gradients) if g is not None)
        self._left = stretches
        self._sums = None
        if stretches > 1:
            bounds = (steps.time, 0) if scan.reverse else (0, steps.time)
            layout, _ = steps.stretch(*bounds, reverse=scan.reverse)
            self._sums = like.new_zeros(scan.plan.core.sums_size(layout, self._wanted))

    def run(
        self,
        layout: Any,
        data: Place,
        initial: State | None,
        output: Place,
        kept: Kept,
        d_output: Place,
        d_last: Sequence[Tensor | None] | None,
        d_initial: State | None,
        d_input: Place,
        carried: Carried | None = None,
        *,
        adds: bool,
    ) -> None:
        """Writes its slice of ``d_initial``, ``d_input`` (or adds to that) and ``carried``.

        The first arguments are those of :meth:`Scan.forward`. :data:`NOWHERE` or None stands for
        zero, or for what is not wanted.
        """
        self._left -= 1
        scan = self.scan
        gates, cells, raw = kept
        scan.plan.core.backward(
            layout,
            scan.weights,
            data,
            *scan.slices(initial),
            output,
            _memory(gates),
            _memory(cells),
            _memory(raw),
            d_output,
            *scan.slices(d_last),
            *scan.slices(d_initial),
            _NONE_CARRIED if carried is None else tuple([_memory(c) for c in carried]),
            d_input,
            adds,
            self._wanted,
            _memory(self._sums),
            _NO_GRADIENTS if self._left else tuple([_memory(g) for g in self.gradients]),
            torch.get_num_threads(),
        )


def scans(spec: Spec, flat: Sequence[Tensor]) -> list[Scan]:
    """The layers and directions of a pass, in the order of the states.

    ``flat`` are the weights, dense, in torch's order.

    Raises:
        RuntimeError: the weights' shapes don't fit each other.
    """
    shapes, addresses = tuple([t.shape for t in flat]), tuple([t.data_ptr() for t in flat])
    return _scans(isa(), spec, flat[0].dtype, shapes, addresses)


@lru_cache(maxsize=1024)
def _scans(
    isa: int, spec: Spec, dtype: torch.dtype, shapes: tuple[Any, ...], addresses: tuple[int, ...]
) -> list[Scan]:
    plans = _plans(isa, spec, dtype, shapes)
    return [
        Scan(plan, of_layer, index, reverse=spec.bidirectional and index % 2 == 1)
        for index, (plan, of_layer) in enumerate(zip(plans, spec.weights(addresses), strict=True))
    ]


def check(scans: Sequence[Scan], width: int, initial: State | None, batch: int) -> None:
    """Whether an input of this width and these states of all layers fit the weights.

    Raises:
        RuntimeError: they don't.
    """
    plan = scans[0].plan
    if width != plan.inputs:
        _check_shape("the input", (batch, width), (batch, plan.inputs))
    if initial is not None:
        for state, expected in zip(initial, (plan.width, plan.hidden), strict=False):
            _check_shape("a state", state.shape, (len(scans), batch, expected))


def _check_shape(name: str, found: Sequence[int] | None, expected: tuple[int, ...]) -> None:
    """The core reads as far as the sizes say: what is smaller would be read past its end."""
    if found is not None and tuple(found) != expected:
        raise RuntimeError(
            f"{name} has shape {list(found)}, and {list(expected)} was expected to fit the "
            "other weights. Was a weight replaced?"
        )


def _memory(tensor: Tensor | None) -> Memory:
    """Where a tensor lies that is dense."""
    return NO_MEMORY if tensor is None else (tensor.data_ptr(), tensor.numel())


_NONE_CARRIED = (NO_MEMORY,) * 3
_NO_GRADIENTS = (NO_MEMORY,) * 5

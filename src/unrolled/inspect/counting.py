"""Units that count: their state moves by the same amount at each step with the same symbol."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import InputError
from unrolled.inspect.trace import Trace
from unrolled.resources import check_memory
from unrolled.summary import Summarised

SPREAD = 0.25
"""Where a unit counts, its steps differ by at most this share of their median, save a few.

Those are the first ones with a new symbol, at which the gates still see the symbol before it.
"""

FEW = 0.1
"""So many of the smallest steps, and of the largest, are left out."""

READ = 10
"""A symbol is read at least so often: of fewer steps none is left out, and any two are alike."""

BALANCE = 0.5
"""Of a counter's step up and its step down the smaller is at least this share of the larger."""

SHARE = 1 / 3
"""At so many of all steps a counter moves by what it moves at the symbol, or by nothing.

Among many symbols there are two that move a unit so by chance.
"""

REACH = 4.0
"""A counter's state covers at least so many of its larger steps.

One that flips between two values moves by the same amount each time, too.
"""


@dataclass(frozen=True)
class Counter:
    """A unit that counts one symbol up and another one down.

    Attributes:
        layer: from 0.
        state: the state's name.
        unit: from 0.
        up: the symbol at which it rises.
        rise: by how much a step, above 0.
        down: the symbol at which it falls.
        fall: by how much a step, below 0.
    """

    layer: int
    state: str
    unit: int
    up: int
    rise: float
    down: int
    fall: float


@dataclass(frozen=True, repr=False)
class Counting(Summarised):
    """How one state moves at each symbol; see :func:`counting`.

    Attributes:
        layer: from 0.
        state: its name.
        step: the median of s_t − s_{t−1} over the steps that read the symbol [K, H]; NaN where
            none does.
        spread: half the distance between the quantiles :data:`FEW` and 1 − FEW of these steps, as a
            share of the median's size [K, H].
        reach: the difference of the state's largest and smallest value [H].
        read: how many steps read the symbol [K].
    """

    layer: int
    state: str
    step: Tensor
    spread: Tensor
    reach: Tensor
    read: Tensor

    def counters(self) -> list[Counter]:
        """The units that count.

        One symbol moves such a unit up and another one down, each steadily: ``spread`` is at most
        0.25, over at least 10 steps. The smaller of both steps is at least half the larger, and the
        unit's reach is at least 4 times the larger. A third of all steps at least have symbols at
        which the unit moves steadily, by as little as it likes: so many lie within a quarter of the
        larger step around their median. Of several symbols that count, those with the largest steps
        are named.
        """
        steady = (self.spread <= SPREAD) & (self.read >= READ)[:, None]
        rise, up = self.step.masked_fill(~steady, 0.0).max(dim=0)
        fall, down = self.step.masked_fill(~steady, 0.0).min(dim=0)
        larger, smaller = torch.maximum(rise, -fall), torch.minimum(rise, -fall)
        counts = (smaller > 0) & (smaller >= BALANCE * larger) & (self.reach >= REACH * larger)
        # Where a unit rests, its median is 0, and so there is no share of it.
        around = torch.where(self.spread.isnan(), 0.0, self.spread * self.step.abs())
        read = (self.read[:, None] * (around <= SPREAD * larger)).sum(0)
        counts &= read >= SHARE * self.read.sum()
        return [
            Counter(
                self.layer,
                self.state,
                unit,
                int(up[unit]),
                float(rise[unit]),
                int(down[unit]),
                float(fall[unit]),
            )
            for unit in counts.nonzero().flatten().tolist()
        ]


def counting(
    trace: Trace, symbols: Tensor | None = None, module: str | None = None
) -> tuple[Counting, ...]:
    """How each state moves at each symbol, layer by layer, in the forward direction.

    An LSTM can learn to count by a unit of its cell state, and a GRU can't without a bound: Weiss,
    Goldberg & Yahav 2018, "On the practical computational power of finite precision RNNs for
    language recognition", arXiv 1805.04908. Whether one does shows on sequences in which the
    symbols come in unequal numbers, or in runs.

    Args:
        trace: from :func:`unrolled.record`.
        symbols: what each step reads [T, B], whole numbers from 0 on, anything past a row's length;
            None where the module itself reads them one-hot.
        module: the module's path; None where there is one only.

    Raises:
        InputError: there is no such module or no step, the symbols have another shape or are no
            such numbers, or none are given and the module does not read them one-hot.
    """
    name = trace.named(module)
    mask = trace.masks[name]
    if not mask.any():
        raise InputError("the trace has no step at all: give a row with a length above 0")
    if symbols is None:
        symbols = _read_one_hot(trace, name)
    if symbols is None:
        raise InputError(
            f"{name or 'the model'} does not read symbols one-hot. Say with symbols= which each "
            "step reads, [T, B]"
        )
    given = _checked(symbols, mask)
    states = [state.name for state in trace.given[name].cell.states]
    layers = 1 + max(key.layer for key in trace.values if key.module == name)
    return tuple(
        _counting(trace, name, layer, state, given) for layer in range(layers) for state in states
    )


def of_one_hot(trace: Trace, module: str) -> tuple[Counter, ...]:
    """The units that count what a module reads one-hot; none where it reads something else."""
    symbols = _read_one_hot(trace, module)
    if symbols is None:
        return ()
    return tuple(unit for one in counting(trace, symbols, module) for unit in one.counters())


def _read_one_hot(trace: Trace, module: str) -> Tensor | None:
    """The symbols [T, B] that a module reads one-hot; None where it reads something else."""
    given, mask = trace.given[module].input, trace.masks[module]
    there = given[mask]
    is_one = there == 1
    if not (is_one | (there == 0)).all() or not (is_one.sum(-1) == 1).all():
        return None
    return given.nan_to_num(0.0).argmax(-1)


def _checked(symbols: object, mask: Tensor) -> Tensor:
    """The symbols of the steps that there are [N]."""
    expected = (
        f"symbols: whole numbers from 0 on of shape [T, B] = {list(mask.shape)} were expected"
    )
    try:
        given = torch.as_tensor(symbols, device=mask.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{expected}, got {type(symbols).__name__} ({error})") from None
    if given.shape != mask.shape or given.is_complex():
        raise InputError(f"{expected}, got {list(given.shape)} of {given.dtype}")
    there = given[mask].double()
    if len(wrong := there[~((there >= 0) & (there == there.floor()) & there.isfinite())]):
        raise InputError(f"{expected}, got {wrong[0].item():g} among them")
    return given[mask].long()


def _counting(trace: Trace, module: str, layer: int, state: str, symbols: Tensor) -> Counting:
    """Of one state, with the symbols of the steps that there are [N]."""
    mask = trace.masks[module]
    after = trace.get(state, module, layer)[mask].double()
    steps = after - trace.before(state, module, layer)[mask].double()
    count, units = int(symbols.max()) + 1, steps.shape[1]
    check_memory(
        2 * 8 * count * units,
        f"how {units:,} units move at each of {count:,} symbols",
        "Number those that there are from 0 on, without gaps",
    )
    step = steps.new_full((count, units), torch.nan)
    spread, read = step.clone(), symbols.bincount()
    for symbol in read.nonzero().flatten().tolist():
        low, step[symbol], high = _quantiles(steps[symbols == symbol])
        spread[symbol] = (high - low) / 2 / step[symbol].abs()
    return Counting(layer, state, step, spread, after.amax(0) - after.amin(0), read)


def _quantiles(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lower one, the median and the upper one of [N, H], each [H]."""
    ordered, last = values.sort(dim=0).values, len(values) - 1
    low, middle, high = (ordered[round(share * last)] for share in (FEW, 0.5, 1 - FEW))
    return low, middle, high

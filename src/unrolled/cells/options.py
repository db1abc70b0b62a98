"""Regularisers that go with any cell: from a description another one."""

from __future__ import annotations

from dataclasses import replace

from unrolled.cells.cell import Cell
from unrolled.cells.description import Description, Draw, Line, Sum
from unrolled.cells.detached import origins
from unrolled.cells.values import CellError


def zoneout(cell: Cell | type[Cell] | Description, /, **rates: float) -> Description:
    """States that keep their value now and then: Krueger et al. 2017, arXiv 1606.01305.

    In training each unit of a state keeps the value before the step with the probability of its
    rate; outside of it the state is the mean of both, weighted by the rate.

    Args:
        cell: the cell.
        rates: the probability for each state, by its name.

    Raises:
        CellError: the cell has no such state, or a rate is no probability.
    """
    found = described(cell)
    following = dict(zip([s.name for s in found.states], found.next, strict=True))
    for name, rate in rates.items():
        state = next((s for s in found.states if s.name == name), None)
        if state is None:
            raise CellError(
                f"{found.name} has no state named {name}. It has {', '.join(following)}"
            )
        _check(name, rate)
        place, size = list(following).index(name), state.size
        update = _free(found, f"update_{name}")
        new, rest, old, kept = (
            _free(found, f"{word}_{name}") for word in ("new", "rest", "old", "zoneout")
        )
        lines = (
            Line(new, size, "multiply", (update, following[name])),
            Line(rest, size, "subtract", (1.0, update)),
            Line(old, size, "multiply", (rest, name)),
            Line(kept, size, "add", (new, old)),
        )
        found = replace(
            found,
            draws=(*found.draws, Draw(update, size, "bernoulli", 1 - rate, "step", 1 - rate)),
            lines=(*found.lines, *lines),
            next=(*found.next[:place], kept, *found.next[place + 1 :]),
        )
    return found


def variational_dropout(cell: Cell | type[Cell] | Description, /, **rates: float) -> Description:
    """Dropout of what matrices multiply, the same through all steps of a row.

    Gal & Ghahramani 2016, arXiv 1512.05287. In training an entry is 0 with the probability of its
    rate, and else divided by what is left of 1. What stands in the equations beside matrices, such
    as the state that a GRU carries on, is not dropped.

    Args:
        cell: the cell.
        rates: the probability for the input, states and constants, by their names.

    Raises:
        CellError: no matrix of the cell multiplies that, or a rate is no probability.
    """
    found = described(cell)
    sizes = {q.name: q.size for q in (found.input, *found.states, *found.constants)}
    detached = origins(found)
    for name, rate in rates.items():
        _check(name, rate)
        multiplied = {detached.get(p.of, p.of) for s in found.sums for p in s.products}
        if name not in sizes or name not in multiplied:
            raise CellError(
                f"{found.name} multiplies nothing named {name}. It has {', '.join(sizes)}"
            )
        if rate == 1:
            raise CellError(f"{name}: a rate of 1 leaves nothing. Give one below 1")
        size, keep = sizes[name], 1 - rate
        mask, scaled, dropped = (
            _free(found, f"{word}_{name}") for word in ("kept", "scale", "dropped")
        )
        lines: list[Sum | Line] = [
            Line(scaled, size, "divide", (mask, keep)),  # 1 outside of training, to the last bit
            Line(dropped, size, "multiply", (name, scaled)),
        ]
        reads = {name: dropped}
        for line in found.lines:
            if isinstance(line, Sum):
                of = [replace(p, of=reads.get(p.of, p.of)) for p in line.products]
                line = replace(line, products=tuple(of))
            lines.append(line)
            if detached.get(line.name) == name:
                reads[line.name] = _free(found, f"dropped_{line.name}")
                lines.append(Line(reads[line.name], size, "detach", (dropped,)))
        drawn = Draw(mask, size, "bernoulli", keep, "sequence", keep)
        found = replace(found, draws=(*found.draws, drawn), lines=tuple(lines))
    return found


def described(cell: Cell | type[Cell] | Description) -> Description:
    """The description of a cell, in whatever form it is given.

    Raises:
        TypeError: it is none.
    """
    if isinstance(cell, Description):
        return cell
    if isinstance(cell, type) and issubclass(cell, Cell):
        cell = cell()
    if not isinstance(cell, Cell):
        raise TypeError(
            "cell should be a Cell, a class of one, or a description, got "
            f"{type(cell).__name__}. torch's own cells are the modules RNN, LSTM and GRU"
        )
    return cell.description


def _check(name: str, rate: float) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise CellError(f"{name}: the rate should be a probability, from 0 to 1, got {rate!r}")


def _free(description: Description, wanted: str) -> str:
    """The name, or one like it that nothing in the description has."""
    taken = {q.name for q in (*description.constants, *description.states)}
    taken |= {draw.name for draw in description.draws}
    taken |= {description.input.name, *description.by_name, *description.weights_by_name}
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name

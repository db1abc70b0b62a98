"""From a cell's equations to the compiled core's instructions: the same, in fewer lines.

Every operation of the language has an instruction of its own. Besides, there are instructions for
several lines at once, which save passes over the numbers. What they round, and how often, is
written in csrc/program.h: the kernels of LSTM and GRU do the same, so that the bits agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from unrolled.cells.derive import BackSum
from unrolled.cells.description import Line, Operand, Sum, reads

Step = Sum | Line | BackSum


def read_by(line: Step) -> list[str]:
    """The names that a line reads, but for those of matrices and biases."""
    if isinstance(line, BackSum):
        return [p.of for p in line.products] + ([] if line.plus is None else [line.plus])
    return list(reads(line))


def lowered(lines: Iterable[Step], units: Mapping[str, int]) -> list[Step]:
    """The lines without powers that are products or roots, and without equal shares."""
    found: list[Step] = []
    for line in lines:
        if isinstance(line, Line) and line.operation == "share":
            found.append(replace(line, operation="divide", operands=_shared(line, units)))
        elif isinstance(line, Line) and line.operation == "detach":
            found.append(replace(line, operation="copy"))
        elif isinstance(line, Line) and line.operation == "power":
            found += _power(line)
        else:
            found.append(line)
    return found


def _shared(line: Line, units: Mapping[str, int]) -> tuple[Operand, ...]:
    return (*line.operands, float(units[line.size]))


def _power(line: Line) -> list[Step]:
    """As torch does it."""
    x, exponent = line.operands
    match exponent:
        case 2.0:
            return [replace(line, operation="multiply", operands=(x, x))]
        case 3.0:
            square = Line(f"{line.name}²", line.size, "multiply", (x, x))
            return [square, replace(line, operation="multiply", operands=(square.name, x))]
        case 0.5:
            return [replace(line, operation="sqrt", operands=(x,))]
        case 1.0:
            return [replace(line, operation="copy", operands=(x,))]
        case -1.0:
            return [replace(line, operation="divide", operands=(1.0, x))]
    return [line]


def needed(lines: list[Step], results: Collection[str]) -> list[Step]:
    """The lines that these results are computed from."""
    wanted, found = set(results), []
    for line in reversed(lines):
        if line.name in wanted:
            found.append(line)
            wanted.update(read_by(line))
    return found[::-1]


def fused(lines: list[Step], results: Collection[str]) -> list[Step]:
    """The lines with several at once where there is an instruction for it.

    ``results`` are the names that are read elsewhere.
    """
    for rule in (_derivative_of_activation, _sum_of_product, _of_product, _of_sum):
        lines = _rewritten(lines, results, rule)
    return lines


Rule = Callable[["_Lines", Line], tuple[str, tuple[Operand, ...], tuple[str, ...]] | None]
"""From a line: the operation and operands that it becomes, and the lines that this makes needless.
None where it stays as it is."""


class _Lines:
    """Lines by their names, of which some are read once only, by another line."""

    def __init__(self, lines: list[Step], results: Collection[str]) -> None:
        uses = Counter(name for line in lines for name in read_by(line))
        self.single = {
            line.name: line
            for line in lines
            if isinstance(line, Line) and line.name not in results and uses[line.name] == 1
        }

    def once(self, name: Operand, operation: str, size: str) -> tuple[Operand, ...] | None:
        """The operands of a line that is read here only, if it is this operation."""
        line = self.single.get(name) if isinstance(name, str) else None
        fits = line is not None and line.operation == operation and line.size == size
        return line.operands if fits and line is not None else None


def _rewritten(lines: list[Step], results: Collection[str], rule: Rule) -> list[Step]:
    known = _Lines(lines, results)
    found: dict[str, Step] = {}
    for line in lines:
        found[line.name] = line
        if isinstance(line, Line) and (new := rule(known, line)) is not None:
            operation, operands, needless = new
            for name in needless:
                del found[name]
                known.single.pop(name, None)
            changed = replace(line, operation=operation, operands=operands)
            found[line.name] = changed
            if line.name in known.single:
                known.single[line.name] = changed
    return list(found.values())


def _derivative_of_activation(
    known: _Lines, line: Line
) -> tuple[str, tuple[Operand, ...], tuple[str, ...]] | None:
    """d·y·(1 − y) of the sigmoid, and d·(1 − y²) of tanh."""
    if line.operation != "multiply":
        return None
    d, slope = line.operands
    if (rest := known.once(slope, "subtract", line.size)) is None or rest[0] != 1.0:
        return None
    y = rest[1]
    assert isinstance(slope, str)
    if (of_d := known.once(d, "multiply", line.size)) is not None and of_d[1] == y:
        assert isinstance(d, str)
        return "sigmoid_back", (of_d[0], y), (d, slope)
    square = known.once(y, "multiply", line.size)
    if square is not None and square[0] == square[1]:
        assert isinstance(y, str)
        return "tanh_back", (d, square[0]), (y, slope)
    return None


def _sum_of_product(
    known: _Lines, line: Line
) -> tuple[str, tuple[Operand, ...], tuple[str, ...]] | None:
    """a·b + c, c − a·b, a·b + c·d, and sums and differences of what is negated."""
    if line.operation not in ("add", "subtract"):
        return None
    x, y = line.operands
    names = tuple(o for o in (x, y) if isinstance(o, str))
    of_x, of_y = (known.once(o, "multiply", line.size) for o in (x, y))
    if line.operation == "subtract":
        return None if of_y is None else ("subtract_product", (*of_y, x), (str(y),))
    if x == y:
        return None
    if of_x is not None and of_y is not None:
        return "multiply_add_product", (*of_x, *of_y), names
    if (negated := known.once(y, "negative", line.size)) is not None:
        return "subtract", (x, negated[0]), (str(y),)
    for one, other in ((x, y), (y, x)):
        if (of_tanh := known.once(one, "tanh_back", line.size)) is not None:
            return "tanh_back_add", (*of_tanh, other), (str(one),)
    for factors, one, other in ((of_x, x, y), (of_y, y, x)):
        if factors is not None:
            return "multiply_add", (*factors, other), (str(one),)
    return None


def _of_product(
    known: _Lines, line: Line
) -> tuple[str, tuple[Operand, ...], tuple[str, ...]] | None:
    """a·tanh(b), and derivatives of activations of a product."""
    if line.operation in ("sigmoid_back", "tanh_back"):
        d, y = line.operands
        if (factors := known.once(d, "multiply", line.size)) is not None:
            return f"{line.operation}_product", (factors[0], y, factors[1]), (str(d),)
    if line.operation == "multiply" and line.operands[0] != line.operands[1]:
        x, y = line.operands
        for one, other in ((y, x), (x, y)):
            if (of_tanh := known.once(one, "tanh", line.size)) is not None:
                return "multiply_tanh", (other, of_tanh[0]), (str(one),)
    return None


def _of_sum(known: _Lines, line: Line) -> tuple[str, tuple[Operand, ...], tuple[str, ...]] | None:
    """Activations of a·b + c, derivatives of activations of a − b, and c + a·(b − c)."""
    x = line.operands[0]
    if line.operation in ("sigmoid", "tanh"):
        if (sum_ := known.once(x, "multiply_add", line.size)) is not None:
            return f"multiply_add_{line.operation}", sum_, (str(x),)
    elif line.operation == "tanh_back":
        if (difference := known.once(x, "subtract", line.size)) is not None:
            return "tanh_back_difference", (*difference, line.operands[1]), (str(x),)
    elif line.operation == "sigmoid_back_product":
        d, y, factor = line.operands
        if (difference := known.once(factor, "subtract", line.size)) is not None:
            return "sigmoid_back_difference", (d, y, *difference), (str(factor),)
    elif line.operation == "multiply_add":
        for a, b in (line.operands[:2], line.operands[1::-1]):
            difference = known.once(b, "subtract", line.size)
            if difference is not None and difference[1] == line.operands[2]:
                return "blend", (a, *difference), (str(b),)
    return None

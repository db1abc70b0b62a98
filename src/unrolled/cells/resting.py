"""A cell outside of training: what its random numbers are there, and what then falls away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unrolled.cells.description import Description, Line, Operand, Sum, reads
from unrolled.cells.operations import OPERATIONS


def at_rest(description: Description) -> Description:
    """The same cell with the values that its draws have outside of training.

    A line of numbers alone is a number where other lines read it, and a line that multiplies or
    divides by 1, or detaches, is what it was before: so a cell with variational dropout is the cell
    again. A draw stays only where it is needed as a vector: a matrix multiplies it, a state becomes
    it, or it widens a number that all units share.
    """
    sizes, weights = _sizes(description), description.weights_by_name
    numbers = {draw.name: draw.resting for draw in description.draws}
    same: dict[str, str] = {}
    lines: list[Sum | Line] = []
    for line in description.lines:
        if isinstance(line, Sum):
            of = [replace(p, of=same.get(p.of, p.of)) for p in line.products]
            lines.append(replace(line, products=tuple(of)))
            continue
        operands = tuple(_operand(o, numbers, same) for o in line.operands)
        known = [o for o in operands if not isinstance(o, str)]
        if len(known) == len(operands):
            numbers[line.name] = OPERATIONS[line.operation].on_numbers(*known)
            lines.append(line)  # as it was, for whoever needs the vector
            continue
        if all(sizes[o] != line.size for o in operands if isinstance(o, str)):
            # Of its vectors only the draw has as many numbers as the line.
            renamed = [same.get(o, o) if isinstance(o, str) else o for o in line.operands]
            lines.append(replace(line, operands=tuple(renamed)))
            continue
        kept = _unchanged(line.operation, operands)
        if kept is not None and sizes[kept] == line.size and kept not in weights:
            same[line.name] = kept
        else:
            lines.append(replace(line, operands=operands))
    following = tuple(same.get(name, name) for name in description.next)
    return _without_unused(replace(description, lines=tuple(lines), next=following))


def _sizes(description: Description) -> dict[str, str]:
    """The size of everything that a line can read."""
    given = (description.input, *description.constants, *description.states)
    found = {quantity.name: quantity.size for quantity in given}
    found |= {draw.name: draw.size for draw in description.draws}
    found |= {line.name: line.size for line in description.lines}
    return found | {weight.name: weight.parts[0].size for weight in description.weights}


def _operand(operand: Operand, numbers: Mapping[str, float], same: Mapping[str, str]) -> Operand:
    if not isinstance(operand, str):
        return operand
    return numbers.get(operand, same.get(operand, operand))


def _unchanged(operation: str, operands: tuple[Operand, ...]) -> str | None:
    """The operand that comes out as it went in, if one does."""
    match operation, operands:
        case (("multiply" | "divide"), (str(kept), 1.0)):
            return kept
        case "detach", (str(kept),):
            return kept
        case "multiply", (1.0, str(kept)):
            return kept
    return None


def _without_unused(description: Description) -> Description:
    """Without the draws and lines that no state comes to depend on."""
    used = set(description.next)
    for line in reversed(description.lines):
        if line.name in used:
            used |= set(reads(line))
    return replace(
        description,
        draws=tuple(draw for draw in description.draws if draw.name in used),
        lines=tuple(line for line in description.lines if line.name in used),
        named=tuple(name for name in description.named if name in used),
    )

"""What is detached: the value of something, through which no gradient goes."""

from __future__ import annotations

from dataclasses import replace

from unrolled.cells.description import Description, Line, Sum


def origins(description: Description) -> dict[str, str]:
    """Of every line that detaches, what it is the value of."""
    found: dict[str, str] = {}
    for line in description.lines:
        if isinstance(line, Line) and line.operation == "detach":
            (of,) = line.operands
            assert isinstance(of, str)
            found[line.name] = found.get(of, of)
    return found


def undetached(description: Description) -> Description:
    """The same cell for those who ask for no gradient: what is detached is read as what it is.

    The lines that detach are still there, for those that have names, and for sums, which can't
    multiply a weight of units.
    """
    of = origins(description)
    if not of:
        return description
    multiplied = {n: o for n, o in of.items() if o not in description.weights_by_name}
    lines: list[Sum | Line] = []
    for line in description.lines:
        if isinstance(line, Sum):
            products = [replace(p, of=multiplied.get(p.of, p.of)) for p in line.products]
            lines.append(replace(line, products=tuple(products)))
        else:
            operands = [of.get(o, o) if isinstance(o, str) else o for o in line.operands]
            lines.append(replace(line, operands=tuple(operands)))
    following = tuple(of.get(name, name) for name in description.next)
    return replace(description, lines=tuple(lines), next=following)

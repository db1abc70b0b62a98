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
    """The same cell for those who ask for no gradient: nothing reads a line that detaches.

    What did reads what that is the value of. The lines are still there, for those that have names.
    """
    of = origins(description)
    if not of:
        return description
    lines: list[Sum | Line] = []
    for line in description.lines:
        if isinstance(line, Sum):
            products = [replace(p, of=of.get(p.of, p.of)) for p in line.products]
            lines.append(replace(line, products=tuple(products)))
        else:
            operands = [of.get(o, o) if isinstance(o, str) else o for o in line.operands]
            lines.append(replace(line, operands=tuple(operands)))
    following = tuple(of.get(name, name) for name in description.next)
    return replace(description, lines=tuple(lines), next=following)

"""What a step keeps of a state: ``a``, where the equations say s_t = a ⊙ s_{t−1} + …."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.cells.derive import simplified
from unrolled.cells.description import Description, Line, Operand, Sum, reads
from unrolled.cells.operations import OPERATIONS


@dataclass(frozen=True)
class Share:
    """``value``, a line's name or a number, once ``lines`` are computed after those of a step."""

    lines: tuple[Line, ...]
    value: Operand


def kept_share(description: Description, state: str) -> Share | None:
    """What of a state is in its next value as it was, unit by unit; None where nothing is.

    What comes back through a sum of products, a mean or a function of the state is part of the
    rest; it may also be part of ``a``, as a gate is that sees the state. None, too, where the state
    is multiplied by itself.
    """
    shares = _Shares(state)
    for line in description.lines:
        if isinstance(line, Line) and not shares.of.keys().isdisjoint(reads(line)):
            if line.operation == "multiply" and shares.of.keys() >= set(line.operands):
                return None
            if (found := shares.share(line)) is not None:
                shares.of[line.name] = found
    following = dict(zip([s.name for s in description.states], description.next, strict=True))
    value = shares.of.get(following[state])
    return None if value is None else Share(tuple(shares.lines), value)


def is_learned(description: Description, share: Share) -> bool:
    """Whether a share is made with biases or with weights of units."""
    todo = [name for line in share.lines for name in reads(line)]
    todo += [share.value] if isinstance(share.value, str) else []
    vectors = {w.name for w in description.weights if w.kind in ("vector", "scalar")}
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        line = description.by_name.get(name)
        if name in vectors or (isinstance(line, Sum) and line.biases):
            return True
        if line is not None and name not in seen:
            seen.add(name)
            todo += reads(line)
    return False


class _Shares:
    """How much of a state each line has, as lines that compute it."""

    def __init__(self, state: str) -> None:
        self.of: dict[str, Operand] = {state: 1.0}
        self.lines: list[Line] = []

    def share(self, line: Line) -> Operand | None:
        """From how much its operands have; None for nothing."""
        parts = [self.of.get(o) if isinstance(o, str) else None for o in line.operands]
        match line.operation, parts:
            case "negative", [share]:
                return self._line(line, "negative", share)
            case ("add" | "subtract", [x, None]) | ("detach", [x]):
                return x
            case "add", [None, y]:
                return y
            case "subtract", [None, y]:
                return self._line(line, "negative", y)
            case "add" | "subtract", [x, y]:
                return self._line(line, line.operation, x, y)
            case "multiply", [x, None]:
                return self._line(line, "multiply", x, line.operands[1])
            case "multiply", [None, y]:
                return self._line(line, "multiply", line.operands[0], y)
            case "divide", [x, None]:
                return self._line(line, "divide", x, line.operands[1])
            case "where", [_, x, y] if x is not None or y is not None:
                chosen = (0.0 if part is None else part for part in (x, y))
                return self._line(line, "where", line.operands[0], *chosen)
        return None

    def _line(self, of: Line, operation: str, *operands: Operand | None) -> Operand:
        """A line of its own, or what it comes to where that is plain."""
        known = tuple(o for o in operands if o is not None)
        if (plain := simplified(operation, known)) is not None:
            return plain
        numbers = [o for o in known if not isinstance(o, str)]
        if len(numbers) == len(known):
            return OPERATIONS[operation].on_numbers(*numbers)
        name = f"share of {of.name}"  # no name of a line has a space
        self.lines.append(Line(name, of.size, operation, known))
        return name

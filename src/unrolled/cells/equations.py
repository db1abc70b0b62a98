"""A description as equations that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from unrolled.cells.description import Description, Line, Operand, Sum, reads
from unrolled.cells.detached import origins
from unrolled.cells.operations import OPERATIONS

TIGHT = 4
"""The precedence of what needs no brackets."""

DEEPEST = 50
"""So many lines without a name are written into one another, and then one by itself."""


def equations(description: Description) -> str:
    """A line for each named value and each state, with what has no name written where it is read.

    ``x[t]`` is what the step reads, ``h[t−1]`` a state before it and ``h[t]`` after it, ``⊙``
    multiplies unit by unit, and ``weight_ih[i]·x[t]`` is a part of a matrix times a vector.
    """
    ends = {*description.named, *description.next}
    detached = detached_within(description)
    readers = readings(description)
    inline: set[str] = set()
    depth: dict[str, int] = {}
    for line in description.lines:
        depth[line.name] = 1 + max((depth.get(name, 0) for name in reads(line)), default=0)
        is_apart = line.name not in detached and readers[line.name] != 1
        if line.name in ends or is_apart or depth[line.name] > DEEPEST:
            depth[line.name] = 0
        else:
            inline.add(line.name)
    symbol = symbols(description)
    writer = Writer(description, symbol, inline)
    found = [
        f"{symbol.get(name, name)} = {writer.expression(name)}"
        for name in description.by_name
        if name not in inline
    ]
    for state, following in zip(description.states, description.next, strict=True):
        if symbol.get(following, following) != f"{state.name}[t]":
            found.append(f"{state.name}[t] = {symbol.get(following, following)}")
    return "\n".join(found)


def detached_within(description: Description) -> dict[str, str]:
    """The lines that detach and are written where they are read, each with what it is of.

    Others are named, or the next value of a state.
    """
    ends = {*description.named, *description.next}
    return {name: of for name, of in origins(description).items() if name not in ends}


def readings(description: Description) -> Counter[str]:
    """How often each value is read in the lines, detached or not."""
    detached = detached_within(description)
    return Counter(
        detached.get(name, name)
        for line in description.lines
        if line.name not in detached
        for name in reads(line)
    )


def symbols(description: Description) -> dict[str, str]:
    """How what has a place in time is written; everything else is written by its name."""
    found = {q.name: q.name for q in description.constants}
    found[description.input.name] = f"{description.input.name}[t]"
    for state in description.states:
        found[state.name] = f"{state.name}[t−1]"
    for state, following in zip(description.states, description.next, strict=True):
        if following in description.by_name and following not in description.named:
            found.setdefault(following, f"{state.name}[t]")
    return found


class Writer:
    """Writes lines as expressions: ``inline`` are those that are written where they are read."""

    def __init__(
        self, description: Description, symbols: Mapping[str, str], inline: Collection[str]
    ) -> None:
        self.description, self.symbols, self.inline = description, symbols, inline

    def expression(self, name: str) -> str:
        """What stands on the right of a line."""
        return self._expression(name)[0]

    def terms(self, line: Sum) -> list[str]:
        """The products of a sum, and then its biases."""
        weights = self.description.weights_by_name
        products = [
            f"{p.weight}[{weights[p.weight].parts[p.part].label}]·{self._factor(p.of)}"
            for p in line.products
        ]
        biases = [f"{b.weight}[{weights[b.weight].parts[b.part].label}]" for b in line.biases]
        return products + biases

    def _symbol(self, name: str) -> str:
        return self.symbols.get(name, name)

    def _factor(self, name: str) -> str:
        text, binds = self._operand(name)
        return text if binds == TIGHT else f"({text})"

    def _operand(self, operand: Operand) -> tuple[str, int]:
        """What stands for it, and how tightly it holds together."""
        if not isinstance(operand, str):
            return f"{operand:g}".replace("-", "−"), TIGHT if operand >= 0 else 2
        if operand in self.inline:
            return self._expression(operand)
        return self._symbol(operand), TIGHT

    def _expression(self, name: str) -> tuple[str, int]:
        line = self.description.by_name[name]
        if isinstance(line, Sum):
            return self._sum(line)
        operation = OPERATIONS[line.operation]
        if operation.precedence == TIGHT:
            return operation.written.format(*[self._operand(o)[0] for o in line.operands]), TIGHT
        return operation.written.format(*self._bracketed(line, operation.precedence)), (
            operation.precedence
        )

    def _bracketed(self, line: Line, precedence: int) -> list[str]:
        """The operands, in brackets where they would be read otherwise without."""
        found = []
        for place, operand in enumerate(line.operands):
            text, inner = self._operand(operand)
            # a − (b + c), a / (b ⊙ c) and −(a + b) are other than without brackets.
            is_strict = line.operation in ("subtract", "divide", "power", "less", "less_equal")
            binds = inner > precedence or (
                inner == precedence and not (is_strict and place > 0) and precedence != 0
            )
            found.append(text if binds else f"({text})")
        return found

    def _sum(self, line: Sum) -> tuple[str, int]:
        terms = self.terms(line)
        return " + ".join(terms), 1 if len(terms) > 1 else 2

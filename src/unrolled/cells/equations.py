"""A description as equations that people read."""

from __future__ import annotations

from collections import Counter

from unrolled.cells.description import Description, Line, Operand, Sum, reads
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
    return "\n".join(_Writer(description).written())


class _Writer:
    def __init__(self, description: Description) -> None:
        self.description = description
        readers = Counter(name for line in description.lines for name in reads(line))
        ends = {*description.named, *description.next}
        self.inline: set[str] = set()
        depth: dict[str, int] = {}
        for line in description.lines:
            depth[line.name] = 1 + max((depth.get(name, 0) for name in reads(line)), default=0)
            if line.name in ends or readers[line.name] != 1 or depth[line.name] > DEEPEST:
                depth[line.name] = 0
            else:
                self.inline.add(line.name)
        self.symbols = {q.name: q.name for q in description.constants}
        self.symbols[description.input.name] = f"{description.input.name}[t]"
        for state in description.states:
            self.symbols[state.name] = f"{state.name}[t−1]"
        for state, following in zip(description.states, description.next, strict=True):
            if following in description.by_name and following not in description.named:
                self.symbols.setdefault(following, f"{state.name}[t]")

    def written(self) -> list[str]:
        found = [
            f"{self._symbol(name)} = {self._expression(name)[0]}"
            for name in self.description.by_name
            if name not in self.inline
        ]
        for state, following in zip(self.description.states, self.description.next, strict=True):
            if self._symbol(following) != f"{state.name}[t]":
                found.append(f"{state.name}[t] = {self._symbol(following)}")
        return found

    def _symbol(self, name: str) -> str:
        return self.symbols.get(name, name)

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
        weights = self.description.weights_by_name
        terms = [
            f"{p.weight}[{weights[p.weight].parts[p.part].label}]·{self._symbol(p.of)}"
            for p in line.products
        ]
        terms += [f"{b.weight}[{weights[b.weight].parts[b.part].label}]" for b in line.biases]
        return " + ".join(terms), 1 if len(terms) > 1 else 2

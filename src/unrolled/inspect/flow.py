"""What a drawing of a cell is made of: the values of a step, and which is computed of which.

A :class:`Node` is a sum of products, an operation, or a formula: a chain of operations that is more
than a few simple ones stands in one box and is written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from unrolled.cells.description import Description, Draw, Line, Sum, reads
from unrolled.cells.equations import Writer, detached_within, readings, symbols
from unrolled.cells.operations import OPERATIONS
from unrolled.errors import abridged

Shape = Literal["state", "given", "box", "circle", "next"]

SIMPLE = ("add", "subtract", "multiply", "sigmoid", "tanh", "relu")
"""What is drawn operation by operation, where an expression has no others."""
MOST_OPERATIONS = 6
"""So many of them."""
LONGEST_FORMULA = 130
"""Of a longer one the parts are formulas of their own."""
LONGEST_ROW = 50
"""Characters in a row of a formula, where it can be broken."""
LONGEST_TERM = 64
"""What can't be broken is abridged to so many."""
BREAK = re.compile(r"(?= [+−/] )|(?<=,)(?= )")
OUTPUT = "next 0"
"""The node of the output; no name of a line has a space."""
IN_CIRCLE = {"add": "+", "subtract": "+", "multiply": "×"}


@dataclass(frozen=True)
class Read:
    """A value that a node reads; ``mark`` stands beside its line where it enters."""

    name: str
    mark: str = ""


@dataclass(frozen=True)
class Node:
    """A value of a step.

    Attributes:
        name: its own, which no other node has.
        shape: ``state`` and ``given`` are there before the step, ``next`` after it.
        text: what is written in it, row by row.
        label: what is written on the line that leaves it; empty for none.
        reads: what it is computed of.
        hue: what it is coloured by: the name of a named line or of a state, "" for neither.
    """

    name: str
    shape: Shape
    text: tuple[str, ...]
    label: str
    reads: tuple[Read, ...]
    hue: str


def flow(description: Description) -> list[Node]:
    """The nodes of a cell: what is there before the step, its lines in order, what comes after."""
    return _Flow(description).nodes()


class _Flow:
    def __init__(self, description: Description) -> None:
        self.cell = description
        self.symbols = symbols(description)
        self.ends = {*description.named, *description.next}
        self.detached = detached_within(description)
        self.readers = readings(description)
        self.readers.update(description.next)
        given = (description.input, *description.states, *description.constants)
        self.flowing = {quantity.name for quantity in given}
        self.flowing |= {draw.name for draw in description.draws} | set(description.by_name)
        self.inline = self._inlined()
        self.writer = Writer(description, self.symbols, self.inline)
        self.hues = self._hued()
        self.spelled: set[str] = set()
        """What formulas name, so that its line has to say who it is."""

    def nodes(self) -> list[Node]:
        lines = [
            node
            for line in self.cell.lines
            if line.name not in self.inline
            for node in self._drawn(line)
        ]
        given = (self.cell.input, *self.cell.constants)
        before = [self._before(q.name, "state") for q in self.cell.states]
        before += [self._before(q.name, "given") for q in given]
        draws = [self._draw(draw) for draw in self.cell.draws]
        states = zip(self.cell.states, self.cell.next, strict=True)
        after = [self._after(i, state.name, name) for i, (state, name) in enumerate(states)]
        return [*before, *draws, *(self._labelled(node) for node in lines), *after]

    def _before(self, name: str, shape: Shape) -> Node:
        text = abridged(self.symbols.get(name, name))
        return Node(name, shape, (text,), "", (), name if shape == "state" else "")

    def _after(self, place: int, state: str, name: str) -> Node:
        text = abridged(f"{state}[t]")
        return Node(f"next {place}", "next", (text,), "", (Read(name),), state)

    def _draw(self, draw: Draw) -> Node:
        law = f"N(0, {draw.parameter:g}²)" if draw.law == "normal" else f"P(1) = {draw.parameter:g}"
        text = (abridged(draw.name), law, f"each {draw.each}")
        return Node(draw.name, "box", text, "", (), "")

    def _labelled(self, node: Node) -> Node:
        """With its name on its line, where it has one or a formula calls it by it."""
        name = node.name
        is_only_next = name in self.cell.next and self.readers[name] == 1
        is_said = name in self.ends or name in self.spelled
        if is_said and not (is_only_next and name not in self.cell.named):
            label = abridged(self.symbols.get(name, name))
            return Node(name, node.shape, node.text, label, node.reads, node.hue)
        return node

    def _inlined(self) -> set[str]:
        """The lines that belong to the expression that reads them, sums left aside.

        What a sum multiplies is no part of it: it flows in from outside. That something is detached
        is written wherever it is read.
        """
        multiplied = {name for line in self.cell.sums for name in self._read(line)}
        length: dict[str, int] = {}
        for line in self.cell.lines:
            parts = {name: length.get(name, len(name)) for name in reads(line)}
            inner = sorted((name for name in parts if name in length), key=lambda name: parts[name])
            while sum(parts.values()) > LONGEST_FORMULA and inner:
                longest = inner.pop()
                del length[longest]
                parts[longest] = len(longest)
            is_lone = self.readers[line.name] == 1 and line.name not in {*self.ends, *multiplied}
            if (is_lone and isinstance(line, Line)) or line.name in self.detached:
                length[line.name] = sum(parts.values()) + len(" + ")
        return set(length)

    def _read(self, line: Sum | Line) -> list[str]:
        """What flows into a line, detached or not: weights don't."""
        read = [self.detached.get(name, name) for name in reads(line)]
        return [name for name in read if name in self.flowing]

    def _tree(self, line: Line) -> Iterator[Line]:
        """The lines of an expression, what is read before what reads it."""
        for name in reads(line):
            if name in self.inline:
                inner = self.cell.by_name[name]
                assert isinstance(inner, Line)
                yield from self._tree(inner)
        yield line

    def _drawn(self, line: Sum | Line) -> list[Node]:
        """The nodes of an expression, that of ``line`` the last."""
        if isinstance(line, Sum):
            read = self._read(line)
            self.spelled |= set(read)
            terms = [abridged(term, LONGEST_TERM) for term in self.writer.terms(line)]
            rows = (terms[0], *(f"+ {term}" for term in terms[1:]))
            return [self._node(line, "box", rows, map(Read, read))]
        tree = list(self._tree(line))
        if len(tree) <= MOST_OPERATIONS and all(map(self._is_simple, tree)):
            return [self._operation(part) for part in tree]
        inner = {part.name for part in tree}
        names = dict.fromkeys(
            name
            for part in tree
            for name in reads(part)
            if name not in inner and name in self.flowing
        )
        self.spelled |= names.keys()
        text = _rows(self.writer.expression(line.name))
        return [self._node(line, "box", text, map(Read, names))]

    def _is_simple(self, line: Line) -> bool:
        return line.operation in SIMPLE and any(name in self.flowing for name in reads(line))

    def _operation(self, line: Line) -> Node:
        """An operation on one value that flows, in a box, or on two, in a circle."""
        moving = [o for o in line.operands if isinstance(o, str) and o in self.flowing]
        if len(moving) > 1:
            marks = ("", "−") if line.operation == "subtract" else ("", "")
            operands = [Read(name, mark) for name, mark in zip(moving, marks, strict=True)]
            return self._node(line, "circle", (IN_CIRCLE[line.operation],), operands)
        place = "" if len(line.operands) > 1 else "()"
        shown = [
            place if o in moving else f"{o:g}".replace("-", "−") if isinstance(o, float) else o
            for o in line.operands
        ]
        text = OPERATIONS[line.operation].written.format(*shown).replace("(())", "").strip()
        return self._node(line, "box", (abridged(text, LONGEST_TERM),), map(Read, moving))

    def _node(
        self, line: Sum | Line, shape: Shape, text: Iterable[str], operands: Iterable[Read]
    ) -> Node:
        hue = self.hues.get(line.name, "")
        return Node(line.name, shape, tuple(text), "", tuple(operands), hue)

    def _hued(self) -> dict[str, str]:
        """Each line's own name or that of its state; without either that of what alone reads it."""
        found = {name: name for name in self.cell.named}
        for state, following in zip(self.cell.states, self.cell.next, strict=True):
            found.setdefault(following, state.name)
        for line in reversed(self.cell.lines):
            for name in reads(line):
                if self.readers[name] == 1 and name in self.cell.by_name and line.name in found:
                    found.setdefault(name, found[line.name])
        return found


def _rows(formula: str) -> tuple[str, ...]:
    """A formula in rows, broken before +, − and /, or after a comma, as far out as will do."""
    rows, rest = [], formula
    while len(rest) > LONGEST_ROW:
        places = [
            (rest.count("(", 0, found.start()) - rest.count(")", 0, found.start()), -found.start())
            for found in BREAK.finditer(rest, 1)
        ]
        within = [place for place in places if -place[1] <= LONGEST_ROW]
        if not places:
            break
        end = -min(within or places[:1])[1]
        rows.append(rest[:end])
        rest = rest[end:].strip()
    return tuple(abridged(row, LONGEST_TERM) for row in (*rows, rest))


__all__ = ["OUTPUT", "Node", "Read", "Shape", "flow"]

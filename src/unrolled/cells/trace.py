"""Runs a step once and writes down what it does: from Python to a :class:`Description`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, Literal

from unrolled.cells.description import (
    ONE,
    Draw,
    Form,
    Kind,
    Part,
    Weight,
)
from unrolled.cells.values import Node, Value, refuse

_current: ContextVar[Trace | None] = ContextVar("unrolled_cell_trace", default=None)


def current() -> Trace | None:
    """The trace that is being written."""
    return _current.get()


@dataclass
class Term:
    """A node that ``linear`` multiplies; ``name`` is the weight's, if the user gave one."""

    of: Node
    name: str | None
    form: Form
    is_biased: bool


@dataclass
class Made:
    """What a line does, in nodes: they have their names when all of the step is known."""

    node: Node
    operation: str
    operands: list[Node | float] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)

    def reads(self) -> list[Node]:
        """The values on the right."""
        return [term.of for term in self.terms] + [
            operand for operand in self.operands if isinstance(operand, Node)
        ]


class Trace:
    """What a step has done so far."""

    def __init__(
        self, input: str, states: Mapping[str, str], constants: Mapping[str, str], place: str
    ) -> None:
        """The names of the input, and of states and constants with their sizes."""
        self.place = place
        self.input = Node(self, input, "input")
        self.states = [Node(self, name, size) for name, size in states.items()]
        self.constants = [Node(self, name, size) for name, size in constants.items()]
        self.made: dict[Node, Made] = {}
        self.weights: dict[Node, Weight] = {}
        self.draws: dict[Node, Draw] = {}
        self._detached: dict[Node, Node] = {}  # what is detached as what, and that as itself
        self.frames: dict[CodeType, FrameType | None] = {}  # of the step, while it runs

    def line(self, operation: str, operands: list[Node | float], size: str) -> Node:
        """A new line; what is detached already, or once more, is the same."""
        if operation == "detach":
            (of,) = operands
            assert isinstance(of, Node)
            return self._detach(of, size)
        return self._add(Made(Node(self, "", size), operation, operands))

    def _detach(self, of: Node, size: str) -> Node:
        if of not in self._detached:
            found = self._add(Made(Node(self, "", size), "detach", [of]))
            self._detached |= {of: found, found: found}
        return self._detached[of]

    def sum(
        self, values: list[Node], size: str, name: str | None, form: Form, *, bias: bool
    ) -> Node:
        """A new sum of products."""
        for value in values:
            if value in self.weights:
                refuse(f"linear multiplies what a row has, and {value.called} is a weight")
            if value.size == ONE:
                refuse(
                    f"linear multiplies vectors, and {value.called} is one number a row. Multiply "
                    "it by a weight(): weight() * value"
                )
        terms = [
            Term(value, name, form, is_biased=bias and number == 0)
            for number, value in enumerate(values)
        ]
        return self._add(Made(Node(self, "", size), "sum", terms=terms))

    def weight(self, name: str | None, size: str, initial: float | None) -> Node:
        """A new weight of its own."""
        if name is not None and any(w.name == name for w in self.weights.values()):
            refuse(f"there are two weights named {name}. Give one of them another name")
        kind: Kind = "scalar" if size == ONE else "vector"
        self._hold()
        value = Node(self, name or "", size)
        self.weights[value] = Weight(name or "", kind, (Part("", size),), None, initial)
        return value

    def draw(
        self,
        size: str,
        law: Literal["normal", "bernoulli"],
        parameter: float,
        each: Any,
        resting: float,
    ) -> Node:
        """New random numbers."""
        if each not in ("step", "sequence"):
            refuse(f'each should be "step" or "sequence", got {each!r}')
        self._hold()
        value = Node(self, "", size)
        self.draws[value] = Draw("", size, law, parameter, each, resting)
        return value

    def _add(self, made: Made) -> Node:
        self.made[made.node] = made
        self._hold()
        return made.node

    def _hold(self) -> None:
        """Keeps the step's frame, whose variables are the names of what it computes."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code in self.frames:
                self.frames[frame.f_code] = frame
            frame = frame.f_back

    @property
    def given(self) -> list[Node]:
        """What stands before the first line."""
        return [self.input, *self.constants, *self.states]


@contextmanager
def _written(trace: Trace) -> Iterator[None]:
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def run(
    trace: Trace, step: Callable[..., Any], codes: Sequence[CodeType]
) -> tuple[Any, list[Mapping[str, Any]]]:
    """What the step returns for the trace's values, and the local variables at the end.

    ``codes`` are those of the step and of those that it may call by ``super()``; so are the local
    variables. A frame that is held keeps its variables when its function has returned.
    """
    trace.frames = dict.fromkeys(codes)
    with _written(trace):
        returned = step(
            Value(trace.input),
            *map(Value, trace.states),
            **{node.name: Value(node) for node in trace.constants},
        )
    held = [trace.frames[code] for code in codes]
    trace.frames = {}
    return returned, [{} if frame is None else dict(frame.f_locals) for frame in held]

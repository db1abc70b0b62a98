"""What has been drawn of a program so far, and how more is added to it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from programs.program import Step

_T = TypeVar("_T")

Shape = tuple[str, ...]
"""Sizes as they stand in the program: T steps, B rows, I inputs, H units, P of a projection."""


@dataclass(frozen=True)
class Value:
    """A variable that holds a tensor.

    ``role`` is "leaf", "output", "state" or "other"; ``tracked`` says whether it may have a
    gradient.
    """

    name: str
    shape: Shape
    role: str
    tracked: bool


@dataclass(frozen=True)
class Module:
    """A variable that holds a module."""

    name: str
    kind: str
    width: str
    layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    projected: bool = False
    parametrized: bool = False
    trained: bool = True
    hooked: bool = False

    @property
    def is_cell(self) -> bool:
        return self.kind.endswith("Cell")

    @property
    def has_cell_state(self) -> bool:
        return self.kind.startswith("LSTM")

    @property
    def weights(self) -> list[str]:
        if self.is_cell:
            return ["weight_ih", "weight_hh"]
        return [f"weight_{part}_l{n}" for n in range(self.layers) for part in ("ih", "hh")]

    def input(self, rows: Shape) -> Shape:
        """The shape of an input with these dimensions for the batch, ("B",) or ()."""
        if self.is_cell:
            return (*rows, self.width)
        return (*rows, "T", self.width) if self.batch_first else ("T", *rows, self.width)

    def output(self, rows: Shape) -> Shape:
        width = "P" if self.projected else "H"
        return (*self.input(rows)[:-1], f"2 * {width}" if self.bidirectional else width)

    def states(self, rows: Shape) -> list[Shape]:
        depth = () if self.is_cell else (str(self.layers * (1 + self.bidirectional)),)
        states = [(*depth, *rows, "P" if self.projected else "H")]
        return [*states, (*depth, *rows, "H")] if self.has_cell_state else states


@dataclass(frozen=True)
class Often:
    """An entry of a table that is drawn more or less often than one without a weight."""

    weight: float
    entry: Any


_ODDS: dict[int, tuple[list[str], list[float]]] = {}


def _odds(key: int, table: Mapping[str, Any]) -> tuple[list[str], list[float]]:
    """The names of a table, which is a constant, and their weights."""
    if key not in _ODDS:
        weights = [float(e.weight) if isinstance(e, Often) else 1.0 for e in table.values()]
        _ODDS[key] = [*table], weights
    return _ODDS[key]


@dataclass
class Drawing:
    """A program that is being drawn."""

    choose: random.Random
    steps: list[Step] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    double: bool = True
    goes_on: bool = False
    _noted: list[str] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """The sizes and the type of the numbers."""
        self.double = self.random() < 0.93
        hidden = self.pick([1, 2, 2, 3, 3, 4])
        self.sizes = {
            "T": self.pick([1, 1, 2, 2, 2, 3, 3, 4]),
            "B": self.pick([1, 2, 2, 3]),
            "I": self.pick([1, 2, 2, 3]),
            "H": hidden,
            "P": self.choose.randint(1, max(hidden - 1, 1)),
        }
        self.emit("T, B, I, H, P = " + ", ".join(map(str, self.sizes.values())))
        kind = "float64" if self.double else "float32"
        self.emit(f'kind = {{"dtype": torch.{kind}}}', f"dtype:{kind}")

    def mark(self, begin: int, feature: str) -> None:
        """What the steps from ``begin`` on that are called "derivative" are one of."""
        for index in range(begin, len(self.steps)):
            step = self.steps[index]
            named = tuple(feature if f == "derivative" else f for f in step.features)
            self.steps[index] = Step(step.source, named)

    def random(self) -> float:
        return self.choose.random()

    def pick(self, options: Sequence[_T]) -> _T:
        return options[int(self.choose.random() * len(options))]

    def entry(self, table: Mapping[str, Any]) -> tuple[str, Any]:
        """One of a table."""
        name = self.choose.choices(*_odds(id(table), table))[0]
        found = table[name]
        return name, found.entry if isinstance(found, Often) else found

    def emit(self, source: str, *features: str) -> None:
        self.steps.append(Step(source, (*features, *self._noted)))
        self._noted.clear()

    def note(self, feature: str) -> None:
        """A feature of the next step."""
        self._noted.append(feature)

    def new(self, prefix: str) -> str:
        count = self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}{count}"

    def add(self, name: str, shape: Shape, role: str, *, tracked: bool) -> Value:
        value = Value(name, shape, role, tracked)
        self.values.append(value)
        return value

    def leaf(self, shape: Shape) -> Value:
        name, tracked = self.new("x"), self.random() < 0.75
        wants = ", requires_grad=True" if tracked else ""
        self.emit(f"{name} = torch.randn({', '.join(shape)}, **kind{wants})", "source:leaf")
        return self.add(name, shape, "leaf", tracked=tracked)

    def some(self, *, tracked: bool = False) -> Value | None:
        """A value, outputs and states and late ones rather than others; None if there is none."""
        found = [value for value in self.values if value.tracked or not tracked]
        if not found:
            return None
        weights = [
            (3 if v.role in ("output", "state") else 1) * (1 + i / len(found))
            for i, v in enumerate(found)
        ]
        return self.choose.choices(found, weights)[0]

    def replace(self, module: Module, **changes: Any) -> None:
        """Notes what has become of a module."""
        self.modules[self.modules.index(module)] = replace(module, **changes)

    def same_shape(self, shape: Shape, role: str | None = None) -> list[Value]:
        return [v for v in self.values if v.shape == shape and role in (None, v.role)]

    def size(self, dimension: str) -> int:
        """What a dimension comes to: "B", "2 * H", "3"."""
        factor, _, name = dimension.rpartition(" * ")
        return int(factor or 1) * (self.sizes[name] if name in self.sizes else int(name))

"""Random cells as descriptions in JSON's values: all are right, and say what few cells do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from unrolled.cells.operations import OPERATIONS
from unrolled.cells.stored import FORMAT

Json = Any

UNITS = {"input": 6, "hidden": 12, "one": 1}
"""How many numbers a size has; any other has as many as the input."""

BLOCKS = (1, 2, 3, 6)
"""What divides all sizes but ``one``."""

NAMES = ("ψ", "größe", "变量", "class", "None", "self", "inf", "nan", "h_0", "sign_w", "a" * 100)
TAME = ("tanh", "sigmoid", "add", "multiply", "subtract", "relu", "softplus", "minimum", "mean")


class Drawn:
    """A cell in the making: what has been named, and the weights that its sums have."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = self._names()
        self.vectors: dict[str, str] = {}  # the sizes of what lines can read
        self.weights: dict[str, Json] = {}
        self.lines: list[Json] = []
        self.sizes = ["hidden", *random.sample(["input", "other", "λ"], random.randrange(3))]

    def _names(self) -> Iterator[str]:
        odd = self.random.sample(NAMES, self.random.randrange(4))
        yield from odd
        yield from (f"v{i}" for i in itertools.count())

    def size(self) -> str:
        return self.random.choice(self.sizes)

    def name(self, size: str | None = None) -> str:
        """A new name; what has a size can be read from here on."""
        name = next(self.names)
        if size is not None:
            self.vectors[name] = size
        return name

    def read(self, size: str) -> list[str]:
        """What there is of a size."""
        return [name for name, found in self.vectors.items() if found == size]

    def part(self, kind: str, size: str, columns: str | None) -> tuple[str, int]:
        """Rows that nothing has yet, of a matrix or bias that is there, or of a new one."""
        fit = [
            name
            for name, weight in self.weights.items()
            if (weight["kind"], weight["columns"]) == (kind, columns)
            and (size == columns or not weight["form"]["antisymmetric"])
        ]
        if fit and self.random.random() < 0.6:
            name = self.random.choice(fit)
        else:
            name = self.name()
            form = plain_form() if kind == "bias" else self.form(size == columns)
            self.weights[name] = {
                "name": name,
                "kind": kind,
                "parts": [],
                "columns": columns,
                "initial": self.random.choice([None, None, 0.5]),
                "form": form,
            }
        parts = self.weights[name]["parts"]
        parts.append({"label": f"p{len(parts)}", "size": size})
        return name, len(parts) - 1

    def form(self, is_square: bool) -> Json:
        if self.random.random() < 0.7:
            return plain_form()
        return {
            "blocks": self.random.choice(BLOCKS),
            "excitatory": self.random.choice([None, None, 0.5, 1.0]),
            "masked": self.random.random() < 0.3,
            "antisymmetric": is_square and self.random.random() < 0.3,
        }

    def sum(self) -> None:
        size = self.size()
        products = []
        for _ in range(self.random.choice([1, 1, 2, 3])):
            wide = [n for n, found in self.vectors.items() if found != "one"]
            of = self.random.choice([n for n in wide if n not in self.weights])
            weight, part = self.part("matrix", size, self.vectors[of])
            products.append({"weight": weight, "part": part, "of": of})
        biases = [
            dict(zip(("weight", "part"), self.part("bias", size, None), strict=True))
            for _ in range(self.random.choice([0, 1, 1, 2]))
        ]
        name = self.name(size)
        self.lines.append({"name": name, "size": size, "products": products, "biases": biases})

    def line(self, size: str | None = None) -> str:
        """One operation, on vectors of one size, single numbers and constants."""
        random = self.random
        operation = random.choice([*OPERATIONS, *TAME * 3])
        if size is not None and operation == "mean":
            operation = "tanh"
        of = size or self.size()
        vectors = self.read(of) or list(self.vectors)[:1]
        of, alone = self.vectors[vectors[0]], self.read("one")
        operands: list[Json] = []
        for place in range(OPERATIONS[operation].arity):
            if operation == "power" and place == 1:
                operands.append(random.choice([2, 3, 0.5, -1, 0]))
            elif place == 0 or random.random() < 0.7:
                operands.append(random.choice(vectors))
            elif alone and random.random() < 0.5:
                operands.append(random.choice(alone))
            else:
                operands.append(random.choice([0, 1, -1, 0.5, 2.5, {"number": "inf"}]))
        found = {self.vectors[o] for o in operands if isinstance(o, str)} - {"one"}
        new = "one" if operation == "mean" or not found else found.pop()
        name = self.name(new)
        self.lines.append({"name": name, "size": new, "operation": operation, "operands": operands})
        return name


def plain_form() -> Json:
    return {"blocks": 1, "excitatory": None, "masked": False, "antisymmetric": False}


def random_cell(random: Random) -> Json:
    """A cell's description in JSON's values: it is read, and runs."""
    cell = Drawn(random)
    name = cell.name("input")
    read = {"name": name, "size": "input"}
    constants = _quantities(cell, random.choice([0, 0, 0, 1, 2]))
    states = _quantities(cell, random.choice([1, 1, 2, 3, 5]))
    draws = [_draw(cell) for _ in range(random.choice([0, 0, 0, 1, 2]))]
    for _ in range(random.choice([0, 0, 1, 2])):
        _vector(cell)
    for _ in range(random.choice([1, 3, 6, 12, 25])):
        if random.random() < 0.3:
            cell.sum()
        else:
            cell.line()
    following = [_following(cell, state) for state in states]
    lines = [line["name"] for line in cell.lines]
    return {
        "format": FORMAT,
        "name": random.choice(["Cell", "a cell <of> & none", "细胞"]),
        "input": read,
        "constants": constants,
        "states": states,
        "weights": list(cell.weights.values()),
        "draws": draws,
        "lines": cell.lines,
        "next": following,
        "named": random.sample(lines, random.randrange(len(lines) + 1)),
    }


def _quantities(cell: Drawn, count: int) -> list[Json]:
    sizes = [cell.random.choice([cell.size(), "hidden", "one"]) for _ in range(count)]
    return [{"name": cell.name(size), "size": size} for size in sizes]


def _draw(cell: Drawn) -> Json:
    size, random = cell.size(), cell.random
    return {
        "name": cell.name(size),
        "size": size,
        "law": random.choice(["normal", "bernoulli"]),
        "parameter": random.choice([0, 0.5, 1]),
        "each": random.choice(["step", "sequence"]),
        "resting": random.choice([0, 1]),
    }


def _vector(cell: Drawn) -> None:
    """A weight a unit, or one for all."""
    kind = cell.random.choice(["vector", "scalar"])
    size = cell.size() if kind == "vector" else "one"
    name = cell.name(size)
    cell.weights[name] = {
        "name": name,
        "kind": kind,
        "parts": [{"label": name, "size": size}],
        "columns": None,
        "initial": None,
        "form": plain_form(),
    }


def _following(cell: Drawn, state: Json) -> str:
    """The next value of a state: something that is there, or, mostly, a line of its own."""
    others = [n for n in cell.read(state["size"]) if n != state["name"] and n not in cell.weights]
    if others and cell.random.random() < 0.3:
        return cell.random.choice(others)
    return cell.line(state["size"])


def sizes_of(names: Sequence[str]) -> dict[str, int]:
    """How many numbers each size has, as a module is told it."""
    return {f"{name}_size": UNITS.get(name, UNITS["input"]) for name in names}

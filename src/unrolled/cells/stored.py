"""A description as JSON's values, and back: nothing in a file is run, and nothing is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn, get_args

from unrolled.cells.description import (
    INPUT,
    ONE,
    Bias,
    Description,
    Draw,
    Form,
    Kind,
    Line,
    Operand,
    Part,
    Product,
    Quantity,
    Sum,
    Weight,
)
from unrolled.cells.detached import origins
from unrolled.cells.operations import OPERATIONS
from unrolled.errors import InputError, clip

FORMATS = PLAIN, FORMAT = 1, 2
"""A cell is written in the oldest that can say it: the newer is that of cells that detach."""
MOST = {
    "constants": 100,
    "states": 100,
    "weights": 1000,
    "draws": 100,
    "lines": 10_000,
    "parts": 1000,
    "products": 1000,
    "biases": 1000,
    "operands": 3,
}
"""So many there may be of each: far more than a cell has, and few enough to be read at once."""

LONGEST_NAME = 100
LARGEST = (2 - 2**-23) * 2.0**127
MOST_BLOCKS = 10_000


def to_json(description: Description) -> dict[str, Any]:
    """The description in JSON's values."""
    found = {"format": FORMAT if origins(description) else PLAIN, **asdict(description)}
    for line in found["lines"]:
        if "operands" in line:
            line["operands"] = [_written(operand) for operand in line["operands"]]
    return found


def _written(operand: Operand) -> Any:
    """JSON has no infinity."""
    if isinstance(operand, str) or math.isfinite(operand):
        return operand
    return {"number": str(operand)}


REPAIR = "The description is damaged: make it anew from the cell"


def from_json(value: Any, where: str = "cell", repair: str = REPAIR) -> Description:
    """The description that JSON's values say.

    Args:
        value: what a file holds.
        where: what to call it in a message.
        repair: what to do about a damaged one.

    Raises:
        InputError: it is no description, or one of a newer version, or says what can't be.
    """
    return _Reader().description(_At(where, value, repair))


class _At:
    """A value of the file and its place."""

    def __init__(self, where: str, value: Any, repair: str) -> None:
        self.where, self.value, self.repair = where, value, repair

    def within(self, where: str, value: Any) -> _At:
        """A value that stands in this one."""
        return _At(f"{self.where}{where}", value, self.repair)

    def refuse(self, expected: str) -> NoReturn:
        """Says what was expected here, and what came."""
        raise InputError(
            f"{self.where}: {expected} was expected, got {clip(repr(self.value), 60)}. "
            f"{self.repair}"
        )

    def fields(self, *names: str) -> dict[str, _At]:
        """The fields of an object, which has these and no others."""
        if not isinstance(self.value, Mapping) or set(self.value) != set(names):
            self.refuse(f"an object with {', '.join(names)}")
        return {name: self.within(f".{name}", self.value[name]) for name in names}

    def items(self, kind: str, least: int = 0) -> list[_At]:
        """The items of a list."""
        most = MOST[kind]
        if not isinstance(self.value, list | tuple) or not least <= len(self.value) <= most:
            self.refuse(f"a list of {least} to {most} {kind}")
        return [self.within(f"[{i}]", item) for i, item in enumerate(self.value)]

    def name(self) -> str:
        """A name."""
        value = self.value
        if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isidentifier():
            self.refuse("a name")
        return str(value)

    def text(self) -> str:
        """Any text of that length that can be shown."""
        value = self.value
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
            self.refuse("a short text")
        if not value.isprintable():
            self.refuse("a text that can be printed")
        return str(value)

    def number(self) -> float:
        """A finite number."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse("a number")
        try:
            found = float(value)
        except OverflowError:
            self.refuse("a number")
        if not math.isfinite(found):
            self.refuse("a finite number")
        return found

    def single(self) -> float:
        """A number that float32 can hold, for what weights and random numbers are filled with."""
        found = self.number()
        if abs(found) > LARGEST:
            self.refuse(f"a number within ±{LARGEST:.5g}, the largest of float32,")
        return found

    def one_of(self, *choices: str) -> Any:
        """One of these words."""
        if self.value not in choices or not isinstance(self.value, str):
            self.refuse(f"one of {', '.join(choices)}")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def place(self, count: int) -> int:
        """A place among so many."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            self.refuse(f"a number from 0 to {count - 1}")
        return int(value)


FIELDS = (
    "format", "name", "input", "constants", "states", "weights", "draws", "lines", "next", "named",
)  # fmt: skip


class _Reader:
    def __init__(self) -> None:
        self.format = FORMAT
        self.sizes: dict[str, str] = {}  # of all that has been named so far
        self.weights: dict[str, Weight] = {}
        self.lines: list[Sum | Line] = []

    def description(self, at: _At) -> Description:
        if isinstance(at.value, Mapping) and (version := at.value.get("format")) not in FORMATS:
            if isinstance(version, int) and version > FORMAT:
                raise InputError(
                    f"{at.where}: its format is {version}, and this version of unrolled reads "
                    f"{FORMAT}. Install a newer one"
                )
            at.within(".format", version).refuse(f"one of the numbers {FORMATS}")
        fields = at.fields(*FIELDS)
        self.format = fields["format"].value
        name = fields["name"].text()
        input = self._quantity(fields["input"])
        if input.size != INPUT:
            fields["input"].refuse("the size input")
        constants = tuple(self._quantity(c) for c in fields["constants"].items("constants"))
        states = tuple(self._quantity(s) for s in fields["states"].items("states", 1))
        weights = tuple(self._weight(w) for w in fields["weights"].items("weights"))
        draws = tuple(self._draw(d) for d in fields["draws"].items("draws"))
        for line in fields["lines"].items("lines", 1):
            self.lines.append(self._line(line))
        following = fields["next"].items("states", 1)
        if len(following) != len(states):
            fields["next"].refuse(f"{len(states)} names")
        named = fields["named"].items("lines")
        return Description(
            name=name,
            input=input,
            constants=constants,
            states=states,
            weights=weights,
            draws=draws,
            lines=tuple(self.lines),
            next=tuple(self._following(n, s) for n, s in zip(following, states, strict=True)),
            named=tuple(self._line_named(n) for n in named),
        )

    def _new(self, at: _At, size: str) -> str:
        name = at.name()
        if name in self.sizes or name in self.weights:
            at.refuse("a name that nothing has yet")
        self.sizes[name] = size
        return name

    def _size(self, at: _At, *, may_be_one: bool) -> str:
        size = at.name()
        if size == ONE and not may_be_one:
            at.refuse("the name of a size of more than one number")
        return size

    def _quantity(self, at: _At) -> Quantity:
        fields = at.fields("name", "size")
        size = self._size(fields["size"], may_be_one=True)
        return Quantity(self._new(fields["name"], size), size)

    def _weight(self, at: _At) -> Weight:
        fields = at.fields("name", "kind", "parts", "columns", "initial", "form")
        kind: Kind = fields["kind"].one_of(*get_args(Kind))
        parts = tuple(self._part(part, kind) for part in fields["parts"].items("parts", 1))
        if kind in ("vector", "scalar") and len(parts) != 1:
            fields["parts"].refuse("one part")
        columns = None
        if kind == "matrix":
            columns = self._size(fields["columns"], may_be_one=False)
        elif fields["columns"].value is not None:
            fields["columns"].refuse("null, since it is no matrix,")
        initial = None if fields["initial"].value is None else fields["initial"].single()
        if kind in ("vector", "scalar"):
            name = self._new(fields["name"], parts[0].size)
        else:
            name = fields["name"].name()
            if name in self.sizes or name in self.weights:
                fields["name"].refuse("a name that nothing has yet")
        form = self._form(fields["form"])
        if kind != "matrix" and form != Form():
            fields["form"].refuse("the form of what is no matrix")
        self.weights[name] = weight = Weight(name, kind, parts, columns, initial, form)
        return weight

    def _form(self, at: _At) -> Form:
        fields = at.fields("blocks", "excitatory", "masked", "antisymmetric")
        blocks = fields["blocks"].place(MOST_BLOCKS + 1)
        if blocks == 0:
            fields["blocks"].refuse("a number of at least 1")
        share = None if fields["excitatory"].value is None else fields["excitatory"].number()
        if share is not None and not 0 <= share <= 1:
            fields["excitatory"].refuse("a share, from 0 to 1")
        return Form(blocks, share, fields["masked"].truth(), fields["antisymmetric"].truth())

    def _part(self, at: _At, kind: Kind) -> Part:
        fields = at.fields("label", "size")
        size = self._size(fields["size"], may_be_one=kind == "scalar")
        if kind == "scalar" and size != ONE:
            fields["size"].refuse("the size one")
        return Part(fields["label"].name(), size)

    def _draw(self, at: _At) -> Draw:
        fields = at.fields("name", "size", "law", "parameter", "each", "resting")
        size = self._size(fields["size"], may_be_one=False)
        law = fields["law"].one_of("normal", "bernoulli")
        parameter = fields["parameter"].single()
        if not 0 <= parameter <= (1 if law == "bernoulli" else math.inf):
            fields["parameter"].refuse("a probability or a deviation")
        each = fields["each"].one_of("step", "sequence")
        name = self._new(fields["name"], size)
        return Draw(name, size, law, parameter, each, fields["resting"].single())

    def _line(self, at: _At) -> Sum | Line:
        if isinstance(at.value, Mapping) and "products" in at.value:
            return self._sum(at)
        fields = at.fields("name", "size", "operation", "operands")
        known = [name for name in OPERATIONS if self.format == FORMAT or name != "detach"]
        operation = fields["operation"].one_of(*known)
        operands = fields["operands"].items("operands", 1)
        if len(operands) != OPERATIONS[operation].arity:
            fields["operands"].refuse(f"{OPERATIONS[operation].arity} operands")
        found = tuple(map(self._operand, operands))
        if not any(isinstance(operand, str) for operand in found):
            fields["operands"].refuse("a name among the operands")
        if operation == "power" and isinstance(found[1], str):
            operands[1].refuse("a number")
        wide = {self.sizes[o] for o in found if isinstance(o, str)} - {ONE}
        if len(wide) > 1:
            fields["operands"].refuse("vectors of one size")
        size = ONE if operation == "mean" or not wide else wide.pop()
        if fields["size"].value != size:
            fields["size"].refuse(f"the size {size}")
        return Line(self._new(fields["name"], size), size, operation, found)

    def _operand(self, at: _At) -> Operand:
        if isinstance(at.value, str):
            return self._known(at)
        if isinstance(at.value, Mapping):
            return float(at.fields("number")["number"].one_of("inf", "-inf", "nan"))
        return at.number()

    def _known(self, at: _At) -> str:
        if not isinstance(at.value, str) or at.value not in self.sizes:
            at.refuse("the name of something that stands before")
        return at.value

    def _sum(self, at: _At) -> Sum:
        fields = at.fields("name", "size", "products", "biases")
        size = self._size(fields["size"], may_be_one=False)
        products = tuple(self._product(p, size) for p in fields["products"].items("products", 1))
        biases = []
        for bias in fields["biases"].items("biases"):
            of = bias.fields("weight", "part")
            biases.append(Bias(*self._rows(of, "bias", size)))
        return Sum(self._new(fields["name"], size), size, products, tuple(biases))

    def _product(self, at: _At, size: str) -> Product:
        fields = at.fields("weight", "part", "of")
        weight, part = self._rows(fields, "matrix", size)
        of = self._known(fields["of"])
        if of in self.weights or self.sizes[of] != self.weights[weight].columns:
            fields["of"].refuse(f"a vector of the size {self.weights[weight].columns}")
        return Product(weight, part, of)

    def _rows(self, fields: Mapping[str, _At], kind: Kind, size: str) -> tuple[str, int]:
        at = fields["weight"]
        weight = self.weights.get(at.value) if isinstance(at.value, str) else None
        if weight is None or weight.kind != kind:
            at.refuse(f"the name of a {kind}")
        part = fields["part"].place(len(weight.parts))
        if weight.parts[part].size != size:
            fields["part"].refuse(f"a part of the size {size}")
        return weight.name, part

    def _line_named(self, at: _At) -> str:
        if not any(line.name == at.value for line in self.lines):
            at.refuse("the name of a line")
        return str(at.value)

    def _following(self, at: _At, state: Quantity) -> str:
        name = self._known(at)
        if self.sizes[name] != state.size or name == state.name or name in self.weights:
            at.refuse(f"the next value of {state.name}, of the size {state.size},")
        return name

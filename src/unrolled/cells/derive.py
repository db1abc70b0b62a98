"""The backward equations of a step, by symbolic differentiation.

From what a loss says of the states after a step (its derivatives by them) they compute what it
says of the sums, of the states before the step, and of all else that the step reads. The sums'
products with weights are left as products: ``weight^T·d_sum`` for what a sum multiplies, and for
the weights' own gradients the sums over all steps of ``d_sum·of^T``, which whoever runs this
takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unrolled.cells.description import ONE, Description, Line, Operand, Product, Sum
from unrolled.cells.detached import origins

Derivative = Callable[["_Builder", Line, str], list[tuple[int, Operand]]]
"""From a line and the derivative by its result, those by its operands, by their places."""


@dataclass(frozen=True)
class BackSum:
    """``name`` = ``plus``, if any, and the products of transposed parts with vectors, added up."""

    name: str
    size: str
    products: tuple[Product, ...]
    plus: str | None = None


@dataclass(frozen=True)
class Backward:
    """The equations of a step back.

    They read what the step itself computed, under its names, and ``given``: the derivative by each
    state after the step. Those by anything else have a name in ``by``, or none where it is 0:
    by a state before the step, an input, a vector or scalar of weights, or a sum. Besides a cell's
    own operations there are ``total``, the sum over a row's units, and ``share``, which gives each
    of them the same share of a number.
    """

    given: tuple[str, ...]
    lines: tuple[Line | BackSum, ...]
    by: dict[str, str]


def differentiate(description: Description) -> Backward:
    """The equations of a step back.

    Where a function has no derivative it is torch's choice: 0 for relu and the distance from 0 at
    0, a half for each of two equal operands of minimum and maximum. Nothing is computed for what is
    detached, and no line reads it: what it is the value of is read.
    """
    builder = _Builder(description)
    given = tuple(f"∂{state.name}′" for state in description.states)
    for following, name in zip(description.next, given, strict=True):
        builder.add_to(following, name)
    for line in reversed(description.lines):
        derivative = builder.derivative(line.name)
        if derivative is None:
            continue
        if isinstance(line, Sum):
            builder.by[line.name] = builder.named(f"∂{line.name}", line.size, derivative)
            for product in line.products:
                builder.back(product, builder.by[line.name])
            continue
        for place, by_operand in RULES[line.operation](builder, line, derivative):
            operand = line.operands[place]
            if isinstance(operand, str):
                builder.add_to(operand, by_operand)
    for name in builder.size_of:
        if name not in description.by_name and (found := builder.derivative(name)) is not None:
            builder.by[name] = found
    return Backward(given, tuple(builder.lines), builder.by)


class _Builder:
    def __init__(self, description: Description) -> None:
        self.description = description
        self.lines: list[Line | BackSum] = []
        self.by: dict[str, str] = {}
        self.size_of = {description.input.name: description.input.size}
        for quantity in (*description.constants, *description.states):
            self.size_of[quantity.name] = quantity.size
        for weight in description.weights:
            if weight.kind in ("vector", "scalar"):
                self.size_of[weight.name] = weight.parts[0].size
        self.size_of |= {line.name: line.size for line in description.lines}
        self._draws = {draw.name: draw.size for draw in description.draws}
        self._origins = origins(description)
        self._sums: dict[str, list[Operand]] = {}
        self._products: dict[str, list[Product]] = {}
        self._sizes: dict[str, str] = {}

    def add_to(self, name: str, derivative: Operand) -> None:
        """Adds to the derivative by what has this name; of random numbers nobody asks it.

        Nor does anything go through what is detached.
        """
        if derivative != 0 and name in self.size_of and name not in self._origins:
            self._sums.setdefault(name, []).append(derivative)

    def back(self, product: Product, derivative: str) -> None:
        """Adds what a product says of the vector that it multiplies."""
        if product.of in self._origins:
            return
        self._products.setdefault(product.of, []).append(
            Product(product.weight, product.part, derivative)
        )

    def derivative(self, name: str) -> str | None:
        """The derivative by what has this name, when all that it consists of is known."""
        terms, products = self._sums.pop(name, []), self._products.pop(name, [])
        size = self.size_of[name]
        if size == ONE:  # of a number that all units share, first what each of them says
            by_size: dict[str, list[Operand]] = {}
            for term in terms:
                by_size.setdefault(self.size(term), []).append(term)
            ones = by_size.pop(ONE, [])
            terms = [self.line("total", self.added(of_size)) for of_size in by_size.values()] + ones
        found = self.added(terms) if terms else None
        if not products:
            return None if found is None else self.as_name(found)
        plus = None if found is None else self.as_name(found)
        result = BackSum(f"∂{name}", size, tuple(products), plus)
        self.lines.append(result)
        self._sizes[result.name] = size
        return result.name

    def added(self, terms: list[Operand]) -> Operand:
        """One or more added up."""
        found, *rest = terms
        for term in rest:
            found = self.line("add", found, term)
        return found

    def size(self, operand: Operand) -> str:
        """The size of what stands for an operand."""
        if not isinstance(operand, str):
            return ONE
        if operand in self._sizes:
            return self._sizes[operand]
        if operand in self.size_of:
            return self.size_of[operand]
        if operand in self._draws:
            return self._draws[operand]
        state = next(s for s in self.description.states if operand == f"∂{s.name}′")
        return state.size

    def line(self, operation: str, *operands: Operand) -> Operand:
        """A new line, or what it comes to where that is plain."""
        operands = tuple(self._origins.get(o, o) if isinstance(o, str) else o for o in operands)
        if (plain := simplified(operation, operands)) is not None:
            return plain
        sizes = [s for s in map(self.size, operands) if s != ONE]
        size = ONE if operation in ("mean", "total") or not sizes else sizes[0]
        name = f"∂{len(self.lines) + 1}"
        self.lines.append(Line(name, size, operation, operands))
        self._sizes[name] = size
        return name

    def named(self, name: str, size: str, operand: str) -> str:
        """The last line under another name, where nobody else reads it, or as it is."""
        last = self.lines[-1] if self.lines else None
        is_read = operand in self.by.values() or any(operand in t for t in self._sums.values())
        if isinstance(last, Line) and last.name == operand and not is_read:
            self.lines[-1] = Line(name, last.size, last.operation, last.operands)
            self._sizes[name] = size
            return name
        return operand

    def as_name(self, operand: Operand) -> str:
        """A line for a bare number."""
        if isinstance(operand, str):
            return operand
        name = f"∂{len(self.lines) + 1}"
        self.lines.append(Line(name, ONE, "add", (operand, 0.0)))
        self._sizes[name] = ONE
        return name

    def shared(self, derivative: str, among: Operand) -> str:
        """A derivative by the mean of a row's units, in equal shares to each of these."""
        name = f"∂{len(self.lines) + 1}"
        self.lines.append(Line(name, self.size(among), "share", (derivative,)))
        self._sizes[name] = self.size(among)
        return name


def simplified(operation: str, operands: tuple[Operand, ...]) -> Operand | None:
    """What a line comes to without being computed: for any numbers, NaN too, but for times 0."""
    match operation, operands:
        case "multiply", (0.0, _) | (_, 0.0):
            return 0.0
        case "multiply", (1.0, other) | (other, 1.0):
            return other
        case "add", (0.0, other) | (other, 0.0):
            return other
        case "subtract" | "divide", (other, neutral) if neutral == (operation == "divide"):
            return other
        case "power", (other, 1.0):
            return other
        case "power", (_, 0.0):
            return 1.0
    return None


def _times(b: _Builder, d: str, *factors: Operand) -> Operand:
    found: Operand = d
    for factor in factors:
        found = b.line("multiply", found, factor)
    return found


def _from_result(*factors: Callable[[_Builder, str], Operand]) -> Derivative:
    """Of a function of one number whose slope is told by its result: one factor after the other."""
    return lambda b, line, d: [(0, _times(b, d, *[factor(b, line.name) for factor in factors]))]


def _from_operand(factor: Callable[[_Builder, Operand], Operand]) -> Derivative:
    """Of a function of one number whose slope is told by that."""
    return lambda b, line, d: [(0, _times(b, d, factor(b, line.operands[0])))]


def _multiply(b: _Builder, line: Line, d: str) -> list[tuple[int, Operand]]:
    x, y = line.operands
    return [(0, _times(b, d, y)), (1, _times(b, d, x))]


def _divide(b: _Builder, line: Line, d: str) -> list[tuple[int, Operand]]:
    _, y = line.operands
    by_x = b.line("divide", d, y)
    return [(0, by_x), (1, b.line("negative", b.line("multiply", by_x, line.name)))]


def _power(b: _Builder, line: Line, d: str) -> list[tuple[int, Operand]]:
    x, exponent = line.operands
    assert isinstance(exponent, float)
    return [(0, _times(b, d, b.line("multiply", exponent, b.line("power", x, exponent - 1))))]


def _of_two(loses: Callable[[_Builder, Operand, Operand], Operand]) -> Derivative:
    """Of the one of two numbers that wins; with NaN neither loses, as in torch."""

    def rule(b: _Builder, line: Line, d: str) -> list[tuple[int, Operand]]:
        x, y = line.operands
        shared = b.line("where", b.line("equal", x, y), b.line("multiply", d, 0.5), d)
        return [
            (0, b.line("where", loses(b, x, y), 0.0, shared)),
            (1, b.line("where", loses(b, y, x), 0.0, shared)),
        ]

    return rule


def _where(b: _Builder, line: Line, d: str) -> list[tuple[int, Operand]]:
    condition = line.operands[0]
    return [(1, b.line("where", condition, d, 0.0)), (2, b.line("where", condition, 0.0, d))]


def _nothing(_: _Builder, __: Line, ___: str) -> list[tuple[int, Operand]]:
    return []


RULES: dict[str, Derivative] = {
    "negative": lambda b, _, d: [(0, b.line("negative", d))],
    "add": lambda _, __, d: [(0, d), (1, d)],
    "subtract": lambda b, _, d: [(0, d), (1, b.line("negative", d))],
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "absolute": _from_operand(lambda b, x: b.line("sign", x)),
    "sign": _nothing,
    "exp": _from_result(lambda _, y: y),
    "log": lambda b, line, d: [(0, b.line("divide", d, line.operands[0]))],
    "sqrt": lambda b, line, d: [(0, b.line("divide", b.line("multiply", d, 0.5), line.name))],
    "sigmoid": _from_result(lambda _, y: y, lambda b, y: b.line("subtract", 1.0, y)),
    "tanh": _from_result(lambda b, y: b.line("subtract", 1.0, b.line("multiply", y, y))),
    "relu": lambda b, line, d: [(0, b.line("where", b.line("less_equal", line.name, 0.0), 0.0, d))],
    "softplus": _from_operand(lambda b, x: b.line("sigmoid", x)),
    "minimum": _of_two(lambda b, x, y: b.line("less", y, x)),
    "maximum": _of_two(lambda b, x, y: b.line("less", x, y)),
    "less": _nothing,
    "less_equal": _nothing,
    "equal": _nothing,
    "where": _where,
    "detach": _nothing,
    "mean": lambda b, line, d: [(0, b.shared(d, line.operands[0]))],
}

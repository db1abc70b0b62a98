"""Which cell of ONNX's standard a description is: by its equations, whatever its names are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any, NamedTuple

from unrolled import cells
from unrolled.cells import Cell, Description, linear, sigmoid, tanh
from unrolled.cells.description import Bias, Operand, Product, Sum
from unrolled.deploy.onnx_gates import ORDER, RESET

PEEPHOLES = ("peephole_input", "peephole_output", "peephole_forget")
"""The weights of the standard's input P in its order."""
MOST_TERMS = 8
"""More than any sum of the standard's cells adds up."""

Added = Bias | Operand
"""What is added to the products of a gate: a part of a bias, a vector of weights, a number."""


@dataclass(frozen=True)
class Gate:
    """Where a description has a gate of the standard's.

    Attributes:
        w: the product with the input.
        r: the product with the state.
        w_bias: what is added to the first.
        r_bias: what is added to the second.
    """

    w: Product
    r: Product
    w_bias: tuple[Added, ...]
    r_bias: tuple[Added, ...]


@dataclass(frozen=True)
class Recognised:
    """A description as one of the standard's cells.

    Attributes:
        operator: RNN, LSTM or GRU.
        attributes: of the node.
        activations: of the node, for each direction; None for the standard's own.
        gates: in the standard's order, None for one that the cell does not have.
        peepholes: the names of the vectors, in the standard's order.
    """

    operator: str
    attributes: Mapping[str, int]
    activations: tuple[str, ...] | None
    gates: tuple[Gate | None, ...]
    peepholes: tuple[str, ...]


def recognised(cell: Description) -> Recognised | None:
    """The cell of the standard that a description is, or None.

    Names, the order of lines, terms and factors, the number of biases and the forms of matrices
    make no difference. Random numbers and constants do: see :func:`unrolled.cells.resting.at_rest`.
    """
    for pattern in _patterns():
        bound = _matched(pattern.cell, cell)
        if bound is not None:
            return Recognised(
                pattern.operator,
                pattern.attributes,
                pattern.activations,
                tuple(_gate(pattern.cell, label, bound) for label in ORDER[pattern.operator]),
                tuple(bound.names[name] for name in PEEPHOLES if name in bound.names),
            )
    return None


# --- what the standard has ------------------------------------------------------------------------


class _GRU(Cell):
    """The GRU with its last line written as in the standard."""

    def step(self, x: Any, hidden: Any) -> Any:
        reset, update = sigmoid(linear(x, hidden)), sigmoid(linear(x, hidden))
        candidate = tanh(linear(x) + reset * linear(hidden))
        return (1 - update) * candidate + update * hidden


class _GRUResetBefore(Cell):
    """The other one with its last line written as torch computes it."""

    def step(self, x: Any, hidden: Any) -> Any:
        reset, update = sigmoid(linear(x, hidden)), sigmoid(linear(x, hidden))
        kept = reset * hidden
        candidate = tanh(linear(x, kept))
        return candidate + update * (hidden - candidate)


class _CIFG(Cell):
    """Coupled gates in one product fewer."""

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        input = sigmoid(linear(x, hidden))
        candidate = tanh(linear(x, hidden))
        output = sigmoid(linear(x, hidden))
        cell = cell + input * (candidate - cell)
        return output * tanh(cell), cell


class _Pattern(NamedTuple):
    cell: Description
    operator: str
    attributes: Mapping[str, int]
    activations: tuple[str, ...] | None = None


@cache
def _patterns() -> tuple[_Pattern, ...]:
    """The standard's cells, their gates and peepholes by the names that they have there."""
    after, before, coupled = (
        {RESET: 1},
        {RESET: 0},
        {"input_forget": 1},
    )
    return (
        _Pattern(cells.RNN().description, "RNN", {}),
        _Pattern(cells.RNN(nonlinearity="relu").description, "RNN", {}, ("Relu",)),
        _Pattern(cells.LSTM().description, "LSTM", {}),
        _Pattern(cells.PeepholeLSTM().description, "LSTM", {}),
        _Pattern(cells.CIFG().description, "LSTM", coupled),
        _Pattern(_CIFG().description, "LSTM", coupled),
        _Pattern(cells.GRU().description, "GRU", after),
        _Pattern(_GRU().description, "GRU", after),
        _Pattern(cells.GRUResetBefore().description, "GRU", before),
        _Pattern(_GRUResetBefore().description, "GRU", before),
    )


def _gate(pattern: Description, label: str, bound: _Bound) -> Gate | None:
    """Where the cell has that gate of the pattern."""
    w, r = None, None
    for line in pattern.sums:
        for product in line.products:
            if pattern.weights_by_name[product.weight].parts[product.part].label != label:
                continue
            if product.of == pattern.input.name:
                w = product, line
            else:
                r = product, line
    if w is None or r is None:
        return None
    w_bias, r_bias = (bound.added[line.name] for _, line in (w, r))
    if w[1] is r[1]:  # one sum: the standard has two biases all the same, as torch has
        w_bias, r_bias = w_bias[:1], w_bias[1:]
    return Gate(bound.products[w[0]], bound.products[r[0]], w_bias, r_bias)


# --- whether a description is that ----------------------------------------------------------------


_Pair = tuple[Operand, Operand]
"""One of the pattern, and one of the cell."""


class _Bound(NamedTuple):
    """What of the cell stands for what of the pattern.

    ``names`` has states, vectors of weights and lines; ``added`` has by the name of a pattern's sum
    what the cell adds to its products.
    """

    names: Mapping[str, str]
    products: Mapping[Product, Product]
    added: Mapping[str, tuple[Added, ...]]


def _matched(pattern: Description, cell: Description) -> _Bound | None:
    if len(cell.states) != len(pattern.states) or cell.constants or cell.draws:
        return None
    names = {pattern.input.name: cell.input.name}
    names |= {p.name: c.name for p, c in zip(pattern.states, cell.states, strict=True)}
    following: list[_Pair] = list(zip(pattern.next, cell.next, strict=True))
    return next(_Matcher(pattern, cell).all(following, _Bound(names, {}, {})), None)


class _Matcher:
    """Tries what of the cell can stand for what of the pattern, one after the other."""

    def __init__(self, pattern: Description, cell: Description) -> None:
        self.pattern, self.cell = pattern, cell

    def all(self, pairs: list[_Pair], bound: _Bound) -> Iterator[_Bound]:
        """The ways in which each second can stand for its first."""
        if not pairs:
            yield bound
            return
        for found in self._one(*pairs[0], bound):
            yield from self.all(pairs[1:], found)

    def _one(self, mine: Operand, theirs: Operand, bound: _Bound) -> Iterator[_Bound]:
        if not isinstance(mine, str) or not isinstance(theirs, str):
            if mine == theirs:
                yield bound
        elif mine in bound.names:
            if bound.names[mine] == theirs:
                yield bound
        elif mine in self.pattern.weights_by_name:
            weight = self.cell.weights_by_name.get(theirs)
            if weight is not None and weight.kind == "vector":
                yield bound._replace(names={**bound.names, mine: theirs})
        elif theirs in self.cell.by_name:
            yield from self._line(mine, theirs, bound._replace(names={**bound.names, mine: theirs}))

    def _line(self, mine: str, theirs: str, bound: _Bound) -> Iterator[_Bound]:
        this, that = self.pattern.by_name[mine], self.cell.by_name[theirs]
        if isinstance(this, Sum) or this.operation == "add":
            yield from self._added(mine, theirs, bound)
        elif not isinstance(that, Sum) and this.operation == that.operation:
            is_either_way = that.operation == "multiply"
            for operands in permutations(that.operands) if is_either_way else [that.operands]:
                yield from self.all(list(zip(this.operands, operands, strict=True)), bound)

    def _added(self, mine: str, theirs: str, bound: _Bound) -> Iterator[_Bound]:
        """Additions, in any order; what is left over has to be biases."""
        this, that = _terms(self.pattern, mine), _terms(self.cell, theirs)
        if this is None or that is None or len(this.products) != len(that.products):
            return
        for products in permutations(that.products):
            of = [(p.of, q.of) for p, q in zip(this.products, products, strict=True)]
            for places in permutations(range(len(that.others)), len(this.others)):
                chosen = [that.others[place] for place in places]
                left = [o for place, o in enumerate(that.others) if place not in places]
                if left and not (this.sums and all(map(self._is_bias, left))):
                    continue
                found = bound._replace(
                    products={**bound.products, **dict(zip(this.products, products, strict=True))},
                    added={**bound.added, **dict.fromkeys(this.sums, (*that.biases, *left))},
                )
                yield from self.all([*of, *zip(this.others, chosen, strict=True)], found)

    def _is_bias(self, operand: Operand) -> bool:
        return not isinstance(operand, str) or operand in self.cell.weights_by_name


class _Terms(NamedTuple):
    """What a line adds up: the products and biases of sums, whose names are kept, and the rest."""

    products: list[Product]
    biases: list[Bias]
    others: list[Operand]
    sums: list[str]


def _terms(description: Description, name: str) -> _Terms | None:
    """Of a line and the additions that it reads; None if they are too many."""
    found = _Terms([], [], [], [])
    todo: list[Operand] = [name]
    while todo:
        operand = todo.pop(0)
        line = description.by_name.get(operand) if isinstance(operand, str) else None
        if isinstance(line, Sum):
            found.products.extend(line.products)
            found.biases.extend(line.biases)
            found.sums.append(line.name)
        elif line is not None and line.operation == "add":
            todo[:0] = line.operands
        else:
            found.others.append(operand)
        if len(todo) + len(found.products) + len(found.others) + len(found.biases) > MOST_TERMS:
            return None
    return found

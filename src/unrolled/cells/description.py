"""A cell as data: its sizes, states, weights and equations, and nothing that runs.

A description says what one step of one layer does to one row. Everything that computes a cell, or
shows it, does so from its description: the reference, the compiled core, the recorder, the
drawings, streams and exported files. It is plain data, so that it travels in a file, and reading
one executes nothing.

A *size* is named: ``input`` (I), ``hidden`` (H), and what else the cell has; ``one`` is that of a
number that all units of a row share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

INPUT, HIDDEN, ONE = "input", "hidden", "one"

Operand = str | float
"""The name of what stands before the line: an input, a state, a draw, a weight, an earlier line."""


@dataclass(frozen=True)
class Quantity:
    """A named vector of so many numbers."""

    name: str
    size: str


@dataclass(frozen=True)
class Part:
    """Some of the rows of a weight: those that ``label`` reads."""

    label: str
    size: str


@dataclass(frozen=True)
class Form:
    """How the parts of a matrix become what multiplies.

    With ``blocks`` above 1 a part is so many blocks along its diagonal and 0 beside them; what is
    learned has a column for each of a block's. With ``excitatory``, a share from 0 to 1, the first
    columns of that share have weights of at least 0 and the others of at most 0: the sizes are
    learned, and ``sign_`` and the name of the weight holds the signs (Dale's law). With ``masked``
    what is learned is multiplied by ``mask_`` and the name, which begins as ones. A part that is
    ``antisymmetric`` is what is learned minus its transpose; in blocks, each block is.
    """

    blocks: int = 1
    excitatory: float | None = None
    masked: bool = False
    antisymmetric: bool = False


Kind = Literal["matrix", "bias", "vector", "scalar"]


@dataclass(frozen=True)
class Weight:
    """What is learned, or given.

    A ``matrix`` has a row for each number of its parts, which stand one below the other, and
    ``columns`` columns; a ``bias`` has a number for each row; a ``vector`` a number for each unit,
    and a ``scalar`` one for all. ``initial`` is the value at the start, None for torch's law:
    uniform within ±1/√H.

    What multiplies may be other than what is learned: see :class:`Form`.
    """

    name: str
    kind: Kind
    parts: tuple[Part, ...]
    columns: str | None = None
    initial: float | None = None
    form: Form = Form()


@dataclass(frozen=True)
class Draw:
    """Random numbers: in training drawn anew for every step, or once a sequence.

    ``law`` is ``normal``, with the standard deviation ``parameter``, or ``bernoulli``, 1 with the
    probability ``parameter`` and else 0. Outside of training there is ``resting`` instead.
    """

    name: str
    size: str
    law: Literal["normal", "bernoulli"]
    parameter: float
    each: Literal["step", "sequence"]
    resting: float


@dataclass(frozen=True)
class Product:
    """A part of a matrix times a vector."""

    weight: str
    part: int
    of: str


@dataclass(frozen=True)
class Bias:
    """A part of a bias."""

    weight: str
    part: int


@dataclass(frozen=True)
class Sum:
    """``name`` = the biases, and the products of weights with vectors, added up in this order."""

    name: str
    size: str
    products: tuple[Product, ...]
    biases: tuple[Bias, ...] = ()


@dataclass(frozen=True)
class Line:
    """``name`` = ``operation`` of the operands, unit by unit or over the units of a row."""

    name: str
    size: str
    operation: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Description:
    """A cell.

    Attributes:
        name: the cell's, for people.
        input: what a step reads, x_t.
        constants: inputs that are the same at every step of a row.
        states: what is handed from step to step; the first is the output.
        weights: in the order in which a layer has them.
        draws: random numbers.
        lines: the equations in the order in which they are computed.
        next: for each state the name of its value after the step.
        named: the lines that have names of their own, which are recorded.
    """

    name: str
    input: Quantity
    constants: tuple[Quantity, ...]
    states: tuple[Quantity, ...]
    weights: tuple[Weight, ...]
    draws: tuple[Draw, ...]
    lines: tuple[Sum | Line, ...]
    next: tuple[str, ...]
    named: tuple[str, ...] = field(default=())

    # Programs are looked up by descriptions in every call, so what one says is put into words once.
    # In words 0.0 and -0.0 are two, and NaN is itself.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Description) and (self is other or self._words == other._words)

    def __hash__(self) -> int:
        return hash(self._words)

    def __getstate__(self) -> dict[str, object]:
        """Without what is computed once: in another process the hash of a text is another."""
        return {of.name: getattr(self, of.name) for of in fields(self)}

    @cached_property
    def _words(self) -> str:
        return repr(self)

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """The names of all sizes, without ``one``: the input's, the states', then the others."""
        found = dict.fromkeys([INPUT, HIDDEN])
        for quantity in (self.input, *self.states, *self.constants, *self.draws, *self.lines):
            found[quantity.size] = None
        for weight in self.weights:
            found |= dict.fromkeys(part.size for part in weight.parts)
        return tuple(size for size in found if size != ONE)

    @cached_property
    def has_forms(self) -> bool:
        """Whether what multiplies is anywhere another matrix than what is learned."""
        return any(weight.form != Form() for weight in self.weights)

    @cached_property
    def by_name(self) -> dict[str, Sum | Line]:
        """The lines by their names."""
        return {line.name: line for line in self.lines}

    @cached_property
    def weights_by_name(self) -> dict[str, Weight]:
        """The weights by their names."""
        return {weight.name: weight for weight in self.weights}

    @cached_property
    def output(self) -> Quantity:
        """The state that a layer gives out."""
        return self.states[0]

    @cached_property
    def sums(self) -> tuple[Sum, ...]:
        """The lines that are sums of products."""
        return tuple(line for line in self.lines if isinstance(line, Sum))


def reads(line: Sum | Line) -> Iterator[str]:
    """The names that stand on the right of a line, but for those of matrices and biases."""
    if isinstance(line, Sum):
        yield from (product.of for product in line.products)
    else:
        yield from (operand for operand in line.operands if isinstance(operand, str))

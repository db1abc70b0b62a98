"""What the parts of a cell's weights are for, told by its equations: no names, no table of cells.

A step of one unit is computed with plain numbers, its sums held at chosen values. How much of a
state is left then, and how much that is new comes in, shows which sums are gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unrolled.cells.description import Description, Product, Sum, reads
from unrolled.cells.detached import origins
from unrolled.cells.operations import OPERATIONS

FAR = 20.0
"""A sum at which a sigmoid is 0 or 1."""
NOTHING = 0.01
"""At most so much passes a gate that is shut."""


@dataclass(frozen=True)
class Gate:
    """A sum that lets something through, the more the larger it is; the less, with ``sign`` −1."""

    of: Sum
    sign: int


@dataclass(frozen=True)
class Memory:
    """A state, the gates that say how much of it stays, and those that say how much comes in."""

    state: str
    forget: tuple[Gate, ...]
    input: tuple[Gate, ...]


def memories(description: Description) -> tuple[Memory, ...]:
    """The states with a forget gate: shut, it leaves nothing of the state; open, most of it.

    The forget gate of (1 − g)·h + g·new is g, with the sign −1. Where a state has gates of both
    signs, those of −1 let in what is new by pushing out the old, and are input gates alone. A gate
    of several states is the first one's.
    """
    found: list[Memory] = []
    of_forget: set[str] = set()
    for state, following in zip(description.states, description.next, strict=True):
        both = _gates(description, _Kept(description, state.name, following), 0.5, 1.01)
        forget = [gate for gate in both if gate.sign > 0] or both
        forget = [gate for gate in forget if gate.of.name not in of_forget]
        if not forget:
            continue
        of_forget |= {gate.of.name for gate in forget}
        let_in = _gates(description, _LetIn(description, state.name, following), 0.25, 1.5)
        inputs = tuple(gate for gate in let_in if gate.of.name not in of_forget)
        found.append(Memory(state.name, tuple(forget), inputs))
    return tuple(found)


def recurrent_parts(description: Description) -> tuple[Product, ...]:
    """The products of a matrix with a state, or with what a step makes of one in the same size.

    A projection, which takes a vector of another size to the state's, is none.
    """
    states = {state.name for state in description.states}
    hanging = set(states)
    for line in description.lines:
        if not hanging.isdisjoint(reads(line)):
            hanging.add(line.name)
    size, weights = description.output.size, description.weights_by_name
    of = origins(description)
    return tuple(
        product
        for of_sum in description.sums
        for product in of_sum.products
        if of.get(product.of, product.of) in states
        or (product.of in hanging and weights[product.weight].columns == size)
    )


def _gates(
    description: Description, passed: Callable[[str, float], float], least: float, most: float
) -> list[Gate]:
    """The sums that are gates for what ``passed`` says to pass at a value of a sum."""
    found = []
    for of_sum in description.sums:
        low, high = passed(of_sum.name, -FAR), passed(of_sum.name, FAR)
        for shut, opened, sign in ((low, high, 1), (high, low, -1)):
            if abs(shut) < NOTHING and least < opened < most:
                found.append(Gate(of_sum, sign))
    return found


@dataclass(frozen=True)
class _Kept:
    """How much of a state is left after a step, all other sums at 0."""

    description: Description
    state: str
    following: str

    def __call__(self, name: str, value: float) -> float:
        one, none = (
            _step(self.description, {self.state: of}, {name: value}, 0.0)[self.following]
            for of in (1.0, 0.0)
        )
        return one - none


@dataclass(frozen=True)
class _LetIn:
    """What a state that was 0 is after a step, all other sums at 1."""

    description: Description
    state: str
    following: str

    def __call__(self, name: str, value: float) -> float:
        return _step(self.description, {self.state: 0.0}, {name: value}, 1.0)[self.following]


def _step(
    description: Description, states: Mapping[str, float], sums: Mapping[str, float], others: float
) -> dict[str, float]:
    """All values of a step of one unit: other states are 1, and other sums ``others``."""
    values = dict.fromkeys([c.name for c in description.constants], 0.0)
    values |= {description.input.name: 0.0}
    values |= {state.name: states.get(state.name, 1.0) for state in description.states}
    values |= {draw.name: float(draw.law == "bernoulli") for draw in description.draws}
    values |= {weight.name: weight.initial or 0.0 for weight in description.weights}
    for line in description.lines:
        if isinstance(line, Sum):
            values[line.name] = sums.get(line.name, others)
        else:
            operands = [values[o] if isinstance(o, str) else o for o in line.operands]
            values[line.name] = OPERATIONS[line.operation].on_numbers(*operands)
    return values

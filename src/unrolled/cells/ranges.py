"""Within what a cell's values can lie, by its equations, and which of its lines saturate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from unrolled.cells.description import Description, Line, Operand, Sum, reads
from unrolled.cells.operations import OPERATIONS

Range = tuple[float, float]
ANY: Range = (-math.inf, math.inf)
RISING = ("exp", "log", "sqrt", "sigmoid", "tanh", "relu", "softplus")
"""What gives the more the more it is given."""
FLAT_AT_ENDS = (
    "sigmoid",
    "tanh",
    "minimum",
    "maximum",
    "add",
    "subtract",
    "multiply",
    "divide",
    "negative",
    "detach",
)
"""What a gate is made of."""


def ranges(description: Description) -> dict[str, Range]:
    """The least and the most that every line and every state after the step can be.

    Products with weights, inputs and states before the step can be anything.
    """
    found: dict[str, Range] = {}
    for draw in description.draws:
        if draw.law == "bernoulli":
            found[draw.name] = min(0.0, draw.resting), max(1.0, draw.resting)
    for line in description.lines:
        if isinstance(line, Line):
            low, high = _of(line, [_range(operand, found) for operand in line.operands])
            # Where it may be no number, as a logarithm may, nothing is known of it.
            found[line.name] = ANY if math.isnan(low) or math.isnan(high) else (low, high)
    after = zip(description.states, description.next, strict=True)
    return found | {state.name: found.get(name, ANY) for state, name in after}


def saturating(description: Description) -> dict[str, Range]:
    """The recorded lines and states that squash a number that can be anything: to what range.

    A sigmoid and a hard one to 0 to 1, tanh and a hard one to −1 to 1.
    """
    within = ranges(description)
    of_states = {n: s.name for s, n in zip(description.states, description.next, strict=True)}
    recorded = {name: name for name in description.named}
    for name, state in of_states.items():
        recorded.setdefault(name, state)
    return {
        shown: within[name]
        for name, shown in recorded.items()
        if within.get(name) in ((0.0, 1.0), (-1.0, 1.0)) and _squashes(description, name, within)
    }


def _squashes(description: Description, name: str, within: Mapping[str, Range]) -> bool:
    """Whether it is a function of one number alone that is flat at both ends, of any number.

    That is a sigmoid or tanh, or what minimum and maximum cut off.
    """
    while isinstance(line := description.by_name.get(name), Line):
        moving = set(reads(line))
        if len(moving) != 1 or line.operation not in FLAT_AT_ENDS:
            return False
        (name,) = moving
        if within.get(name, ANY) == ANY:
            return True
        if name in description.named:
            return False
    return isinstance(line, Sum)


def _range(operand: Operand, known: Mapping[str, Range]) -> Range:
    return known.get(operand, ANY) if isinstance(operand, str) else (operand, operand)


def _of(line: Line, operands: list[Range]) -> Range:
    """The range of a line, from those of its operands; NaN is none of its business."""
    if line.operation in RISING:
        on = OPERATIONS[line.operation].on_numbers
        (low, high) = operands[0]
        return on(low), on(high)
    if line.operation == "multiply" and line.operands[0] == line.operands[1]:
        low, high = _absolute(operands[0])
        return low * low, high * high
    return RULES[line.operation](*operands) if line.operation in RULES else ANY


def _absolute(x: Range) -> Range:
    sizes = sorted(map(abs, x))
    return (0.0 if x[0] <= 0 <= x[1] else sizes[0]), sizes[1]


def _multiply(x: Range, y: Range) -> Range:
    # What is infinite here is only as large as one likes: 0 times it is 0.
    ends = [a * b if a and b else 0.0 for a in x for b in y]
    return min(ends), max(ends)


def _divide(x: Range, y: Range) -> Range:
    if y[0] <= 0 <= y[1] or math.isinf(y[0] + y[1]):
        return ANY
    ends = [a / b for a in x for b in y]
    return min(ends), max(ends)


RULES: dict[str, Callable[..., Range]] = {
    "negative": lambda x: (-x[1], -x[0]),
    "detach": lambda x: x,
    "absolute": _absolute,
    "sign": lambda _: (-1.0, 1.0),
    "less": lambda _, __: (0.0, 1.0),
    "less_equal": lambda _, __: (0.0, 1.0),
    "equal": lambda _, __: (0.0, 1.0),
    "mean": lambda x: x,
    "where": lambda _, x, y: (min(x[0], y[0]), max(x[1], y[1])),
    "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "subtract": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "minimum": lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
    "maximum": lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "multiply": _multiply,
    "divide": _divide,
}
"""Of the others: from the ranges of the operands that of the result."""

"""What a gradient reaches: nothing by way of what is detached, or compared.

What is not reached gets no gradient, as in plain torch, rather than zeros: an optimiser leaves
alone what has none, and by zeros lets it decay.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from unrolled.cells.description import Line, Sum
from unrolled.scan.spec import Spec

STOPS = {"detach", "less", "less_equal", "equal"}
"""Operations through which no gradient goes."""


@lru_cache(maxsize=4096)
def reached(
    spec: Spec,
    states: int,
    wanted: tuple[bool, ...],
    gradients: tuple[bool, ...],
    *,
    is_ragged: bool = False,
) -> tuple[bool, ...]:
    """Which of the tensors of :meth:`Given.tensors` that want a gradient get one.

    Args:
        spec: the pass.
        states: how many states were given.
        wanted: for each of the tensors whether its gradient is wanted.
        gradients: for the output and each of the last states whether it has one.
        is_ragged: whether a row may have no step, whose last states are those given.
    """
    if spec.kernel is not None:  # there is nothing of that kind in it
        return wanted
    behind = _behind(spec)
    of_last = _together(names for names, has in zip(behind, gradients[1:], strict=True) if has)
    names = of_last | behind[0] if gradients[0] else of_last
    layers = [names]
    for _ in range(spec.num_layers - 1):
        names = of_last | behind[0] if spec.cell.input.name in names else of_last
        layers.append(names)
    layers.reverse()
    anywhere = _together(layers)
    found = [
        spec.cell.input.name in layers[0],
        *[
            state.name in anywhere or (is_ragged and has)
            for state, has in zip(spec.cell.states[:states], gradients[1:], strict=False)
        ],
        *[constant.name in anywhere for constant in spec.cell.constants],
        *[
            weight.name in names
            for names in layers
            for _ in range(spec.directions)
            for weight in spec.cell.weights
        ],
    ]
    return tuple(
        [is_wanted and is_there for is_wanted, is_there in zip(wanted, found, strict=True)]
    )


@lru_cache(maxsize=256)
def _behind(spec: Spec) -> tuple[frozenset[str], ...]:
    """For each state all that it hangs on by derivatives, over any number of steps."""
    cell = spec.cell
    of: dict[str, frozenset[str]] = {}
    for line in cell.lines:
        of[line.name] = _together(of.get(name, frozenset({name})) for name in _reads(line))
    following = dict(zip([state.name for state in cell.states], cell.next, strict=True))
    found = []
    for end in cell.next:
        names, before = of.get(end, frozenset({end})), frozenset[str]()
        while names != before:
            before = names
            ends = [following[name] for name in names if name in following]
            names |= _together(of.get(end, frozenset({end})) for end in ends)
        found.append(names)
    return tuple(found)


def _reads(line: Sum | Line) -> list[str]:
    """What a line has a derivative by."""
    if isinstance(line, Sum):
        products = [name for product in line.products for name in (product.weight, product.of)]
        return [*products, *[bias.weight for bias in line.biases]]
    if line.operation in STOPS:
        return []
    operands = line.operands[1:] if line.operation == "where" else line.operands
    return [operand for operand in operands if isinstance(operand, str)]


def _together(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)

"""From what a step did, in nodes, to a :class:`Description`: names, sums made one, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from unrolled.cells.description import (
    Bias,
    Description,
    Form,
    Kind,
    Line,
    Part,
    Product,
    Quantity,
    Sum,
    Weight,
)
from unrolled.cells.trace import Made, Term, Trace
from unrolled.cells.values import Node, Value, refuse


def describe(
    name: str, trace: Trace, returned: Any, variables: list[Mapping[str, Any]]
) -> Description:
    """The description of what was traced.

    Raises:
        CellError: what was returned is not a value for each state, or something is never used.
    """
    following = _following(trace, returned)
    named = _name(trace, following, variables)
    made = _Merger(trace, following, named).lines()
    _refuse_unused(trace, made, following)
    lines, weights = _Weights(trace, made, following, named).lines()
    kept = [value for value in made if value in named]
    return Description(
        name=name,
        input=Quantity(trace.input.name, trace.input.size),
        constants=tuple(Quantity(v.name, v.size) for v in trace.constants),
        states=tuple(Quantity(v.name, v.size) for v in trace.states),
        weights=weights,
        draws=tuple(replace(draw, name=v.name) for v, draw in trace.draws.items()),
        lines=tuple(lines),
        next=tuple(v.name for v in following),
        named=tuple(v.name for v in kept if v not in following),
    )


def _following(trace: Trace, returned: Any) -> list[Node]:
    """The values of the states after the step."""
    names = ", ".join(state.name for state in trace.states)
    found = list(returned) if isinstance(returned, tuple | list) else [returned]
    if len(found) != len(trace.states):
        refuse(
            f"step should return a value for each of its states ({names}), got {len(found)}",
            trace.place,
        )
    for state, value in zip(trace.states, found, strict=True):
        if not isinstance(value, Value) or value.node.trace is not trace:
            refuse(
                f"step should return values of this step for {names}, got {value!r} for "
                f"{state.name}",
                trace.place,
            )
        node = value.node
        if node in trace.weights:
            refuse(f"the state {state.name} is no weight. Compute its next value", trace.place)
        if node is state:
            refuse(
                f"the state {state.name} is never written: step returns it as it came. Compute its "
                "next value, or take it out of the arguments and hand it in behind *",
                trace.place,
            )
        if node.size != state.size:
            refuse(
                f"the state {state.name} has {state.size}_size numbers, and step returns "
                f"{node.size}_size for it. Bring it to that size: linear(..., "
                f'size="{state.size}"), or name the state\'s in the class: '
                f'sizes = {{"{state.name}": "{node.size}"}}',
                node.place,
            )
    return [value.node for value in found]


def _name(
    trace: Trace, following: list[Node], variables: list[Mapping[str, Any]]
) -> dict[Node, str]:
    """Names everything; returns the lines that have names in the equations."""
    by_variable = _by_variable(trace, variables)
    names = _Names([value.name for value in trace.given] + [w.name for w in trace.weights.values()])
    named: dict[Node, str] = {}
    for value in [*trace.weights, *trace.draws, *trace.made]:
        if value.name:
            continue  # a weight that was given one
        wanted = by_variable.get(value)
        if wanted is None and value in following:
            wanted = trace.states[following.index(value)].name
        if wanted is None and value in trace.weights:
            refuse(
                'a weight needs a name: assign it to a variable, or say weight("name")', value.place
            )
        value.name = names.free(wanted or "")
        if wanted is not None and value in trace.made:
            named[value] = value.name
    for value, weight in trace.weights.items():
        trace.weights[value] = replace(
            weight, name=value.name, parts=(Part(value.name, value.size),)
        )
    return named


def _by_variable(trace: Trace, variables: list[Mapping[str, Any]]) -> dict[Node, str]:
    """The variables that hold the values of the step, or have them detached."""
    found: dict[Node, str] = {}
    detached: dict[Node, str] = {}
    for of_a_step in variables:
        for variable, value in of_a_step.items():
            if isinstance(value, Value) and value.node.trace is trace:
                of = _origin(value.node, trace.made)
                (found if of is value.node else detached).setdefault(of, variable)
    return detached | found


def _origin(value: Node, made: Mapping[Node, Made]) -> Node:
    """What has the name: of what is detached, what it is the value of."""
    line = made.get(value)
    if line is None or line.operation != "detach":
        return value
    (of,) = line.reads()
    return of


class _Names:
    """The names that are taken."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._numbers: Counter[str] = Counter()

    def free(self, wanted: str = "") -> str:
        """The name, or one like it that nothing has yet; it then has. Without one, a number."""
        name = wanted
        while name in self._taken or not name:
            self._numbers[wanted] += 1
            number = self._numbers[wanted]
            name = f"{wanted}_new" if wanted and number == 1 else f"{wanted}_{number}"
        self._taken.add(name)
        return name


class _Merger:
    """Makes sums of sums one; a sum that has a name or two readers stays."""

    def __init__(self, trace: Trace, following: list[Node], named: Mapping[Node, str]) -> None:
        self.trace, self.made = trace, trace.made
        readers = Counter(node for line in self.made.values() for node in line.reads())
        self.inner = {
            node
            for node in self.made
            if readers[node] == 1 and node not in named and node not in following
        }
        self.names = _Names(
            node.name for node in (*self.made, *trace.given, *trace.weights, *trace.draws)
        )

    def lines(self) -> dict[Node, Made]:
        """The lines in the order in which they are computed."""
        gone: set[Node] = set()
        seen: set[Node] = set()  # additions within others
        found: list[Made] = []
        for node, line in reversed(self.made.items()):
            if node in gone:
                continue
            if line.operation != "add" or node in seen:
                found.append(line)
                continue
            within = self._within(node)
            seen |= within
            leaves = self._leaves(node, within)
            sums = [leaf for leaf in leaves if isinstance(leaf, Node) and self._is_part(leaf, node)]
            if len(sums) < 2:
                found.append(line)
                continue
            gone |= within | set(sums)
            terms = [term for leaf in sums for term in self.made[leaf].terms]
            rest = [leaf for leaf in leaves if leaf not in sums]
            found += reversed(self._chain(node, terms, rest))
        return {line.node: line for line in reversed(found)}

    def _chain(self, node: Node, terms: list[Term], rest: list[Node | float]) -> list[Made]:
        """A sum of these terms, and the rest added to it one after the other."""
        if not rest:
            return [Made(node, "sum", terms=terms)]
        chain = [Made(self._new(node), "sum", terms=terms)]
        for leaf in rest[:-1]:
            chain.append(Made(self._new(node), "add", [chain[-1].node, leaf]))
        return [*chain, Made(node, "add", [chain[-1].node, rest[-1]])]

    def _new(self, like: Node) -> Node:
        return Node(self.trace, self.names.free(), like.size)

    def _is_part(self, leaf: Node, of: Node) -> bool:
        """Whether it is a sum that nothing else reads."""
        is_inner = leaf in self.inner and leaf.size == of.size
        return is_inner and self.made[leaf].operation == "sum"

    def _within(self, node: Node) -> set[Node]:
        """The additions within this one that nothing else reads."""
        found: set[Node] = set()
        todo = [node]
        while todo:
            for operand in self.made[todo.pop()].reads():
                if operand in self.inner and self.made[operand].operation == "add":
                    found.add(operand)
                    todo.append(operand)
        return found

    def _leaves(self, node: Node, within: set[Node]) -> list[Node | float]:
        """What it and the additions within it add up, in their order."""
        found: list[Node | float] = []
        todo: list[Node | float] = [node]
        while todo:
            now = todo.pop()
            if isinstance(now, Node) and (now is node or now in within):
                todo += reversed(self.made[now].operands)
            else:
                found.append(now)
        return found


def _refuse_unused(trace: Trace, made: Mapping[Node, Made], following: Iterable[Node]) -> None:
    """A weight that no state depends on would never learn."""
    used: set[Node] = set()
    todo = list(following)
    while todo:
        value = todo.pop()
        if value in used:
            continue
        used.add(value)
        if value in made:
            todo += made[value].reads()
    for value in [*trace.weights, *trace.draws]:
        if value not in used:
            refuse(f"{value.name} is never used. Take it out", value.place)
    for value, line in made.items():
        if line.operation == "sum" and value not in used:
            refuse("what this linear gives is never used. Take it out", value.place)
    for state in (*trace.states, *trace.constants):
        if state not in used:
            kind = "state" if state in trace.states else "constant"
            refuse(
                f"the {kind} {state.name} is never read. Take it out of the arguments", trace.place
            )


class _Weights:
    """Hands out the rows of matrices and biases, in the order of the equations."""

    def __init__(
        self,
        trace: Trace,
        made: Mapping[Node, Made],
        following: list[Node],
        named: Mapping[Node, str],
    ) -> None:
        self.trace, self.made, self.following, self.named = trace, made, following, named
        self.found: dict[str, Weight] = {}

    def lines(self) -> tuple[list[Sum | Line], tuple[Weight, ...]]:
        """All lines, and all weights: those of the input and the first state first."""
        lines: list[Sum | Line] = []
        for value, made in self.made.items():
            if made.operation == "sum":
                lines.append(self._sum(value, made))
                continue
            operands = tuple(o.name if isinstance(o, Node) else o for o in made.operands)
            lines.append(Line(value.name, value.size, made.operation, operands))
        own = {weight.name: weight for weight in self.trace.weights.values()}
        for name in own.keys() & self.found.keys():
            refuse(f"there are two weights named {name}. Give one another name", self.trace.place)
        first = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if n in self.found]
        others = [name for name in self.found if name not in first]
        return lines, (*[self.found[name] for name in (*first, *others)], *own.values())

    def _sum(self, value: Node, made: Made) -> Sum:
        label, products, biases = self._label(value), [], []
        for term in made.terms:
            suffix = self._suffix(term, made)
            part = self._part("matrix", f"weight_{suffix}", label, value, term)
            products.append(Product(*part, term.of.name))
            if term.is_biased:
                biases.append(Bias(*self._part("bias", f"bias_{suffix}", label, value)))
        return Sum(value.name, value.size, tuple(products), tuple(biases))

    def _suffix(self, term: Term, made: Made) -> str:
        if term.name is not None:
            return term.name
        of = _origin(term.of, self.made)
        if of is self.trace.input:
            return "ih"
        if of is self.trace.states[0]:
            return "hh"
        if of in self.made and of not in self.named:
            refuse(
                "what linear multiplies needs a name: assign it to a variable first, which names "
                "the weight",
                made.node.place,
            )
        return of.name

    def _part(
        self, kind: Kind, name: str, label: str, value: Node, term: Term | None = None
    ) -> tuple[str, int]:
        columns, form = (None, Form()) if term is None else (term.of.size, term.form)
        weight = self.found.get(name) or Weight(name, kind, (), columns, None, form)
        if weight.columns != columns or weight.form != form:
            refuse(
                f"{name} has {weight.columns}_size columns and the form {weight.form}, and here "
                f"{columns}_size and {form}. Give one of both a name of its own: "
                "linear(..., name=...)",
                value.place,
            )
        labels, number, label_here = {part.label for part in weight.parts}, 1, label
        while label_here in labels:
            number += 1
            label_here = f"{label}_{number}"
        self.found[name] = replace(weight, parts=(*weight.parts, Part(label_here, value.size)))
        return name, len(weight.parts)

    def _label(self, value: Node) -> str:
        """The name of the sum, or of the first line with a name that its numbers come to."""
        reached = {value}
        for reader, line in [(value, self.made[value]), *self.made.items()]:
            if reader in reached or not reached.isdisjoint(line.reads()):
                if reader in self.named or reader in self.following:
                    for state, following in zip(self.trace.states, self.following, strict=True):
                        if following is reader:
                            return state.name
                    return reader.name
                reached.add(reader)
        return value.name

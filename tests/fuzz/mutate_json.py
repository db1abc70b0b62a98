"""A description in JSON's values, changed by its structure: names, sizes, lines, kinds, numbers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from unrolled.cells.operations import OPERATIONS

Json = Any
Place = tuple[Any, Any]
"""What holds a value, and where in it: a key or an index."""

NUMBERS = (
    *(0, 1, 2, 3, 6, 7, -1, 0.5, 1e-300, 1e300, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, 10**400),
    *(float("nan"), float("inf"), float("-inf"), -0.0),
)
WORDS = (
    *("", "x", "one", "input", "hidden", "matrix", "bias", "vector", "scalar", "normal", "step"),
    *("sequence", "inf", "nan", "../x", "a b", "__class__", "∂1", "\x00", "\ud800", "٣", "ﬁ", "א"),
    *("a" * 100, "a" * 101, "<svg>", "\n", *OPERATIONS),
)
OTHERS: tuple[Json, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"number": "inf"},
    {"number": "nan"},
    {"number": "1"},
)
MANY = (2, 10, 101, 300, 1001, 3000, 10_001)
MOST_PLACES, MOST_BYTES = 30_000, 2**21
"""What is larger is not changed further, and an item that makes it larger is not repeated."""
NEST = "@nested@"
"""Stands where JSON's values would be too deep for Python's own writer."""


class Mutator:
    """Endless mutations of the values: the same for the same ``random``."""

    def __init__(self, values: Callable[[], Json], random: Random) -> None:
        self._values, self._random = values, random

    def __call__(self) -> bytes:
        random = self._random
        cell = self._values()
        for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5])):
            places = list(_places(cell))
            if 0 < len(places) < MOST_PLACES:
                random.choice(CHANGES)(cell, places, random)
        return written(cell, random)


def written(value: Json, random: Random) -> bytes:
    """As JSON, with what is nested put in."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    depth = random.choice([10, 500, 3000, 100_000])
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = text.replace(f'"{NEST}"', opening * depth + "1" + closing * depth, 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Json) -> Iterator[Place]:
    """Every place where there is a value, within this one."""
    left = [value]
    while left:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                left.append(holder[key])


def _chosen(places: Sequence[Place], random: Random, kind: type | tuple[type, ...]) -> Place | None:
    fit = [(holder, key) for holder, key in places if isinstance(holder[key], kind)]
    return random.choice(fit) if fit else None


def other_value(_: Json, places: Sequence[Place], random: Random) -> None:
    """Anything for anything."""
    holder, key = random.choice(places)
    holder[key] = random.choice([*NUMBERS, *WORDS, *OTHERS, NEST])


def other_number(_: Json, places: Sequence[Place], random: Random) -> None:
    if place := _chosen(places, random, (int, float)):
        holder, key = place
        holder[key] = random.choice(NUMBERS)


def other_name(_: Json, places: Sequence[Place], random: Random) -> None:
    """A name for another that is there, in one place: cycles, wrong sizes, parts that are none."""
    place, other = _chosen(places, random, str), _chosen(places, random, str)
    if place and other:
        place[0][place[1]] = other[0][other[1]]


def same_kind(_: Json, places: Sequence[Place], random: Random) -> None:
    """A value for another that stands under the same key somewhere."""
    holder, key = random.choice(places)
    fit = [h[k] for h, k in places if k == key and type(h) is type(holder)]
    holder[key] = copy.deepcopy(random.choice(fit))


def renamed(cell: Json, places: Sequence[Place], random: Random) -> None:
    """A name for another, wherever it stands."""
    del cell
    place = _chosen(places, random, str)
    if place is None:
        return
    before, after = place[0][place[1]], random.choice(WORDS)
    for holder, key in places:
        if isinstance(holder[key], str) and holder[key] == before:
            holder[key] = after


def taken_out(_: Json, places: Sequence[Place], random: Random) -> None:
    holder, key = random.choice(places)
    del holder[key]


def put_in(_: Json, places: Sequence[Place], random: Random) -> None:
    """One more item, or a field that nothing has."""
    if place := _chosen(places, random, (dict, list)):
        held = place[0][place[1]]
        other = copy.deepcopy(random.choice(places))
        if isinstance(held, list):
            held.insert(random.randint(0, len(held)), other[0][other[1]])
        else:
            held[random.choice(WORDS)] = other[0][other[1]]


def moved(_: Json, places: Sequence[Place], random: Random) -> None:
    if (place := _chosen(places, random, list)) and (held := place[0][place[1]]):
        held.insert(random.randrange(len(held)), held.pop(random.randrange(len(held))))


def repeated(_: Json, places: Sequence[Place], random: Random) -> None:
    """An item many times."""
    if (place := _chosen(places, random, list)) and (held := place[0][place[1]]):
        item, many = random.choice(held), random.choice(MANY)
        if many * len(json.dumps(item)) < MOST_BYTES:
            held += [copy.deepcopy(item)] * many


def longer(cell: Json, _: Sequence[Place], random: Random) -> None:
    """Many more lines, each right: a chain, or a tree whose paths double with each line."""
    lines = cell.get("lines")
    if not isinstance(lines, list) or not lines or not isinstance(lines[-1], dict):
        return
    last, size = lines[-1].get("name"), lines[-1].get("size")
    operation, arity = random.choice([("tanh", 1), ("add", 2), ("multiply", 2), ("maximum", 2)])
    for number in range(random.choice([10, 100, 1000])):
        name = f"more{number}"
        operands = [last] * arity
        lines.append({"name": name, "size": size, "operation": operation, "operands": operands})
        last = name
    if isinstance(cell.get("next"), list) and cell["next"]:
        cell["next"][0] = last


def another_version(cell: Json, _: Sequence[Place], random: Random) -> None:
    cell["format"] = random.choice([0, 2, 99, 1.0, True, "1", None, -1, 10**30, float("nan")])


CHANGES = (
    *(other_value, other_number, other_name, other_name, same_kind, same_kind, renamed, taken_out),
    *(put_in, moved, repeated, longer, another_version),
)

"""Programs as the core takes them, changed at random."""

from __future__ import annotations

from random import Random
from typing import Any


def mutated(value: Any, chance: Random, rate: float) -> Any:
    """The same with a few numbers and lengths changed."""
    if isinstance(value, list | tuple):
        items = [mutated(v, chance, rate) for v in value]
        if items and chance.random() < rate:
            chance.choice([items.pop, lambda: items.append(chance.choice(items))])()
        return type(value)(items)
    if isinstance(value, bool):
        return value != (chance.random() < rate)
    if isinstance(value, int) and chance.random() < rate:
        return chance.choice([-1, 0, 1, value + 1, value - 1, 2 * value, 7, 2**62, -(2**40)])
    if isinstance(value, float) and chance.random() < rate:
        return chance.choice([0.0, float("nan"), 1e300])
    return value

"""Draws a program from a seed: modules, calls of them that feed each other, changes, derivatives.

A program is drawn to be valid, with few exceptions that torch raises as well. The tables below say
what it is made of; each entry of a table is a feature, and the tests ask that every one occurs.
"""

from __future__ import annotations

import random

from programs.calls import CELLS, CONTEXTS, FORMS, LAYOUTS, MODULES, call, module
from programs.changes import CHANGES, HOOKS, MODULE_CHANGES, WEIGHT_CHANGES, change, hook, mend
from programs.derivatives import DERIVATIVES, derivative
from programs.drawing import Drawing
from programs.operations import OPERATIONS, operation
from programs.program import Program

FEATURES = frozenset(
    f"{name}:{entry}"
    for name, table in {
        "cell": CELLS,
        "module": MODULES,
        "form": FORMS,
        "layout": LAYOUTS,
        "context": CONTEXTS,
        "operation": OPERATIONS,
        "change": CHANGES,
        "weights": WEIGHT_CHANGES,
        "modules": MODULE_CHANGES,
        "hook": HOOKS,
        "derivative": DERIVATIVES,
    }.items()
    for entry in table
)


def draw(seed: int) -> Program:
    """The program of this seed."""
    d = Drawing(random.Random(seed))
    d.begin()
    for _ in range(1 + (d.random() < 0.3)):
        module(d)
    if d.random() < 0.4:
        mend(d)
    for _ in range(d.pick([1, 2, 2, 2, 3, 3, 4, 5])):
        call(d)
        for likely, act in ((0.4, operation), (0.2, operation), (0.25, change), (0.12, hook)):
            if d.random() < likely:
                act(d)
    d.goes_on = d.random() < 0.3
    derivative(d)
    if d.goes_on:
        d.goes_on = False
        d.pick([change, call, operation, mend])(d)
        derivative(d)
    return Program(seed, tuple(d.steps))

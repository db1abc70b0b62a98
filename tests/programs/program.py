"""A program as a plain value: lines of Python over ``nn``, which is torch's package or ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from textwrap import indent
from types import CodeType

HEADER = """\
import torch
import unrolled.nn
from programs.vocabulary import *


def program(nn):
    torch.manual_seed({seed})
"""

FOOTER = """\
    return locals()


torch._C._set_mkldnn_enabled(False)
for nn in (torch.nn, unrolled.nn):
    try:
        values = program(nn)
        print({shown})
    except Exception as error:
        print(repr(error))
"""


@dataclass(frozen=True)
class Step:
    """One statement, or one compound statement, and what of the programs' features it shows."""

    source: str
    features: tuple[str, ...] = ()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def defines(self) -> frozenset[str]:
        """The names that it gives a value to."""
        return frozenset(self._names(ast.Store))

    @cached_property
    def uses(self) -> frozenset[str]:
        """The names that it reads."""
        return frozenset(self._names(ast.Load))

    def _names(self, context: type[ast.expr_context]) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, context):
                yield node.id


@dataclass(frozen=True)
class Program:
    """Statements one after the other. ``seed`` is that of torch's random numbers."""

    seed: int
    steps: tuple[Step, ...]

    @property
    def source(self) -> str:
        return "\n".join(step.source for step in self.steps) + "\n"

    @property
    def features(self) -> frozenset[str]:
        return frozenset(feature for step in self.steps for feature in step.features)

    def compiled(self) -> CodeType:
        return compile(self.source, "<program>", "exec")

    def step_at(self, line: int) -> int:
        """Which step a line of the source, counted from 1, belongs to."""
        for index, step in enumerate(self.steps):
            line -= step.source.count("\n") + 1
            if line <= 0:
                return index
        raise IndexError(line)

    def with_steps(self, steps: Iterable[Step]) -> Program:
        return Program(self.seed, tuple(steps))

    def script(self, where: str = "") -> str:
        """A script that runs the program on both packages and prints what ``where`` leads to."""
        name = re.match(r"\w+", where)
        path = f'values["{name[0]}"]{where[name.end() :]}' if name else "sorted(values)"
        footer = FOOTER.format(shown=path)
        return HEADER.format(seed=self.seed) + indent(self.source, "    ") + footer

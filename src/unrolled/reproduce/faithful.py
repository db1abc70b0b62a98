"""The experiments of 1997 as their paper has them, beside what it published.

Source of all: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8).
"""

from __future__ import annotations

from collections.abc import Callable

from unrolled.cells import TruncatedLSTM1997
from unrolled.reproduce.architecture import Architecture, Biased
from unrolled.reproduce.cells import InputGated1997
from unrolled.reproduce.lanes import SymbolLanes
from unrolled.reproduce.online import Recipe, Rule, Start
from unrolled.reproduce.problems import (
    STRINGS,
    Draw,
    answers,
    classes,
    grammar,
    next_symbols,
    noisy_answers,
    second_symbols,
)
from unrolled.reproduce.rules import (
    Limits,
    Measure,
    Standstill,
    error_at_the_end,
    largest_error,
    misranked,
)
from unrolled.reproduce.stepped import SteppedLanes
from unrolled.tasks import Adding, Multiplication, TemporalOrder, TwoSequence, TwoSequenceTargets
from unrolled.tasks.lag import NoiseFreeLag, NoisyLag, VeryLongLag

NONE: frozenset[Biased] = frozenset()
HIDDEN: frozenset[Biased] = frozenset({"gates", "cells"})
GATES: frozenset[Biased] = frozenset({"gates"})

PATIENCE = 5
"""A trial has failed after so many times the sequences that the paper's took on average."""

LEAST_PATIENCE = 2
"""The same with sequences of a thousand steps, which take most of the time."""

MOST_PATIENCE = 20
"""The same in experiment 2 up to a hundred steps; the paper had 5,000,000 sequences for it."""


def embedded_reber(blocks: int, size: int, rate: float, published: int) -> Recipe:
    """Experiment 1."""
    return Recipe(
        Architecture(TruncatedLSTM1997, 7, 7, blocks, size, GATES),
        Start(0.2, {"output": [-1.0, -2.0, -3.0, -4.0][:blocks]}),
        rate,
        grammar,
        misranked,
        Rule(test=Limits(0.5), tests=2 * STRINGS, every=100),
        PATIENCE * published,
        tested=2 * STRINGS,
        kind=SteppedLanes,
    )


def noise_free_lag(length: int, published: int) -> Recipe:
    """Experiment 2a."""
    return _lag(NoiseFreeLag(length), largest_error, published)


def noisy_lag(length: int, published: int) -> Recipe:
    """Experiment 2b."""
    return _lag(NoisyLag(length), error_at_the_end, published)


def _lag(task: NoiseFreeLag | NoisyLag, measure: Measure, published: int) -> Recipe:
    return Recipe(
        Architecture(InputGated1997, task.inputs, task.outputs, 1, 1, NONE, shortcut=True),
        Start(0.2, {}),
        1.0,
        _always(next_symbols(task)),
        measure,
        Rule(Limits(0.25), 100, Limits(0.25), 10_000, fresh=True),
        MOST_PATIENCE * published,
        kind=SymbolLanes,
        # The paper does not say how it saw that the error had stopped decreasing.
        joins=Standstill(100, 0.05),
    )


def very_long_lag(length: int, distractors: int, published: int) -> Recipe:
    """Experiment 2c."""
    task = VeryLongLag(length, distractors)
    return Recipe(
        Architecture(TruncatedLSTM1997, task.inputs, 2, 2, 1, NONE),
        Start(0.2, {}),
        0.01,
        _always(second_symbols(task)),
        largest_error,
        Rule(Limits(0.2), 500, Limits(0.2), 10_000, every=500, fresh=True),
        (MOST_PATIENCE if length <= 100 else _patience(length)) * published,
        kind=SymbolLanes,
    )


def two_sequence(length: int, relevant: int, published: int) -> Recipe:
    """Experiment 3a, to the second of its criteria."""
    draw = classes(TwoSequence(length, relevant))
    most = _patience(length) * published
    return _first_values(draw, 1.0, Limits(0.2, mean=0.01), most)


def two_sequence_targets(length: int, relevant: int, published: int) -> Recipe:
    """Experiment 3c, to the second of its criteria."""
    draw = noisy_answers(TwoSequenceTargets(length, relevant))
    most = _patience(length) * published
    return _first_values(draw, 0.1, Limits(0.1, mean=0.015), most)


def _first_values(draw: Draw, rate: float, limits: Limits, budget: int) -> Recipe:
    return Recipe(
        Architecture(TruncatedLSTM1997, 1, 1, 3, 1, HIDDEN),
        Start(0.1, {"input": (-1.0, -3.0, -5.0), "output": (-2.0, -4.0, -6.0)}),
        rate,
        _always(draw),
        largest_error,
        Rule(test=limits, tests=256, every=500, fresh=True),
        budget,
    )


def adding(length: int, published: int) -> Recipe:
    """Experiment 4."""
    draw = answers(Adding(length, form="hochreiter"))
    start = Start(0.1, {"input": (-3.0, -6.0)})
    return _marked(draw, start, 0.5, Limits(0.04, mean=0.01), _patience(length) * published)


def multiplication(most_wrong: int, published: int) -> Recipe:
    """Experiment 5: stopped when fewer of the last 2,000 are wrong."""
    draw, limits = answers(Multiplication(100)), Limits(0.04, most_wrong - 1)
    return _marked(draw, Start(0.1, {}), 0.1, limits, PATIENCE * published)


def _marked(draw: Draw, start: Start, rate: float, limits: Limits, budget: int) -> Recipe:
    return Recipe(
        Architecture(TruncatedLSTM1997, 2, 1, 2, 2),
        start,
        rate,
        _always(draw),
        largest_error,
        Rule(limits),
        budget,
    )


def temporal_order(relevant: int, published: int) -> Recipe:
    """Experiment 6a with two relevant symbols, 6b with three."""
    task = TemporalOrder(relevant=3 if relevant == 3 else 2)
    return Recipe(
        Architecture(TruncatedLSTM1997, task.inputs, task.outputs, relevant, 2),
        Start(0.1, {"input": (-2.0, -4.0, -6.0)[:relevant]}),
        0.5 if relevant == 2 else 0.1,
        _always(classes(task)),
        largest_error,
        Rule(Limits(0.3, mean=0.1)),
        PATIENCE * published,
    )


def _patience(length: int) -> int:
    return LEAST_PATIENCE if length >= 1000 else PATIENCE


def _always(draw: Draw) -> Callable[[int], tuple[Draw, Draw]]:
    """Learned from and tested by the same, whatever the seed."""
    return lambda _: (draw, draw)

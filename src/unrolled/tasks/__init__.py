"""The literature's synthetic memory tasks, drawn from a seed; docs/tasks.md has a page on them.

``make_task("adding", length=100).batch(32, rng=0)`` gives inputs, target, lengths and the mask of
the steps that count; ``task.loss`` and ``task.score`` judge what a network makes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from unrolled.errors import InputError
from unrolled.tasks.base import LOSSES, Batch, Chance, Rng, Task
from unrolled.tasks.binary import BinaryAddition, BinaryMultiplication, ComputeSqrt
from unrolled.tasks.chomsky import PUBLISHED, Transduction
from unrolled.tasks.context_free import (
    BracketedArithmetic,
    ReverseString,
    SolveEquation,
    StackManipulation,
)
from unrolled.tasks.context_sensitive import (
    BucketSort,
    DuplicateString,
    MissingDuplicate,
    OddsFirst,
)
from unrolled.tasks.counters import CounterLanguage
from unrolled.tasks.lag import NoiseFreeLag, NoisyLag, VeryLongLag
from unrolled.tasks.latch import TwoSequence, TwoSequenceTargets
from unrolled.tasks.marked import Adding, Multiplication
from unrolled.tasks.order import TemporalOrder
from unrolled.tasks.reber import ContinualReber, EmbeddedReber
from unrolled.tasks.recall import Copying, DelayLine
from unrolled.tasks.regular import CycleNavigation, EvenPairs, ModularArithmetic, ParityCheck
from unrolled.tasks.timing import SpikeDelays
from unrolled.tasks.wave import SinCos

FORMAL: tuple[type[Transduction], ...] = (
    EvenPairs,
    ModularArithmetic,
    ParityCheck,
    CycleNavigation,
    StackManipulation,
    ReverseString,
    BracketedArithmetic,
    SolveEquation,
    DuplicateString,
    MissingDuplicate,
    OddsFirst,
    BinaryAddition,
    BinaryMultiplication,
    ComputeSqrt,
    BucketSort,
)

TASKS: dict[str, Callable[..., Task]] = {
    "adding": Adding,
    "adding-hochreiter": partial(Adding, form="hochreiter"),
    "multiplication": Multiplication,
    "temporal-order": TemporalOrder,
    "temporal-order-3": partial(TemporalOrder, relevant=3),
    "noise-free-lag": NoiseFreeLag,
    "noisy-lag": NoisyLag,
    "very-long-lag": VeryLongLag,
    "two-sequence": TwoSequence,
    "two-sequence-noisy": partial(TwoSequence, noisy=True),
    "two-sequence-targets": TwoSequenceTargets,
    "embedded-reber": EmbeddedReber,
    "continual-reber": ContinualReber,
    "spike-delay": partial(SpikeDelays, spikes=1),
    "spike-delays": SpikeDelays,
    "copying": Copying,
    "delay-line": DelayLine,
    "sin-cos": SinCos,
    "anbn": CounterLanguage,
    "anbncn": partial(CounterLanguage, length=50, letters=3),
    **{task.name: task for task in FORMAL},
}
"""What ``unrolled tasks`` knows by name."""

__all__ = [
    "LOSSES",
    "PUBLISHED",
    "TASKS",
    "Adding",
    "Batch",
    "BinaryAddition",
    "BinaryMultiplication",
    "BracketedArithmetic",
    "BucketSort",
    "Chance",
    "ComputeSqrt",
    "ContinualReber",
    "Copying",
    "CounterLanguage",
    "CycleNavigation",
    "DelayLine",
    "DuplicateString",
    "EmbeddedReber",
    "EvenPairs",
    "MissingDuplicate",
    "ModularArithmetic",
    "Multiplication",
    "NoiseFreeLag",
    "NoisyLag",
    "OddsFirst",
    "ParityCheck",
    "ReverseString",
    "Rng",
    "SinCos",
    "SolveEquation",
    "SpikeDelays",
    "StackManipulation",
    "Task",
    "TemporalOrder",
    "Transduction",
    "TwoSequence",
    "TwoSequenceTargets",
    "VeryLongLag",
    "make_task",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def make_task(name: str, length: int | None = None) -> Task:
    """A task by its name, as long as it says itself unless ``length`` is given.

    Raises:
        InputError: there is no such task, it has no length, or it can't be as short.
    """
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(TASKS)}"
        raise InputError(f"{name}: no such task. {hint}")
    if length is None:
        return TASKS[name]()
    if name == "embedded-reber":
        raise InputError(
            "--length: embedded-reber has none, its strings are as long as the grammar makes them. "
            "Leave it out, or take continual-reber"
        )
    return TASKS[name](length=length)

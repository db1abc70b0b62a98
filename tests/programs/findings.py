"""Runs programs on both packages and keeps what was found, in groups."""

from __future__ import annotations

import re
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import unrolled.nn
from programs.compare import Difference, difference
from programs.declared import declared
from programs.draw import draw
from programs.interpret import Raised, run
from programs.program import Program, Step
from programs.shrink import shrink

IN_A_GROUP = 2
"""So many of a signature are made small; the others are counted."""


PLAIN = re.compile(
    "requires_grad|randn|zeros|ones|fit|parameters|sum|square|tanh|mean|noise|squared|nested|next|"
    "range|grad|backward|retain_graph|pack_padded_sequence|pad_packed_sequence|batch_first|"
    "enforce_sorted|bias|bidirectional|num_layers|proj_size|(RNN|LSTM|GRU)(Cell)?|"
)
"""Words that say nothing of what a program is about."""


@dataclass(frozen=True)
class Finding:
    """A difference, and the smallest program that was found to show it."""

    seed: int
    signature: str
    difference: Difference
    program: Program

    @property
    def group(self) -> str:
        """The kind with the exception, or with what the small program calls."""
        if "raised" in self.difference.kind or self.difference.kind == "wording":
            return f"{self.difference.kind}: {self.difference.detail[:240]}"
        words = set(re.findall(r"(\w+)(?=\(|=True)|with \w+", self.program.source))
        telling = sorted(word for word in words if not PLAIN.fullmatch(word))
        return f"{self.difference.kind} [{', '.join(telling)}]"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(found: dict[str, Any]) -> Finding:
        steps = tuple(Step(s["source"], tuple(s["features"])) for s in found["program"]["steps"])
        return Finding(
            found["seed"],
            found["signature"],
            Difference(**found["difference"]),
            Program(found["program"]["seed"], steps),
        )


@dataclass
class Tally:
    """What ran: programs, those that torch refused, features of steps that ran, differences."""

    programs: int = 0
    raised: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        # Not by asdict, which makes a counter of the pairs of a counter before Python 3.12.
        return dict(vars(self))

    @staticmethod
    def from_json(tally: dict[str, Any]) -> Tally:
        counters = {k: Counter(tally[k]) for k in ("raised", "features", "differences")}
        return Tally(tally["programs"], seconds=tally["seconds"], **counters)

    def add(self, other: Tally) -> None:
        self.programs += other.programs
        self.raised += other.raised
        self.features += other.features
        self.differences += other.differences
        self.seconds += other.seconds


def compare(program: Program, ours: Any = unrolled.nn) -> tuple[Difference | None, Raised | None]:
    """Where ours differs from theirs, and what theirs raised.

    Differences that are declared are none.
    """
    code = program.compiled()
    expected = run(program, torch.nn, code)
    found = difference(run(program, ours, code), expected, program)
    if found is not None and declared(found, program, ours):
        found = None
    return found, expected.raised


def smallest(
    program: Program, found: Difference, ours: Any = unrolled.nn
) -> tuple[Program, Difference]:
    """A small program with the same signature, and its difference."""
    signature = found.signature(program)

    def fails(smaller: Program) -> bool:
        try:
            again, _ = compare(smaller, ours)
        except Exception:
            return False
        return again is not None and again.signature(smaller) == signature

    small = shrink(program, fails)
    again, _ = compare(small, ours)
    return small, again or found


def try_all(
    seeds: Iterable[int],
    tally: Tally,
    known: Counter[str] | None = None,
    ours: Any = unrolled.nn,
) -> Iterable[Finding]:
    """Runs the programs of these seeds, notes them in the tally, and yields what was found.

    With ``known``, which counts the signatures, only the first few of each, and then made small;
    what is made small has the same seed, and may be the end of the process.
    """
    for seed in seeds:
        begin = time.process_time()
        program = draw(seed)
        try:
            found, raised = compare(program, ours)
        except Exception:
            found, raised = Difference("not compared", 0, "", traceback.format_exc()), None
        tally.programs += 1
        ran = program.steps if raised is None else program.steps[: raised.step]
        tally.features.update({feature for step in ran for feature in step.features})
        if raised is not None:
            tally.raised[f"{raised.type}: {raised.message[:60]}"] += 1
        tally.seconds += time.process_time() - begin
        if found is None:
            continue
        signature = found.signature(program)
        tally.differences[signature] += 1
        if known is None:
            yield Finding(seed, signature, found, program)
            continue
        known[signature] += 1
        if known[signature] <= IN_A_GROUP:
            yield Finding(seed, signature, found, program)
            if found.kind != "not compared":
                small, found = smallest(program, found, ours)
                yield Finding(seed, signature, found, small)

"""The differences that are meant, each with its reason. Every other one is a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from programs.compare import Difference
from programs.program import Program


@dataclass(frozen=True)
class Declared:
    """Why a difference is meant, and which it is."""

    reason: str
    covers: Callable[[Difference, Program], bool]


def _viewed(found: Difference, _: Program) -> bool:
    return found.kind == "theirs raised" and "view size is not compatible" in found.detail


def _behind_autograd(found: Difference, program: Program) -> bool:
    """A weight was written through ``.data`` after a call, and a pass was repeated later."""
    source = program.source
    written = "weights:data_mul_" in program.features or "change:data_mul_" in program.features
    repeated = "recompute_every" in source or "create_graph" in source
    return found.kind == "value" and written and repeated


def _saved_otherwise(found: Difference, _: Program) -> bool:
    return found.kind == "theirs raised" and "CheckpointError" in found.detail


DECLARED = (
    Declared("a batch-first output is contiguous, so that more of it can be viewed", _viewed),
    Declared(
        "which tensors a pass saves is its own affair, and a checkpoint that has found another "
        "number of them, since a weight was frozen meanwhile, or another layout, refuses",
        _saved_otherwise,
    ),
    Declared(
        "a backward pass that repeats the forward pass, for recompute_every or a second "
        "derivative, repeats it on what was written through .data; torch's own has the old "
        "activations and the new weights: neither is the derivative of what ran",
        _behind_autograd,
    ),
)


def declared(found: Difference, program: Program) -> bool:
    return any(difference.covers(found, program) for difference in DECLARED)

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


def _behind_autograd(found: Difference, program: Program) -> bool:
    """A weight was written through ``.data`` after a call, and a pass was repeated later."""
    source = program.source
    written = "weights:data_mul_" in program.features or "change:data_mul_" in program.features
    repeated = any(w in source for w in ("recompute_every", "create_graph", "is_grads_batched"))
    return found.kind == "value" and written and repeated


def _of_parts(found: Difference, _: Program) -> bool:
    return found.kind == "wording" and "of Unbind is a view" in found.detail


def _minds_more(found: Difference, program: Program) -> bool:
    """Ours refuses a change in place that torch's did not meet."""
    if found.kind != "ours raised":
        return False
    if "was replaced, and can't be differentiated again" in found.detail:
        return True
    words = ("inputs=", "grad(", "recompute_every", "batch_first=True")
    is_wider = any(word in program.source for word in words) or any(
        feature.startswith("layout:") for feature in program.features
    )
    return is_wider and "modified by an inplace operation" in found.detail


def _both_refuse(found: Difference, _: Program) -> bool:
    both = found.kind in ("wording", "raised otherwise")
    return both and "modified by an inplace operation" in found.detail


def _before_the_refusal(found: Difference, program: Program) -> bool:
    changed = any(feature.startswith(("change:", "weights:")) for feature in program.features)
    return found.kind == "missing" and found.detail == "only theirs has it" and changed


def _detached(found: Difference, _: Program) -> bool:
    return found.kind == "theirs raised" and "Can't detach views in-place" in found.detail


def _around_lengths(_: Difference, program: Program) -> bool:
    return "with_lengths" in program.source and "hook" in program.source


def _behind_hooks(found: Difference, program: Program) -> bool:
    changed = ("weights:", "change:")
    hooked = any(feature.startswith("context:saved_") for feature in program.features)
    return (
        found.kind == "value"
        and hooked
        and any(feature.startswith(changed) for feature in program.features)
    )


def _graph_of_its_own(found: Difference, _: Program) -> bool:
    return found.kind == "theirs raised" and "graph a second time" in found.detail


def _saved_otherwise(found: Difference, _: Program) -> bool:
    return found.kind == "theirs raised" and "CheckpointError" in found.detail


DECLARED = (
    Declared(
        "a hook of a module with lengths= sees the padded batch, not the three calls of torch's "
        "that it stands for",
        _around_lengths,
    ),
    Declared(
        "where hooks on saved tensors are set autograd counts no versions: what was changed in "
        "place is read as it is by then, by torch's nodes and by ours, each where it reads it",
        _behind_hooks,
    ),
    Declared(
        "a derivative that can be differentiated again has a graph of its own: freeing that one "
        "does not free the pass's",
        _graph_of_its_own,
    ),
    Declared(
        "torch takes the states that were given apart, and speaks of the parts where one was "
        "changed in place; both refuse",
        _of_parts,
    ),
    Declared(
        "a pass is one node: with recompute_every, with is_grads_batched, or where only some "
        "gradients are asked for, it reads what torch's nodes for the single products don't, and "
        "refuses if that was changed; nor does it copy an input that is not dense, as torch's does",
        _minds_more,
    ),
    Declared(
        "where something was changed in place and several things are wrong, each refuses with what "
        "it meets first",
        _both_refuse,
    ),
    Declared(
        "before torch refuses what was changed in place, its nodes that come earlier have given "
        "their gradients to hooks; ours is one node",
        _before_the_refusal,
    ),
    Declared("torch's batch-first output of an LSTM is a view, ours is not", _detached),
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

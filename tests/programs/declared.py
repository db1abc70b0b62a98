"""The differences that are meant, each with its reason. Every other one is a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from programs.compare import Difference
from programs.interpret import run
from programs.program import Program
from programs.vocabulary import nested
from unrolled.scan import fitting

WEIGHTS_OF_A_CELL = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
IN_PLACE = "modified by an inplace operation"


@dataclass(frozen=True)
class Declared:
    """Why a difference is meant, and which it is."""

    reason: str
    covers: Callable[[Difference, Program], bool]


# --- Changes that autograd sees.


class _Reads(torch.autograd.Function):
    """A result as it is, whose backward pass reads all that the forward pass was given."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return result.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, *[None for _ in ctx.saved_tensors]


def _reading(name: str) -> type[torch.nn.Module]:
    """torch's class of this name, whose backward pass reads everything, in whatever it is asked."""
    cls: type[torch.nn.Module] = getattr(torch.nn, name)

    def forward(self: torch.nn.Module, *given: Any) -> Any:
        if fitting.is_transformed() or forward_ad._current_level >= 0:
            return cls.forward(self, *given)
        names = getattr(self, "_flat_weights_names", WEIGHTS_OF_A_CELL)
        read = [*nested(given), *nested([getattr(self, name) for name in names])]

        def reads(value: Any) -> Any:
            if isinstance(value, Tensor) and value.requires_grad:
                return _Reads.apply(value, *read)  # type: ignore[no-untyped-call]
            if isinstance(value, PackedSequence):
                return value._replace(data=reads(value.data))
            return tuple(map(reads, value)) if isinstance(value, tuple) else value

        return reads(cls.forward(self, *given))

    return type(name, (cls,), {"forward": forward})


KINDS = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]
READING = SimpleNamespace(**{name: _reading(name) for name in KINDS})


def _reads_more(found: Difference, program: Program) -> bool:
    """Ours refuses what torch's would refuse if their backward pass read all it was given."""
    kinds = ("ours raised", "wording", "raised otherwise")
    if found.kind not in kinds or IN_PLACE not in found.detail:
        return False
    raised = run(program, READING).raised
    return raised is not None and raised.step <= found.step and IN_PLACE in raised.message


def _of_parts(found: Difference, _: Program) -> bool:
    return found.kind == "wording" and "of Unbind is a view" in found.detail


# --- Changes that it does not see.


def _behind_hooks(found: Difference, program: Program) -> bool:
    features = program.features
    hooked = any(feature.startswith("context:saved_") for feature in features)
    changed = any(feature.startswith(("weights:", "change:")) for feature in features)
    return found.kind == "value" and hooked and changed


UNSEEN = ("data_mul_", "data_assigned", "numpy")
REPEATS = ("recompute_every", "create_graph", "is_grads_batched", "vectorize", "functional.")


def _behind_autograd(found: Difference, program: Program) -> bool:
    if found.kind == "ours raised" and "was replaced, and can't" in found.detail:
        return True
    written = any(feature.endswith(UNSEEN) for feature in program.features)
    repeated = any(word in program.source for word in REPEATS)
    return found.kind == "value" and written and repeated


# --- Others.


def _graph_of_its_own(found: Difference, program: Program) -> bool:
    freed = found.kind == "theirs raised" and "graph a second time" in found.detail
    return freed and any(word in program.source for word in REPEATS)


def _no_view(found: Difference, program: Program) -> bool:
    refused = "Can't detach views in-place" in found.detail or " is a view and " in found.detail
    theirs = found.kind == "theirs raised" or "theirs 'unusable" in found.detail
    return theirs and refused and "batch_first=True" in program.source


def _saved_otherwise(found: Difference, _: Program) -> bool:
    kinds = ("theirs raised", "raised otherwise")
    return found.kind in kinds and "CheckpointError" in found.detail.split("theirs:")[-1]


DECLARED = (
    Declared(
        "a pass is one node, which reads all that it was given: torch's nodes for the single "
        "products read it only for the gradients that are asked for, or have a copy of it; ours "
        "refuses if it was changed in place, or says so where torch's meets something else first",
        _reads_more,
    ),
    Declared(
        "torch takes the states that were given apart, and speaks of the parts where one was "
        "changed in place; both refuse",
        _of_parts,
    ),
    Declared(
        "where hooks on saved tensors are set autograd counts no versions: what was changed in "
        "place is read as it is by then, by torch's nodes and by ours, each where it reads it",
        _behind_hooks,
    ),
    Declared(
        "a backward pass that repeats the forward pass, for recompute_every or a second "
        "derivative, repeats it on what was written through .data or NumPy, or refuses; torch's "
        "own has the old activations and the new numbers: neither is the derivative of what ran",
        _behind_autograd,
    ),
    Declared(
        "a derivative that can be differentiated again has a graph of its own: freeing that one "
        "does not free the pass's",
        _graph_of_its_own,
    ),
    Declared("torch's batch-first output is a view, ours is not", _no_view),
    Declared(
        "which tensors a pass saves is its own affair, and a checkpoint that has found another "
        "number of them, since a weight was frozen meanwhile, or another layout, refuses",
        _saved_otherwise,
    ),
)


def declared(found: Difference, program: Program) -> bool:
    return any(difference.covers(found, program) for difference in DECLARED)

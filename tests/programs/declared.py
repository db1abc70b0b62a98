"""The differences that are meant, each with its reason. Every other one is a finding."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

import unrolled.nn
from programs.compare import Difference, difference
from programs.interpret import run
from programs.program import Program, Step
from programs.vocabulary import nested
from unrolled.scan import eligibility

WEIGHTS_OF_A_CELL = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
IN_PLACE = re.compile("modified by an inplace operation|has been modified inplace")


@dataclass(frozen=True)
class Case:
    """A difference, the program that shows it, and the package that is compared with torch's."""

    kind: str
    step: int
    detail: str
    program: Program
    ours: Any

    def is_gone(self, changed: Callable[[Step], str | None]) -> bool:
        """Whether it doesn't differ there with steps changed, or left out where it is None.

        The steps left out must define nothing that others read.
        """
        pairs = [(step, changed(step)) for step in self.program.steps]
        steps = tuple(Step(source, step.features) for step, source in pairs if source is not None)
        if steps == self.program.steps:
            return False
        rest = Program(self.program.seed, steps)
        found = difference(run(rest, self.ours), run(rest, torch.nn), rest)
        left_out = sum(source is None for _, source in pairs[: self.step])
        is_later = found is not None and found.step > self.step - left_out
        return found is None or is_later or declared(found, rest, self.ours)

    def is_as(self, theirs: Any, changed: Callable[[Step], str] = lambda step: step.source) -> bool:
        """Whether ours is as these modules, which stand for torch's, in a program so changed."""
        steps = tuple(Step(changed(step), step.features) for step in self.program.steps)
        program = self.program.with_steps(steps)
        return difference(run(self.program, self.ours), run(program, theirs), program) is None


@dataclass(frozen=True)
class Declared:
    """Why a difference is meant, and which it is."""

    reason: str
    covers: Callable[[Case], bool]


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
        if eligibility.is_transformed() or forward_ad._current_level >= 0:
            return cls.forward(self, *given)
        names = getattr(self, "_flat_weights_names", WEIGHTS_OF_A_CELL)
        read = [*nested(given), *nested([getattr(self, name) for name in names])]
        read = [tensor for tensor in read if not tensor.is_inference()]  # they count no versions

        def reads(value: Any) -> Any:
            if isinstance(value, Tensor) and value.requires_grad:
                return _Reads.apply(value, *read)
            if isinstance(value, PackedSequence):
                return value._replace(data=reads(value.data))
            return tuple(map(reads, value)) if isinstance(value, tuple) else value

        return reads(cls.forward(self, *given))

    return type(name, (cls,), {"forward": forward})


KINDS = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]
READING = SimpleNamespace(**{name: _reading(name) for name in KINDS})


def _reads_more(case: Case) -> bool:
    """Ours refuses what torch's would refuse if their backward pass read all it was given."""
    kinds = ("ours raised", "wording", "raised otherwise")
    if case.kind not in kinds or not IN_PLACE.search(case.detail):
        return False
    raised = run(case.program, READING).raised
    return raised is not None and raised.step <= case.step and bool(IN_PLACE.search(raised.message))


def _of_other_nodes(case: Case) -> bool:
    if case.kind != "wording":
        return False
    words = re.sub(r"Output \d+ of \w+ is a view", "an output is a view", case.detail)
    ours, _, theirs = words.partition(" | theirs: ")
    return words != case.detail and (ours == theirs or "of Unbind is a view" in case.detail)


# --- Changes that it does not see.


def _unhooked(step: Step) -> str:
    """Without hooks on saved tensors, which checkpoints set, too."""
    source = re.sub(r"checkpoint\((\w+), (.*), use_reentrant=\w+\)", r"\1(\2)", step.source)
    if not any(feature.startswith("context:saved_") for feature in step.features):
        return source
    (block,) = ast.parse(source).body
    return "\n".join(map(ast.unparse, block.body)) if isinstance(block, ast.With) else source


def _unwritten(step: Step) -> str | None:
    """Without a change in place of a value or a weight, or of which weights a module has."""
    if any(feature.startswith("modules:deepcopy") for feature in step.features):
        return step.source
    writes = "SGD(" in step.source or any(f.startswith(WRITES) for f in step.features)
    return None if writes else step.source


def _seen(step: Step) -> str | None:
    """Without a change in place that autograd does not see."""
    is_unseen = any(feature.endswith(UNSEEN) for feature in step.features)
    return None if is_unseen else step.source


WRITES = ("change:", "weights:", "modules:")
UNSEEN = ("data_mul_", "numpy")


def _behind_hooks(case: Case) -> bool:
    """It takes both, the hooks and the changes."""
    return (
        case.kind in ("value", "missing") and case.is_gone(_unhooked) and case.is_gone(_unwritten)
    )


def _behind_autograd(case: Case) -> bool:
    refused = "that autograd does not see" in case.detail
    return (case.kind == "value" or refused) and case.is_gone(_seen)


def _mixed_up(case: Case) -> bool:
    """Ours has what torch's modules have without the checkpoints, which change no number."""
    if case.kind != "value" or "checkpoint(" not in case.program.source:
        return False
    return case.is_as(torch.nn, _unhooked)


# --- Others.

REFUSALS = re.compile(
    "modified by an inplace|graph a second time|Inference tensors|vmap: We do not yet|"
    "not have been used in the graph"
)


def _unbatched(step: Step) -> str:
    """Without derivatives that are taken for many gradients at once."""
    return step.source.replace("is_grads_batched=True", "is_grads_batched=False")


def _two_faults(case: Case) -> bool:
    """Each refuses, and with one of the faults gone both say the same."""
    ours, _, theirs = case.detail.partition(" | theirs: ")
    if case.kind != "wording" or not (REFUSALS.search(ours) and REFUSALS.search(theirs)):
        return False
    return case.is_gone(_unwritten) or case.is_gone(_unbatched)


def _unassigned(step: Step) -> str | None:
    """Without new data for a tensor or a weight."""
    return None if any(f.endswith("data_assigned") for f in step.features) else step.source


def _looks_at_inference(case: Case) -> bool:
    refused = "Inference tensors do not track version counter" in case.detail
    return refused and case.kind == "theirs raised" and case.is_gone(_unassigned)


REPEATS = ("recompute_every", "create_graph", "is_grads_batched", "vectorize", "functional.")


def _graph_of_its_own(case: Case) -> bool:
    ours, _, theirs = case.detail.rpartition(" | theirs: ")
    freed = "graph a second time" in theirs and "graph a second time" not in ours
    freed = freed and case.kind in ("theirs raised", "wording")
    return freed and any(word in case.program.source for word in REPEATS)


def _not_rerun(case: Case) -> bool:
    drawn = case.kind == "theirs raised" and "calling random operations inside" in case.detail
    source = case.program.source
    return drawn and all(word in source for word in ("dropout=", "checkpoint(", "create_graph"))


def _without_view(name: str) -> type[torch.nn.Module]:
    """torch's class of this name, whose batch-first output is a copy and no view."""
    cls: type[torch.nn.Module] = getattr(torch.nn, name)

    def forward(self: Any, input: Any, *given: Any) -> Any:
        results = cls.forward(self, input, *given)
        if not getattr(self, "batch_first", False) or isinstance(input, PackedSequence):
            return results
        output, last = results
        return (output.clone() if output.dim() == 3 else output[None].clone()[0]), last

    return type(name, (cls,), {"forward": forward})


WITHOUT_VIEW = SimpleNamespace(**{name: _without_view(name) for name in KINDS})


def _no_view(case: Case) -> bool:
    if "batch_first=True" not in case.program.source:
        return False
    refusals = ("Can't detach views in-place", " is a view and ", "A view was created in no_grad")
    refused = any(words in case.detail for words in refusals)
    theirs = case.kind == "theirs raised" or "theirs 'unusable" in case.detail
    return (theirs and refused) or case.is_as(WITHOUT_VIEW)


def _rounded(case: Case) -> bool:
    """In float64, of which the programs have other random numbers, nothing differs."""
    apart = re.match(r"apart by ([^,]*)", case.detail)
    if case.kind != "value" or apart is None or float(apart[1]) > ROUNDED:
        return False
    return case.is_gone(lambda step: step.source.replace("torch.float32", "torch.float64"))


ROUNDED = 1e-2


def _saved_otherwise(case: Case) -> bool:
    if case.kind == "ours raised":
        return "CheckpointError" in case.detail and case.is_gone(_unwritten)
    kinds = ("theirs raised", "raised otherwise")
    return case.kind in kinds and "CheckpointError" in case.detail.split("theirs:")[-1]


DECLARED = (
    Declared(
        "a pass is one node, which reads all that it was given: torch's nodes for the single "
        "products read it only for the gradients that are asked for, or have a copy of it; ours "
        "refuses if it was changed in place, or says so where torch's meets something else first",
        _reads_more,
    ),
    Declared(
        "torch takes the states that were given apart, and its input along another way: where such "
        "a view was changed it names another node than ours; both refuse",
        _of_other_nodes,
    ),
    Declared(
        "where hooks on saved tensors are set autograd counts no versions: what was changed in "
        "place is read as it is by then, by torch's nodes and by ours, each where it reads it. A "
        "parametrization sets its weight in place, which leads torch's second derivative nowhere",
        _behind_hooks,
    ),
    Declared(
        "what was written through .data or NumPy between forward and backward pass is read as it "
        "is by then where the numbers themselves were kept, and as it was where a product or a "
        "copy was: torch keeps other ones than ours. Of a batch-first input it keeps a copy. A "
        "second derivative of ours repeats the forward pass, and refuses if it has become another",
        _behind_autograd,
    ),
    Declared(
        "a checkpoint's rerun on an input in another layout, or on a weight given anew that "
        "learns, saves other tensors than its first run: torch mixes them up where they have the "
        "same shape",
        _mixed_up,
    ),
    Declared(
        "a derivative that can be differentiated again has a graph of its own: freeing that one "
        "does not free the pass's, and where nothing is freed ours meets what else there is",
        _graph_of_its_own,
    ),
    Declared(
        "for the same reason it needs no rerun of a checkpoint, whose dropout torch would have to "
        "draw for many gradients at once",
        _not_rerun,
    ),
    Declared(
        "a program that does two things that autograd refuses is told of one: torch's nodes meet "
        "them in another order than ours",
        _two_faults,
    ),
    Declared(
        "a tensor that was made in inference and given new data can't be looked at in another way, "
        "as torch's modules do, but for the LSTM without gradients; ours read its numbers",
        _looks_at_inference,
    ),
    Declared("torch's batch-first output is a view, ours is not", _no_view),
    Declared("what a steep function makes of the last digits of float32", _rounded),
    Declared(
        "which tensors a pass saves is its own affair, and a checkpoint that has found other ones, "
        "since a weight was frozen or replaced meanwhile, or another layout, refuses",
        _saved_otherwise,
    ),
)


def declared(found: Difference, program: Program, ours: Any = unrolled.nn) -> bool:
    case = Case(found.kind, found.step, found.detail, program, ours)
    return any(meant.covers(case) for meant in DECLARED)

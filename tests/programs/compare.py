"""Whether two outcomes of a program are the same, and where they differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from programs.interpret import Outcome, Raised
from programs.program import Program

# A rounding for each operation on the way to a number, of which there are some thousands in a third
# derivative over four calls, times what chained calls may blow them up by.
TOLERANCE = {torch.float64: 2.0**20 * 2.0**-52, torch.float32: 2.0**10 * 2.0**-23}


@dataclass(frozen=True)
class Difference:
    """Ours is not as theirs, in this step.

    ``kind`` is one of the words of :func:`difference`; ``where`` is the path to what differs, ""
    for an exception.
    """

    kind: str
    step: int
    where: str
    detail: str

    def signature(self, program: Program) -> str:
        """What findings are grouped by: the same for those that probably have the same cause."""
        features = program.steps[self.step].features
        what = f" in {features[0]}" if features else ""
        if "raised" in self.kind or self.kind == "wording":
            return f"{self.kind}{what}: {self.detail}"
        return f"{self.kind}{what}"


def difference(ours: Outcome, theirs: Outcome, program: Program) -> Difference | None:
    """The first difference in the order of the program, or None.

    Kinds: ``ours raised``, ``theirs raised`` (one did and the other not, or at another step),
    ``raised otherwise`` (another type), ``wording`` (the same type in other words), ``missing``
    (a gradient or a variable that only one has), ``flags`` (requires_grad, is_leaf), ``shape``,
    ``value``. Where the comparison itself failed it is ``not compared``.
    """
    if ours.raised != theirs.raised and (found := _raised(ours.raised, theirs.raised)):
        return found
    stopped = theirs.raised is not None
    for path, expected in theirs.values.items():
        if stopped and _is_of_a_pass(path):
            continue
        if found := _leaf(path, ours.values.get(path, ...), expected, program):
            return found
    for path in ours.values:
        if path not in theirs.values and not (stopped and _is_of_a_pass(path)):
            return _at("missing", path, "only ours has it", program)
    return None


def _is_of_a_pass(path: str) -> bool:
    """Whether a backward pass wrote it: how far one came before it failed is nobody's promise."""
    return ".grad" in path or path.startswith("seen")


def _raised(ours: Raised | None, theirs: Raised | None) -> Difference | None:
    if theirs is None or (ours is not None and ours.step < theirs.step):
        assert ours is not None
        return Difference("ours raised", ours.step, "", normal(ours))
    if ours is None or theirs.step < ours.step:
        return Difference("theirs raised", theirs.step, "", normal(theirs))
    both = f"{normal(ours)} | theirs: {normal(theirs)}"
    if ours.type != theirs.type:
        return Difference("raised otherwise", ours.step, "", both)
    if normal(ours) != normal(theirs):
        return Difference("wording", ours.step, "", both)
    return None


def normal(raised: Raised) -> str:
    """The exception without what depends on which tensor of several was met first."""
    message = raised.message.replace("\n", " ")
    message = re.sub(r"(different metadata|different number of tensors) .*", r"\1.", message)
    message = re.sub(r"inplace operation: \[.*", "inplace operation.", message)
    return f"{raised.type}: {message}"


def _leaf(path: str, ours: Any, theirs: Any, program: Program) -> Difference | None:
    if ours is ...:
        return _at("missing", path, "only theirs has it", program)
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
        same = type(ours) is type(theirs) and (isinstance(ours, Tensor) or ours == theirs)
        detail = f"ours {_brief(ours)}, theirs {_brief(theirs)}"
        return None if same else _at("missing", path, detail, program)
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        detail = f"ours {ours.dtype} {[*ours.shape]}, theirs {theirs.dtype} {[*theirs.shape]}"
        return _at("shape", path, detail, program)
    flags = [(t.requires_grad, t.is_leaf, t.is_inference()) for t in (ours, theirs)]
    if flags[0] != flags[1]:
        names = "requires_grad, is_leaf, is_inference"
        return _at("flags", path, f"{names}: ours {flags[0]}, theirs {flags[1]}", program)
    if (error := _error(ours.detach(), theirs.detach())) is None:
        return None
    return _at("value", path, f"apart by {error:.1e}, ours {ours}, theirs {theirs}", program)


def _error(ours: Tensor, theirs: Tensor) -> float | None:
    """How far they are apart, as a share of the largest number or of 1; None if that is nothing."""
    if ours.numel() == 0 or torch.equal(ours, theirs):
        return None
    if not ours.is_floating_point():
        return 1.0
    finite = theirs.isfinite()
    if not torch.equal(
        torch.where(finite, 0, ours).nan_to_num(nan=7.0),
        torch.where(finite, 0, theirs).nan_to_num(nan=7.0),
    ):
        return float("inf")
    ours, theirs = ours[finite], theirs[finite]
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)
    return None if error <= TOLERANCE[ours.dtype] else error.item()


def _brief(value: Any) -> str:
    return f"a tensor {[*value.shape]}" if isinstance(value, Tensor) else repr(value)


def _at(kind: str, path: str, detail: str, program: Program) -> Difference:
    name = re.split(r"[.\[]", path)[0]
    made = [
        index
        for index, step in enumerate(program.steps)
        if (("backward(" in step.source) if ".grad" in path else (name in step.defines))
    ]
    return Difference(kind, made[-1] if made else len(program.steps) - 1, path, detail)

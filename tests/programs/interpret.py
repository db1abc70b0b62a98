"""Runs a program on torch's modules or on ours."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from programs import vocabulary
from programs.program import Program
from unrolled.scan import eligibility

WORDS = {name: getattr(vocabulary, name) for name in vocabulary.__all__}


@dataclass(frozen=True)
class Raised:
    """An exception, and the step in which it came."""

    step: int
    type: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What each variable holds at the end, in the order in which they were made, or the exception.

    A variable's tensors stand with the path to them: ``h1``, ``g1[2]``, ``a.weight_hh_l0.grad``.
    """

    values: dict[str, Any]
    raised: Raised | None = None


def run(program: Program, package: Any, code: CodeType | None = None) -> Outcome:
    """Runs it on ``torch.nn``, or on what has the same names; with the same random numbers.

    torch's LSTM in float32 runs without oneDNN, which has no second derivative and keeps its
    output for the first: what a program may do would depend on the dtype.
    """
    names: dict[str, Any] = {"nn": package, **WORDS}
    given = len(names)
    torch.manual_seed(program.seed)
    code = code or program.compiled()
    raised = None
    try:
        with warnings.catch_warnings(), without_onednn():
            warnings.simplefilter("ignore")
            exec(code, names)
    except Exception as error:
        raised = _raised(program, error)
    finally:
        for name in ("__builtins__", "__warningregistry__"):
            names.pop(name, None)
    made = dict(list(names.items())[given:])
    return Outcome({path: leaf for name in made for path, leaf in leaves(name, made[name])}, raised)


@contextmanager
def without_onednn() -> Iterator[None]:
    """As ``torch.backends.mkldnn.flags(enabled=False)``, which warns whenever it is left."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _raised(program: Program, error: Exception) -> Raised:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<program>" and frame.lineno
    ]
    return Raised(program.step_at(lines[0]), type(error).__name__, str(error))


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The tensors, numbers and Nones in a value, and the gradients that are kept with them."""
    items: Iterable[tuple[str, Any]] = ()
    match value:
        case Tensor():
            yield from _tensor(path, value)
        case None | float() | int() | str():
            yield path, value
        case torch.nn.Module():
            items = ((f".{name}", weight) for name, weight in value.named_parameters())
        case dict():
            items = ((f"[{key!r}]", item) for key, item in value.items())
        case list() | tuple():
            items = ((f"[{index}]", item) for index, item in enumerate(value))
    for end, item in items:
        yield from leaves(path + end, item)


def _tensor(path: str, tensor: Tensor) -> Iterator[tuple[str, Any]]:
    if not eligibility.has_memory(tensor):
        yield path, "of a transform that has ended"  # as what a hook kept under is_grads_batched
        return
    try:
        has_gradient = tensor.is_leaf or tensor.retains_grad
    except RuntimeError as error:  # a view that was changed where it must not be
        yield path, f"unusable: {error}"
        return
    yield path, tensor
    if has_gradient:
        yield from leaves(f"{path}.grad", tensor.grad)

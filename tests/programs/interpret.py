"""Runs a program on torch's modules or on ours."""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent
from types import CodeType
from typing import Any

import torch
from torch import Tensor

import unrolled.nn
from programs import vocabulary
from programs.program import Program, Step

PACKAGES: dict[str, Any] = {"theirs": torch.nn, "ours": unrolled.nn}
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


def run(program: Program, package: str, code: CodeType | None = None) -> Outcome:
    """Runs it on one of :data:`PACKAGES`; its random numbers are the same in each.

    torch's LSTM in float32 runs without oneDNN, which has no second derivative and keeps its
    output for the first: what a program may do would depend on the dtype.
    """
    names: dict[str, Any] = {"nn": PACKAGES[package], **WORDS}
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
    """``torch.backends.mkldnn.flags(enabled=False)`` is the same, and warns each time it is left."""
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
    if isinstance(value, Tensor):
        try:
            has_grad = value.is_leaf or value.retains_grad
        except RuntimeError as error:  # a view that was changed where it must not be
            yield path, f"unusable: {error}"
            return
        yield path, value
        if has_grad:
            yield f"{path}.grad", value.grad
    elif isinstance(value, torch.nn.Module):
        for name, weight in value.named_parameters():
            yield from leaves(f"{path}.{name}", weight)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(f"{path}[{name!r}]", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(f"{path}[{index}]", item)
    elif value is None or isinstance(value, float | int | str):
        yield path, value


def main(function: Callable[[Any], Any]) -> None:
    """For a script of a program: runs it on both packages and prints the first difference."""
    from programs.compare import difference

    body = dedent("".join(inspect.getsource(function).splitlines(keepends=True)[2:-1]))
    seed = int(inspect.getsource(function).split("manual_seed(")[1].split(")")[0])
    program = Program(seed, (Step(body.rstrip("\n")),))
    print(difference(*(run(program, package) for package in ("ours", "theirs")), program))

"""Picks who computes a recurrent pass. The one seam: faster engines are added here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from unrolled.scan import (
    checkpoints,
    compiled,
    eligibility,
    kernels,
    narrow,
    recording,
    reference,
)
from unrolled.scan.compiling import constant
from unrolled.scan.spec import Given, Spec, State

Backend = Literal["auto", "native", "reference", "torch"]


class Engine(Protocol):
    """Who computes passes."""

    def supports(self, spec: Spec, data: Tensor, others: Sequence[Tensor]) -> str | None:
        """Why it can't run a pass over ``data`` with these states, constants and weights.

        None where it can.
        """

    def run(self, spec: Spec, given: Given) -> tuple[Tensor, State]:
        """The whole pass; see :func:`run`."""

    def run_cell(self, spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
        """One step; see :func:`run_cell`."""


ENGINES: dict[str, Engine] = {"native": compiled, "reference": reference, "torch": kernels}

NAMES = get_args(Backend)

_forced: ContextVar[str | None] = ContextVar("unrolled_backend", default=None)


def run(spec: Spec, given: Given) -> tuple[Tensor, State]:
    """One recurrent pass.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P] (P numbers in the first
        state), and each state after every row's own last step, [L·D, B, ·].
    """
    data, *others = given.tensors()
    if _is_narrow(data, others):
        return narrow.run(_run, spec, given)
    return _run(spec, given)


def _run(spec: Spec, given: Given) -> tuple[Tensor, State]:
    """The same of tensors that are what they are computed in."""
    data, *others = given.tensors()
    name, _ = _choose(spec, data, others)
    if not torch.compiler.is_compiling():
        name = _repeated(name, spec, data, others)
        if (recorder := recording.active()) is not None:
            return recorder.run(name, spec, given)
    return ENGINES[name].run(spec, given)


def run_cell(spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    """One step of a cell with kernels.

    Args:
        spec: one layer of it.
        input: [B, I].
        state: each [B, ·].
        weights: in the order of the cell's.

    Returns:
        The next states, each [B, ·].
    """
    if not torch.compiler.is_compiling() and (recorder := recording.active()) is not None:
        return recorder.run_cell(spec, input, state, weights)
    name, _ = choose_cell(input)
    if not torch.compiler.is_compiling():
        name = checkpoints.repeated(name)
    return ENGINES[name].run_cell(spec, input, state, weights)


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Within the block every pass runs on this backend.

    ``native`` is the compiled core, ``reference`` the equations in plain torch, ``torch`` torch's
    own kernels, ``auto`` the choice that is made without this. The environment variable
    ``UNROLLED_BACKEND``, which is read once, does the same from outside; the block wins over it.

    Raises:
        ValueError: there is no such backend.
    """
    token = _forced.set(_checked(name, "backend"))
    try:
        yield
    finally:
        _forced.reset(token)


def choose(spec: Spec, data: Tensor, others: Sequence[Tensor]) -> tuple[str, str]:
    """Who computes a pass over ``data`` with these states, constants and weights, and why.

    Raises:
        RuntimeError: ``native`` is forced, and can't do it.
        ValueError: ``UNROLLED_BACKEND`` names no backend.
    """
    if not _is_narrow(data, others):
        return _choose(spec, data, others)
    with narrow.without_autocast():
        return _choose(narrow.narrowed(spec), data.float(), [other.float() for other in others])


def _is_narrow(data: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether the pass is one in bfloat16; torch's own kernels have their own way."""
    return narrow.is_narrow(data, others) and _wanted() != "torch"


def _choose(spec: Spec, data: Tensor, others: Sequence[Tensor]) -> tuple[str, str]:
    """See :func:`choose`, of tensors that are what they are computed in."""
    forced = _wanted()
    if forced in ("reference", "torch"):
        obstacle = ENGINES[forced].supports(spec, data, others)
        return ("reference", obstacle) if obstacle else (forced, "it is forced")
    other = _not_ours(data)
    if forced == "native":
        if obstacle := other or ENGINES[forced].supports(spec, data, others):
            raise RuntimeError(f"the native backend is forced, and can't run this: {obstacle}")
        return forced, "nothing speaks against it"
    name = "torch" if other else "native"
    if obstacle := ENGINES[name].supports(spec, data, others):
        return "reference", obstacle
    return name, other or "nothing speaks against it"


def choose_cell(data: Tensor) -> tuple[str, str]:
    """The same for a single step, which the compiled core has no entry for."""
    forced = _wanted()
    if forced in ("reference", "torch"):
        return forced, "it is forced"
    if eligibility.is_transformed():
        return "reference", "a transform of torch.func is active"
    return "torch", _not_ours(data) or "torch does a single step well"


def _repeated(name: str, spec: Spec, data: Tensor, others: Sequence[Tensor]) -> str:
    """``name``, or in a checkpoint's rerun what the first run ran on, if it still can."""
    first = checkpoints.repeated(name)
    if first == name or ENGINES[first].supports(spec, data, others):
        return name
    return first


def _not_ours(data: Tensor) -> str | None:
    """Why the pass is better left to torch's kernels, or None where it is not."""
    if not data.is_cpu and not eligibility.is_transformed():  # they have no rule for transforms
        return f"on {data.device.type} torch has kernels of its own"
    if narrow.is_autocast():
        return "autocast casts inside torch's kernels"
    return None


def is_native_forced() -> bool:
    """Whether the compiled core is asked for by name."""
    return _wanted() == "native"


@constant
def _wanted() -> str:
    """What is forced, "auto" for nothing; compiled code keeps what was when it was compiled."""
    return _forced.get() or from_outside()


@cache
def from_outside() -> str:
    """What ``UNROLLED_BACKEND`` says when the first pass runs, which is then what holds."""
    return _checked(os.environ.get("UNROLLED_BACKEND", "auto"), "UNROLLED_BACKEND")


def _checked(name: str, where: str) -> str:
    if name not in NAMES:
        raise ValueError(f"{where}: one of {', '.join(NAMES)} was expected, got {name!r}")
    return name

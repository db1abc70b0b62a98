"""Picks who computes a recurrent pass. The one seam: faster engines are added here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Literal, get_args

import torch
from torch import Tensor

from unrolled.scan import (
    autograd,
    checkpoints,
    compiled,
    described,
    fitting,
    kernels,
    layer_operator,
    linked,
    operator,
    recording,
    reference,
)
from unrolled.scan.compiling import constant
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights
from unrolled.scan.watching import Watch

Backend = Literal["auto", "native", "reference", "torch"]
ENGINES: dict[str, ModuleType] = {"native": autograd, "reference": reference, "torch": kernels}

NAMES = get_args(Backend)

_forced: ContextVar[str | None] = ContextVar("unrolled_backend", default=None)


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """One recurrent pass.

    Args:
        spec: the cell and the options.
        sequences: the input, [T, B, I] or ragged [N, I].
        initial: each state [L·D, B, P] (P = H but for a projected hidden state); the rows stand
            in the order of ``sequences``. None for zeros; then each row has a step.
        flat: all weights in torch's order.

    Returns:
        The outputs of the last layer, [T, B, D·P] or ragged [N, D·P], and each state after every
        row's own last step, [L·D, B, P].
    """
    others = flat if initial is None else [*initial, *flat]
    name, _ = choose(sequences.data, others)
    if not torch.compiler.is_compiling():
        name = _repeated(name, sequences.data, others)
        if (recorder := recording.active()) is not None:
            return recorder.run(name, spec, sequences, initial, flat)
    engine = ENGINES[name]
    if name == "native" and (torch.compiler.is_compiling() or operator.is_traced()):
        engine = operator if sequences.batch_sizes is None else reference
    output, last = engine.run(spec, sequences, initial, flat)
    return output, last


def run_described(
    spec: described.Pass,
    sequences: Sequences,
    rows: int,
    initial: State | None,
    constants: Sequence[Tensor],
    weights: Sequence[Mapping[str, Tensor]],
    dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """The pass of a described cell; see :func:`unrolled.scan.described.run`."""
    others = [*(initial or ()), *constants, *[w for of_layer in weights for w in of_layer.values()]]
    name, _ = choose(sequences.data, others)
    if not torch.compiler.is_compiling():
        name = _repeated(name, sequences.data, others)
    what = sequences, rows, initial, constants, weights
    on_core, run_layer = _run_layer, _run_by_equations
    if torch.compiler.is_compiling() or operator.is_traced():
        on_core = _run_traced
    elif (recorder := recording.active()) is not None:
        run = on_core if name == "native" else run_layer
        return recorder.run_described(run, spec, *what, dropout)
    output, last = described.run(spec, *what, on_core if name == "native" else run_layer, dropout)
    if name != "native":
        return output, last
    # The backward pass reads what the layers gave out, and the caller may change the output.
    # torch.jit.trace expects one trace with gradients and without.
    return output.clone() if output.requires_grad or operator.is_traced() else output, last


def _run_by_equations(
    layer: described.Layer,
    sequences: Sequences,
    initial: State | None,
    rows: int,
    watch: Watch | None = None,
) -> tuple[Tensor, State]:
    see = None if watch is None else watch.see_step
    return described.by_equations(layer, sequences, initial, rows, see)


def _run_layer(
    layer: described.Layer,
    sequences: Sequences,
    initial: State | None,
    rows: int,
    watch: Watch | None = None,
) -> tuple[Tensor, State]:
    """Runs a layer on the compiled core, if it can."""
    program = compiled.program(layer, watched=watch is not None)
    if isinstance(program, str):
        if is_native_forced():
            raise RuntimeError(f"the native backend is forced, and can't run this: {program}")
        return _run_by_equations(layer, sequences, initial, rows, watch)
    return compiled.run(layer, program, sequences, initial, rows, watch)


def _run_traced(
    layer: described.Layer,
    sequences: Sequences,
    initial: State | None,
    rows: int,
    watch: Watch | None = None,  # noqa: ARG001 (nobody watches what is compiled)
) -> tuple[Tensor, State]:
    """Runs a layer as one operator, if it can."""
    names = None
    if sequences.batch_sizes is None:
        names = layer_operator.names(layer.kind.text, bool(layer.draws))
    if names is None:
        return described.by_equations(layer, sequences, initial, rows)
    return layer_operator.run(layer, names, sequences, initial, rows)


def run_cell(cell: Cell, input: Tensor, state: State, weights: Weights) -> State:
    """One step: ``input`` [B, I], each state [B, H]; returns the next states [B, H]."""
    if not torch.compiler.is_compiling() and (recorder := recording.active()) is not None:
        return recorder.run_cell(cell, input, state, weights)
    name, _ = choose_cell(input)
    if not torch.compiler.is_compiling():
        name = checkpoints.repeated(name)
    if name == "torch":
        return kernels.run_cell(cell, input, state, weights)
    return reference.run_cell(cell, input, state, weights)


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


def choose(data: Tensor, others: Sequence[Tensor]) -> tuple[str, str]:
    """Who computes a pass over ``data`` with these states and weights, and why.

    Raises:
        RuntimeError: ``native`` is forced, and can't do it.
        ValueError: ``UNROLLED_BACKEND`` names no backend.
    """
    forced = _wanted()
    if forced in ("reference", "torch"):
        return forced, "it is forced"
    choice, obstacle = _by_itself(data, others)
    if forced == "native" and obstacle:
        raise RuntimeError(f"the native backend is forced, and can't run this: {obstacle}")
    return choice, obstacle or "nothing speaks against it"


def choose_described(
    spec: described.Pass, data: Tensor, others: Sequence[Tensor]
) -> tuple[str, str]:
    """The same for a described cell: by its equations where the core has no program for a layer."""
    name, why = choose(data, others)
    if name == "native":
        for kind in spec.kinds:
            program = linked.linked(kind.cell, kind.key, spec.training and bool(kind.cell.draws))
            if isinstance(program, str):
                return "reference", program
        return name, why
    if name == "torch":
        why = "torch has no kernel of a cell that is written down, which runs by its equations"
    return "reference", why


def choose_cell(data: Tensor) -> tuple[str, str]:
    """The same for a single step, which the compiled core has no entry for."""
    forced = _wanted()
    if forced in ("reference", "torch"):
        return forced, "it is forced"
    if fitting.is_transformed():
        return "reference", "a transform of torch.func is active"
    return "torch", _not_ours(data) or "torch does a single step well"


def _repeated(name: str, data: Tensor, others: Sequence[Tensor]) -> str:
    """``name``, or in a checkpoint's rerun what the first run ran on, if it still can."""
    first = checkpoints.repeated(name)
    if first == name or (first == "native" and fitting.obstacle(data, others)):
        return name
    return first


def _by_itself(data: Tensor, others: Sequence[Tensor]) -> tuple[str, str | None]:
    """The choice where none is forced, and why it is not the compiled core."""
    if other := _not_ours(data):
        return "torch", other
    obstacle = fitting.obstacle(data, others)
    return ("reference", obstacle) if obstacle else ("native", None)


def _not_ours(data: Tensor) -> str | None:
    """Why the pass is better left to torch's kernels, or None where it is not."""
    if not data.is_cpu and not fitting.is_transformed():  # for whose transforms they have no rule
        return f"on {data.device.type} torch has kernels of its own"
    if torch.is_autocast_enabled("cpu"):
        # Rounding every step to bfloat16 would lose the state that torch's kernels keep.
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

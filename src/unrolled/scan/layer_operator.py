"""A layer of a described cell as one operator of torch's, for torch.compile and torch.export.

They see ``unrolled::layer`` and ``unrolled::layer_backward`` with the shapes of their results and
nothing inside; an exported program carries the cell's description as text. See :mod:`operator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.scan import compiled, fitting, linked, operator
from unrolled.scan.compiling import constant
from unrolled.scan.described import Kind, Layer
from unrolled.scan.linked import Left, Linked, Names, Scan
from unrolled.scan.native import Steps
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import State


class _Known(NamedTuple):
    """What a text says: the layer, and the program that runs it."""

    kind: Kind
    program: Linked


@lru_cache(maxsize=256)
def _read(layer: str, draws: bool) -> _Known:
    """The layer that a text describes, with random numbers or with what stands for them.

    Raises:
        InputError: the text holds no description.
        RuntimeError: the core has no program for it.
    """
    kind = Kind.read(layer)
    program = linked.linked(kind.cell, kind.key, draws)
    if isinstance(program, str):
        raise RuntimeError(f"the compiled core can't run this: {program}")
    return _Known(kind, program)


@constant
def names(layer: str, draws: bool) -> Names | None:
    """What the operator is to be handed; None if the core has no program for the layer."""
    try:
        return _read(layer, draws).program.names
    except RuntimeError:
        return None


def run(
    layer: Layer, names: Names, sequences: Sequences, initial: State | None, rows: int
) -> tuple[Tensor, State]:
    """Runs a layer over a dense batch; see :data:`unrolled.scan.described.RunLayer`."""
    kind = layer.kind
    tensors = compiled.given(layer, names, sequences, initial, rows)
    keep = operator.keeps(tensors) and kind.recompute_every is None
    results = _layer(tensors, kind.text, bool(layer.draws), keep)
    return results[0], tuple(results[1 : 1 + len(kind.cell.states)])


@torch.library.custom_op("unrolled::layer", mutates_args=(), device_types="cpu")
def _layer(tensors: Sequence[Tensor], layer: str, draws: bool, keep: bool) -> list[Tensor]:
    """The output [T, B, ·], the last states [1, B, ·], and with ``keep`` what is kept [T·B, ·]."""
    scan = _scan(tensors, layer, draws)
    if not keep:
        output, after = scan.forward()
        return [output, *after]
    output, after, left = scan.forward_to_return(None)
    assert left.kept is not None
    return [output, *after, left.kept]


def _scan(tensors: Sequence[Tensor], layer: str, draws: bool) -> Scan:
    """An exported program comes here with whatever it is called on, past the engine's choice.

    Raises:
        RuntimeError: the core can't run a layer over these.
    """
    if obstacle := fitting.not_in_memory(tensors[0], tensors[1:]):
        raise RuntimeError(f"the compiled core can't run this: {obstacle}")
    kind, program = _read(layer, draws)
    data = tensors[0]
    given = linked.Given(
        program, Steps(data.shape[0], data.shape[1]), compiled.laid(program, tensors)
    )
    return Scan(program, given, reverse=kind.reverse)


# A fake kernel takes all that its operator takes.
@_layer.register_fake
def _(tensors: Sequence[Tensor], layer: str, draws: bool, keep: bool) -> list[Tensor]:
    program, data = _read(layer, draws).program, tensors[0]
    steps, batch, _ = data.shape
    results = [data.new_empty(steps, batch, program.state_units[0])]
    results += [data.new_empty(1, batch, units) for units in program.state_units]
    if keep:
        results.append(data.new_empty(steps * batch, program.program.kept.width))
    return results


@torch.library.custom_op("unrolled::layer_backward", mutates_args=(), device_types="cpu")
def _layer_backward(
    gradients: Sequence[Tensor],
    tensors: Sequence[Tensor],
    left: Sequence[Tensor],
    layer: str,
    draws: bool,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients of ``tensors``, of those that are wanted.

    ``left`` is the output and what was kept. If nothing is, the pass is repeated.
    """
    scan = _scan(tensors, layer, draws)
    if left:
        output, kept = left
        bounds = scan.steps.bounds(None, reverse=scan.reverse)
        found = scan.backward(Left(bounds, [], output, kept), gradients, wanted)
    else:
        _, _, again = scan.forward_to_return(_read(layer, draws).kind.recompute_every)
        found = scan.backward(again, gradients, wanted)
    return [gradient for gradient in found if gradient is not None]


# Of what its operator takes it looks at the shapes of ``tensors`` alone.
@_layer_backward.register_fake
def _(
    gradients: Sequence[Tensor],  # noqa: ARG001
    tensors: Sequence[Tensor],
    left: Sequence[Tensor],  # noqa: ARG001
    layer: str,  # noqa: ARG001
    draws: bool,  # noqa: ARG001
    wanted: Sequence[bool],
) -> list[Tensor]:
    return [
        tensor.new_empty(tensor.shape)
        for tensor, is_wanted in zip(tensors, wanted, strict=True)
        if is_wanted
    ]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, layer, draws, keep = inputs
    ctx.layer, ctx.given = (layer, draws), len(tensors)
    ctx.results = 1 + len(_read(layer, draws).kind.cell.states)
    left = [output[0], output[-1]] if keep else []
    ctx.save_for_backward(*tensors, *left)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    tensors, left = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
    wanted = ctx.needs_input_grad[0]
    found = iter(_layer_backward(gradients[: ctx.results], tensors, left, *ctx.layer, list(wanted)))
    return [next(found) if is_wanted else None for is_wanted in wanted], None, None, None


_layer.register_autograd(_backward, setup_context=_set_up)

"""The whole pass as one operator of torch's, for torch.compile and torch.export.

They see ``unrolled::scan`` and ``unrolled::scan_backward`` with the shapes of their results and
nothing inside. Called directly an operator is slower than :mod:`autograd`, by some tens of
microseconds. Dense batches only: how many steps a ragged one has is in its numbers, which a
compiler does not see.

An operator is a function of its arguments, and a compiler makes one call of two that are alike. So
dropout's noise is drawn outside, by operators that are known to be random.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import fitting, passes, reference
from unrolled.scan.native import KEPT, Kept, dense
from unrolled.scan.passes import Stage
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import CELLS, Spec, State
from unrolled.scan.strand import Left, Run


def run(
    spec: Spec, sequences: Sequences, initial: State | None, flat: list[Tensor]
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    states = [] if initial is None else list(initial)
    tensors = [sequences.data, *states, *flat]
    wanted = is_differentiated(tensors)
    keep = keeps(tensors) and spec.recompute_every is None
    noises = _noises(spec, sequences.data, flat)
    results = _scan(sequences.data, states, flat, noises, *_options(spec), keep)
    output, *last = results[: 1 + len(spec.cell.states)]
    if not (wanted or is_traced()):
        return output, tuple(last)
    # Copies, which the caller may change: see :func:`unrolled.scan.autograd.differentiable`.
    return output.clone(), tuple([state.clone() for state in last])


def is_traced() -> bool:
    """Whether torch.jit.trace is watching; with gradients or without it expects one trace."""
    return torch._C._get_tracing_state() is not None


def is_differentiated(tensors: Sequence[Tensor]) -> bool:
    """Whether a backward pass may follow."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def keeps(tensors: Sequence[Tensor]) -> bool:
    """Whether the operator is to keep what the backward pass reads."""
    return is_differentiated(tensors) and not (_is_exporting() or is_traced())


def _is_exporting() -> bool:
    """Whether the program will mostly be run without a backward pass: torch.export (torch ≥ 2.7).

    It then keeps nothing for one. One that comes all the same begins with another forward pass.
    """
    return hasattr(torch.compiler, "is_exporting") and torch.compiler.is_exporting()


def _noises(spec: Spec, data: Tensor, flat: list[Tensor]) -> list[Tensor]:
    """What dropout multiplies the outputs of each layer but the last by [T, B, D·P], if any."""
    if spec.dropout == 0:
        return []
    steps, batch, _ = data.shape
    like = data.new_empty(steps, batch, spec.directions * flat[1].shape[1])
    return [reference.draw_noise(like, spec.dropout) for _ in range(spec.num_layers - 1)]


def _options(spec: Spec) -> tuple[Any, ...]:
    """A spec as the operators take it; :func:`_spec` is the way back."""
    return (
        spec.cell.name,
        spec.num_layers,
        spec.bias,
        spec.bidirectional,
        spec.projected,
        spec.dropout,
        spec.recompute_every or 0,
    )


def _check(data: Tensor, others: Sequence[Tensor]) -> None:
    """An exported program comes here with whatever it is called on, past the engine's choice.

    Raises:
        RuntimeError: the core can't run a pass over these.
    """
    if obstacle := fitting.not_in_memory(data, others):
        raise RuntimeError(f"the compiled core can't run this: {obstacle}")


def _spec(
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
) -> Spec:
    # Where modules of several settings were compiled, torch.compile has symbols for these numbers.
    # There is no tensor's size in them: int() and float() make them the numbers they stand for.
    numbers = int(num_layers), float(dropout), int(every)
    return _made_spec(cell, numbers, bias, bidirectional, projected)


@cache
def _made_spec(
    cell: str, numbers: tuple[int, float, int], bias: bool, bidirectional: bool, projected: bool
) -> Spec:
    num_layers, dropout, every = numbers
    return Spec(
        CELLS[cell],
        num_layers,
        bias,
        bidirectional,
        projected,
        dropout,
        recompute_every=every or None,
    )


@torch.library.custom_op("unrolled::scan", mutates_args=(), device_types="cpu")
def _scan(
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    noises: Sequence[Tensor],
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    keep: bool,
) -> list[Tensor]:
    """The output [T, B, D·P], the last states, and with ``keep`` what :func:`_flatten` gives."""
    _check(data, [*initial, *flat, *noises])
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    stages: list[Stage] | None = [] if keep else None
    states = tuple(initial) or None
    output, last = passes.forward(spec, Sequences(data), states, list(flat), stages, noises)
    return [output, *last, *([] if stages is None else _flatten(spec, stages))]


# A fake kernel takes all that its operator takes, what it does not look at too.
@_scan.register_fake
def _(
    data: Tensor,
    initial: Sequence[Tensor],  # noqa: ARG001
    flat: Sequence[Tensor],
    noises: Sequence[Tensor],  # noqa: ARG001
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    keep: bool,
) -> list[Tensor]:
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    data = dense(data)
    pairs, batch = data.shape[0] * data.shape[1], data.shape[1]
    width, hidden = flat[1].shape[1], flat[1].shape[0] // len(spec.cell.gates)
    depth, between = num_layers * spec.directions, num_layers - 1
    results = [passes.empty_output(data, spec.directions * width)]
    states = {"hidden": width, "cell": hidden}
    results += [data.new_empty(depth, batch, states[name]) for name in spec.cell.states]
    if keep:
        kept = (
            KEPT[cell] * hidden,
            hidden * ("cell" in spec.cell.states),
            hidden * projected,
        )
        results += [data.new_empty(pairs, columns) for _ in range(depth) for columns in kept]
        if bidirectional:
            results += [passes.empty_output(data, 2 * width) for _ in range(between)]
        else:
            results += [data.new_empty(pairs, width) for _ in range(between)]
    return results


def _flatten(spec: Spec, stages: list[Stage]) -> list[Tensor]:
    """What the stages leave for the backward pass, as many tensors whatever the sizes.

    What each layer and direction keeps (with no columns where there is no such thing), then the
    outputs between the layers.
    """
    like = stages[0].data
    runs = [left.run for stage in stages for left in stage.left if left.run is not None]
    pairs = like.shape[0] * like.shape[1]
    found: list[Tensor] = []
    for kept in [kept for run in runs for kept in run.kept]:
        found += [like.new_empty(pairs, 0) if k is None else k for k in kept]
    outputs = [stage.output for stage in stages[:-1]] if spec.bidirectional else runs[0].outputs
    return [*found, *[output for output in outputs if output is not None]]


def _unflatten(
    spec: Spec, data: Tensor, flat: Sequence[Tensor], drawn: Sequence[Tensor]
) -> list[Stage]:
    """The way back, with the output of the pass as the last, and the noises that were ``drawn``."""
    depth = spec.num_layers * spec.directions
    kept = [
        Kept(*[None if part.shape[-1] == 0 else part for part in flat[i : i + 3]])
        for i in range(0, 3 * depth, 3)
    ]
    outputs = list(flat[3 * depth :])
    noises: list[Tensor | None] = [*drawn, None] if drawn else [None] * spec.num_layers
    forward, backward = [0, data.shape[0]], [data.shape[0], 0]
    if not spec.bidirectional:
        noises = [None if noise is None else noise.flatten(0, -2) for noise in noises]
        return [Stage(data, noises, [Left(forward, Run(kept, [*outputs[:-1], None]))], outputs[-1])]
    stages: list[Stage] = []
    for layer in range(spec.num_layers):
        left = [
            Left(bounds, Run([kept[2 * layer + direction]], [None]))
            for direction, bounds in enumerate((forward, backward))
        ]
        output, noise = outputs[layer], noises[layer]
        stages.append(Stage(data, [None], left, output, noise))
        data = output if noise is None else output * noise
    return stages


@torch.library.custom_op("unrolled::scan_backward", mutates_args=(), device_types="cpu")
def _scan_backward(
    gradients: Sequence[Tensor],
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    noises: Sequence[Tensor],
    left: Sequence[Tensor],
    cell: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    projected: bool,
    dropout: float,
    every: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients of the input, the given states and the weights, of those that are wanted.

    If nothing is ``left``, which is not so for a pass that kept something, the pass is repeated.
    """
    _check(data, [*gradients, *initial, *flat, *noises, *left])
    spec = _spec(cell, num_layers, bias, bidirectional, projected, dropout, every)
    sequences, states, weights = Sequences(data), tuple(initial) or None, list(flat)
    if left:
        stages = _unflatten(spec, dense(data), left, noises)
    else:
        stages = []
        passes.forward(spec, sequences, states, weights, stages, noises)
    found = passes.backward(spec, sequences, states, weights, stages, gradients, wanted)
    return [gradient for gradient in found if gradient is not None]


@_scan_backward.register_fake
def _(
    gradients: Sequence[Tensor],  # noqa: ARG001
    data: Tensor,
    initial: Sequence[Tensor],
    flat: Sequence[Tensor],
    noises: Sequence[Tensor],  # noqa: ARG001
    left: Sequence[Tensor],  # noqa: ARG001
    cell: str,  # noqa: ARG001
    num_layers: int,  # noqa: ARG001
    bias: bool,  # noqa: ARG001
    bidirectional: bool,  # noqa: ARG001
    projected: bool,  # noqa: ARG001
    dropout: float,  # noqa: ARG001
    every: int,  # noqa: ARG001
    wanted: Sequence[bool],
) -> list[Tensor]:
    data = dense(data)
    found = [passes.empty_output(data, data.shape[-1])] if wanted[0] else []
    # The states are the core's together, since it hands them on.
    any_state = any(wanted[1 : 1 + len(initial)])
    given = [
        *[(s, any_state) for s in initial],
        *zip(flat, wanted[1 + len(initial) :], strict=True),
    ]
    return found + [t.new_empty(t.shape) for t, is_wanted in given if is_wanted]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    data, initial, flat, noises, *options, keep = inputs
    ctx.counts = (len(initial), len(flat), len(noises))
    ctx.options = options
    ctx.results = 1 + len(CELLS[options[0]].states)
    left = [*output[ctx.results :], output[0]] if keep else []
    ctx.save_for_backward(data, *initial, *flat, *noises, *left)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    saved = iter(ctx.saved_tensors)
    data = next(saved)
    initial, flat, noises = ([*islice(saved, count)] for count in ctx.counts)
    left = [*saved]
    wants_data, wants_initial, wants_flat = ctx.needs_input_grad[:3]
    wanted = [wants_data, *wants_initial, *wants_flat]
    found = iter(
        _scan_backward(
            gradients[: ctx.results], data, initial, flat, noises, left, *ctx.options, wanted
        )
    )
    d_data = next(found) if wants_data else None
    d_initial = [next(found) if any(wants_initial) else None for _ in initial]
    d_flat = [next(found) if is_wanted else None for is_wanted in wants_flat]
    return d_data, d_initial, d_flat, [None] * len(noises), *[None] * (len(ctx.options) + 1)


_scan.register_autograd(_backward, setup_context=_set_up)

"""The whole pass as one operator of torch's, for torch.compile and torch.export.

They see ``unrolled::scan`` and ``unrolled::scan_backward`` with the shapes of their results and
nothing inside; an exported program carries the cell's description as text. Called directly an
operator is slower than :mod:`autograd`, by some tens of microseconds. Dense batches only: how many
steps a ragged one has is in its numbers, which a compiler does not see.

An operator is a function of its arguments, and a compiler makes one call of two that are alike. So
random numbers are drawn outside, by operators that are known to be random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.scan import draws, eligibility
from unrolled.scan.compiling import constant
from unrolled.scan.native import dense
from unrolled.scan.passes import Pass, Stage, empty_output
from unrolled.scan.plan import Plan, plans
from unrolled.scan.reach import reached
from unrolled.scan.spec import Given, Spec, State, read
from unrolled.scan.strand import Left, Run


@constant
def has_plans(text: str) -> bool:
    """Whether the core can run the pass that a text says."""
    return not isinstance(plans(read(text), torch.float32), str)


def run(spec: Spec, given: Given) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`."""
    tensors = given.tensors()
    wanted = is_differentiated(tensors)
    keep = keeps(tensors) and spec.recompute_every is None
    drawn = draws.draw(spec, given).tensors()
    results = _scan(tensors, drawn, spec.text, keep)
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


class _Known:
    """What an operator is handed, as a pass."""

    def __init__(self, tensors: Sequence[Tensor], drawn: Sequence[Tensor], text: str) -> None:
        """Raises RuntimeError if the core can't run it.

        An exported program comes here with whatever it is called on, past the engine's choice.
        """
        if obstacle := eligibility.not_in_memory(tensors[0], [*tensors[1:], *drawn]):
            raise RuntimeError(f"the compiled core can't run this: {obstacle}")
        self.spec, self.plans = _planned(tensors, text)
        self.given = _given(self.spec, tensors)
        self.drawn = self.spec.drawn(list(drawn))

    def forward(self, stages: list[Stage] | None) -> tuple[Tensor, State]:
        """See :meth:`Pass.forward`."""
        return self._pass().forward(stages)

    def backward(
        self, stages: list[Stage], gradients: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """See :meth:`Pass.backward`."""
        return self._pass().backward(stages, gradients, wanted)

    def _pass(self) -> Pass:
        return Pass(self.spec, self.plans, self.given, self.drawn)


def _planned(tensors: Sequence[Tensor], text: str) -> tuple[Spec, tuple[Plan, ...]]:
    spec = read(text)
    found = plans(spec, tensors[0].dtype)
    if isinstance(found, str):
        raise RuntimeError(f"the compiled core can't run this: {found}")
    return spec, found


def _given(spec: Spec, tensors: Sequence[Tensor]) -> Given:
    return spec.given(None, tensors[0].shape[1], list(tensors))


@torch.library.custom_op("unrolled::scan", mutates_args=(), device_types="cpu")
def _scan(
    tensors: Sequence[Tensor], drawn: Sequence[Tensor], spec: str, keep: bool
) -> list[Tensor]:
    """The output [T, B, D·P], the last states, and with ``keep`` what :func:`_flatten` gives."""
    stages: list[Stage] | None = [] if keep else None
    known = _Known(tensors, drawn, spec)
    output, last = known.forward(stages)
    return [output, *last, *([] if stages is None else _flatten(known.spec, stages))]


# A fake kernel takes all that its operator takes, what it does not look at too.
@_scan.register_fake
def _(
    tensors: Sequence[Tensor],
    drawn: Sequence[Tensor],  # noqa: ARG001
    spec: str,
    keep: bool,
) -> list[Tensor]:
    known, planned = _planned(tensors, spec)
    data = dense(tensors[0])
    steps, batch, _ = data.shape
    widths, depth = known.kinds[0].widths, len(known.kinds)
    results = [empty_output(data, known.directions * widths[0])]
    results += [data.new_empty(depth, batch, width) for width in widths]
    if keep:
        results += [data.new_empty(steps * batch, width) for plan in planned for width in plan.kept]
        if known.bidirectional:
            between = [empty_output(data, 2 * widths[0]) for _ in range(known.num_layers - 1)]
        else:
            between = [
                data.new_empty(steps * batch, widths[0]) for _ in range(known.num_layers - 1)
            ]
        results += between
    return results


def _flatten(spec: Spec, stages: list[Stage]) -> list[Tensor]:
    """What the stages leave for the backward pass, as many tensors whatever the sizes.

    What each layer and direction keeps, then the outputs between the layers.
    """
    runs = [left.run for stage in stages for left in stage.left if left.run is not None]
    kept = [tensor for run in runs for of_layer in run.kept for tensor in of_layer]
    outputs = [stage.output for stage in stages[:-1]] if spec.bidirectional else runs[0].outputs
    return [*kept, *[output for output in outputs if output is not None]]


def _unflatten(known: _Known, left: Sequence[Tensor]) -> list[Stage]:
    """The way back, with the output of the pass as the last."""
    spec, tensors = known.spec, iter(left)
    kept = [[next(tensors) for _ in plan.kept] for plan in known.plans]
    outputs = list(tensors)
    data, drawn = dense(known.given.sequences.data), known.drawn.noises
    noises: list[Tensor | None] = [*drawn, None] if drawn else [None] * spec.num_layers
    forward, backward = [0, data.shape[0]], [data.shape[0], 0]
    if not spec.bidirectional:
        noises = [None if noise is None else noise.flatten(0, -2) for noise in noises]
        return [Stage(data, noises, [Left(forward, Run(kept, [*outputs[:-1], None]))], outputs[-1])]
    stages: list[Stage] = []
    for layer in range(spec.num_layers):
        of_layer = [
            Left(bounds, Run([kept[2 * layer + direction]], [None]))
            for direction, bounds in enumerate((forward, backward))
        ]
        output, noise = outputs[layer], noises[layer]
        stages.append(Stage(data, [None] * spec.num_layers, of_layer, output, noise))
        data = output if noise is None else output * noise
    return stages


@torch.library.custom_op("unrolled::scan_backward", mutates_args=(), device_types="cpu")
def _scan_backward(
    gradients: Sequence[Tensor],
    tensors: Sequence[Tensor],
    drawn: Sequence[Tensor],
    left: Sequence[Tensor],
    spec: str,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients of ``tensors``, of those that are wanted and read.

    If nothing is ``left``, which is not so for a pass that kept something, the pass is repeated.
    """
    known = _Known(tensors, drawn, spec)
    if left:
        stages = _unflatten(known, left)
    else:
        stages = []
        known.forward(stages)
    found = known.backward(stages, gradients, wanted)
    return [gradient for gradient in found if gradient is not None]


# This takes all that its operator takes, too.
@_scan_backward.register_fake
def _(
    gradients: Sequence[Tensor],  # noqa: ARG001
    tensors: Sequence[Tensor],
    drawn: Sequence[Tensor],  # noqa: ARG001
    left: Sequence[Tensor],  # noqa: ARG001
    spec: str,
    wanted: Sequence[bool],
) -> list[Tensor]:
    data, is_found = dense(tensors[0]), _are_found(tensors, spec, wanted)
    found = [empty_output(data, data.shape[-1])] if is_found[0] else []
    rest = zip(tensors[1:], is_found[1:], strict=True)
    return found + [t.new_empty(t.shape) for t, is_wanted in rest if is_wanted]


def _are_found(tensors: Sequence[Tensor], text: str, wanted: Sequence[bool]) -> list[bool]:
    """Of which tensors the backward operator gives the gradients."""
    spec, planned = _planned(tensors, text)
    flat = len(tensors) - len(spec.kinds) * len(spec.cell.weights)
    states = flat - len(spec.cell.constants)
    # The states are the core's together, since it hands them on.
    any_state = any(wanted[1:states])
    are_read = [
        number in plan.weights for plan in planned for number in range(len(spec.cell.weights))
    ]
    return [
        wanted[0],
        *[any_state] * (states - 1),
        *wanted[states:flat],
        *[w and r for w, r in zip(wanted[flat:], are_read, strict=True)],
    ]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, drawn, ctx.text, keep = inputs
    ctx.results = 1 + len(read(ctx.text).cell.states)
    left = [*output[ctx.results :], output[0]] if keep else []
    ctx.counts = len(tensors), len(tensors) + len(drawn)
    ctx.save_for_backward(*tensors, *drawn, *left)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    given, drawn = ctx.counts
    saved = ctx.saved_tensors
    tensors, spec = saved[:given], read(ctx.text)
    states = given - 1 - len(spec.cell.constants) - len(spec.kinds) * len(spec.cell.weights)
    all_of_them = (True,) * ctx.results
    wanted = list(reached(spec, states, tuple(ctx.needs_input_grad[0]), all_of_them))
    found = iter(
        _scan_backward(
            gradients[: ctx.results], tensors, saved[given:drawn], saved[drawn:], ctx.text, wanted
        )
    )
    is_found = _are_found(tensors, ctx.text, wanted)
    d_tensors = [next(found) if is_there else None for is_there in is_found]
    return d_tensors, [None] * (drawn - given), None, None


_scan.register_autograd(_backward, setup_context=_set_up)

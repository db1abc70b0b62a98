"""Running a model and keeping what its recurrent modules did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import InputError
from unrolled.inspect.trace import Given, Key, Trace
from unrolled.nn import Recurrent
from unrolled.nn.checks import Lengths
from unrolled.nn.exchange import OURS, Class, ours_for
from unrolled.scan.recording import Recorder, recording
from unrolled.scan.records import PassRecord

Loss = Callable[..., Tensor]


def record(
    model: torch.nn.Module,
    *inputs: Any,
    lengths: Lengths | None = None,
    gradients: bool = False,
    loss: Loss | None = None,
    target: Any = None,
) -> Trace:
    """Runs the model once and returns every gate and state of its recurrent modules.

    Args:
        model: any module that is, or contains, a :class:`~unrolled.Recurrent`, or RNN, LSTM, GRU
            or their cells: ours, or torch's own, which are ours for the run and left as they were.
            A subclass with a forward of its own is not recorded. The model runs in the mode (train
            or eval) in which it is.
        inputs: what it is called with.
        lengths: handed to the model as ``lengths=``, if given.
        gradients: whether to record as well the gradient of the loss by each state at every step.
            Gradients of the weights are not touched.
        loss: called with the model's output, and the target if there is one; returns a number.
            Without one it is the sum of the outputs at each row's last step.
        target: for the loss.

    Returns:
        The trace. A module that runs more than once, as a cell does, is recorded call after call,
        as if its steps followed each other. A cell gives out the very state that it hands on, so
        that its "carried" gradient is by both.

    Raises:
        InputError: there is no such module in the model, none was run, or the loss is no number
            or does not hang on the model.
    """
    if target is not None and loss is None:
        raise InputError("target was given without a loss, and only a loss looks at it. Give both")
    wants_gradients = gradients or loss is not None
    with _named(model) as names, recording(gradients=wants_gradients) as recorder:
        with _noting(names, recorder) as calls, torch.set_grad_enabled(wants_gradients):
            output = model(*inputs) if lengths is None else model(*inputs, lengths=lengths)
        if not recorder.passes:
            raise InputError(f"the model ran none of its recurrent modules {list(names.values())}")
        if wants_gradients:
            found = _loss(output, loss, target, inputs, lengths, next(iter(names)))
            recorder.differentiate(found)
    return _trace(calls, recorder, output, {name: module for module, name in names.items()})


@contextlib.contextmanager
def _named(model: torch.nn.Module) -> Iterator[dict[torch.nn.Module, str]]:
    """The recurrent modules with their paths, torch's own made ours for the time being."""
    names: dict[torch.nn.Module, str] = {}
    as_ours: dict[torch.nn.Module, Class] = {}
    for name, module in model.named_modules():
        cls = ours_for(module)
        if not isinstance(cls, str):
            as_ours[module] = cls
        elif not isinstance(module, (*OURS, Recurrent)):
            continue
        names[module] = name
    if not names:
        raise InputError(
            f"{type(model).__name__} has no RNN, LSTM, GRU or cell to record, of torch's or of "
            "unrolled's, and no Recurrent"
        )
    was = {module: type(module) for module in as_ours}
    try:
        for module, cls in as_ours.items():
            module.__class__ = cls
        yield names
    finally:
        for module, of_torch in was.items():
            module.__class__ = of_torch


@contextlib.contextmanager
def _noting(names: dict[torch.nn.Module, str], recorder: Recorder) -> Iterator[list[str]]:
    """Whose each recorded pass is: the path of its module, in the order of the passes."""
    calls: list[str] = []

    def after(module: torch.nn.Module, *_: Any) -> None:
        calls.extend([names[module]] * (len(recorder.passes) - len(calls)))

    hooks = [module.register_forward_hook(after) for module in names]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _loss(
    output: Any,
    loss: Loss | None,
    target: Any,
    inputs: tuple[Any, ...],
    lengths: Lengths | None,
    module: torch.nn.Module,
) -> Tensor:
    if loss is None:
        found = last_outputs(
            output, inputs, lengths, batch_first=bool(getattr(module, "batch_first", False))
        ).sum()
    else:
        found = loss(output) if target is None else loss(output, target)
    if not isinstance(found, Tensor) or found.numel() != 1:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"the loss should be one number, a tensor of one element, got {shape}")
    if not found.requires_grad:
        raise InputError("the loss does not hang on the model: was something detached?")
    return found.reshape(())


def last_outputs(
    output: Any, inputs: tuple[Any, ...], lengths: Lengths | None, *, batch_first: bool
) -> Tensor:
    """The outputs at each row's last step; all of them where there is one a row."""
    first = output
    while isinstance(first, tuple | list) and not isinstance(first, PackedSequence):
        first = first[0]
    if isinstance(first, PackedSequence):
        first, lengths = torch.nn.utils.rnn.pad_packed_sequence(first, batch_first=batch_first)
    if not isinstance(first, Tensor):
        raise InputError(
            f"without a loss the model's output should be a tensor, got {type(first).__name__}. "
            "Give a loss"
        )
    data = inputs[0].data if isinstance(inputs[0], PackedSequence) else inputs[0]
    if first.dim() == 2 and isinstance(data, Tensor) and data.dim() == 2 and lengths is None:
        return first[-1:]
    if first.dim() != 3:
        return first
    steps = first if not batch_first else first.transpose(0, 1)
    if lengths is None:
        return steps[-1]
    ends = torch.as_tensor(lengths, device=steps.device).long() - 1
    rows = torch.arange(steps.shape[1], device=steps.device)
    return steps[ends.clamp(min=0), rows][ends >= 0]


def _trace(
    calls: list[str], recorder: Recorder, output: Any, modules: dict[str, torch.nn.Module]
) -> Trace:
    passes: dict[str, list[PassRecord]] = {}
    for name, record in zip(calls, recorder.passes, strict=True):
        passes.setdefault(name, []).append(record)
    parts: dict[str, dict[Key, list[Tensor]]] = {"values": {}, "total": {}, "carried": {}}
    initial: dict[Key, list[Tensor]] = {}
    for name, records in passes.items():
        for record in records:
            for index, layer in enumerate(record.layers):
                key = _key(name, index, record)
                for kind, found in parts.items():
                    for gate in _in_order(getattr(layer, kind), record):
                        padded = _padded(getattr(layer, kind)[gate], record)
                        found.setdefault(key._replace(gate=gate), []).append(padded)
                for state, began in zip(record.cell.states, record.initial, strict=True):
                    rows = _unsorted(began.detach()[index : index + 1], record)
                    initial.setdefault(key._replace(gate=state.name), []).append(rows)
    joined = {
        kind: {key: _joined(key.module, tensors) for key, tensors in found.items()}
        for kind, found in parts.items()
    }
    return Trace(
        values=joined["values"],
        gradients=joined["total"],
        carried=joined["carried"],
        masks={name: _joined(name, [_mask(r) for r in rs]) for name, rs in passes.items()},
        output=_detached(output),
        given={name: _given(name, rs, modules[name]) for name, rs in passes.items()},
        initial={key: _joined(key.module, tensors) for key, tensors in initial.items()},
    )


def _key(name: str, index: int, record: PassRecord) -> Key:
    layer, reverse = divmod(index, record.directions)
    return Key(name, layer, "reverse" if reverse else "forward", "")


def _given(name: str, records: list[PassRecord], module: torch.nn.Module) -> Given:
    steps = [len(record.sequences.sizes()) for record in records]
    first = records[0]
    return Given(
        name=first.name,
        cell=first.cell,
        units=first.units,
        batch_first=bool(getattr(module, "batch_first", False)),
        input=_joined(name, [_padded(record.sequences.data, record) for record in records]),
        starts=tuple(accumulate(steps[:-1], initial=0)),
        constants={
            constant: _joined(
                name, [_unsorted(r.constants[constant].detach()[None], r) for r in records]
            )
            for constant in first.constants
        },
    )


def _in_order(layer: dict[str, Tensor], record: PassRecord) -> list[str]:
    """The lines as a reader expects them, the output last."""
    return sorted(layer, key=lambda gate: gate == record.cell.output.name)


def _joined(name: str, calls: list[Tensor]) -> Tensor:
    """What one module did in its calls [T, B, ·], one after the other."""
    if len({tensor.shape[1] for tensor in calls}) > 1:
        raise InputError(
            f"{name or 'the model'} was called with batches of different sizes, which can't "
            f"stand in one trace: {[tensor.shape[1] for tensor in calls]}"
        )
    return calls[0] if len(calls) == 1 else torch.cat(calls)


def _mask(record: PassRecord) -> Tensor:
    """Which steps the caller's rows have [T, B]."""
    return _unsorted(_active(record), record)


def _active(record: PassRecord) -> Tensor:
    """Which steps the rows have as the pass ran them [T, B]."""
    sizes = torch.tensor(record.sequences.sizes(), device=record.sequences.data.device)
    return torch.arange(record.initial[0].shape[1], device=sizes.device) < sizes.unsqueeze(1)


def _padded(values: Tensor, record: PassRecord) -> Tensor:
    """[T, B, ·] of the caller's rows, NaN where a row has no such step."""
    if record.sequences.batch_sizes is None:
        return values.detach()
    active = _active(record)
    padded = values.new_full((*active.shape, values.shape[-1]), float("nan"))
    padded[active] = values.detach()
    return _unsorted(padded, record)


def _unsorted(rows: Tensor, record: PassRecord) -> Tensor:
    order = record.sequences.order
    return rows if order is None else rows[:, torch.argsort(order.to(rows.device))]


def _detached(value: Any) -> Any:
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.detach())
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple | list):
        return tuple(_detached(part) for part in value)
    return value

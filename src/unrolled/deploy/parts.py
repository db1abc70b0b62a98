"""A model as the parts that compute its output, in their order: what leaves torch is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

import unrolled.nn
from unrolled.errors import InputError
from unrolled.model import Network, Run, Scaler, TableConfig, load_run

RECURRENT: tuple[type[nn.RNNBase], ...] = (
    *(unrolled.nn.RNN, unrolled.nn.LSTM, unrolled.nn.GRU),
    *(nn.RNN, nn.LSTM, nn.GRU),
)
ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.LeakyReLU, nn.ELU)
LEFT_OUT: tuple[type[nn.Module], ...] = (nn.Identity, nn.Dropout)
"""They do nothing outside training."""
KINDS = (*RECURRENT, nn.Linear, nn.LayerNorm, *ACTIVATIONS, *LEFT_OUT)


@dataclass(frozen=True)
class Parts:
    """What a model computes: scaling, its modules one after the other, scaling back.

    Attributes:
        modules: recurrent modules, linear layers, layer norms and activations, by their name in
            the model (as in its ``state_dict``; "" for a model that is a single module).
        batch_first: whether the model takes [B, T, I] rather than [T, B, I].
        at_end: whether only each row's last state is read out, [B, O], as by
            :meth:`~unrolled.model.Network.final`.
        input_scaler: of what the model reads, if it has one.
        target_scaler: of what it gives, if it has one.
        table: the table that a run was trained on.
    """

    modules: tuple[tuple[str, nn.Module], ...]
    batch_first: bool
    at_end: bool = False
    input_scaler: Scaler | None = None
    target_scaler: Scaler | None = None
    table: TableConfig | None = None

    @property
    def recurrent(self) -> list[tuple[str, nn.RNNBase]]:
        """The recurrent modules among them."""
        return [(name, part) for name, part in self.modules if isinstance(part, nn.RNNBase)]

    @property
    def inputs(self) -> int:
        """I, the numbers that stand at each step of the input."""
        widths = [width_read(part) for _, part in self.modules]
        return next(width for width in widths if width is not None)

    @property
    def outputs(self) -> int:
        """O, the numbers that stand at each step of the output."""
        widths = [width_made(part) for _, part in self.modules]
        return next(width for width in reversed(widths) if width is not None)


def parts_of(model: Any) -> Parts:
    """The parts of a model.

    Args:
        model: a run folder's path, a :class:`~unrolled.model.Run`, a fitted
            :class:`~unrolled.SequenceRegressor`, a :class:`~unrolled.model.Network`, a recurrent
            module of this package or of torch, or a :class:`torch.nn.Sequential` of recurrent
            modules, linear layers, layer norms, activations and dropout, in which each recurrent
            module's output, without its states, goes to the next.

    Raises:
        InputError: the model has a part that is none of these, or is not fitted.
    """
    if isinstance(model, str | Path):
        model = load_run(model)
    if isinstance(model, Run):
        # What a bidirectional network was trained for is the end of a window, where the reverse
        # direction has read it all; at the steps before, its output was never scored.
        return _of_network(
            model.network,
            at_end=model.network.config.bidirectional,
            input_scaler=model.input_scaler,
            target_scaler=model.target_scaler,
            table=model.table,
        )
    if isinstance(model, Network):
        return _of_network(model)
    if isinstance(model, nn.Module):
        return _parts(list(_flattened(model, "")))
    if isinstance(network := getattr(model, "network_", None), Network):
        return _of_network(
            network,
            at_end=model.target_ == "sequence",
            input_scaler=model.input_scaler_,
            target_scaler=model.target_scaler_,
        )
    if hasattr(model, "fit") and hasattr(model, "predict"):
        raise InputError(
            f"{type(model).__name__}: a fitted SequenceRegressor was expected, this one has no "
            "network_. Call fit first"
        )
    raise InputError(
        "a run folder, a Run, a fitted SequenceRegressor, a Network, an RNN, LSTM or GRU, or a "
        f"Sequential of them with linear layers was expected, got {type(model).__name__}"
    )


def _of_network(network: Network, **more: Any) -> Parts:
    if type(network).forward is not Network.forward:
        raise InputError(_own_forward("", network))
    _refuse_hooks("", network)
    modules = [("recurrent", network.recurrent), ("readout", network.readout)]
    return _parts([pair for name, part in modules for pair in _flattened(part, name)], **more)


def _parts(modules: list[tuple[str, nn.Module]], **more: Any) -> Parts:
    recurrent = [(name, part) for name, part in modules if isinstance(part, nn.RNNBase)]
    if not recurrent:
        raise InputError(
            "the model has no RNN, LSTM or GRU. What has none, torch.onnx.export writes as well"
        )
    first_name, first = recurrent[0]
    for name, part in recurrent:
        if part.batch_first != first.batch_first:
            raise InputError(
                f"module {name!r} has batch_first={part.batch_first}, module {first_name!r} "
                f"{first.batch_first}. Make all of them alike"
            )
    _check_widths(modules)
    return Parts(tuple(modules), first.batch_first, **more)


def _flattened(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a Sequential in Sequentials, checked; what does nothing is left out."""
    _refuse_hooks(name, module)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for child_name, child in module.named_children():
            yield from _flattened(child, f"{name}.{child_name}" if name else child_name)
        return
    _check_kind(name, module)
    for weight, values in module.named_parameters():
        if values.dtype != torch.float32:
            raise InputError(
                f"{_called(name, module)}: {weight} is {values.dtype}, and float32 was expected, "
                "which is what ONNX Runtime's RNN, LSTM and GRU compute in. Convert it: "
                "model.float()"
            )
    if not isinstance(module, LEFT_OUT):
        yield name, module


def _check_kind(name: str, module: nn.Module) -> None:
    kind = next((kind for kind in KINDS if isinstance(module, kind)), None)
    if kind is None:
        known = dict.fromkeys(kind.__name__ for kind in KINDS)
        raise InputError(
            f"{_called(name, module)}: one of {', '.join(known)} was expected. Replace it, or "
            "leave it outside and export the rest"
        )
    if _forward_of(type(module)) is not _forward_of(kind):
        raise InputError(_own_forward(name, module))
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1:
        raise InputError(
            f"{_called(name, module)}: normalises over {list(module.normalized_shape)}, and the "
            "numbers of one step were expected. Give it one size"
        )
    if isinstance(module, nn.RNNBase) and module.proj_size:
        raise InputError(
            f"{_called(name, module)}: has a projection (proj_size={module.proj_size}), for which "
            "ONNX's LSTM has no input. Train one with proj_size=0, or leave it in torch: "
            "torch.export takes it"
        )


def _check_widths(modules: list[tuple[str, nn.Module]]) -> None:
    width = None
    for name, part in modules:
        read = width_read(part)
        if None not in (width, read) and read != width:
            raise InputError(
                f"{_called(name, part)}: reads {read} numbers at each step, and what stands before "
                f"it gives {width}. Correct its size"
            )
        made = width_made(part)
        width = made if made is not None else width


def width_read(module: nn.Module) -> int | None:
    """How many numbers it reads at each step; None for any number."""
    if isinstance(module, nn.RNNBase):
        return module.input_size
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1]
    return None


def width_made(module: nn.Module) -> int | None:
    """How many numbers it gives at each step; None for as many as it reads."""
    if isinstance(module, nn.RNNBase):
        return module.hidden_size * (2 if module.bidirectional else 1)
    if isinstance(module, nn.Linear):
        return module.out_features
    return None


def _forward_of(kind: type[nn.Module]) -> Any:
    return kind.forward


def _refuse_hooks(name: str, module: nn.Module) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        raise InputError(
            f"{_called(name, module)}: has forward hooks, and what they compute can't be written. "
            "Remove them"
        )


def _own_forward(name: str, module: nn.Module) -> str:
    return (
        f"{_called(name, module)}: has a forward of its own, and what it computes can't be read "
        "from its weights. Export the modules that it is made of"
    )


def _called(name: str, module: nn.Module) -> str:
    kind = type_before_parametrizations(module).__name__
    return f"module {name!r} ({kind})" if name else kind

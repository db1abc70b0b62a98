"""A model as the parts that compute its output, in their order: what leaves torch is made of.

What a model is made of is said here, and what can't be read from weights is refused. What only one
destination can't do, an ONNX file or a stream, that destination refuses on the parts.
"""

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
from unrolled.model.network import ReadOut
from unrolled.nn.quantized import Quantized

RECURRENT: tuple[type[nn.RNNBase], ...] = (
    *(unrolled.nn.RNN, unrolled.nn.LSTM, unrolled.nn.GRU),
    *(nn.RNN, nn.LSTM, nn.GRU),
)
"""Ours before the classes of torch that they are made from."""
Module = nn.RNNBase | unrolled.nn.Recurrent
"""What keeps a state: torch's kinds, and any cell."""
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(nn.Tanh, nn.Sigmoid, nn.ReLU, nn.LeakyReLU, nn.ELU),
    *(nn.SiLU, nn.Softplus, nn.GELU),
)
CONTAINERS: tuple[type[nn.Module], ...] = (nn.Sequential, nn.ModuleList, Network)
"""Their modules run one after the other."""
KINDS: tuple[type[nn.Module], ...] = (
    *(*RECURRENT, unrolled.nn.Recurrent, ReadOut, nn.Linear, nn.LayerNorm, *ACTIVATIONS),
    *(nn.Dropout, nn.Identity, *CONTAINERS),
)


@dataclass(frozen=True)
class Parts:
    """What a model computes: scaling, its modules one after the other, scaling back.

    Attributes:
        modules: recurrent modules, of which at least one, linear layers, layer norms, activations
            and dropout, by their name in the model (as in its ``state_dict``; "" for a model that
            is a single module). Each reads as many numbers as the one before it gives.
        at_end: whether only each row's last state is read out, [B, O], as by
            :meth:`~unrolled.model.Network.final`.
        input_scaler: of what the model reads, if it has one.
        target_scaler: of what it gives, if it has one.
        table: the table that a run was trained on.
    """

    modules: tuple[tuple[str, nn.Module], ...]
    at_end: bool = False
    input_scaler: Scaler | None = None
    target_scaler: Scaler | None = None
    table: TableConfig | None = None

    @property
    def recurrent(self) -> list[tuple[str, Module]]:
        """The recurrent modules among them."""
        return [(name, part) for name, part in self.modules if isinstance(part, Module)]

    @property
    def inputs(self) -> int:
        """I, the numbers that stand at each step of the input."""
        widths = [_width_read(part) for _, part in self.modules]
        return next(width for width in widths if width is not None)

    @property
    def outputs(self) -> int:
        """O, the numbers that stand at each step of the output."""
        widths = [_width_made(part) for _, part in self.modules]
        return next(width for width in reversed(widths) if width is not None)


def parts_of(model: Any) -> Parts:
    """The parts of a model.

    Args:
        model: a run folder's path, a :class:`~unrolled.model.Run`, a fitted
            :class:`~unrolled.SequenceRegressor`, a :class:`~unrolled.model.Network`, a recurrent
            module of this package (also :class:`~unrolled.Recurrent`) or of torch, or a
            :class:`torch.nn.Sequential` or ``ModuleList`` of recurrent modules, linear layers,
            layer norms, activations, dropout and further such containers, in which each
            recurrent module's output, without its states, goes to the next.

    Raises:
        InputError: the model has a part that is none of these, or whose weights do not say what
            it computes; or it is not fitted.
    """
    if isinstance(model, str | Path):
        model = load_run(model)
    if isinstance(model, Run):
        # What a bidirectional network was trained for is the end of a window, where the reverse
        # direction has read it all; at the steps before, its output was never scored.
        return _parts(
            model.network,
            at_end=model.network.config.bidirectional,
            input_scaler=model.input_scaler,
            target_scaler=model.target_scaler,
            table=model.table,
        )
    if isinstance(model, nn.Module):
        return _parts(model)
    if isinstance(network := getattr(model, "network_", None), Network):
        return _parts(
            network,
            at_end=model.target_ == "sequence",
            input_scaler=model.input_scaler_,
            target_scaler=model.target_scaler_,
        )
    if hasattr(model, "fit") and hasattr(model, "predict"):
        raise InputError(f"{type(model).__name__} is not fitted. Call its fit first")
    raise InputError(
        "a run folder, a Run, a fitted SequenceRegressor, a Network, an RNN, LSTM, GRU or "
        "Recurrent, or a torch.nn.Sequential of these with Linear, LayerNorm, Dropout and "
        f"activations was expected, got {type(model).__name__}"
    )


def check_numbers(parts: Parts) -> None:
    """That all weights have numbers.

    Raises:
        InputError: one is on torch's device meta.
    """
    for name, part in parts.modules:
        for weight, values in part.named_parameters():
            if values.is_meta:
                raise InputError(
                    f"{called(name, part)}: {weight} is on the device meta and has no numbers. "
                    "Give it some: load weights, or model.to_empty(device='cpu')"
                )


def numbers_of(parts: Parts) -> torch.dtype:
    """The type of the first recurrent module's weights; float32 if it has none."""
    weights = (weight.dtype for _, part in parts.recurrent for weight in part.parameters())
    return next(weights, torch.float32)


def called(name: str, module: nn.Module) -> str:
    """A part in an error's words."""
    kind = type_before_parametrizations(module).__name__
    return f"module {name!r} ({kind})" if name else kind


def _parts(model: nn.Module, **more: Any) -> Parts:
    modules = tuple(_flattened(model, ""))
    if not any(isinstance(part, Module) for _, part in modules):
        raise InputError(
            "the model has no RNN, LSTM or GRU, and no Recurrent. What has none keeps no state, "
            "and torch alone runs and exports it"
        )
    _check_widths(modules)
    return Parts(modules, **more)


def _flattened(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules in a container and in those within it, checked; an Identity is left out."""
    _check(name, module)
    if isinstance(module, CONTAINERS):
        for child_name, child in _children(module):
            yield from _flattened(child, f"{name}.{child_name}" if name else child_name)
    elif not isinstance(module, nn.Identity):
        yield name, module


def _children(container: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(container, Network):
        yield from (("recurrent", container.recurrent), ("readout", container.readout))
    else:
        # named_children leaves out a module that stands in a second place.
        for name, child in container._modules.items():
            if child is not None:
                yield name, child


def _check(name: str, module: nn.Module) -> None:
    """That a module is of a known kind, and computes what its weights say."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise InputError(
            f"{called(name, module)}: has forward hooks, and what they compute can't be read from "
            "its weights. Remove them"
        )
    if isinstance(module, Quantized):
        raise InputError(
            f"{called(name, module)}: has weights in 8 bits. Give the model that it was made of; a "
            "stream of it takes int8=True"
        )
    kind = next((kind for kind in KINDS if isinstance(module, kind)), None)
    if kind is None:
        known = dict.fromkeys(kind.__name__ for kind in KINDS if kind is not ReadOut)
        raise InputError(
            f"{called(name, module)}: one of {', '.join(known)} was expected. Replace it, put the "
            "modules that it is made of into a torch.nn.Sequential, or leave it outside"
        )
    if getattr(module.forward, "__func__", None) is not kind.forward:
        raise InputError(
            f"{called(name, module)}: has a forward of its own, and what it computes can't be read "
            "from its weights. Put the modules that it is made of into a torch.nn.Sequential"
        )
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1:
        raise InputError(
            f"{called(name, module)}: normalises over {list(module.normalized_shape)}, and the "
            "numbers of one step were expected. Give it one size"
        )


def _check_widths(modules: tuple[tuple[str, nn.Module], ...]) -> None:
    width = None
    for name, part in modules:
        read = _width_read(part)
        if None not in (width, read) and read != width:
            raise InputError(
                f"{called(name, part)}: reads {read} numbers at each step, and what stands before "
                f"it gives {width}. Correct its size"
            )
        made = _width_made(part)
        given = read if made is None else made
        width = width if given is None else given


def _width_read(module: nn.Module) -> int | None:
    """How many numbers it reads at each step; None for any number."""
    if isinstance(module, Module):
        return module.input_size
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1]
    return None


def _width_made(module: nn.Module) -> int | None:
    """How many numbers it gives at each step; None for as many as it reads."""
    if isinstance(module, unrolled.nn.Recurrent):
        return module.units[module.cell.output.size] * (1 + module.bidirectional)
    if isinstance(module, nn.RNNBase):
        return (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    if isinstance(module, nn.Linear):
        return module.out_features
    return None

"""A torch model as a plan: what a stream makes of its parts, and which of them it can't run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

import unrolled.nn
from unrolled.cells.layers import names
from unrolled.deploy.described import described
from unrolled.deploy.parts import Module, Parts, called, check_numbers, parts_of
from unrolled.deploy.plain import REVERSE, scales_of
from unrolled.deploy.plan import (
    Activation,
    Array,
    Described,
    Layer,
    LayerNorm,
    Linear,
    Plan,
    Recurrent,
    Scales,
    Weights,
)
from unrolled.errors import InputError


def plan_of(model: Any) -> Plan:
    """The plan of a model in memory; its weights are copied.

    Args:
        model: as in :func:`~unrolled.deploy.parts.parts_of`.

    Raises:
        InputError: it is none that can stream, for the reason that is given.
    """
    parts = parts_of(model)
    check_numbers(parts)
    dtype = _dtype(parts)
    layers = tuple(_layers(parts))
    plan = Plan(dtype, parts.inputs, parts.outputs, layers, _scales(parts))
    if (table := parts.table) is None:
        return plan
    return replace(
        plan,
        inputs=tuple(table.inputs),
        targets=tuple(table.targets),
        group=table.group,
        ahead=table.ahead,
    )


def _dtype(parts: Parts) -> str:
    numbers = {
        str(weight.dtype).removeprefix("torch.")
        for _, module in parts.modules
        for weight in module.parameters()
    }
    if not numbers:  # a cell may do without weights
        return "float32"
    if len(numbers) != 1 or not numbers <= {"float32", "float64"}:
        raise InputError(
            f"weights of one type, float32 or float64, were expected, got "
            f"{', '.join(sorted(numbers))}. Convert them with model.float() or model.double()"
        )
    return numbers.pop()


def _scales(parts: Parts) -> Scales | None:
    if parts.input_scaler is None or parts.target_scaler is None:
        return None
    scalers: dict[str, Array] = {
        f"{side}.{part}": getattr(scaler, part).copy()
        for side, scaler in (("input", parts.input_scaler), ("target", parts.target_scaler))
        for part in ("mean", "scale")
    }
    if (table := parts.table) is None:
        return Scales.of(scalers, (False,) * parts.inputs, (-1,) * parts.outputs)
    return scales_of(scalers, table.inputs, table.targets, difference=table.difference)


def _layers(parts: Parts) -> Iterator[Layer]:
    is_alone = len(parts.recurrent) == 1  # then its states need no place
    for name, module in parts.modules:
        if isinstance(module, unrolled.nn.Recurrent):
            yield _described(name, module, "" if is_alone else name)
        elif isinstance(module, nn.RNNBase):
            yield _recurrent(name, module, "" if is_alone else name)
        elif isinstance(module, nn.Linear):
            yield Linear(_array(module.weight), _array_or_none(module.bias))
        elif isinstance(module, nn.LayerNorm):
            affine = _array_or_none(module.weight), _array_or_none(module.bias)
            yield LayerNorm(module.normalized_shape[0], *affine, module.eps)
        elif isinstance(module, nn.Dropout):
            _insist_on_eval(name, module, module.p)
        else:
            yield _activation(name, module)


def _insist_on_a_stream(name: str, module: Module) -> None:
    """That the module reads forward, and drops nothing between its layers."""
    if module.bidirectional:
        raise InputError(
            f"can't be streamed: {called(name, module)} {REVERSE}. "
            "Use a model with bidirectional=False"
        )
    _insist_on_eval(name, module, module.dropout if module.num_layers > 1 else 0.0)


def _described(name: str, module: unrolled.nn.Recurrent, place: str) -> Described:
    _insist_on_a_stream(name, module)
    cell = module.cell
    if module.training and cell.draws:
        raise InputError(
            f"{called(name, module)}: {cell.name} is in training mode, in which it draws random "
            "numbers. Call model.eval() first"
        )
    learned = [
        {of_layer: _array(getattr(module, f"{of_layer}_l{layer}")) for of_layer in names(cell)}
        for layer in range(module.num_layers)
    ]
    try:
        return described(cell, module.units, learned, place)
    except ValueError as error:
        raise InputError(f"can't be streamed: {called(name, module)}: {error}") from error


def _recurrent(name: str, module: nn.RNNBase, place: str) -> Recurrent:
    _insist_on_a_stream(name, module)
    weights = tuple(
        Weights(
            _array(getattr(module, f"weight_ih_l{layer}")),
            _array(getattr(module, f"weight_hh_l{layer}")),
            *[
                _array_or_none(getattr(module, f"{part}_l{layer}", None))
                for part in ("bias_ih", "bias_hh", "weight_hr")
            ],
        )
        for layer in range(module.num_layers)
    )
    return Recurrent(module.mode, weights, place)


def _insist_on_eval(name: str, module: nn.Module, dropout: float) -> None:
    if module.training and dropout > 0:
        raise InputError(
            f"{called(name, module)} with dropout={dropout:g} is in training mode, in which it "
            "zeroes numbers at random. Call model.eval() first"
        )


def _activation(name: str, module: nn.Module) -> Activation:
    match module:
        case nn.Tanh():
            return Activation("tanh")
        case nn.Sigmoid():
            return Activation("sigmoid")
        case nn.ReLU():
            return Activation("relu")
        case nn.LeakyReLU():
            return Activation("leaky_relu", float(module.negative_slope))
        case nn.ELU():
            return Activation("elu", float(module.alpha))
        case nn.SiLU():
            return Activation("silu")
        case nn.Softplus() if module.threshold == 20:
            return Activation("softplus", float(module.beta))
        case nn.Softplus():
            raise InputError(
                f"{called(name, module)}: has threshold={module.threshold:g}, and a stream's has "
                "torch's default, 20. Leave it at that"
            )
        case nn.GELU():
            return Activation("gelu" if module.approximate == "none" else "gelu_tanh")
    raise InputError(f"{called(name, module)} can't be streamed. Leave it outside")


def _array(tensor: Tensor) -> Array:
    copied: Array = tensor.detach().to("cpu", copy=True).numpy()
    return copied


def _array_or_none(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else _array(tensor)

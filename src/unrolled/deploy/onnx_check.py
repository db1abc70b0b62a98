"""What ONNX can't say of a model, or what its runtimes can't run."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import unrolled.nn
from unrolled.deploy.onnx_nodes import OPERATORS
from unrolled.deploy.parts import ACTIVATIONS, Parts, called, check_numbers, numbers_of
from unrolled.errors import InputError

FLOAT32_ALONE = (nn.LeakyReLU, nn.ELU)
"""Activations that ONNX Runtime does not compute in float64, or with a slope of float32."""
COARSEST = 1e-3
"""Of a column's standard deviation: by how much rounding to float32 may move a number."""

SMALLEST = float(np.finfo(np.float32).tiny)


def check(parts: Parts) -> None:
    """That every part has a node, and that all take their steps along the same axis.

    Raises:
        InputError: one has none, or the layouts are mixed.
    """
    check_numbers(parts)
    numbers = numbers_of(parts)
    for name, part in parts.modules:
        _check_numbers(name, part, numbers)
        _check_part(name, part, numbers)
    first_name, first = parts.recurrent[0]
    for name, recurrent in parts.recurrent:
        if recurrent.batch_first != first.batch_first:
            raise InputError(
                f"module {name!r} has batch_first={recurrent.batch_first}, module {first_name!r} "
                f"{first.batch_first}. Make all of them alike"
            )


def check_rounding(parts: Parts, *, double: bool) -> None:
    """That the numbers of each column are told apart in the file, where they stand in the table.

    Of a column that enters or leaves as its change the scalers know no level: not so of those.

    Args:
        parts: the model's.
        double: whether the file takes float64, and not float32.

    Raises:
        InputError: they are not.
    """
    table = parts.table
    for kind, scaler in (("inputs", parts.input_scaler), ("targets", parts.target_scaler)):
        if scaler is None:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 there is no step
            steps = np.spacing(np.abs(scaler.mean).astype(np.float32))
        moved = steps.astype(np.float64) / 2
        for place in np.flatnonzero(~(moved <= COARSEST * np.abs(scaler.scale))):
            name = f"number {place} of the {kind}"
            if table is not None:
                name = f"column {getattr(table, kind)[place]!r}"
            # Of those that are zero in float32 ONNX Runtime makes zero in float64, too.
            if abs(scaler.scale[place]) < SMALLEST:
                raise InputError(
                    f"{name}: its standard deviation is {scaler.scale[place]:.2g}, and float32 "
                    f"ends at {SMALLEST:.2g}. Change its unit and train again"
                )
            if double:
                continue
            raise InputError(
                f"{name}: around its mean, {scaler.mean[place]:.6g}, float32 rounds by up to "
                f"{moved[place]:.2g}, and its standard deviation is {scaler.scale[place]:.2g}. "
                "Take and give float64: --double, or double=True"
            )


def _check_numbers(name: str, part: nn.Module, numbers: torch.dtype) -> None:
    """That the weights are float32; or float64, where ``numbers``, the first recurrent's, are."""
    if isinstance(part, nn.RNNBase) or numbers != torch.float64:
        expected, why = torch.float32, "which is what ONNX Runtime's RNN, LSTM and GRU compute in"
        if isinstance(part, unrolled.nn.Recurrent):
            why = "or float64 in all of the model"
    else:
        expected, why = torch.float64, "which is what the first recurrent module has"
    for weight, values in part.named_parameters():
        if values.dtype != expected:
            raise InputError(
                f"{called(name, part)}: {weight} is {values.dtype}, and {expected} was "
                f"expected, {why}. Convert it: model.float()"
            )


def _check_part(name: str, part: nn.Module, numbers: torch.dtype) -> None:
    if isinstance(part, nn.RNNBase) and part.proj_size:
        raise InputError(
            f"{called(name, part)}: has a projection (proj_size={part.proj_size}), for which "
            "ONNX's LSTM has no input. Train one with proj_size=0, or leave it in torch: "
            "torch.export takes it"
        )
    if isinstance(part, ACTIVATIONS) and not isinstance(part, tuple(OPERATORS)):
        known = ", ".join(kind.__name__ for kind in OPERATORS)
        raise InputError(
            f"{called(name, part)}: of activations one of {known} was expected, which ONNX has "
            "operators for. Replace it, or leave it outside and export the rest"
        )
    if isinstance(part, FLOAT32_ALONE) and numbers == torch.float64:
        raise InputError(
            f"{called(name, part)}: ONNX Runtime has it in float32 alone, and the recurrent "
            "module's weights are float64. Replace it, or convert the model: model.float()"
        )

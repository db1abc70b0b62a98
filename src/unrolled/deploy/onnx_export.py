"""``unrolled.export_onnx``: a model as the standard's RNN, LSTM and GRU nodes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import unrolled
from unrolled.deploy.onnx_build import GraphBuilder
from unrolled.deploy.onnx_check import check, check_rounding
from unrolled.deploy.onnx_described import count_weights
from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_file import DIGEST, LARGEST, UNSEALED, seal
from unrolled.deploy.onnx_graph import Storage
from unrolled.deploy.parts import Parts, numbers_of, parts_of
from unrolled.errors import InputError
from unrolled.nn import Recurrent
from unrolled.output import check_apart
from unrolled.runfile import files_of

OPSET, FORMAT = 17, 8
"""The oldest operator set with all that is used (LayerNormalization), and the version of the format
that came with it, so that runtimes of some years' age read the file."""

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "int8": 1}
SLACK = 2**24
"""Bytes left in a file for what is not weights."""


def export_onnx(model: Any, path: str | Path, stateful: bool = True, double: bool = False) -> None:
    """Writes a model as an ONNX file that computes the same, for any batch and number of steps.

    The graph takes ``input``, [B, T, I] (or [T, B, I] for a model that is not batch-first), in
    float32 (with ``double`` float64) and, of a trained run or estimator, in the table's own units;
    and ``lengths``, int32
    [B], each row's number of real steps, or [1], one for every row, where −1 stands for all T. It
    gives ``output`` [B, T, O]; of a bidirectional run, and of an estimator of whole sequences,
    [B, O]: what is read out at the row's end.

    With ``stateful`` it also takes the states before the first step, ``h_0`` [L·D, B, H] and for an
    LSTM ``c_0``, and gives those after each row's last, ``h_n`` and ``c_n``, to be fed back; with
    more than one recurrent module they have its name in front, as in ``0.h_0``. Without, each call
    begins from zeros.

    A :class:`~unrolled.Recurrent` is the standard's node where its cell's equations are the
    standard's, else a ``Scan`` of standard operators. Its states go by the cell's names for them,
    ``hidden_0`` and ``hidden_n``, and the cell's constants [B, ·] are inputs by their names. With
    float64 weights, in all of the model, the whole graph is float64.

    A run trained with ``difference`` needs the row before the first: with ``stateful`` as the state
    ``row_0`` [B, I], which comes back as ``row_n``; without, ``input`` has T + 1 rows for T
    predictions.

    Args:
        model: a run folder, a Run, a fitted SequenceRegressor, a Network, a recurrent module of
            this package or of torch, or a Sequential of such with linear layers, layer norms and
            activations; what is written is what it computes in ``eval()``.
        path: the file to write; one that exists is replaced, unless it is a file of the run folder.
        stateful: whether the states are inputs and outputs.
        double: whether ``input``, ``output`` and ``row_0`` are float64, and are scaled in it, as
            the run itself scales; the network between computes in float32, as it does there.

    Raises:
        InputError: ONNX can't say what the model does (a projection, a forward of one's own), it
            is too large for a file, the file can't be written or is one of the run's, or the
            package onnx is not installed. Or without ``double`` a column's numbers are so large
            beside their spread (times in seconds since 1970) that float32 would drop what tells
            them apart; the levels of columns that are read as changes are not known to it. No file
            is written then.
    """
    for name, value in (("stateful", stateful), ("double", double)):
        if not isinstance(value, bool):
            raise InputError(f"{name}: True or False was expected, got {value!r}")
    path = Path(path)
    if isinstance(model, str | Path):
        check_apart(path, files_of(Path(model)), "the argument path")
    write(build(parts_of(model), stateful=stateful, double=double), path)


def write(model: Any, path: Path) -> None:
    """Checks a model and writes it, whole or not at all."""
    need("onnx.checker").check_model(model, full_check=True)
    try:
        _write(seal(model), path)
    except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: can't be written ({why}). Name a place with the rights and the room for it"
        ) from error


def _write(data: bytes, path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Name a file, such as {path / 'model.onnx'}")
    if path.exists() and not path.is_file():  # a device or a pipe, which a file would replace
        raise InputError(f"{path}: is no plain file. Name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def build(
    parts: Parts, *, stateful: bool, storage: Storage = "float32", double: bool = False
) -> Any:
    """The model as an ``onnx.ModelProto``; see :func:`export_onnx` and :class:`Graph`.

    Raises:
        InputError: ONNX can't say what a part does, float32 can't tell a column's numbers apart, or
            the package onnx is not installed.
    """
    check(parts)
    check_rounding(parts, double=double)
    _check_size(parts, storage)
    helper = need("onnx.helper")
    model = helper.make_model(
        GraphBuilder(parts, stateful=stateful, storage=storage, double=double).build(),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=FORMAT,
        producer_name="unrolled",
        producer_version=unrolled.__version__,
    )
    helper.set_model_props(model, _metadata(parts, storage))
    return model


def _check_size(parts: Parts, storage: Storage) -> None:
    """Before anything is made: protobuf can't even count the bytes of a larger model."""
    size = BYTES[_stored(parts, storage)] * sum(
        count_weights(part)
        if isinstance(part, Recurrent)
        else sum(weight.numel() for weight in part.parameters())
        for _, part in parts.modules
    )
    if size > LARGEST - SLACK:
        raise InputError(
            f"the model's weights have {size:,} bytes as {_stored(parts, storage)}, and an ONNX "
            f"file holds {LARGEST:,} with all else. Export a smaller model, or store its "
            "weights in fewer bits"
        )


def _stored(parts: Parts, storage: Storage) -> str:
    """As what the file has weights: a network in float64 has its own, unless they are smaller."""
    is_double = storage == "float32" and numbers_of(parts) == torch.float64
    return "float64" if is_double else storage


def _metadata(parts: Parts, storage: Storage) -> dict[str, str]:
    """What the file says of itself, as texts, some of them JSON."""
    found: dict[str, str] = {"unrolled.weights": _stored(parts, storage), DIGEST: UNSEALED}
    if (table := parts.table) is None:
        return found
    for kind, names, scaler in (
        ("inputs", table.inputs, parts.input_scaler),
        ("targets", table.targets, parts.target_scaler),
    ):
        columns: Sequence[dict[str, Any]] = [{"name": name, "unit": _unit(name)} for name in names]
        if scaler is not None:
            for column, mean, scale in zip(columns, scaler.mean, scaler.scale, strict=True):
                column |= {"mean": float(mean), "scale": float(scale)}
        found[f"unrolled.{kind}"] = json.dumps(columns, ensure_ascii=False)
    for name in ("window", "ahead", "difference"):
        found[f"unrolled.{name}"] = json.dumps(getattr(table, name))
    return found


def _unit(name: str) -> str | None:
    """What stands in brackets at the end of a column's name; None if there are none."""
    found = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", name)
    return found.group(1).strip() if found else None

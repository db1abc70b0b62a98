"""The run folder: a trained model on disk, self-contained and loaded without pickle.

``config.json`` says what the model is (:class:`RunConfig`), and ``model.safetensors`` holds its
weights (``network.*``) and its scalers (``scaler.*``). A ``sample.csv`` may belong to it too. What
else stands in the folder (metrics, predictions, a picture) is for people, and nothing reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save

import unrolled
from unrolled.cells.stored import from_json
from unrolled.errors import InputError
from unrolled.model.network import Network, NetworkConfig
from unrolled.model.scaler import Scaler
from unrolled.resources import LARGEST_SIZE
from unrolled.runfile import (
    CONFIG,
    DIGESTS,
    FORMAT,
    FORMAT_VERSION,
    SAMPLE,
    WEIGHTS,
    check_config,
    config_digest,
    consistent,
    read_beside,
    read_config,
    read_weights,
)

SCALERS = ("input", "target")
REPAIR = "Restore the file, or train again"

Missing = Literal["error", "drop", "interpolate"]


class TableConfig(BaseModel):
    """Which columns of a table the model reads and predicts, and how rows become windows.

    With ``difference`` a column that is both read and predicted enters as its change from the row
    before, and its prediction is the change from the window's last row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: list[str] = Field(min_length=1)
    targets: list[str] = Field(min_length=1)
    group: str | None = None
    window: int = Field(gt=0, le=LARGEST_SIZE)
    ahead: int = Field(default=0, ge=0, le=LARGEST_SIZE)
    difference: bool = False
    missing: Missing = "error"

    @property
    def history(self) -> int:
        """How many rows a prediction needs: the window, and one before it for the first change."""
        return self.window + self.difference


class RunConfig(BaseModel):
    """The schema of ``config.json``.

    ``sha256`` has the digest of each file that is read with it, by name; under its own name that of
    everything else in it (:func:`unrolled.runfile.config_digest`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["unrolled-run"] = FORMAT
    format_version: Literal[2] = FORMAT_VERSION
    unrolled_version: str = unrolled.__version__
    network: NetworkConfig
    table: TableConfig
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _fits(self) -> RunConfig:
        read, made = len(self.table.inputs), len(self.table.targets)
        if (read, made) != (self.network.input_size, self.network.output_size):
            raise ValueError(
                f"the table has {read} inputs and {made} targets, the network "
                f"{self.network.input_size} and {self.network.output_size}"
            )
        return self


@dataclass(frozen=True)
class Run:
    """A trained network with what it needs to read and write a table's own units."""

    network: Network
    table: TableConfig
    input_scaler: Scaler
    target_scaler: Scaler


def save_run(run: Run, folder: Path | str, beside: Sequence[str] = ()) -> None:
    """Writes ``config.json`` and ``model.safetensors`` into ``folder``, which exists.

    Args:
        run: a trained run.
        folder: where to.
        beside: names of files that stand there already and that belong to it: they are refused
            if they are changed.
    """
    folder = Path(folder)
    tensors = {f"network.{name}": t for name, t in run.network.state_dict().items()}
    for name, scaler in zip(SCALERS, (run.input_scaler, run.target_scaler), strict=True):
        tensors[f"scaler.{name}.mean"] = torch.tensor(scaler.mean)
        tensors[f"scaler.{name}.scale"] = torch.tensor(scaler.scale)
    (folder / WEIGHTS).write_bytes(save(tensors))
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (WEIGHTS, *beside)
    }
    content = RunConfig(network=run.network.config, table=run.table, sha256=digests).model_dump(
        mode="json"
    )
    digests[CONFIG] = config_digest(content)
    content[DIGESTS] = digests
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_run(folder: Path | str) -> Run:
    """Reads a run folder.

    Raises:
        InputError: the folder or a file is missing, cut short, damaged, changed after it was
            written, or of another version.
    """
    return consistent(Path(folder), _load)


def read_sample(folder: Path) -> Path:
    """The run's ``sample.csv``, if it is the one that the run was written with.

    Raises:
        InputError: it is missing, or another.
    """
    path, content = folder / SAMPLE, read_config(folder / CONFIG)
    if not path.is_file():
        columns = _checked(content, folder / CONFIG).table.inputs
        raise InputError(f"{path}: missing. Give a table with the columns {', '.join(columns)}")
    read_beside(folder, SAMPLE, content)
    return path


def _load(folder: Path) -> Run:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder. Make one with: unrolled train")
    path = folder / CONFIG
    content = read_config(path)
    config = _checked(content, path)
    check_config(path, content)
    layers = config.network.layers()
    content = config.model_dump(mode="json")
    data = read_weights(folder, content, layers.tensors(), layers.width)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise InputError(
            f"{folder / WEIGHTS}: cut short or damaged ({error}). Restore the file, or train again"
        ) from error
    for name, tensor in tensors.items():
        fault = None if tensor.isfinite().all() else "is not finite"
        if name.startswith("scaler.") and name.endswith(".scale") and not tensor.all():
            fault = "has a zero"
        if fault:
            raise InputError(
                f"{folder / WEIGHTS}: does not hold what {CONFIG} describes: {name} {fault}. "
                "Restore the whole folder, or train again"
            )
    with torch.device("cpu"):  # where tables are, wherever the caller has tensors made
        network = Network(config.network).float()
    network.load_state_dict({name: tensors[f"network.{name}"] for name in network.state_dict()})
    scalers = [
        Scaler(tensors[f"scaler.{name}.mean"].numpy(), tensors[f"scaler.{name}.scale"].numpy())
        for name in SCALERS
    ]
    return Run(network.eval(), config.table, *scalers)


def _checked(content: dict[str, Any], path: Path) -> RunConfig:
    network = content.get("network")
    if isinstance(network, dict) and isinstance(network.get("cell"), dict):
        # Here and not by the schema alone: one of a newer version needs another repair.
        from_json(network["cell"], f"{path}: network.cell", REPAIR)
    try:
        return RunConfig.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{path}: {where[:200]}: {first['msg'].removeprefix('Value error, ')}. {REPAIR}"
        ) from error

"""The run folder: a trained model on disk, self-contained and loaded without pickle.

``config.json`` says what the model is (:class:`RunConfig`), and ``model.safetensors`` holds its
weights (``network.*``) and its scalers (``scaler.*``). What else stands in the folder (metrics,
predictions, a sample, a picture) is for people, and nothing needs it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

import unrolled
from unrolled.errors import InputError
from unrolled.model.network import Network, NetworkConfig
from unrolled.model.scaler import Scaler
from unrolled.runfile import CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS, read_config

SCALERS = ("input", "target")

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
    window: int = Field(gt=0)
    ahead: int = Field(default=0, ge=0)
    difference: bool = False
    missing: Missing = "error"

    @property
    def history(self) -> int:
        """How many rows a prediction needs: the window, and one before it for the first change."""
        return self.window + self.difference


class RunConfig(BaseModel):
    """The schema of ``config.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["unrolled-run"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    unrolled_version: str = unrolled.__version__
    network: NetworkConfig
    table: TableConfig

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


def save_run(run: Run, folder: Path) -> None:
    """Writes ``config.json`` and ``model.safetensors`` into ``folder``, which exists."""
    tensors = {f"network.{name}": t for name, t in run.network.state_dict().items()}
    for name, scaler in zip(SCALERS, (run.input_scaler, run.target_scaler), strict=True):
        tensors[f"scaler.{name}.mean"] = torch.from_numpy(scaler.mean)
        tensors[f"scaler.{name}.scale"] = torch.from_numpy(scaler.scale)
    (folder / WEIGHTS).write_bytes(save(tensors))
    config = RunConfig(network=run.network.config, table=run.table)
    (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_run(folder: Path | str) -> Run:
    """Reads a run folder.

    Raises:
        InputError: the folder or a file is missing, cut short, damaged, or of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder. Make one with: unrolled train")
    config = _read_config(folder / CONFIG)
    tensors = _read_tensors(folder / WEIGHTS)
    if fault := _fault(tensors, config.network):
        raise InputError(
            f"{folder / WEIGHTS}: does not hold what {CONFIG} describes: {fault}. "
            "Restore the whole folder, or train again"
        )
    network = Network(config.network)
    network.load_state_dict({name: tensors[f"network.{name}"] for name in network.state_dict()})
    scalers = [
        Scaler(tensors[f"scaler.{name}.mean"].numpy(), tensors[f"scaler.{name}.scale"].numpy())
        for name in SCALERS
    ]
    return Run(network.eval(), config.table, *scalers)


@contextmanager
def replacing(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new, empty folder to write into, whose files stand in ``folder`` once all is well.

    Nothing is seen of them before, and nothing is left of them if the block raises. Files of
    other names that ``folder`` held stay: overwriting a run must not empty somebody's folder.

    Raises:
        InputError: ``folder`` is a file, or is not empty and may not be overwritten.
    """
    check_free(folder, overwrite=overwrite)
    above = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        folder.mkdir(exist_ok=True)
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in above:
            with suppress(OSError):  # it holds the result
                parent.rmdir()


def _move(draft: Path, folder: Path) -> None:
    """All that is in ``draft`` to the same place in ``folder``."""
    for made in sorted(draft.iterdir()):
        place = folder / made.name
        if made.is_dir():
            place.mkdir(exist_ok=True)
            _move(made, place)
        else:
            made.replace(place)


def check_free(folder: Path, *, overwrite: bool, flag: str = "--out") -> None:
    """That ``folder`` may be written, to be asked before the work is done.

    Raises:
        InputError: it is a file, is not empty and may not be overwritten, or has no place to be;
            says to name another by ``flag``.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder. Name another with {flag}")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(
            f"{folder}: exists and is not empty. Name another with {flag}, or add --overwrite"
        )
    _check_place(folder, flag)


def check_free_file(path: Path, *, overwrite: bool) -> None:
    """The same for a single file.

    Raises:
        InputError: it is a folder, exists and may not be overwritten, or has no place to be.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file. Name another with --out")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists. Name another with --out, or add --overwrite")
    _check_place(path, "--out")


def _check_place(path: Path, flag: str) -> None:
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"{path}: nothing can be written in {place}. Name another with {flag}")


def _fault(tensors: dict[str, Tensor], config: NetworkConfig) -> str | None:
    """The first difference from the names, shapes and types that a network's file has."""
    # On no device: a wrong size is told before it takes memory.
    with torch.device("meta"):
        expected = {f"network.{name}": t for name, t in Network(config).state_dict().items()}
        for name, columns in zip(SCALERS, (config.input_size, config.output_size), strict=True):
            for part in ("mean", "scale"):
                expected[f"scaler.{name}.{part}"] = torch.empty(columns, dtype=torch.float64)
    for name in expected | tensors:
        if name not in tensors:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} belongs to another network"
        held, wanted = tensors[name], expected[name]
        if (held.shape, held.dtype) != (wanted.shape, wanted.dtype):
            return (
                f"{name} is {held.dtype} {list(held.shape)}, "
                f"{wanted.dtype} {list(wanted.shape)} was expected"
            )
        if not held.isfinite().all():
            return f"{name} is not finite"
    return None


def _read_config(path: Path) -> RunConfig:
    content = read_config(path)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}. "
            "Restore the file, or train again"
        ) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: missing. Restore the whole folder, or train again") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: cut short or damaged ({_first_line(error)}). Restore the file, or train again"
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

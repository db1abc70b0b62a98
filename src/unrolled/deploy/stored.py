"""A stream on disk: one safetensors file with the model and the state.

It is written so that whatever happens to the process or the machine, the file is a whole one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import unrolled
from unrolled.deploy.plan import Array, Plan, pack, unpack
from unrolled.errors import InputError

FORMAT, FORMAT_VERSION = "unrolled-stream", "1"


def write(path: Path, plan: Plan, state: dict[str, Array]) -> None:
    """Replaces ``path`` in one go: a draft beside it is written, synced and renamed."""
    described, arrays = pack(plan)
    tensors = {f"model.{name}": array for name, array in arrays.items()}
    tensors |= {f"state.{name}": array for name, array in state.items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "unrolled_version": unrolled.__version__,
        "model": json.dumps(described),
    }
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(save(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The renaming itself, where the system can be told to (Windows can't)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> tuple[Plan, dict[str, Array]]:
    """The model and the state.

    Raises:
        InputError: the file is missing, damaged, no stream's, or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Stream.save makes one") from None
    except (SafetensorError, OSError) as error:
        words = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a whole stream ({words}). Restore the file") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: not a stream's file (no format {FORMAT!r})")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {metadata.get('format_version')}, and this unrolled "
            f"({unrolled.__version__}) reads {FORMAT_VERSION}. Install the unrolled that wrote it "
            f"({metadata.get('unrolled_version', 'unknown')})"
        )
    try:
        plan = unpack(json.loads(metadata["model"]), _within(tensors, "model."))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error!r}). Restore the file") from error
    return plan, _within(tensors, "state.")


def _within(tensors: dict[str, Any], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }

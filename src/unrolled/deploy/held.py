"""What a safetensors file holds, counted before any of it is taken.

The header is read here, by hand, and held against the file's own size; only then does the library
read the numbers. So a header of nonsense costs neither memory nor a traceback from deep inside.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unrolled.deploy.plan import Array
from unrolled.errors import clip

HEADER_LIMIT = 8 << 20
"""Bytes: room for a stack of ten thousand layers."""

DIMENSIONS = 8
"""The most that a tensor has; those of a stream have three."""

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "I64": np.dtype("int64"),
}


class NotWholeError(ValueError):
    """The file is cut short, damaged or no safetensors file, and why."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """The tensors by name, and the text that stands with them."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]

    def digest(self, arrays: Mapping[str, Array], *, without: str) -> str:
        """SHA-256 over all that is said here, but for the metadata ``without``, and the numbers."""
        metadata = {name: text for name, text in self.metadata.items() if name != without}
        tensors = {name: (t.dtype, t.shape) for name, t in self.tensors.items()}
        said = json.dumps([metadata, tensors], sort_keys=True)
        digest = hashlib.sha256(said.encode())
        for name in sorted(tensors):
            digest.update(np.ascontiguousarray(arrays[name]).data)
        return f"sha256:{digest.hexdigest()}"


def header_of(metadata: dict[str, str], arrays: Mapping[str, Array]) -> Header:
    """The header that a file of these has."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    tensors = {
        name: Tensor(names[array.dtype.newbyteorder("=")], array.shape)
        for name, array in arrays.items()
    }
    return Header(metadata, tensors)


def read_header(path: Path) -> Header:
    """The header of a file that is as long as its header says.

    Raises:
        NotWholeError: it is not, or holds what no file of unrolled holds.
        OSError: the file can't be read.
    """
    if path.exists() and not path.is_file():
        raise NotWholeError("it is no file")  # a pipe would be waited for, a device never ends
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        room = path.stat().st_size - 8
        if len(start) < 8 or length > room:
            raise NotWholeError("it ends before its header does")
        if length > HEADER_LIMIT:
            raise NotWholeError(f"its header has {length} bytes")
        text = file.read(length)
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise NotWholeError("its header is nested without end") from None
    except ValueError as error:
        raise NotWholeError(f"its header is no JSON: {clip(error)}") from error
    if not isinstance(content, dict):
        raise NotWholeError("its header is no object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise NotWholeError("its metadata are no text")
    ends = {name: _end_of(name, entry) for name, entry in content.items()}
    if max(ends.values(), default=0) != room - length:
        raise NotWholeError("it has another size than its header says")
    tensors = {name: Tensor(e["dtype"], tuple(e["shape"])) for name, e in content.items()}
    return Header(metadata, tensors)


def read_arrays(path: Path) -> dict[str, Array]:
    """The tensors of a file whose header was read.

    Raises:
        NotWholeError: it is damaged.
        OSError: the file can't be read.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise NotWholeError(clip(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands twice")
    return content


def _end_of(name: str, entry: Any) -> int:
    """Where a tensor ends, if its entry is one and its size that of its shape."""
    called = f"{clip(name, 60)} in its header"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise NotWholeError(f"{called} is no tensor")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise NotWholeError(f"{called} is of type {clip(entry['dtype'], 60)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise NotWholeError(f"{called} has no sizes")
    if len(shape) > DIMENSIONS:
        raise NotWholeError(f"{called} has {len(shape)} dimensions")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[entry["dtype"]].itemsize:
        raise NotWholeError(f"{called} has another size than its shape")
    return int(end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)

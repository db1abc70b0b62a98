"""What stands in a file, asked before any of it is believed; imports nothing but Python's own.

A file says how large the things in it are. Here it is first held against its own bytes.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NamedTuple

LARGEST_HEADER = 8 * 2**20
"""Bytes; ten thousand layers have less. As Python objects JSON is up to thirty times as large."""
MOST_AXES = 32
"""Of a tensor: NumPy ends at 32 or 64."""
WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of a number of each of safetensors' types."""


class Kind(NamedTuple):
    """What a tensor is, as safetensors names it: "F32" [4, 3], say."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class Header(NamedTuple):
    """What a safetensors file says of itself, before any of its tensors is read."""

    tensors: dict[str, Kind]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file: names, types and shapes; nothing else is read.

    All tensors together have the bytes that follow the header, so that what is built by their
    shapes is no larger than the file.

    Raises:
        OSError: the system's.
        ValueError: it is no whole safetensors file.
    """
    size = regular_size(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        content = parse_json(file.read(length))
    return _header(content, size - 8 - length)


def read_file(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: the system's.
        ValueError: it is no regular file, or has more than ``most`` bytes.
    """
    size = regular_size(path)
    if most is not None and size > most:
        raise ValueError(f"has {size:,} bytes, and {most:,} at most were expected")
    return path.read_bytes()


def regular_size(path: Path) -> int:
    """The bytes of a regular file; a pipe or a device may never end.

    Raises:
        OSError: the system's.
        ValueError: it is no regular file.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(None, "is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("is no regular file")
    return found.st_size


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8, each name once.

    Raises:
        ValueError: it is none, or is nested deeper than Python can follow.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def short(value: Any) -> str:
    """A value as it is quoted in a message: not a megabyte of it."""
    try:
        words = str(value) if isinstance(value, Kind) else repr(value)
    except (RecursionError, ValueError):  # nested too deep; a number of too many digits
        words = f"a {type(value).__name__}"
    return words if len(words) <= 100 else f"{words[:97]}..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"names {short(name)} twice")
        content[name] = value
    return content


def _no_number(word: str) -> None:
    raise ValueError(f"has {word}, which JSON has not")


def _header(content: Any, size: int) -> Header:
    """Checks a header against the bytes that follow it."""
    if not isinstance(content, dict):
        raise ValueError("its header is no object")
    metadata = content.pop("__metadata__", {})
    if not _are_texts(metadata):
        raise ValueError("its metadata are no texts")
    tensors, parts = {}, []
    for name, about in content.items():
        kind, part = _tensor(name, about)
        tensors[name] = kind
        parts.append(part)
    end = 0
    for first, last in sorted(parts):
        if first != end:
            raise ValueError("its tensors overlap, or leave bytes out")
        end = last
    if end != size:
        raise ValueError(f"{end} bytes of tensors in a file with {size}")
    return Header(tensors, metadata)


def _tensor(name: str, about: Any) -> tuple[Kind, tuple[int, int]]:
    try:
        dtype, shape, (first, last) = about["dtype"], about["shape"], about["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"tensor {short(name)} is not described") from None
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise ValueError(f"tensor {short(name)} has the unknown type {short(dtype)}")
    if not isinstance(shape, list) or not all(map(_is_count, [*shape, first, last])):
        raise ValueError(f"tensor {short(name)} is not described in whole numbers")
    if len(shape) > MOST_AXES:
        raise ValueError(f"tensor {short(name)} has {len(shape)} dimensions")
    count = WIDTHS[dtype]
    for length in shape:
        count *= length
    if count != last - first:
        raise ValueError(f"tensor {short(name)} has not the bytes of its shape")
    return Kind(dtype, tuple(shape)), (first, last)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())

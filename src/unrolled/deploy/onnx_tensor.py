"""A tensor stored in an ONNX file, or in another beside it, as an array."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_soundness import is_external
from unrolled.deploy.onnx_words import first_words, shown
from unrolled.errors import InputError

BITS = {
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
}
"""Of the types of which a byte holds several."""
KEYS = ("location", "offset", "length", "checksum", "basepath")
"""What the standard says of data in another file."""


def read_tensor(tensor: Any, folder: Path, what: str) -> Any:
    """A stored tensor as an array, which may be a view of the model's bytes.

    Args:
        tensor: an ``onnx.TensorProto``.
        folder: relative to which it names another file.
        what: what it is, for messages.

    Raises:
        InputError: its type, sizes and data don't go together, or the other file is not as it says.
    """
    try:
        size = stored_bytes(tensor)
        if is_external(tensor):
            _check_external(tensor, folder, size)
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != size:
            raise ValueError(f"it has {len(tensor.raw_data)} bytes, and its sizes {size}")
        return need("onnx.numpy_helper").to_array(tensor, str(folder))
    except Exception as error:  # of NumPy, of onnx, of the file system; all speak of this tensor
        raise InputError(
            f"{what}: the stored tensor can't be read ({first_words(error)}). Write the file "
            "again, with whatever belongs to it beside it"
        ) from error


def stored_bytes(tensor: Any) -> int:
    """How many bytes the raw data of a tensor of its type and sizes have.

    Raises:
        ValueError: it is not of numbers, or a size is negative.
    """
    kind = need("onnx").TensorProto.DataType.Name(tensor.data_type)
    if kind in ("UNDEFINED", "STRING"):
        raise ValueError(f"it is of type {kind}, and numbers were expected")
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"its sizes are {list(tensor.dims)}")
    dtype = need("onnx.helper").tensor_dtype_to_np_dtype(tensor.data_type)
    bits = BITS.get(kind, 8 * int(dtype.itemsize))
    return int(-(-math.prod(tensor.dims) * bits // 8))


def _check_external(tensor: Any, folder: Path, size: int) -> None:
    """That a plain file has all of it; onnx itself lets no name lead out of the folder."""
    given = {entry.key: entry.value for entry in tensor.external_data}
    if unknown := sorted(set(map(str, given)) - set(KEYS)):
        raise ValueError(f"its external data have the unknown key {shown(unknown[0])}")
    file = folder / given.get("location", "")
    if not file.is_file():
        raise ValueError(f"there is no file {shown(given.get('location'))} beside it")
    offset = int(given.get("offset") or 0)
    end = file.stat().st_size
    length = int(given["length"]) if given.get("length") else end - offset
    if offset < 0 or length != size or offset + length > end:
        raise ValueError(
            f"its sizes come to {size} bytes, and {length} from byte {offset} on are named of a "
            f"file that has {end}"
        )

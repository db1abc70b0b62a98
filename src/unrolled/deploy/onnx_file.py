"""An ONNX file as bytes: how ours are sealed, and how any is read before its graph is looked at."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_soundness import check_soundness
from unrolled.deploy.onnx_words import first_words
from unrolled.errors import InputError

LARGEST = 2**31 - 1
"""Bytes of a model in one file: protobuf counts them in 32 bits."""
OLDEST = 7
"""The first operator set whose RNN, LSTM and GRU are today's; ONNX Runtime runs no older ones."""
DIGEST = "unrolled.digest"
"""The key in a file's metadata: the SHA-256 of the file with zeros in the digest's place."""
UNSEALED = "0" * 64
"""In the digest's place before there is one."""


def seal(model: Any) -> bytes:
    """The bytes of a model of ours, whose digest takes the place of the zeros in its metadata."""
    data: bytes = model.SerializeToString()
    return _replaced(data, UNSEALED, sha256(data).hexdigest())


def load(path: Path) -> Any:
    """Reads a file into an ``onnx.ModelProto`` that is sound as far as ONNX's checker looks.

    Weights in other files are left there. Inputs and outputs may lack their shape, and outputs
    their type, which ONNX Runtime infers.

    Raises:
        InputError: it is no ONNX file, or a damaged one; or of an operator set that is not read.
    """
    onnx = need("onnx")
    data = _read(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except need("google.protobuf.message").DecodeError as error:
        raise InputError(_broken(path, error)) from error
    _check_digest(path, model, data)
    del data
    try:
        check_soundness(model)
    except Exception as error:  # beside the checker's own, protobuf's and C++'s of broken names
        raise InputError(_broken(path, error)) from error
    _check_opset(path, model)
    return model


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path}: no such file. Name an ONNX file, as unrolled export writes")
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(
                f"{path}: has {size:,} bytes, and an ONNX file holds {LARGEST:,} at most. Name the "
                "file with the graph, not the one with its weights"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}). Look at its rights") from error


def _broken(path: Path, error: BaseException) -> str:
    return f"{path}: not a whole ONNX file ({first_words(error)}). Write it again"


def _check_digest(path: Path, model: Any, data: bytes) -> None:
    found = next((entry.value for entry in model.metadata_props if entry.key == DIGEST), None)
    if found is None:
        return
    is_digest = isinstance(found, str) and len(found) == len(UNSEALED) and found.isascii()
    if not is_digest or sha256(_replaced(data, found, UNSEALED)).hexdigest() != found:
        raise InputError(
            f"{path}: is not as unrolled wrote it (its digest is another): it is damaged, or some "
            f"program has changed it. Export it again; if the change is meant, delete {DIGEST!r} "
            "from its metadata"
        )


def _replaced(data: bytes, old: str, new: str) -> bytes:
    """With the last occurrence replaced: metadata stand behind the graph."""
    before, found, after = data.rpartition(old.encode())
    return b"".join((before, new.encode() if found else b"", after))


def _check_opset(path: Path, model: Any) -> None:
    """Of the standard's own domain; others are not read."""
    newest = need("onnx.defs").onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not OLDEST <= opset.version <= newest:
            repair = (
                "Convert it: onnx.version_converter"
                if opset.version < OLDEST
                else "Install a newer onnx, or export it for an older one"
            )
            raise InputError(
                f"{path}: is of operator set {opset.version}, and {OLDEST} to {newest} are read. "
                f"{repair}"
            )

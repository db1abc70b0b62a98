"""A stream on disk: one safetensors file with the model and the state.

It is written so that whatever happens to the process or the machine, the file is a whole one, and
read so that a file of which a bit was flipped is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

import unrolled
from unrolled.atomic import InUseError, lock
from unrolled.deploy.plan import Array, Plan, pack
from unrolled.deploy.unpack import unpack
from unrolled.errors import InputError, clip
from unrolled.files import Header, parse_json, read_file, read_header, regular_size, short
from unrolled.output import check_apart
from unrolled.resources import check_memory
from unrolled.runfile import CONFIG, files_of, read_config

FORMAT, FORMAT_VERSION = "unrolled-stream", "2"
DIGEST = "digest"
METADATA = {"format", "format_version", "unrolled_version", "model", DIGEST}


def write(path: Path, plan: Plan, state: dict[str, Array], constants: dict[str, Array]) -> None:
    """Replaces ``path`` in one go: a draft beside it is written, synced and renamed.

    Raises:
        InputError: it can't be written there. What was there is still there.
    """
    described, arrays = pack(plan)
    tensors = {f"model.{name}": array for name, array in arrays.items()}
    tensors |= {f"state.{name}": array for name, array in state.items()}
    tensors |= {f"constants.{name}": array for name, array in constants.items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "unrolled_version": unrolled.__version__,
        "model": json.dumps(described),
    }
    digest = _digest(metadata, tensors)
    with _draft(path) as draft, draft.open("xb") as file:
        _lock(file)
        file.write(save(tensors, metadata | {DIGEST: digest}))
        file.flush()
        os.fsync(file.fileno())


def check_place(path: Path) -> None:
    """That a stream can be written to ``path``, to be asked before the work is done.

    Raises:
        InputError: it can't, and why.
    """
    with _draft(path, takes_place=False) as draft:
        draft.open("xb").close()


def check_is_no_source(path: Path, source: Path) -> None:
    """That ``path`` is no file of the run that a stream comes from, by whatever name.

    Args:
        path: where a stream is to be written.
        source: the run folder, or the saved file, which itself may be replaced.

    Raises:
        InputError: it is one, and would be lost.
    """
    if source.is_dir():
        check_apart(path, files_of(source), "the argument path")
    elif not (path.exists() and source.exists() and path.samefile(source)):
        folder = source.parent  # a stream's file may lie in the folder of its run
        if _is_run(folder):
            check_apart(path, files_of(folder), "the argument path")


def _is_run(folder: Path) -> bool:
    try:
        read_config(folder / CONFIG)
    except InputError:
        return False
    return True


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """In the block ``path`` is this stream's: of two on one file each would lose the other's rows.

    Raises:
        InputError: another stream that runs is saved there, or nothing can be written there.
    """
    check_place(path)
    place = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(place.with_name(f".{place.name}.unrolled-lock")))
        except InUseError:
            raise InputError(
                f"{path}: another stream that runs is saved there. Name another file with --state"
            ) from None
        yield


@contextmanager
def _draft(path: Path, *, takes_place: bool = True) -> Iterator[Path]:
    """A name beside ``path`` for a file that takes its place once the block has ended well."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file. Name a file")
    path = Path(os.path.realpath(path))  # what a link leads to is replaced, and the link stays
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}. Make it first")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        yield draft
        if takes_place:
            draft.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: can't be written: {error.strerror or error}. Make room, or name another file"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def remove_drafts(path: Path) -> None:
    """What processes that were killed while they wrote have left beside ``path``.

    Who writes holds a lock on the draft, and the system lets go of a dead process's.
    """
    path = Path(os.path.realpath(path))
    named = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.draft")
    for draft in filter(lambda entry: named.fullmatch(entry.name), path.parent.iterdir()):
        with suppress(OSError), draft.open("rb") as file:
            _lock(file)
            draft.unlink()


def _lock(file: BinaryIO) -> None:
    """For as long as the file is open. On Windows an open file can't be removed as it is."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    """The renaming itself, where the system can be told to (Windows can't)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> tuple[Plan, dict[str, Array], dict[str, Array]]:
    """The model, the state, and what is the same at every step.

    Raises:
        InputError: the file is missing, damaged, no stream's, or of another version.
    """
    metadata, arrays = _read(path)
    if _digest(metadata, arrays) != metadata[DIGEST]:
        raise InputError(f"{path}: damaged (its digest is another). Restore the file")
    try:
        plan = unpack(parse_json(metadata["model"].encode()), _within(arrays, "model."))
    except InputError as error:  # of a description, which has the repair in its words
        raise InputError(f"{path}: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged ({clip(error)}). Restore the file") from error
    return plan, _within(arrays, "state."), _within(arrays, "constants.")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """The metadata and the arrays of a stream's file of this version."""
    try:
        header = read_header(path)
        _insist_on_version(path, header)
        # Once as it is on the disk, once as what is made of it.
        check_memory(2 * regular_size(path), f"{path}: to read it", "Take a smaller batch_size")
        return header.metadata, load(read_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Stream.save makes one") from None
    except InputError:
        raise
    except OSError as error:
        words = error.strerror or error
        raise InputError(f"{path}: can't be read ({words}). Restore the file") from error
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a whole stream ({clip(error)}). Restore the file") from error


def _digest(metadata: dict[str, str], arrays: dict[str, Array]) -> str:
    """SHA-256 over all that a file says, but for the digest itself, whatever its layout."""
    said = {name: text for name, text in metadata.items() if name != DIGEST}
    kinds = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([said, kinds], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _insist_on_version(path: Path, header: Header) -> None:
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: not a stream's file (no format {FORMAT!r})")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {short(metadata.get('format_version'))}, and this "
            f"unrolled ({unrolled.__version__}) reads {FORMAT_VERSION}. Install the unrolled that "
            f"wrote it ({clip(metadata.get('unrolled_version', 'unknown'), 60)})"
        )
    if (
        metadata.keys() != METADATA
        or not all(name.startswith(("model.", "state.", "constants.")) for name in header.tensors)
        or not all(kind.dtype in ("F32", "F64", "I64") for kind in header.tensors.values())
    ):
        raise InputError(f"{path}: damaged (it holds what no stream has). Restore the file")


def _within(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }

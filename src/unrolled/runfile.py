"""The run folder's files, as far as they are read without torch and pydantic.

``config.json`` says what the network is, and has a SHA-256 of each file that is read, of itself
too. Both readers of a run, with torch and without, go the same way: what the config says, what the
header of the weights says, whether the two fit, and only then the weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import unrolled
from unrolled.errors import InputError
from unrolled.files import Kind, parse_json, read_file, read_header, regular_size, short
from unrolled.resources import LARGEST_SIZE, MOST_LAYERS, check_memory

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SAMPLE = "sample.csv"
"""Rows that training has not seen, so that ``unrolled inspect`` needs no other table."""
METRICS, PREDICTIONS, PICTURE = "metrics.json", "predictions.csv", "picture.png"
LINES, WATCH_PICTURE, EVENTS = "watch.jsonl", "watch.png", "tensorboard"
EVENT_FILE = "events.out.tfevents.unrolled"
"""TensorBoard looks for ``tfevents``; of the time and the machine, which it would add, a second run
into the same folder would leave a second file."""
WATCH_FILES = (LINES, WATCH_PICTURE, f"{EVENTS}/{EVENT_FILE}")
RUN_FILES = (CONFIG, WEIGHTS, METRICS, PREDICTIONS, PICTURE, SAMPLE, *WATCH_FILES)
"""What ``unrolled train`` writes; of an earlier run nothing stays that a new one has not."""
FORMAT: Literal["unrolled-run"] = "unrolled-run"
FORMAT_VERSION: Literal[2] = 2
DIGESTS = "sha256"

LARGEST_CONFIG = 8 * 2**20
"""Bytes; a config has a few hundred, and the name of each column."""

GREATEST = 1e30
"""The most standard deviations that a number may have: weights of up to a hundred million take it
to no more than float32 can say. A change of two numbers may be twice what each may."""

T = TypeVar("T")


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a run, by what each is; they need not be there."""
    return {f"the run's {name}": folder / name for name in RUN_FILES}


def name_of(label: Any) -> str:
    """What a series is called, whatever kind of file its label comes from.

    A boolean is called as JSON and the CSV files of a run write it: true or false.
    """
    return ("false", "true")[label] if isinstance(label, bool) else str(label)


def read_config(path: Path) -> dict[str, Any]:
    """What ``config.json`` holds, if it is a run's and of the version that is read here.

    Whether it is as it was written is asked by :func:`check_config`, once what is in it is known
    to make sense.

    Raises:
        InputError: the file is missing, not whole, no run's, or of another version.
    """
    try:
        content: Any = parse_json(read_file(path, LARGEST_CONFIG))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing. Is this a run folder? unrolled train makes one"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Restore the file, or train again") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not whole JSON ({error}). Restore the file, or train again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not the config of an unrolled run (no format {FORMAT!r})")
    version = content.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool | float):
        wrote = content.get("unrolled_version", "unknown")
        raise InputError(
            f"{path}: has format version {short(version)}, and this unrolled "
            f"({unrolled.__version__}) reads {FORMAT_VERSION}. Install the unrolled that wrote it "
            f"({wrote if isinstance(wrote, str) else 'unknown'}), or train again"
        )
    return content


def check_config(path: Path, content: dict[str, Any]) -> None:
    """That the config is as it was written.

    Raises:
        InputError: it has no digest, or that of another content.
    """
    written = _digest_in(content, CONFIG)
    try:
        is_whole = written is not None and written == config_digest(content)
    except RecursionError:  # what can just be read may be nested too deep to be written
        is_whole = False
    if not is_whole:
        raise InputError(
            f"{path}: was changed after it was written: its content has not the SHA-256 that "
            "stands in it. Restore the file, or train again"
        )


def config_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a config's content, without this digest itself, whatever its layout."""
    digests = {name: digest for name, digest in content[DIGESTS].items() if name != CONFIG}
    rest = {**content, DIGESTS: digests}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_weights(
    folder: Path, content: dict[str, Any], recurrent: Iterable[tuple[str, Kind]], width: int
) -> bytes:
    """The bytes of ``model.safetensors``, once they are known to be what the config describes.

    Args:
        folder: the run folder.
        content: its config, checked.
        recurrent: as in :func:`expected_tensors`.
        width: likewise.

    Raises:
        InputError: the file is missing, cut short, damaged, of another network or another run, or
            more than the memory holds.
    """
    path = folder / WEIGHTS
    try:
        header = read_header(path)
    except FileNotFoundError:
        raise InputError(f"{path}: missing. Restore the whole folder, or train again") from None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cut short or damaged ({words}). Restore the file, or train again"
        ) from error
    if fault := fault_of(header.tensors, content["network"], recurrent, width):
        raise InputError(
            f"{path}: does not hold what {CONFIG} describes: {fault}. "
            "Restore the whole folder, or train again"
        )
    return read_beside(folder, WEIGHTS, content)


def read_beside(folder: Path, name: str, content: Mapping[str, Any]) -> bytes:
    """A file of the run, if it is the one that the config was written with.

    Raises:
        InputError: it is missing, or another.
    """
    path = folder / name
    try:
        size = regular_size(path)
        # Once as it is on the disk, once as what is made of it.
        check_memory(2 * size, f"{path}: to read it", "Use a machine with more memory")
        data = read_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: missing. Restore the whole folder, or train again") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Restore the file, or train again") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}. Restore the file, or train again") from error
    if hashlib.sha256(data).hexdigest() != _digest_in(content, name):
        raise InputError(
            f"{path}: is not the file that {CONFIG} was written with: its SHA-256 is another. "
            "Restore the whole folder, or train again"
        )
    return data


def expected_tensors(
    network: Mapping[str, Any], recurrent: Iterable[tuple[str, Kind]], width: int
) -> Iterator[tuple[str, Kind]]:
    """The tensors in the file of a run's network, one after the other.

    Args:
        network: what the config says of it, checked.
        recurrent: those of its recurrent layers.
        width: how many numbers these give at a step.
    """
    outputs, inputs = (network[f"{name}_size"] for name in ("output", "input"))
    yield from recurrent
    yield "network.readout.weight", Kind("F32", (outputs, width))
    yield "network.readout.bias", Kind("F32", (outputs,))
    for side, columns in (("input", inputs), ("target", outputs)):
        for part in ("mean", "scale"):
            yield f"scaler.{side}.{part}", Kind("F64", (columns,))


def fault_of(
    tensors: Mapping[str, Kind],
    network: Mapping[str, Any],
    recurrent: Iterable[tuple[str, Kind]],
    width: int,
) -> str | None:
    """The first difference between what a file holds and what its network has; None if none."""
    met = set()
    for name, wanted in expected_tensors(network, recurrent, width):
        if name not in tensors:  # at once: a config may promise more than there can be
            return f"{name} is missing"
        if tensors[name] != wanted:
            return f"{name} is {short(tensors[name])}, {wanted} was expected"
        met.add(name)
    strangers = sorted(tensors.keys() - met)
    return f"{short(strangers[0])} belongs to another network" if strangers else None


def check_size(value: int, name: str) -> str | None:
    """What is wrong with a size of a network or a table, None if nothing."""
    most = MOST_LAYERS if name == "num_layers" else LARGEST_SIZE
    return f"at most {most} was expected, got {short(value)}" if value > most else None


def consistent(folder: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of the folder; once more if another run took its place meanwhile."""
    for _ in range(2):
        before = _identity(folder)
        try:
            return read(folder)
        except InputError:
            if _identity(folder) == before:
                raise
    return read(folder)


def _digest_in(content: Mapping[str, Any], name: str) -> str | None:
    digests = content.get(DIGESTS)
    found = digests.get(name) if isinstance(digests, dict) else None
    return found if isinstance(found, str) else None


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Of the folder and its config: other numbers if they were replaced."""
    try:
        found, config = os.stat(folder), os.stat(folder / CONFIG)
    except OSError:
        return None
    return found.st_ino, config.st_ino, config.st_mtime_ns

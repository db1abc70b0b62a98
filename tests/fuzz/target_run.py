"""A run folder as bytes: a zip archive of its files.

What is read is a run or refused by name. Of a real run's folder no byte may be changed and give
another model: who changes one file and leaves the digests is refused, or has changed nothing.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled import cells
from unrolled.deploy.plain import read_run
from unrolled.errors import InputError
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, load_run, save_run
from unrolled.runfile import CONFIG, DIGESTS, WEIGHTS, config_digest

SUFFIX = ".zip"
LARGEST = 1 << 20
"""Bytes of a file in the archive that are unpacked: what is tested is the reader of runs."""
DICTIONARY: Sequence[bytes] = (
    b'"format_version": 2',
    b'"num_layers": 100000',
    b'"input_size": 9223372036854775807',
    b'"hidden_size": 1e400',
    b'"shape":[4611686018427387904,4]',
    b'"data_offsets":[0,18446744073709551615]',
    b'"dtype":"F64"',
    b"__metadata__",
    b"\\ud800",
    b"[[[[[[[[",
)

Files = dict[str, bytes]

_TABLE = TableConfig(inputs=["a"], targets=["b"], window=3)


@cache
def _whole() -> Files:
    """A small run's files."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = NetworkConfig(cell="gru", input_size=1, hidden_size=2, output_size=1)
        network = Network(config).eval()
    return _written(
        Run(network, _TABLE, Scaler(np.zeros(1), np.ones(1)), Scaler(np.ones(1), np.ones(1)))
    )


def _written(run: Run) -> Files:
    with tempfile.TemporaryDirectory() as place:
        save_run(run, Path(place))
        return {name: (Path(place) / name).read_bytes() for name in (CONFIG, WEIGHTS)}


def _packed(files: Files) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name), data)
    return archive.getvalue()


def _with(part: str, **changes: Any) -> Callable[[], bytes]:
    """The run with another config, whose digest fits."""

    def build() -> bytes:
        content = json.loads(_whole()[CONFIG])
        (content if part == "" else content[part]).update(changes)
        content[DIGESTS][CONFIG] = config_digest(content)
        return _packed({**_whole(), CONFIG: json.dumps(content).encode()})

    return build


def _weights(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """The run with another header of its weights."""

    def build() -> bytes:
        data = _whole()[WEIGHTS]
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        changed = len(text).to_bytes(8, "little") + text + data[8 + length :]
        return _packed({**_whole(), WEIGHTS: changed})

    return build


@cache
def _of_a_cell() -> Files:
    """A small run of a cell that is written down."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = NetworkConfig(cell=cells.MGU, input_size=1, hidden_size=2, output_size=1)
        network = Network(config).eval()
    run = Run(network, _TABLE, Scaler(np.zeros(1), np.ones(1)), Scaler(np.ones(1), np.ones(1)))
    return _written(run)


def _cell(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """That run with another description, whose digest fits."""

    def build() -> bytes:
        content = json.loads(_of_a_cell()[CONFIG])
        change(content["network"]["cell"])
        content[DIGESTS][CONFIG] = config_digest(content)
        return _packed({**_of_a_cell(), CONFIG: json.dumps(content).encode()})

    return build


def _flipped(name: str, bit: int) -> Callable[[], bytes]:
    def build() -> bytes:
        data = bytearray(_whole()[name])
        data[bit // 8] ^= 1 << bit % 8
        return _packed({**_whole(), name: bytes(data)})

    return build


SEEDS: Mapping[str, Callable[[], bytes]] = {
    "whole": lambda: _packed(_whole()),
    "a flipped bit of the last weight": lambda: _flipped(WEIGHTS, 8 * len(_whole()[WEIGHTS]) - 9)(),
    "a flipped bit of the config": _flipped(CONFIG, 800),
    "a hundred thousand layers": _with("network", num_layers=100_000),
    "more inputs than memory": _with("network", input_size=2**63 - 1),
    "more units than memory": _with("network", hidden_size=10_000_000),
    "a window beyond all rows": _with("table", window=2**62),
    "a size of a thousand digits": _with("network", hidden_size=10**1000),
    "two sizes that are one": _with("network", hidden_size=2.0),
    "digests that are none": _with("", sha256={CONFIG: [], WEIGHTS: None}),
    "nested config": lambda: _packed({**_whole(), CONFIG: b'{"a":' * 2000 + b"1" + b"}" * 2000}),
    "nested header": lambda: _packed(
        {**_whole(), WEIGHTS: (4000).to_bytes(8, "little") + b"[" * 2000 + b"]" * 2000}
    ),
    "a thousand dimensions": _weights(
        lambda header: header["network.readout.bias"].update(shape=[1] * 1000)
    ),
    "a shape beyond 64 bits": _weights(
        lambda header: header["network.readout.bias"].update(shape=[2**64, 2**64])
    ),
    "a type that is a list": _weights(lambda h: h["network.readout.bias"].update(dtype=["F32"])),
    "offsets backwards": _weights(
        lambda header: header["network.readout.bias"].update(data_offsets=[8, 4])
    ),
    "a cell that is written down": lambda: _packed(_of_a_cell()),
    "a cell of a newer version": _cell(lambda cell: cell.update(format=99)),
    "a cell of nothing": _cell(lambda cell: cell.clear()),
    "a cell of another size": _cell(
        lambda cell: cell["weights"][0]["parts"][0].update(size="another")
    ),
    "a cell in blocks that do not fit": _cell(
        lambda cell: cell["weights"][0]["form"].update(blocks=3)
    ),
    "a header as long as can be said": lambda: _packed({**_whole(), WEIGHTS: b"\xff" * 16}),
}


def run(data: bytes) -> None:
    """Unpacks the archive, and reads the folder with torch and without."""
    files = _unpacked(data)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        read = [_result(load_run, folder), _result(read_run, folder)]
    loaded, plan = read
    assert (loaded is None) == (plan is None), "one reader takes what the other refuses"
    changed = [name for name, content in _whole().items() if files.get(name) != content]
    if loaded is not None and len(changed) == 1 and _keeps_digests(files):
        assert _is_the_whole(loaded), f"a change of {changed[0]} gave another model"


def _unpacked(data: bytes) -> Files:
    """The two files; what the archive has not, or not whole, is as in the whole run."""
    files = dict(_whole())
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for name in files:
                with packed.open(name) as member:
                    files[name] = member.read(LARGEST)
    except Exception:
        return files  # no archive: not what is tested
    return files


def _result(reader: Callable[[Path], Any], folder: Path) -> Any:
    """What the reader makes of the folder; None if it is refused."""
    try:
        return reader(folder)
    except InputError as error:
        message = str(error)
    assert "\n" not in message, "a message of more than one line"
    assert len(message) < 2000, "a message that quotes the file"
    return None


def _keeps_digests(files: Files) -> bool:
    """That nobody has sealed the change: then it is a run of its own."""
    digests = [json.loads(part[CONFIG])[DIGESTS] for part in (files, _whole())]
    return bool(digests[0] == digests[1])


def _is_the_whole(run: Run) -> bool:
    with tempfile.TemporaryDirectory() as place:
        save_run(run, Path(place))
        return all((Path(place) / name).read_bytes() == data for name, data in _whole().items())

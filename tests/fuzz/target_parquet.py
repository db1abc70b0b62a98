"""Parquet files: whatever their bytes, they are read or refused, within the memory there is."""

from __future__ import annotations

import datetime
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.errors import InputError
from unrolled.learn.table import read_table

SUFFIX = ".parquet"
DICTIONARY: Sequence[bytes] = (
    *(b"PAR1", b"PARE", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 9 + b"\x01"),
    *(b"\x15\x00", b"\x19\x1c", b"\x00", b"\x80\x80\x80\x80\x04"),
)
ROWS = 50


def _columns() -> dict[str, Any]:
    return {
        "g": ["x", "y"] * (ROWS // 2),
        "a": [None, *map(float, range(1, ROWS))],
        "b": list(range(ROWS)),
    }


def _file(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def _plain(**options: Any) -> Callable[[], bytes]:
    return lambda: _file(pa.table(_columns()), **options)


def _with(values: Any, **options: Any) -> Callable[[], bytes]:
    """The same columns with other values in a."""
    return lambda: _file(pa.table(_columns() | {"a": values()}), **options)


def _other_levels(column: int) -> Callable[[], bytes]:
    """A column made required in the schema, whose statistics then don't fit.

    pyarrow 26 ends the process where it is asked for such a column's metadata, and polars 2.1
    panics over others.
    """

    def build() -> bytes:
        content = bytearray(_plain(use_dictionary=False)())
        place = -1
        for _ in range(column + 1):
            place = content.index(b"\x25\x02", place + 1)  # repetition: optional
        content[place + 1] = 0  # required
        return bytes(content)

    return build


SEEDS: Mapping[str, Callable[[], bytes]] = {
    **{
        f"{compression}, {'dictionary' if dictionary else 'plain'}, version {version}": _plain(
            compression=compression, use_dictionary=dictionary, data_page_version=version
        )
        for compression in ("none", "snappy", "gzip", "zstd", "brotli", "lz4")
        for dictionary, version in ((True, "1.0"), (False, "2.0"))
    },
    "checksums": _plain(write_page_checksum=True),
    "delta": _plain(
        use_dictionary=False,
        column_encoding={
            "a": "BYTE_STREAM_SPLIT",
            "b": "DELTA_BINARY_PACKED",
            "g": "DELTA_BYTE_ARRAY",
        },
    ),
    "row groups": _plain(row_group_size=7),
    "texts": _with(lambda: ["1", "2.5", None, "NA", "1e3"] * (ROWS // 5)),
    "large texts": _with(lambda: pa.array(["1", "x"] * (ROWS // 2), pa.large_string())),
    "truths": _with(lambda: [True, None] * (ROWS // 2)),
    "decimals": _with(lambda: [Decimal("1.25")] * ROWS),
    "dates": _with(lambda: [datetime.datetime(2024, 1, 1)] * ROWS),
    "categories": _with(lambda: pa.array(["x", "y"] * (ROWS // 2)).dictionary_encode()),
    "lists": _with(lambda: [[1.0, 2.0]] * ROWS),
    "structs": _with(lambda: [{"b": 1.0}] * ROWS),
    "bytes": _with(lambda: [b"1"] * ROWS),
    "half floats": _with(lambda: pa.array([1.5] * ROWS, pa.float16())),
    "nothing": _with(lambda: pa.nulls(ROWS)),
    "twice": lambda: _file(pa.Table.from_arrays([pa.array([1.0])] * 2, ["a", "a"])),
    "no rows": lambda: _file(pa.table({"a": pa.array([], pa.float64())})),
    "a thousandfold": lambda: _file(
        pa.table({"a": pa.array([0.0]).take(pa.array([0] * 2_000_000))}), compression="zstd"
    ),
    "one large text often": lambda: _file(pa.table({"a": ["9" * 1_000_000] * 20})),
    "cut short": lambda: _plain()()[:-100],
    **{f"statistics of column {column}": _other_levels(column) for column in range(3)},
}


def run(data: bytes) -> None:
    """Reads the bytes as a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{SUFFIX}"
        path.write_bytes(data)
        for group in (None, "g"):
            try:
                table = read_table(
                    path, inputs=["a"], targets=["b"], group=group, targets_optional=True
                )
            except InputError as error:
                refusal = str(error).removeprefix(str(path))
            else:
                refusal = ""
                assert len(table.inputs) == len(table.targets) == len(table.rows) > 0
            assert "\n" not in refusal, "one line"
            assert len(refusal) < 600, "a line that can be read"

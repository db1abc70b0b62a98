"""Reads the columns of a Parquet file, after a look at its metadata: how much it would be.

By pyarrow, which raises on a damaged file where other readers abort, and gives the rows in batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unrolled.errors import InputError
from unrolled.learn.cells import CellError, Words
from unrolled.learn.columns import LONGEST_CELL, Array, Columns, Labels, Wanted, shown
from unrolled.learn.labels import times
from unrolled.learn.signature import HEAD, what_it_is
from unrolled.resources import check_memory

BATCH = 65_536
"""Rows decoded at once."""
MAGIC, ENCRYPTED = b"PAR1", b"PARE"
DAMAGED = "It is damaged or cut short: write or fetch it anew"


def read_parquet(path: Path, wanted: Wanted) -> Columns:
    """The columns that are wanted.

    Raises:
        InputError: the file is damaged, encrypted, of another kind, or larger than memory; or a
            column is missing, stands there twice, or holds what is not a number.
    """
    try:
        _check_kind(path)
        return _Reader(path, wanted).read()
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: can't be read as Parquet ({reason}). {DAMAGED}") from error


def _check_kind(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - len(MAGIC)))
        tail = file.read()
    if ENCRYPTED in (head[:4], tail):
        raise InputError(f"{path}: is encrypted. Write it anew without encryption")
    if not head.startswith(MAGIC):
        meaning = what_it_is(head) or "is not a Parquet file. If it is text, name it .csv"
        raise InputError(f"{path}: {meaning}")
    if tail != MAGIC or path.stat().st_size < 12:
        raise InputError(f"{path}: is cut short: it has no Parquet footer. Write or fetch it anew")


class _Reader:
    """The pass over a file, batch by batch."""

    def __init__(self, path: Path, wanted: Wanted):
        self.path, self.wanted = path, wanted
        plain = pq.ParquetFile(path)
        self.schema: pa.Schema = plain.schema_arrow
        self.rows: int = plain.metadata.num_rows
        self.names = list(wanted.places(str(path), self.schema.names))
        self._check_types()
        texts = [name for name in self.names if _holds_text(self.schema.field(name).type)]
        self.words = {name: Words() for name in texts}
        self._check_sizes(plain.metadata)
        # Each text is then held once, however many rows repeat it.
        self.file = pq.ParquetFile(
            path,
            metadata=plain.metadata,
            read_dictionary=texts,
            page_checksum_verification=True,
        )

    def read(self) -> Columns:
        numbers = {name: np.empty(self.rows) for name in self.names if name in self.wanted.numbers}
        labels = Labels(str(self.path), self.wanted.group or "")
        row = 0
        for batch in self.file.iter_batches(BATCH, columns=self.names, use_threads=False):
            stop = row + batch.num_rows
            if stop > self.rows:
                break
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name, values in numbers.items():
                values[row:stop] = self._numbers(name, columns[name], row)
            if self.wanted.group is not None:
                labels.extend(self._labels(columns[self.wanted.group], row))
            row = stop
        if row != self.rows:
            raise InputError(f"{self.path}: has not the {self.rows:,} rows it promises. {DAMAGED}")
        return Columns(self.rows, numbers, None if self.wanted.group is None else labels.rows)

    def _check_types(self) -> None:
        for name in self.names:
            kind = self.schema.field(name).type
            if name == self.wanted.group and not _is_label(kind):
                raise InputError(
                    f"{self.path}: group column {shown(name)} holds {_held(kind)}, not labels"
                )
            if name in self.wanted.numbers and not (_is_number(kind) or _is_text(kind)):
                raise InputError(
                    f"{self.path}: column {shown(name)} holds {_held(kind)}, not numbers. "
                    "Convert it, or leave it out"
                )

    def _check_sizes(self, metadata: pq.FileMetaData) -> None:
        """That the rows fit into memory, and texts, of whatever length, as they are unpacked."""
        if self.rows <= 0:
            raise InputError(f"{self.path}: has a header but no rows")
        self.wanted.check_memory(str(self.path), self.rows)
        if self.words:
            # The row group's own size: asked for a column's, pyarrow ends the process where that
            # column's statistics are damaged.
            groups = map(metadata.row_group, range(metadata.num_row_groups))
            largest = max((group.total_byte_size for group in groups), default=0)
            check_memory(
                largest,
                f"{self.path}: its largest row group, unpacked,",
                "Write it with smaller row groups",
            )

    def _numbers(self, name: str, column: pa.Array, before: int) -> Array:
        if name not in self.words:
            if pa.types.is_decimal(column.type):
                column = column.cast(pa.string())  # a cast to floats is off by a last bit
            floats: Array = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return floats
        words, rows, places = self._texts(name, column, before)
        try:
            values = self.words[name].read(words)
        except CellError as error:
            row = rows[error.index]
            raise InputError(f"{self.path}: column {shown(name)}, row {row}: {error}") from None
        numbers: Array = np.array(values)[places]
        return numbers

    def _labels(self, column: pa.Array, before: int) -> list[Any]:
        if self.wanted.group not in self.words:
            kind = column.type
            if pa.types.is_temporal(kind.value_type if pa.types.is_dictionary(kind) else kind):
                where = f"{self.path}: group column {shown(self.wanted.group)}"
                return [label for part in times(where, column) for label in part]
            labels: list[Any] = column.to_pylist()
            return labels
        words, _, places = self._texts(self.wanted.group, column, before)
        return [words[place] for place in places]

    def _texts(
        self, name: str, column: pa.Array, before: int
    ) -> tuple[list[str], list[int], NDArray[np.intp]]:
        """The texts of a batch as they first appear, the rows that they do in, each row's text."""
        codes = column.indices.fill_null(-1).to_numpy()
        found, first, places = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rows = (before + 1 + first[order]).tolist()
        texts = column.dictionary.take(pa.array(found[order], mask=found[order] < 0))
        long = pc.binary_length(texts).fill_null(0).to_numpy() > LONGEST_CELL
        if long.any():
            row = rows[int(np.argmax(long))]
            raise InputError(
                f"{self.path}: column {shown(name)}, row {row}: the cell has more than "
                f"{LONGEST_CELL:,} bytes. Shorten it, or leave the column out"
            )
        return [text or "" for text in texts.to_pylist()], rows, np.argsort(order)[places]


def _holds_text(kind: pa.DataType) -> bool:
    return _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in kinds)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_label(kind.value_type)
    return _is_text(kind) or _is_number(kind) or bool(pa.types.is_temporal(kind))


def _held(kind: pa.DataType) -> str:
    return "categories" if pa.types.is_dictionary(kind) else shown(kind)

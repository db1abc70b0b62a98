"""What a file is that is no table of the kind that its name says, by its first bytes."""

from __future__ import annotations

import codecs

HEAD = 4096
"""So many bytes are looked at."""
GZIP = b"\x1f\x8b"

SIGNATURES = (
    (b"ARROW1\x00", "is an Arrow IPC (Feather) file. Write it as Parquet"),
    (b"PK\x03\x04", "is an Excel workbook or another zip archive. Save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook. Save the sheet as CSV"),
    (GZIP, "is compressed with gzip. Unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd. Unpack it"),
    *((b"BZh%d1AY&SY" % size, "is compressed with bzip2. Unpack it") for size in range(1, 10)),
    (b"\xfd7zXZ\x00", "is compressed with xz. Unpack it"),
    (b"\x89HDF", "is an HDF5 file. Write the table as CSV or Parquet"),
    (b"\x93NUMPY", "is a NumPy array. Write the table as CSV or Parquet"),
    (b"SQLite format 3\x00", "is an SQLite database. Write the table as CSV or Parquet"),
    (b"Obj\x01", "is an Avro file. Write the table as CSV or Parquet"),
    (b"%PDF-", "is a PDF document. Save the table as CSV"),
    (b"\x80\x04\x95", "is a Python pickle. Write the table as CSV or Parquet"),
    (b"\x80\x05\x95", "is a Python pickle. Write the table as CSV or Parquet"),
    (codecs.BOM_UTF32_LE, "is UTF-32 text. Save it as UTF-8"),
    (codecs.BOM_UTF32_BE, "is UTF-32 text. Save it as UTF-8"),
    (codecs.BOM_UTF16_LE, "is UTF-16 text. Save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "is UTF-16 text. Save it as UTF-8"),
)


def what_it_is(head: bytes) -> str | None:
    """What a file is that begins with these bytes, and the repair; None if nothing is known."""
    if head.startswith((b"PAR1", b"PARE")) and b"\0" in head:  # a column may have such a name
        return "is a Parquet file. Name it .parquet"
    for start, meaning in SIGNATURES:
        if head.startswith(start):
            return meaning
    if _is_wide(head):
        return "seems to be UTF-16 text. Save it as UTF-8"
    return None


def _is_wide(head: bytes) -> bool:
    """Whether every other byte is 0, as in UTF-16 text without a mark."""
    even, odd = head[0::2], head[1::2]
    return len(head) >= 4 and any(
        2 * zeros.count(0) > len(zeros) and 10 * others.count(0) < len(others)
        for zeros, others in ((even, odd), (odd, even))
    )

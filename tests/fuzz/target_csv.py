"""CSV files: what is read has the numbers that Python's csv module and float find in it."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unrolled.errors import InputError
from unrolled.learn.cells import MISSING_WORDS, TRUTHS
from unrolled.learn.table import read_table

SUFFIX = ".csv"
DICTIONARY: Sequence[bytes] = (
    *(b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"#", b"_", b"-"),
    *(b"\xff", b"\xe9", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\x1f\x8b", b"PAR1\0"),
    *(b"NA", b"nan", b"inf", b"true", b"1e400", b"1e39", b"9" * 400, b"0x1", b"1,5", b"5%"),
)


def _text(content: str, encoding: str = "utf-8") -> Callable[[], bytes]:
    return lambda: content.encode(encoding)


PLAIN = "g,a,b\nx,1,0.5\ny,2,-1e-3\nx,,+7\ny,4,.5\n"
SEEDS: Mapping[str, Callable[[], bytes]] = {
    "plain": _text(PLAIN),
    "two columns": _text("a,b\n1,0.5\n2,1\n"),
    "one column": _text("a\n1\n\n3\n\n"),
    "words": _text("a,b\nNA,inf\nnull,-Infinity\n 3 ,nan\n"),
    "truths": _text("a,b\ntrue,False\nNA,TRUE\n"),
    "quoted": _text('"a","b","note"\n"1","2","two\nlines"\n3,4,"a ""word"""\n'),
    "line ends": _text("a,b\r\n1,2\r3,4\n5,6\r\n"),
    "empty lines": _text("a,b\n\n1,2\n\n\n3,4\n\n\n"),
    "byte order mark": _text(PLAIN, "utf-8-sig"),
    "compressed": lambda: gzip.compress(PLAIN.encode()),
    "compressed and cut short": lambda: gzip.compress(PLAIN.encode() * 99)[:-20],
    "open quote": _text('a,b\n1,"2\n3,4\n'),
    "text behind a quote": _text('a,b\n1,"2\n3,4\n5,"6\n'),
    "short row": _text("a,b\n1,2\n3\n"),
    "long row": _text("a,b\n1,2\n3,4,5\n"),
    "long cell": lambda: b"a,b\n1," + b"9" * 200_000 + b"\n",
    "many columns": lambda: b"a,b" + b",c" * 20_000 + b"\n1,2" + b",3" * 20_000 + b"\n",
    "twice": _text("a,a,b\n1,2,3\n"),
    "Latin-1": _text("a,b\n1,é\n", "latin-1"),
    "UTF-16": _text(PLAIN, "utf-16"),
    "UTF-16 without a mark": _text(PLAIN, "utf-16-le"),
    "byte 0": _text("a,b\n1\0,2\n"),
    "overflow": _text("a,b\n1e400,2\n"),
    "underscore": _text("a,b\n1_000,2\n"),
    "quote within": _text('a,b,c\n1,2,5" pipe\n'),
}


def run(data: bytes) -> None:
    """Reads the bytes as a table, and again as simply as can be, if they were read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{SUFFIX}"
        path.write_bytes(data)
        group = "g" if data.startswith(b"g,") else None
        try:
            table = read_table(
                path, inputs=["a"], targets=["b"], group=group, targets_optional=True
            )
        except InputError as error:
            refusal: str | None = str(error).removeprefix(str(path))
        else:
            refusal = None
    if refusal is None:
        values = np.column_stack([table.inputs, table.targets])
        np.testing.assert_array_equal(values, _plainly(data)[table.rows - 1])
    else:
        assert "\n" not in refusal, "one line"
        assert len(refusal) < 600, "a line that can be read"


def _plainly(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The columns a and b [N, 2] by Python's own means."""
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    text = data.decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    while rows and not rows[-1]:
        rows.pop()
    places = [header.index(name) if name in header else None for name in ("a", "b")]
    return np.array(
        [
            [np.nan if at is None or not fields else _number(fields[at]) for at in places]
            for fields in rows
        ]
    )


def _number(word: str) -> float:
    word = word.strip().lower()
    if word in MISSING_WORDS:
        return float("nan")
    return TRUTHS[word] if word in TRUTHS else float(word)

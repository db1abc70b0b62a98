"""A small good table as text, and the one line in which a bad one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import InputError
from unrolled.learn.table import read_table

LINES = ["a,b", *(f"{row},{row * 0.5}" for row in range(1, 21))]
TEXT = "\n".join(LINES)


def with_line(row: int, line: str) -> str:
    """The table's text with another line in the place of its ``row``, counted from 1."""
    return "\n".join([*LINES[:row], line, *LINES[row + 1 :]])


def refusal(source: Any, **columns: Any) -> str:
    """The line without the file's name; columns a and b are asked for if no others are."""
    with pytest.raises(InputError) as caught:
        read_table(source, **({"inputs": ["a"], "targets": ["b"]} | columns))
    message = str(caught.value)
    name = str(source) if isinstance(source, str | Path) else "the table"
    assert message.startswith(f"{name}: ")
    line = message.removeprefix(f"{name}: ")
    assert "\n" not in line
    assert len(line) < 500
    return line

"""Long names where they are drawn."""

import pytest

from unrolled.errors import abridged


@pytest.mark.parametrize("length", [0, 1, 39, 40, 41, 5000])
@pytest.mark.parametrize("most", [3, 40, 41])
def test_the_beginning_and_the_end_are_kept(length: int, most: int) -> None:
    name = "".join(chr(ord("a") + place % 26) for place in range(length))
    found = abridged(name, most)
    assert len(found) == min(length, most)
    first, mark, last = found.partition("…")
    assert name.startswith(first)
    assert name.endswith(last)
    assert bool(mark) == (length > most)

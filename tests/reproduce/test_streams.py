"""Streams of Reber strings, against the task's own."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.reproduce.streams import BEGIN, Streams, forks
from unrolled.tasks.reber import END, SYMBOLS

STRINGS = "BTBTXSETEBPBPVVEPE"


def read(text: str) -> tuple[list[set[str]], list[bool]]:
    """A stream that reads this text: what may come after each symbol, and where strings end."""
    streams, into = Streams(np.full(1, BEGIN)), np.empty((7, 1), dtype=np.float32)
    legal, ends = [], []
    for symbol in text:
        state = streams.states.copy()
        for fork in (0, 1):
            streams.states[:] = state
            streams.read(np.array([fork]), into)
            if SYMBOLS[int(into.argmax())] == symbol:
                break
        assert SYMBOLS[int(into.argmax())] == symbol
        assert into.sum() == 1
        legal.append({SYMBOLS[at] for at in np.flatnonzero(streams.targets[:, 0])})
        ends.append(bool(streams.states[0] == END))
    return legal, ends


def test_a_new_string_comes_after_each() -> None:
    legal, ends = read(STRINGS)
    assert legal[0] == {"T", "P"}
    assert [place for place, end in enumerate(ends) if end] == [8, 17]
    assert legal[8] == {"B"}
    assert legal[7] == {"E"}
    assert legal[6] == {"T"}  # as it began
    assert legal[15] == {"P"}


@pytest.mark.parametrize("fork", [0, 1])
def test_both_ways_are_as_likely(fork: int) -> None:
    bits = forks([np.random.default_rng(3)], 4096, 1)
    assert 0.45 < (bits == fork).mean() < 0.55


def test_a_streams_bits_do_not_depend_on_those_beside_it() -> None:
    alone = forks([np.random.default_rng(3)], 64, 32)
    among = forks([np.random.default_rng(1), np.random.default_rng(3)], 64, 32)
    assert np.array_equal(alone[:, 0], among[:, 1])
    assert not among[:, 2:].any()


@pytest.mark.parametrize(
    ("far", "right"), [(0.0, True), (0.48, True), (0.49, False), (0.9, False), (np.nan, False)]
)
def test_a_prediction_is_right_within_the_margin(far: float, right: bool) -> None:
    streams = Streams(np.full(2, BEGIN))
    streams.read(np.zeros(2, dtype=np.int64), np.empty((7, 2), dtype=np.float32))
    given = streams.targets.copy()
    given[3, 1] = abs(given[3, 1] - np.float32(far))
    assert streams.are_right(given).tolist() == [True, right]

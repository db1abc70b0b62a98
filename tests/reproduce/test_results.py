"""The file with a line a trial: what is in it stays, whatever happens to the process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from support_results import TRIAL
from unrolled.errors import InputError
from unrolled.reproduce.results import lags_of, read, writing
from unrolled.reproduce.tables import Result

ONE = dataclasses.replace(TRIAL, processor='A "processor", of some kind')
OTHER = dataclasses.replace(ONE, seed=4, solved=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results" / "tables.csv"


def test_what_is_added_is_read_again(path: Path) -> None:
    with writing(path, Result) as results:
        results.add(ONE)
    with writing(path, Result) as results:
        assert results.done == {ONE.trial}
        results.add(OTHER)
    assert read(path, Result) == [ONE, OTHER]


def test_a_line_that_was_broken_off_is_left_out_and_then_overwritten(path: Path) -> None:
    with writing(path, Result) as results:
        results.add(ONE)
        results.add(OTHER)
    whole = path.read_bytes()
    for end in range(len(whole) - 1, len(whole) - 60, -7):
        path.write_bytes(whole[:end])
        assert read(path, Result) == [ONE]
        with writing(path, Result) as results:
            results.add(OTHER)
        assert path.read_bytes() == whole


def test_a_header_that_was_broken_off(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("row,col")
    with writing(path, Result) as results:
        results.add(ONE)
    assert read(path, Result) == [ONE]


def test_no_file_has_no_results(path: Path) -> None:
    assert read(path, Result) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a,b\n1,2\n", "is no file of results"),
        ("\x00\n", "is no file of results"),
    ],
)
def test_another_file_is_refused(path: Path, text: str, named: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InputError, match=named), writing(path, Result):
        pass
    assert path.read_text() == text


def test_a_damaged_line_is_named(path: Path) -> None:
    with writing(path, Result) as results:
        results.add(ONE)
        results.add(OTHER)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace("74000", "many") + lines[2])
    with pytest.raises(InputError, match="line 2: is no result"):
        read(path, Result)


def test_two_processes_do_not_write_one_file(path: Path) -> None:
    with (
        writing(path, Result),
        pytest.raises(InputError, match="another process"),
        writing(path, Result),
    ):
        pass


@pytest.mark.parametrize("steps", [1, 2, 5, 30, 99, 1100])
def test_lags_begin_with_every_step_and_end_with_the_last(steps: int) -> None:
    lags = lags_of(steps)
    assert lags[:2] == [0, 1]
    assert lags[-1] == steps
    assert lags == sorted(set(lags))
    assert len(lags) <= 24

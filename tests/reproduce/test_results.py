"""The file with a line a trial: what is in it stays, whatever happens to the process."""

from __future__ import annotations

import dataclasses
import errno
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
        ("a file of somebody's, in a line without an end", "is no file of results"),
        ("\n", "is no file of results"),
        ('"' + "x" * 200_000 + '",b\n', "can't be read as results"),
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


def test_a_file_that_a_spreadsheet_has_saved_is_read(path: Path) -> None:
    """With a mark before it, other ends of lines and TRUE for True."""
    with writing(path, Result) as results:
        results.add(ONE)
        results.add(OTHER)
    text = path.read_text().replace("True", "TRUE").replace("False", "FALSE")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(path, Result) == [ONE, OTHER]
    with writing(path, Result) as results:
        results.add(dataclasses.replace(ONE, seed=9))
    assert len(read(path, Result)) == 3


def test_a_separator_of_lines_within_a_text_is_part_of_it(path: Path) -> None:
    odd = dataclasses.replace(ONE, processor="a\u2028processor")
    with writing(path, Result) as results:
        results.add(odd)
    assert read(path, Result) == [odd]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",True,", ",yes,", "True or False was expected, got 'yes'"),
        ('"[0.5, ', '"0.5, ', "Extra data"),
        (",74000,", ",", "16 values were expected, got 15"),
        (",74000,", ",1,74000,", "16 values were expected, got 17"),
    ],
)
def test_what_a_damaged_line_should_have_is_said(
    path: Path, old: str, new: str, words: str
) -> None:
    with writing(path, Result) as results:
        results.add(ONE)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"line 2: is no result .{words}"):
        read(path, Result)


def test_a_trial_that_comes_twice_is_named(path: Path) -> None:
    """As where two files were put together."""
    with writing(path, Result) as results:
        for record in (ONE, OTHER, ONE):
            results.add(record)
    with pytest.raises(InputError, match=r"line 4: is the trial of line 2 once more \(4-100, "):
        read(path, Result)


def test_a_folder_that_is_a_file_is_said_to_be(path: Path) -> None:
    path.parent.touch()
    with pytest.raises(InputError, match="results: is a file, not a folder"), writing(path, Result):
        pass


def test_an_error_of_another_file_is_not_said_of_this_one(path: Path) -> None:
    with pytest.raises(OSError, match="of another"), writing(path, Result):
        raise OSError("of another")


def test_a_disk_that_is_full_is_named_once_and_the_lines_before_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with writing(path, Result) as results:
        results.add(ONE)
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            with pytest.raises(InputError, match="No space left on device"):
                results.add(OTHER)
        assert results.all == [ONE]


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

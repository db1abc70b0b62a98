"""Writing a folder: all of it or nothing, and nobody else's files."""

from pathlib import Path

import pytest

from unrolled.errors import InputError
from unrolled.output import check_free, check_free_file, replacing, writing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_files_stand_in_the_folder_when_the_block_is_done(tmp_path):
    with replacing(tmp_path / "out", overwrite=False) as draft:
        (draft / "a").write_text("1")
        assert not (tmp_path / "out").exists()  # nothing is seen of it before
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a"]


def break_off(folder, error, *, overwrite=False):
    with replacing(folder, overwrite=overwrite) as draft:
        (draft / "a").write_text("new")
        raise error


@pytest.mark.parametrize("out", ["out", "x/y/out"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_raises(tmp_path, error, out):
    with pytest.raises(error):
        break_off(tmp_path / out, error)
    assert names(tmp_path) == []


def test_the_old_files_stay_when_the_block_raises(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        break_off(tmp_path / "out", KeyboardInterrupt, overwrite=True)
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_overwriting_replaces_files_of_its_own_names_and_keeps_strangers(tmp_path):
    out = tmp_path / "out"
    (out / "deeper").mkdir(parents=True)
    (out / "a").write_text("old")
    (out / "thesis.tex").write_text("years of work")
    (out / "deeper" / "a").write_text("old")
    with replacing(out, overwrite=True) as draft:
        (draft / "a").write_text("new")
    assert names(out) == ["a", "deeper", "thesis.tex"]
    assert (out / "a").read_text() == "new"
    assert (out / "thesis.tex").read_text() == "years of work"
    assert (out / "deeper" / "a").read_text() == "old"


def test_an_empty_folder_needs_no_overwrite(tmp_path):
    (tmp_path / "out").mkdir()
    with replacing(tmp_path / "out", overwrite=False) as draft:
        (draft / "a").write_text("1")
    assert names(tmp_path / "out") == ["a"]


def test_folders_above_are_made(tmp_path):
    with replacing(tmp_path / "x" / "y" / "out", overwrite=False) as draft:
        (draft / "a").write_text("1")
    assert names(tmp_path / "x" / "y" / "out") == ["a"]


def test_the_folder_of_the_moment_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing(Path("."), overwrite=False) as draft:
        (draft / "a").write_text("1")
    assert names(tmp_path) == ["a"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "a").write_text("1")
    with pytest.raises(InputError, match=r"not empty.*--overwrite"):
        check_free(tmp_path, overwrite=False)
    check_free(tmp_path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, overwrite):
    file = tmp_path / "out"
    file.write_text("1")
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_free(file, overwrite=overwrite)
    with (
        pytest.raises(InputError, match="nothing can be written in"),
        replacing(file / "deeper", overwrite=overwrite),
    ):
        pass


def test_a_single_file_is_refused_where_it_can_not_be_written(tmp_path):
    file = tmp_path / "out.csv"
    check_free_file(file, overwrite=False)
    file.write_text("1")
    check_free_file(file, overwrite=True)
    with pytest.raises(InputError, match=r"exists.*--overwrite"):
        check_free_file(file, overwrite=False)
    with pytest.raises(InputError, match="is a folder, not a file"):
        check_free_file(tmp_path, overwrite=True)
    with (
        pytest.raises(InputError, match="nothing can be written in"),
        writing(file / "deeper.csv", overwrite=True),
    ):
        pass


def test_a_folder_within_is_joined_with_the_one_that_is_there(tmp_path):
    (tmp_path / "out" / "in").mkdir(parents=True)
    (tmp_path / "out" / "in" / "mine").write_text("old")
    (tmp_path / "out" / "in" / "a").write_text("old")
    with replacing(tmp_path / "out", overwrite=True) as draft:
        (draft / "in").mkdir()
        (draft / "in" / "a").write_text("new")
    assert names(tmp_path / "out" / "in") == ["a", "mine"]
    assert (tmp_path / "out" / "in" / "a").read_text() == "new"
    assert (tmp_path / "out" / "in" / "mine").read_text() == "old"

"""``unrolled reproduce``: what it runs, where it goes on, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from unrolled.reproduce.results import read
from unrolled.reproduce.tables import Result

SHORT = ["--row", "3a-100-3", "--network", "LSTM, chrono"]
"""Trials of a few seconds."""

COMMAND = [sys.executable, "-c", "from unrolled.cli.app import main; main()", "reproduce"]


def numbers(folder):
    """What was found, but for how long it took."""
    found = read(folder / "tables.csv", Result)
    return {result.trial: (result.sequences, result.error, result.gradient) for result in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which a command ran to its end."""
    folder = tmp_path_factory.mktemp("whole")
    started(folder).communicate(timeout=120)
    return folder


def started(folder):
    """Three trials, on their way in another process."""
    return subprocess.Popen(
        [*COMMAND, *SHORT, "--trials", "3", "--processes", "2", "--results", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what, seconds=60):
    """Until it is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def children_of(process):
    """The processes that it began."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(path, encoding="ascii") as file:
        return [int(number) for number in file.read().split()]


def is_alive(number):
    """Whether a process is, and is no corpse."""
    try:
        with open(f"/proc/{number}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_runs_what_is_named_and_says_what_came_of_it(whole):
    found = read(whole / "tables.csv", Result)
    assert {result.trial for result in found} == {
        ("3a-100-3", "modern", "LSTM, chrono", seed) for seed in range(3)
    }
    assert all(result.solved and result.wrong < result.tested / 10 for result in found)
    assert sorted(path.name for path in whole.iterdir()) == ["tables.csv"]


def test_what_is_there_is_not_run_again(unrolled, whole):
    before = (whole / "tables.csv").read_bytes()
    outcome = unrolled("reproduce", *SHORT, "--trials", 3, "--results", whole)
    assert outcome.code == 0
    assert "All of it is there" in outcome.err
    assert (whole / "tables.csv").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_killed_it_leaves_no_process_and_goes_on_with_the_same_numbers(whole, tmp_path):
    process = started(tmp_path)
    wait_for(lambda: read(tmp_path / "tables.csv", Result))
    children = children_of(process)
    process.kill()
    process.communicate()
    assert children
    wait_for(lambda: not any(map(is_alive, children)))
    started(tmp_path).communicate(timeout=120)
    assert numbers(tmp_path) == numbers(whole)


def test_ctrl_c_ends_it_and_what_is_there_stays(tmp_path):
    process = started(tmp_path)
    wait_for(lambda: read(tmp_path / "tables.csv", Result))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert err.rstrip().endswith("unrolled: interrupted")
    assert read(tmp_path / "tables.csv", Result)
    assert [path.name for path in tmp_path.iterdir()] == ["tables.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_worker_that_is_killed_is_named(tmp_path):
    process = started(tmp_path)
    wait_for(lambda: len(children_of(process)) > 1)
    for number in children_of(process):
        os.kill(number, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "its process was killed" in err


def test_the_rows_are_listed(unrolled):
    outcome = unrolled("reproduce", "--list")
    assert outcome.code == 0
    assert "4-1000" in outcome.out
    assert "853,000 sequences" in outcome.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--row", "7"], "--row: one of 1-4x1-0.1; "),
        (["--column", "old"], "--column: one of faithful; modern was expected, got 'old'"),
        (["--network", "LSTN"], "--network: one of LSTM of 1997; LSTM; GRU; "),
        (["--part", "all"], "--part: one of tables"),
        (["--quick", "--row", "6a"], "--quick: chooses the trials itself"),
        (["--column", "faithful", "--network", "GRU"], "no trial of the tables is of all that"),
        (["--row", "1-3x2-0.1", "--column", "modern"], "no trial of the tables is of all that"),
        (["--page", "docs", "--row", "2a"], "--page: runs nothing"),
        (["--page", "docs", "--quick"], "--page: runs nothing"),
        (["--page", "docs"], "here: has no results"),
        (["--trials", "0"], "Invalid value for '--trials'"),
        (["--processes", "0"], "Invalid value for '--processes'"),
    ],
)
def test_bad_input_is_one_line(unrolled, tmp_path, flags, message):
    outcome = unrolled("reproduce", *flags, "--results", tmp_path / "here")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "here").exists()


def test_a_file_of_another_kind_is_refused_and_stays(unrolled, tmp_path):
    (tmp_path / "tables.csv").write_text("a,b\n1,2\n")
    outcome = unrolled("reproduce", *SHORT, "--results", tmp_path)
    assert outcome.code == 2
    assert "is no file of results" in outcome.err
    assert (tmp_path / "tables.csv").read_text() == "a,b\n1,2\n"


def test_a_folder_that_is_a_file_is_refused(unrolled, tmp_path):
    (tmp_path / "file").touch()
    outcome = unrolled("reproduce", *SHORT, "--results", tmp_path / "file")
    assert outcome.code == 2
    assert "file: is a file, not a folder" in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_stands_where_states_are_saved_is_named(unrolled, tmp_path):
    (tmp_path / ".under-way").touch()
    outcome = unrolled("reproduce", *SHORT, "--results", tmp_path)
    assert outcome.code == 2
    assert ".under-way: can't be made a folder" in outcome.err


def test_what_a_process_can_say_to_the_user_is_one_line(unrolled, tmp_path):
    """A saved state that is damaged is met by the process that goes on with it."""
    aside = tmp_path / ".under-way"
    aside.mkdir()
    (aside / "2a LSTM of 1997, seeds 0-9.json").write_text("{")
    flags = ["--row", "2a", "--column", "faithful", "--trials", 1]
    outcome = unrolled("reproduce", *flags, "--results", tmp_path)
    assert outcome.code == 2
    assert outcome.err.rstrip().endswith("Delete it, and these trials are begun anew")
    assert "Traceback" not in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_process_that_can_t_be_started_is_named(tmp_path):
    import resource

    process = subprocess.run(
        [*COMMAND, "--row", "6a", "--processes", "12", "--results", tmp_path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.returncode == 2
    assert "no process could be started for it (Too many open files)" in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tables.csv"]

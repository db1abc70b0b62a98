"""``unrolled stream`` in a process of its own: one line out for each line in, as it comes."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import unrolled as package
from support_cli import program, run
from support_stream import make_run, rows, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", make_run())


@pytest.fixture
def start():
    """Starts the command and ends it in the end."""
    processes = []

    def start(*args):
        process = subprocess.Popen(
            program("stream", *args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def line(row) -> str:
    return ",".join(map(repr, row.tolist()))


def ask(process, row) -> list[float]:
    process.stdin.write(line(row) + "\n")
    process.stdin.flush()
    return [float(field) for field in process.stdout.readline().split(",")]


X = rows(40, 2)


@pytest.fixture
def expected(folder):
    return package.Stream(folder).step_many(X)


def test_each_row_is_answered_as_it_arrives(folder, start, expected):
    process = start(folder)
    for row, y in zip(X, expected, strict=True):
        np.testing.assert_array_equal(ask(process, row), y)
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_saves_the_state_and_the_next_process_goes_on(
    number, folder, start, expected, tmp_path
):
    state = tmp_path / "s"
    process = start(folder, "--state", state)
    for row in X[:7]:
        ask(process, row)
    process.send_signal(getattr(signal, number))
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "s"]

    further = start(folder, "--state", state)
    np.testing.assert_array_equal(ask(further, X[7]), expected[7])
    further.stdin.close()
    assert further.wait(60) == 0
    assert further.stderr.read() == f"unrolled: goes on from {state}, after 7 rows\n"


@pytest.mark.skipif(os.name == "nt", reason="nohup is POSIX's")
def test_under_nohup_a_hang_up_ends_nothing(folder, tmp_path, expected):
    command = program("stream", folder, "--state", tmp_path / "s")
    with subprocess.Popen(
        ["nohup", *map(str, command)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        np.testing.assert_array_equal(ask(process, X[0]), expected[0])
        process.send_signal(signal.SIGHUP)
        np.testing.assert_array_equal(ask(process, X[1]), expected[1])
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert package.Stream.load(tmp_path / "s").state["steps"] == 2


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_kill_9_leaves_the_last_saved_state(folder, start, expected, tmp_path):
    state = tmp_path / "s"
    at = 0
    for _ in range(3):
        process = start(folder, "--state", state, "--save-every", 2)
        for row, y in zip(X[at : at + 5], expected[at : at + 5], strict=True):
            np.testing.assert_array_equal(ask(process, row), y)
        process.kill()
        process.wait(60)
        assert (tmp_path / ".s.unrolled-lock").exists()  # and does not keep the next one out
        reached = int(package.Stream.load(state).state["steps"][0])
        assert at + 2 <= reached <= at + 5
        at = reached


def test_what_is_bad_is_told_apart_on_stderr(folder):
    done = subprocess.run(
        program("stream", folder),
        input=f"a,b\n{line(X[0])}\nx,1\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[2] == "NaN,NaN,NaN"
    assert done.stderr == "unrolled: line 3: a: a number was expected, got 'x'\n"


def piped(*args, lines: str, redirect: str = ""):
    """The command in a shell, with these lines on stdin."""
    command = shlex.join(map(str, program("stream", *args)))
    return subprocess.run(
        ["sh", "-c", f"{command} {redirect}"],
        input=lines, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_wrong_header_is_one_line_and_exit_code_2(folder, tmp_path):
    done = piped(folder, "--state", tmp_path / "s", lines=f"a,c\n{line(X[0])}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "unrolled: error: line 1: a row of numbers or a header with a, b "
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("bad", ["[" * 100_000, '{"a":' * 100_000, "[1e400, 1]", "[1, 1e300]"])
def test_a_hostile_line_is_answered_and_the_state_goes_on(bad, folder, tmp_path, expected):
    rows = [json.dumps(row.tolist()) for row in X[:2]]
    done = piped(folder, "--state", tmp_path / "s", lines="\n".join([rows[0], bad, rows[1]]))
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert answers[1]["line"] == 2
    np.testing.assert_array_equal([answers[0], answers[2]], expected[:2])
    assert package.Stream.load(tmp_path / "s").state["steps"] == 2


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's")
@pytest.mark.parametrize(
    ("redirect", "words"),
    [("<&-", "stdin: is closed"), (">&-", "stdout: is closed"),
     ("> /dev/full", "stdout: can't be written (No space left on device)")],
)  # fmt: skip
def test_a_closed_or_full_pipe_is_one_line_and_exit_code_2(redirect, words, folder, tmp_path):
    if "full" in redirect and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = piped(folder, "--state", tmp_path / "s", lines=line(X[0]) + "\n", redirect=redirect)
    assert done.returncode == 2
    assert done.stderr.startswith(f"unrolled: error: {words}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's")
@pytest.mark.parametrize("redirect", ["2>&-", "2> /dev/full"])
def test_where_nobody_reads_the_complaints_the_rows_are_answered(redirect, folder, expected):
    done = piped(folder, lines=f"{line(X[0])}\nx,1\n{line(X[1])}\n", redirect=redirect)
    answers = np.array([answer.split(",") for answer in done.stdout.splitlines()], float)
    np.testing.assert_array_equal(answers[[0, 2]], expected[:2])
    assert np.isnan(answers[1]).all()


@pytest.mark.skipif(os.name == "nt", reason="limits are POSIX's")
def test_a_full_disk_leaves_the_state_that_was_saved(folder, tmp_path):
    state = tmp_path / "s"
    package.Stream(folder).save(state)
    whole = state.read_bytes()
    command = shlex.join(map(str, program("stream", folder, "--state", state)))
    done = subprocess.run(  # a file may have no more than one block
        ["sh", "-c", f"trap '' XFSZ; ulimit -f 1; {command}"],
        input=line(X[0]) + "\n", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"unrolled: error: {state}: can't be written: File too large" in done.stderr
    assert state.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "s"]


def test_two_streams_that_run_are_not_saved_to_one_file(start, folder, tmp_path, expected):
    first = start(folder, "--state", tmp_path / "state")
    np.testing.assert_array_equal(ask(first, X[0]), expected[0])
    second = run("stream", folder, "--state", tmp_path / "state")
    assert (second.code, second.out) == (2, "")
    assert second.err == (
        f"unrolled: error: {tmp_path / 'state'}: another stream that runs is saved there. "
        "Name another file with --state\n"
    )
    first.stdin.close()
    assert first.wait(30) == 0
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "run"] == ["state"]


def test_the_state_of_another_run_is_refused(folder, tmp_path):
    other = make_run("gru")
    package.Stream(other).save(tmp_path / "s")
    outcome = run("stream", folder, "--state", tmp_path / "s")
    assert outcome.code == 2
    assert f"{tmp_path / 's'}: holds the state of another model than {folder}" in outcome.err


def test_a_state_needs_a_folder_to_be_in(folder, tmp_path):
    outcome = run("stream", folder, "--state", tmp_path / "no" / "s")
    assert outcome.code == 2
    assert "there is no folder" in outcome.err


def test_there_is_no_such_run(tmp_path):
    outcome = run("stream", tmp_path / "none")
    assert (outcome.code, outcome.out) == (2, "")
    assert "no such run folder. Make one with: unrolled train" in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX's")
def test_a_reader_that_leaves_ends_it_quietly(folder, start):
    process = start(folder)
    ask(process, X[0])
    process.stdout.close()
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            process.stdin.write(line(X[1]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            break
    assert process.wait(60) == 1
    assert process.stderr.read() == ""


@pytest.mark.parametrize("cell", ["lstm", package.cells.SLSTM])
def test_it_imports_neither_torch_nor_the_training(tmp_path, cell):
    folder = write_run(tmp_path / "run", make_run(cell))
    script = (
        "import sys; sys.stdin.close(); from unrolled.deploy.serve import open_stream; "
        f"from pathlib import Path; import unrolled.cli.stream; open_stream(Path({str(folder)!r}), "
        "None); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"torch", "pydantic", "polars", "sklearn"} & set(done.stdout.split())


def test_a_built_in_cell_starts_without_the_linker_and_without_other_cells(tmp_path):
    folder = write_run(tmp_path / "run", make_run("lstm"))
    script = (
        f"import sys, unrolled; unrolled.Stream({str(folder)!r}).step([0.1, 0.2]); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    unneeded = {"given", "program_step", "placing", "slstm", "peephole", "options"}
    assert not {f"unrolled.cells.{name}" for name in unneeded} & set(done.stdout.split())

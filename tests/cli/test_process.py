"""The command in a process of its own: exit codes, signals, and what is imported."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

import unrolled
from support_cli import program, run
from support_learn import wave_frame, write_wave
from unrolled.cli.display import notes, screen
from unrolled.cli.process import say
from unrolled.learn.predict import predict_table
from unrolled.model import load_run
from unrolled.signals import ending


def modules_after(code: str) -> set[str]:
    """The modules that stand imported once ``code`` has run in a fresh Python."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


ENDING = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
HEAVY = {"torch", "sklearn", "matplotlib", "polars", "numpy", "rich.progress"}


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_with_nobody_to_tell_it_the_exit_code_does(tmp_path, closed):
    """Python has None for a stream that is closed, and prints what goes to None on stdout."""
    command = shlex.join(program("train", "none.csv", "--input", "x", "--target", "y"))
    done = subprocess.run(
        ["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == (0 if "2>" in closed else 1)


@pytest.mark.parametrize("args", ["--help", "--version", "train --help", "predict --help"])
def test_help_is_instant_since_it_imports_nothing_heavy(args):
    argv = ["unrolled", *args.split()]
    code = f"import unrolled.cli.app as app; sys.argv = {argv}; app.main()"
    assert not modules_after(code) & HEAVY


def test_importing_the_package_imports_nothing_that_is_not_needed():
    assert not modules_after("import unrolled") & HEAVY


def test_the_modules_do_not_bring_the_training():
    assert not modules_after("from unrolled import LSTM") & (HEAVY - {"torch", "numpy"})


def test_the_version_is_the_packages():
    outcome = run("--version")
    assert (outcome.code, outcome.out) == (0, f"unrolled {unrolled.__version__}\n")


@pytest.mark.parametrize("command", ["demo", "train", "predict"])
def test_help_names_every_command(command):
    outcome = run("--help")
    assert outcome.code == 0
    assert command in outcome.out


def test_what_a_user_can_mend_is_one_line_and_exit_code_2(tmp_path):
    missing = tmp_path / "nowhere.csv"
    outcome = run("train", missing, "--input", "a", "--target", "b", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err == f"unrolled: error: {missing}: no such file. Check the path\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [["trian"], ["train", "--inptu", "a"], ["train", "--epochs", "x"]])
def test_a_wrong_word_on_the_command_line_is_exit_code_2_too(args):
    outcome = run(*args)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("unrolled: error: ")
    assert line.endswith("--help")


@pytest.fixture
def training(tmp_path):
    """A training run far too long to wait for, in a process that is told to write as it goes."""
    data = write_wave(tmp_path / "wave.csv", rows=400)
    out = tmp_path / "run"
    command = program(
        "train", data, "--input", "sin", "--target", "cos", "--out", out, "--window", 6,
        "--hidden-size", 4, "--threads", 1, "--epochs", 1_000_000, "--patience", 1_000_000,
    )  # fmt: skip
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The progress bar is drawn as it moves: it tells when the first epoch is done.
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"},
    ) as process:
        yield process, out
        process.kill()


def wait_for_an_epoch(process):
    """Reads the progress bar until it shows an error, and the process's next words after it."""
    seen, deadline = "", time.monotonic() + 240
    while "validation" not in seen:
        assert time.monotonic() < deadline, seen
        assert process.poll() is None, seen
        seen += process.stderr.read(1)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_leaves_the_best_model_so_far_loadable(training, number):
    process, out = training
    wait_for_an_epoch(process)
    process.send_signal(number)
    printed, complained = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in complained
    assert "interrupted: kept the best weights so far" in complained
    assert f"Wrote {out}/" in printed
    assert json.loads((out / "metrics.json").read_text())["interrupted"] is True
    assert len(predict_table(load_run(out), wave_frame()).frame) == 195


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="terminals of POSIX")
def test_a_terminal_that_is_closed_leaves_the_best_model_so_far(tmp_path):
    """The progress bar can't be drawn any more by then, nor what came of it be printed."""
    data, out = write_wave(tmp_path / "wave.csv", rows=400), tmp_path / "run"
    ours, theirs = os.openpty()
    command = program(
        "train", data, "--input", "sin", "--target", "cos", "--out", out, "--window", 6,
        "--hidden-size", 4, "--threads", 1, "--epochs", 1_000_000, "--patience", 1_000_000,
    )  # fmt: skip
    terminal = os.ttyname(theirs)
    shell = f"exec {shlex.join(command)} < {terminal} > {terminal} 2>&1"
    with subprocess.Popen(["sh", "-c", shell], start_new_session=True) as process:
        try:
            seen, deadline = b"", time.monotonic() + 240
            while b"validation" not in seen:
                assert time.monotonic() < deadline, seen
                assert process.poll() is None, seen
                seen += os.read(ours, 1024)
            os.close(theirs)
            os.close(ours)
            assert process.wait(120) == 128 + signal.SIGHUP
        finally:
            process.kill()
    assert json.loads((out / "metrics.json").read_text())["interrupted"] is True
    assert len(predict_table(load_run(out), wave_frame()).frame) == 195
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "wave.csv"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("is_ignored", [True, False])
def test_a_hang_up_that_is_ignored_from_the_start_stays_so(is_ignored):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        assert (signal.SIGHUP in ending()) is not is_ignored
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_before_the_first_epoch_keeps_nothing_and_says_so(tmp_path, number):
    data = write_wave(tmp_path / "wave.csv", rows=50_000)
    command = program(
        "train", data, "--input", "sin", "--target", "cos", "--out", tmp_path / "run",
        "--threads", 1, "--hidden-size", 64, "--batch-size", 8,
    )  # fmt: skip
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        try:
            while "epochs" not in (seen := process.stderr.readline()):
                assert process.poll() is None, seen
            process.send_signal(number)
            _, complained = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "Traceback" not in complained
    assert complained.splitlines()[-1].removeprefix("\x1b[?25h") == (
        "unrolled: interrupted before the first epoch was done: nothing was kept"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["wave.csv"]


UNSEEN = ["\x1b[31m", "\x1b]0;title\x07", "\u202e", "\u2066", "\x9b2J", "\x7f", "\x08", "\u2028"]


@pytest.mark.parametrize("name", UNSEEN)
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "{}", "table.csv", "--out", "p.csv"],
        ["predict", "run", "table.csv", "--out", "{}.none"],
        ["train", "{}.csv", "--input", "a", "--target", "b", "--out", "new"],
        ["train", "table.csv", "--{}"],
        ["{}"],
    ],
    ids=" ".join,
)
def test_no_name_in_a_complaint_is_obeyed_by_the_terminal(
    unrolled, name, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where no other test writes
    outcome = unrolled(*(word.replace("{}", name) for word in words))
    assert outcome.code == 2
    assert outcome.err.endswith("\n")
    assert outcome.err[:-1].isprintable()
    assert repr(name)[1:-1] in outcome.err


def test_nor_in_a_complaint_of_a_stream():
    outcome = run("stream", "\x1b[31m\u202e")
    assert outcome.code == 2
    assert outcome.err.startswith("unrolled: error: \\x1b[31m\\u202e: no such run folder")


def test_what_is_shown_of_names_can_be_read(capsys):
    say("línea 日本 👩\u200d🚀 \u202eevil\r")
    assert capsys.readouterr().err == "unrolled: línea 日本 👩\u200d🚀 \\u202eevil\\r\n"


def test_the_notes_and_results_of_commands_are_as_careful(capsys):
    for console in (screen, notes):
        console.print("Wrote \x1b[31mrun\u202e\nto a line of its own")
    shown = capsys.readouterr()
    for text in shown:
        assert text == "Wrote \\x1b[31mrun\\u202e\nto a line of its own\n"


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_the_arguments_are_read_is_told_as_any_other(number):
    code = (
        "import os, typer.core, unrolled.cli.app as app\n"
        f"typer.core.TyperGroup.parse_args = lambda *_: os.kill(os.getpid(), {int(number)})\n"
        "app.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (128 + number, "unrolled: interrupted\n")

"""``unrolled tasks`` in the small: what it prints and writes, and what it refuses."""

import json

import matplotlib.image
import pytest

from unrolled.tasks import TASKS, make_task

QUICK = ["--steps", 3, "--batch-size", 4, "--hidden-size", 3, "--test-size", 30]


@pytest.fixture
def adding(unrolled, tmp_path):
    """A tiny comparison: its outcome and its folder."""
    outcome = unrolled(
        "tasks", "adding", "--length", 12, "--cell", "rnn", "--cell", "lstm", *QUICK,
        "--out", tmp_path / "run",
    )  # fmt: skip
    return outcome, tmp_path / "run"


def test_it_prints_a_table_with_every_cell_and_chance(adding):
    outcome, folder = adding
    assert outcome.code == 0, outcome.err
    for word in ("adding, length 12", "RNN", "LSTM", "chance", "1.67e-01", "7.8%"):
        assert word in outcome.out
    assert "GRU" not in outcome.out
    assert str(folder / "picture.png") in outcome.out.replace("\n", "")


def test_it_writes_the_numbers_and_a_picture(adding):
    _, folder = adding
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "picture.png"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["task"], metrics["length"]) == ("adding", 12)
    assert metrics["chance"]["loss"] == pytest.approx(1 / 6)
    assert list(metrics["cells"]) == ["rnn", "lstm"]
    assert metrics["settings"]["steps"] == 3
    for cell in metrics["cells"].values():
        assert cell["steps"] == [1, 2, 3]
        assert len(cell["losses"]) == len(cell["scores"]) == 3
        for when in ("before", "after"):
            assert len(cell[when]["gradient_by_lag"]) == 12
            assert 0 <= cell[when]["horizon"] < 12
            assert "over 12 steps" in cell[when]["letter"][0]
    assert matplotlib.image.imread(folder / "picture.png").shape[1] > 800


def test_the_same_command_gives_the_same_numbers(unrolled, tmp_path):
    found = []
    for place in ("one", "two"):
        unrolled("tasks", "sin-cos", "--cell", "gru", *QUICK, "--out", tmp_path / place)
        cells = json.loads((tmp_path / place / "metrics.json").read_text())["cells"]
        found.append({key: value for key, value in cells["gru"].items() if key != "seconds"})
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["embedded-reber", "temporal-order-3"])
def test_the_folder_has_the_tasks_name(unrolled, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    outcome = unrolled("tasks", name, "--cell", "rnn", *QUICK)
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / name / "metrics.json").read_text())["task"] == name


def test_the_list_has_a_line_for_each_task(unrolled):
    outcome = unrolled("tasks", "--list")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    for name in TASKS:
        (line,) = [line for line in lines if line.split()[0] == name]
        assert make_task(name).summary in line


def test_an_lstm_that_forgets_is_told_so(unrolled, tmp_path):
    for bias, told in ((1, True), (5, False)):
        outcome = unrolled(
            "tasks", "two-sequence", "--cell", "lstm", *QUICK, "--forget-bias", bias,
            "--out", tmp_path / str(bias),
        )  # fmt: skip
        assert outcome.code == 0
        assert ("--forget-bias 5 it keeps 99%" in outcome.out.replace("\n", " ")) is told


@pytest.fixture
def refused(unrolled, tmp_path):
    """Runs a command that must be refused, and gives its one line."""

    def run(*args):
        before = sorted(tmp_path.rglob("*"))
        outcome = unrolled("tasks", *args, *QUICK)
        assert outcome.code == 2
        assert outcome.out == ""
        (line,) = outcome.err.splitlines()
        assert sorted(tmp_path.rglob("*")) == before
        return line.removeprefix("unrolled: error: ")

    return run


def test_an_unknown_task(refused):
    assert refused("addin") == "addin: no such task. Did you mean 'adding'?"
    assert refused("zzz").startswith("zzz: no such task. There are: adding, ")


def test_no_task(refused):
    expected = "the task's name is missing. For their list: unrolled tasks --list"
    assert refused() == expected


def test_too_short(refused):
    assert refused("temporal-order", "--length", 9) == (
        "--length: temporal-order needs at least 10 (a place for each symbol), got 9. "
        "Give a longer one"
    )


def test_a_length_that_there_is_not(refused):
    assert refused("embedded-reber", "--length", 9).startswith("--length: embedded-reber has none")


def test_an_unknown_cell(refused):
    expected = "--cell: one of rnn, lstm, gru was expected, got 'ltsm'"
    assert refused("adding", "--cell", "ltsm") == expected
    assert "is named twice" in refused("adding", "--cell", "rnn", "--cell", "rnn")


def test_a_wrong_number(refused):
    assert refused("adding", "--seed", -1).startswith("--seed: ")
    assert refused("adding", "--learning-rate", "nan").startswith("--learning-rate: ")


def test_an_existing_folder(refused, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("")
    line = refused("adding", "--out", tmp_path / "run")
    assert line == (
        f"{tmp_path / 'run'}: exists and is not empty. Name another with --out, or add --overwrite"
    )


def test_what_it_may_overwrite(unrolled, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    outcome = unrolled(
        "tasks", "sin-cos", "--cell", "rnn", *QUICK, "--out", tmp_path, "--overwrite"
    )
    assert outcome.code == 0
    assert (tmp_path / "mine.txt").exists()

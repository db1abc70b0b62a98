"""Where results may go: found out before the work, and nobody's file is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from support_cli import Command
from support_learn import quick, wave_frame, write_wave
from unrolled.cli import train as train_command
from unrolled.deploy.serve import open_stream
from unrolled.errors import InputError
from unrolled.learn.results import save_training
from unrolled.learn.train import train_table
from unrolled.output import replacing, writing
from unrolled.runfile import RUN_FILES

COLUMNS = ["--input", "sin", "--target", "cos"]
QUICK = [*COLUMNS, "--window", 6, "--hidden-size", 2, "--epochs", 1, "--threads", 1]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_wave(tmp_path / "wave.csv")
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    save_training(train_table(wave_frame(), quick(hidden_size=2, epochs=1)), folder)
    return folder


@pytest.fixture
def trained(once: Path, place: Path) -> Path:
    return Path(shutil.copytree(once, place / "run"))


Refused = Callable[..., str]


@pytest.fixture
def refused(unrolled: Command, place: Path) -> Refused:
    """Runs a command that must be refused: one line, and every file as it was."""

    def content() -> dict[Path, bytes | None]:
        return {p: p.read_bytes() if p.is_file() else None for p in place.rglob("*")}

    def run(*args: object) -> str:
        before = content()
        outcome = unrolled(*args)
        assert (outcome.code, outcome.out) == (2, "")
        (line,) = outcome.err.splitlines()
        assert content() == before
        return line.removeprefix("unrolled: error: ")

    return run


@pytest.fixture
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(train_command, "train_dataset", train)


UNWRITABLE = {
    "in a file": "wave.csv/run",
    "too long a name": "x" * 300,
    "a folder too long": f"{'x' * 300}/run",
    "in the kernel's": "/proc/run",
    "in the devices'": "/dev/null/run",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux's folders")
@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("name", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_folder_that_can_not_be_costs_no_training(
    refused: Refused, place: Path, name: str
) -> None:
    line = refused("train", place / "wave.csv", *QUICK, "--out", place / name)
    assert line.startswith(f"{place / name}: ")
    assert line.endswith("Name another with --out")
    assert "draft" not in line


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a\\u0000b", "has a NUL in its name"),
        ("\\ud800", "has letters that no file's name has here"),
    ],
)
def test_a_name_that_no_file_has_is_refused(
    refused: Refused, place: Path, name: str, fault: str
) -> None:
    settings = place / "settings.json"
    settings.write_text(f'{{"out": "{name}", "data": "wave.csv"}}')
    assert fault in refused("train", *QUICK, "--config", settings)


@pytest.mark.usefixtures("nothing_is_trained")
def test_a_second_training_into_one_folder_is_refused(refused: Refused, place: Path) -> None:
    with replacing(place / "run", overwrite=False):
        line = refused("train", place / "wave.csv", *QUICK, "--out", place / "run")
    assert line.startswith(f"{place / 'run'}: is being written by another process")


def test_the_table_is_not_overwritten_by_the_run_that_it_trains(
    refused: Refused, trained: Path
) -> None:
    data = trained / "sample.csv"
    line = refused("train", data, *QUICK, "--out", trained, "--overwrite")
    assert line.startswith(f"{data}: is the table, which would be lost")


def linked(path: Path, suffix: str) -> list[Path]:
    """The file by its own name and by links of a name that a command writes to."""
    soft, hard = path.with_name(f"soft{suffix}"), path.with_name(f"hard{suffix}")
    soft.symlink_to(path)
    hard.hardlink_to(path)
    return [path, soft, hard]


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("name", RUN_FILES)
def test_the_config_is_not_overwritten_by_the_run_that_it_asks_for(
    refused: Refused, place: Path, name: str
) -> None:
    settings = {"input": "sin", "target": "cos", "data": str(place / "wave.csv")}
    (place / "mine.json").write_text(json.dumps(settings))
    for way, out in (("symlink_to", place / "soft"), ("hardlink_to", place / "hard")):
        (out / name).parent.mkdir(parents=True)
        getattr(out / name, way)(place / "mine.json")
        for config in (place / "mine.json", out / name):
            if config.suffix == ".json":
                line = refused("train", "--config", config, "--out", out, "--overwrite")
                assert line.startswith(f"{out / name}: is the config")
                assert line.endswith("which would be lost. Name another with --out")


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("way", ["symlink_to", "hardlink_to", "rename"])
@pytest.mark.parametrize("what", ["table", "config"])
def test_records_of_a_training_that_fails_do_not_replace_what_it_reads(
    refused: Refused, place: Path, what: str, way: str
) -> None:
    data, config, beside = place / "wave.csv", place / "mine.json", place / "run.watch.jsonl"
    config.write_text("{}")
    source = {"table": data, "config": config}[what]
    if way == "rename":  # the source under another name, which a link leads to
        source.rename(beside)
        source.symlink_to(beside)
    else:
        getattr(beside, way)(source)
    command = ["train", data, *QUICK, "--config", config, "--out", place / "run"]
    line = refused(*command, "--watch")
    assert line.startswith(f"{beside}: is the {what} ({source}), which would be lost")


@pytest.mark.parametrize("out", ["", ".", "here/..", "run/"])
def test_records_stand_beside_a_folder_of_any_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (place / "here").mkdir()
    monkeypatch.chdir(place)
    beside = train_command._beside(Path(out))
    name = "run" if "run" in out else place.name
    assert beside.name == f"{name}.watch.jsonl"


def test_a_config_of_another_name_may_lie_in_the_folder(unrolled: Command, place: Path) -> None:
    config = place / "run" / "settings.json"
    config.parent.mkdir()
    settings = {"input": "sin", "target": "cos", "data": str(place / "wave.csv"), "window": 6}
    config.write_text(json.dumps(settings))
    command = ["train", "--config", config, "--out", place / "run", "--overwrite"]
    assert unrolled(*command, "--epochs", 1).code == 0
    assert json.loads(config.read_text()) == settings


WRITERS = {
    "predict": (".csv", lambda run, out: ["predict", run, run / "sample.csv", "--out", out]),
    "inspect": (".html", lambda run, out: ["inspect", run, "--out", out]),
    "export": (".onnx", lambda run, out: ["export", run, out]),
}


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("name", RUN_FILES)
def test_no_file_of_a_run_is_replaced_by_what_is_made_of_it(
    refused: Refused, trained: Path, name: str, command: str
) -> None:
    suffix, line_of = WRITERS[command]
    (trained / name).parent.mkdir(exist_ok=True)
    (trained / name).touch()
    for out in linked(trained / name, suffix):
        line = refused(*line_of(trained, out), "--overwrite")
        assert line.startswith(f"{out}: ")
        if out.suffix == suffix:
            assert f"is the run's {name}" in line or "is the table" in line


@pytest.mark.parametrize("name", RUN_FILES)
def test_no_file_of_a_run_is_replaced_by_a_streams_state(trained: Path, name: str) -> None:
    (trained / name).parent.mkdir(exist_ok=True)
    (trained / name).touch()
    before = (trained / name).read_bytes()
    for state in linked(trained / name, ".state"):
        with pytest.raises(InputError, match=re.escape(f"{state}: ")):
            open_stream(trained, state)
    assert (trained / name).read_bytes() == before


def test_pictures_stand_beside_a_runs_own_files(unrolled: Command, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir()}
    outcome = unrolled("inspect", trained, "--out", trained / "r.html", "--png", trained,
                       "--steps", 5, "--overwrite")  # fmt: skip
    assert outcome.code == 0
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    "name", ["wave.csv", "./wave.csv", "run/../wave.csv", "hard.csv", "soft.csv"]
)
def test_predictions_are_not_written_onto_the_table(
    refused: Refused, trained: Path, place: Path, name: str
) -> None:
    (place / "hard.csv").hardlink_to(place / "wave.csv")
    (place / "soft.csv").symlink_to(place / "wave.csv")
    out = f"{place}/{name}"
    line = refused("predict", trained, place / "wave.csv", "--out", out, "--overwrite")
    assert "is the table" in line
    assert line.endswith("which would be lost. Name another with --out")


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["predict", "run", "wave.csv", "--out", "p.xlsx"], ".parquet"),
        (["predict", "run", "wave.csv", "--out", "p"], ".csv"),
        (["inspect", "run", "--out", "p.pdf"], ".html"),
        (["export", "run", "p.pt"], ".onnx"),
    ],
)
def test_a_suffix_that_is_not_written_is_refused(
    refused: Refused,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    wanted: str,
) -> None:
    monkeypatch.chdir(trained.parent)
    line = refused(*command)
    assert "a name that ends in" in line
    assert wanted in line


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_the_suffix_says_the_format(
    unrolled: Command, trained: Path, place: Path, kind: str
) -> None:
    out = place / f"p.{kind}"
    assert unrolled("predict", trained, place / "wave.csv", "--out", out).code == 0
    read = {
        "csv": pl.read_csv,
        "tsv": lambda path: pl.read_csv(path, separator="\t"),
        "parquet": pl.read_parquet,
    }[kind]
    frame = read(out)
    assert frame.columns == ["row", "cos", "cos_predicted"]
    assert len(frame) == len(wave_frame()) - 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_named(refused: Refused, trained: Path, place: Path) -> None:
    line = refused("predict", trained, place / "wave.csv", "--out", "/dev/full", "--overwrite")
    assert line.startswith("/dev/full: can't be written (No space left on device)")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of that kind")
def test_a_disk_that_fills_up_while_writing_is_named_and_the_old_run_stays(
    unrolled: Command, trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    whole = save_training
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(*args: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        try:
            whole(*args)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(train_command, "save_training", limited)
    outcome = unrolled("train", place / "wave.csv", *QUICK, "--out", trained, "--overwrite")
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert line.startswith(f"unrolled: error: {trained}: can't be written (File too large)")
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before
    assert sorted(path.name for path in place.iterdir()) == ["run", "wave.csv"]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")

    def stop() -> None:
        with writing(out, overwrite=True) as draft:
            draft.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_stays_one_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    with writing(tmp_path / "link", overwrite=True) as draft:
        draft.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"

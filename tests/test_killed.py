"""Killed at any point, a folder that is overwritten is the old one or the new one, and whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled import atomic, output
from unrolled.errors import InputError
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, load_run, save_run
from unrolled.output import replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

STEPS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.chmod", "os.utime",
    "os.scandir", "os.listdir", "shutil.rmtree", "ctypes.dlsym",
}  # fmt: skip
"""The audit events of what touches a file; each comes before the call."""

KILLED, DONE = 9, 0


def make_run(seed: int) -> Run:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(NetworkConfig(cell="rnn", input_size=1, hidden_size=2, output_size=1))
    table = TableConfig(inputs=["a"], targets=["b"], window=seed)
    scaler = Scaler(np.zeros(1), np.ones(1))
    return Run(network.eval(), table, scaler, scaler)


def write(folder: Path, seed: int, *names: str) -> None:
    """A run that says in all of its files which it is."""
    with replacing(folder, overwrite=True, stale=["watch.jsonl", "sample.csv"]) as draft:
        for name in ("metrics.json", "sample.csv", "tensorboard/events", *names):
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text(str(seed))
        save_run(make_run(seed), draft, beside=["sample.csv"])


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def killed_at(step: int, work: Callable[[], None]) -> int:
    """Does the work in a process that ends before its ``step``-th step; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = step

    def count(event: str, _: object) -> None:
        nonlocal left
        if event in STEPS:
            left -= 1
            if left == 0:
                os._exit(KILLED)

    def synced(descriptor: int, sync: Callable[[int], None] = os.fsync) -> None:
        count("open", None)
        sync(descriptor)

    try:
        os.fsync = synced  # type: ignore[assignment]
        sys.addaudithook(count)
        work()
    except BaseException:
        os._exit(1)
    os._exit(DONE)


def kill_everywhere(
    start: Callable[[], None], work: Callable[[], None], look: Callable[[], None]
) -> int:
    """Kills the work at its first step, its second and so on; starts anew and looks each time."""
    step, code = 0, KILLED
    while code == KILLED:
        step += 1
        start()
        code = killed_at(step, work)
        look()
    assert code == DONE
    return step


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are killed here, not the machine."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "place" / "run"


def begin(out: Path) -> None:
    """The old run, with files of somebody's in it."""
    write(out, 1, "watch.jsonl")
    (out / "thesis.tex").write_text("years of work")
    (out / "mine").mkdir(exist_ok=True)
    (out / "mine" / "notes").write_text("more of it")


MINE = {"thesis.tex": b"years of work", "mine/notes": b"more of it"}


def test_an_overwritten_run_is_the_old_one_or_the_new_one(out: Path) -> None:
    begin(out)
    old = content(out)
    seen = set()

    def look() -> None:
        found = content(out)
        window = load_run(out).table.window
        seen.add(window)
        if window == 1:
            assert found == old
        else:
            assert {name: found.pop(name) for name in MINE} == MINE
            assert "watch.jsonl" not in found
            texts = {name: data for name, data in found.items() if name in old and len(data) == 1}
            assert set(texts.values()) == {b"2"}

    steps = kill_everywhere(lambda: begin(out), lambda: write(out, 2), look)
    assert seen == {1, 2}
    assert steps > 30
    assert [path.name for path in out.parent.iterdir()] == ["run"]  # what was killed left nothing


def test_a_new_run_is_whole_or_not_there(out: Path) -> None:
    def start() -> None:
        if out.exists():
            output._remove(out)

    def look() -> None:
        if out.exists():
            assert load_run(out).table.window == 2
            assert set(content(out)) >= {"metrics.json", "sample.csv", "tensorboard/events"}

    assert kill_everywhere(start, lambda: write(out, 2), look) > 20


def test_where_folders_cannot_change_places_a_mixture_is_refused(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are moved one by one there: what is loaded is still one run or the other."""
    monkeypatch.setattr(output, "exchange", lambda *_: False)
    ends = []

    def look() -> None:
        found = content(out)
        assert {name: found[name] for name in MINE} == MINE
        with suppress(InputError):
            ends.append(load_run(out).table.window)

    kill_everywhere(lambda: begin(out), lambda: write(out, 2), look)
    assert ends == sorted(ends)  # the old one until it is the new one
    assert set(ends) == {1, 2}


def test_the_next_run_clears_away_what_a_killed_one_left(out: Path) -> None:
    for step in range(1, 40, 6):
        killed_at(step, lambda: write(out, 1))
        write(out, 2)
        assert [path.name for path in out.parent.iterdir()] == ["run"]
        assert load_run(out).table.window == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the call is Linux's")
def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    assert atomic.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert not atomic.exchange(tmp_path / "a", tmp_path / "nowhere")

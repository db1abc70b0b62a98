"""The jobs of the tables: which are left, and how one goes on that was cut off."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from unrolled.errors import InputError
from unrolled.reproduce import jobs as part
from unrolled.reproduce import side_by_side
from unrolled.reproduce.parts import Job
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.tables import FAITHFUL, OF_1997, Result

SHORT: Row = next(row for row in ROWS if row.key == "1-3x2-0.5")


class Killed(BaseException):
    """In place of a signal that no process survives."""


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose trials end after few sequences."""
    recipe = dataclasses.replace(SHORT.recipe(), budget=400, tested=64)
    monkeypatch.setattr(part, "ROWS", [dataclasses.replace(SHORT, recipe=lambda: recipe)])
    monkeypatch.setattr(side_by_side, "SAVED_EVERY", 0.0)


def run(seeds: range, saved: Path, emit: Callable[[Result | float], None]) -> None:
    trials = tuple((SHORT.key, FAITHFUL, OF_1997, seed) for seed in seeds)
    part.run(Job("tables", "a name", trials, 1.0), saved, emit)


class Told:
    """The results that a job tells; the process is killed at a share of it, if one is given."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.results: list[Result] = []
        self.shares, self.killed_at = 0, killed_at

    def __call__(self, said: Result | float) -> None:
        if isinstance(said, Result):
            self.results.append(said)
            return
        self.shares += 1
        if self.shares == self.killed_at:
            raise Killed


def numbers(results: list[Result]) -> list[Result]:
    """Without how long they took."""
    return [dataclasses.replace(result, seconds=0.0) for result in results]


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("killed_at", [1, 3, 6])
def test_a_job_that_is_cut_off_comes_to_the_same(killed_at: int, tmp_path: Path) -> None:
    whole, first, second = Told(), Told(killed_at), Told()
    run(range(3), tmp_path / "whole.json", whole)
    with pytest.raises(Killed):
        run(range(3), tmp_path / "saved.json", first)
    run(range(3), tmp_path / "saved.json", second)
    assert numbers(second.results) == numbers(whole.results)
    assert second.shares == whole.shares - killed_at
    assert not (tmp_path / "saved.json").exists()


@pytest.mark.usefixtures("_short")
def test_a_trial_that_has_ended_since_the_state_was_saved_is_not_run_again(tmp_path: Path) -> None:
    whole, told = Told(), Told()
    run(range(3), tmp_path / "whole.json", whole)
    with pytest.raises(Killed):
        run(range(3), tmp_path / "saved.json", Told(killed_at=2))
    run(range(1, 3), tmp_path / "saved.json", told)
    assert numbers(told.results) == numbers(whole.results)[1:]


@pytest.mark.usefixtures("_short")
def test_trials_that_were_not_under_way_are_begun(tmp_path: Path) -> None:
    whole, told = Told(), Told()
    run(range(3), tmp_path / "whole.json", whole)
    with pytest.raises(Killed):
        run(range(2), tmp_path / "saved.json", Told(killed_at=2))
    run(range(3), tmp_path / "saved.json", told)
    assert numbers(told.results) == numbers(whole.results)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:0],
        lambda text: f"[{text}]",
        lambda text: text[: len(text) // 2],
        lambda text: re.sub(r'"weights": .*?\]\]', '"weights": [[1.0]]', text),
        lambda text: text.replace('"sequences"', '"others"'),
    ],
)
def test_a_saved_state_that_is_damaged_is_named(
    damage: Callable[[str], str], tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    with pytest.raises(Killed):
        run(range(3), saved, Told(killed_at=2))
    saved.write_text(damage(saved.read_text()))
    with pytest.raises(InputError, match=r"saved\.json: can't be gone on with .* Delete it"):
        run(range(3), saved, Told())


def test_groups_stay_what_they_are_while_trials_end() -> None:
    key = "6a"
    done = {(key, FAITHFUL, OF_1997, seed) for seed in (0, 3, 9, 12)}
    left = [j for j in part.jobs(done) if j.trials[0][:2] == (key, FAITHFUL)]
    assert [j.name for j in left] == [
        "6a LSTM of 1997, seeds 0-9",
        "6a LSTM of 1997, seeds 10-19",
    ]
    assert [len(j.trials) for j in left] == [7, 9]

"""The cells on formal languages: what a trial comes to, and what the page makes of trials."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.inspect.counting import Counter
from unrolled.reproduce import languages
from unrolled.reproduce.hierarchy import LANGUAGES
from unrolled.reproduce.languages import CELLS, RATES, Accuracy, Effort, jobs, run, tried
from unrolled.reproduce.languages_page import section, table
from unrolled.reproduce.languages_picture import accuracy_picture, memory_picture
from unrolled.reproduce.results import read, writing
from unrolled.tasks import FORMAL, make_task

TINY = Effort(updates=2, batch_size=2, hidden_size=4, lengths=2, strings=2)


@pytest.fixture(scope="module")
def trial() -> Accuracy:
    return tried(LANGUAGES["anbn"], next(iter(CELLS)), 1, TINY)


def of(trial: Accuracy, language: str, cell: str, seed: int, **values: Any) -> Accuracy:
    """The same as of another trial."""
    return replace(trial, language=language, cell=cell, seed=seed, **values)


# --- what is tried --------------------------------------------------------------------------------


def test_all_languages_are_there() -> None:
    assert set(LANGUAGES) == {"anbn", "anbncn", *(task.name for task in FORMAL)}


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_is_the_task_of_its_name(name: str) -> None:
    assert LANGUAGES[name].task() == make_task(name)


@pytest.mark.parametrize("name", LANGUAGES)
def test_ranges_have_all_lengths_once(name: str) -> None:
    language = LANGUAGES[name]
    lengths = [n for first, last in language.ranges() for n in range(first, last + 1)]
    assert lengths == list(range(language.least, language.farthest + 1))


def test_published_lengths_are_tested() -> None:
    learned, *longer = LANGUAGES["parity-check"].ranges()
    assert learned == (1, 40)
    assert (longer[0][0], longer[-1][1]) == (41, 500)


# --- a trial --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_trained_and_tested(cell: str) -> None:
    trial = tried(LANGUAGES["even-pairs"], cell, 0, TINY)
    assert [r[:2] for r in trial.by_range()] == LANGUAGES["even-pairs"].ranges()
    assert trial.score == pytest.approx(sum(r.accuracy for r in trial.by_range()[1:]) / 5, abs=1e-3)
    assert trial.found_counters() == []


def test_the_same_seed_gives_the_same_trial(trial: Accuracy) -> None:
    again = tried(LANGUAGES["anbn"], trial.cell, 1, TINY)
    assert replace(again, seconds=trial.seconds) == trial


def test_training_makes_a_cell_generalise() -> None:
    """An even number of changes is two equal ends, which is soon learned for any length."""
    effort = Effort(updates=300, lengths=2)
    assert tried(LANGUAGES["even-pairs"], "SLSTM", 0, effort).score == 1.0


# --- the part -------------------------------------------------------------------------------------


def test_what_is_done_is_not_left() -> None:
    everything = jobs(())
    assert len(everything) == len(LANGUAGES) * len(CELLS) * len(RATES)
    done = everything[0].trials[0]
    assert done not in [job.trials[0] for job in jobs([done])]


def test_a_job_gives_its_record_and_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(languages, "EFFORT", TINY)
    (job,) = [job for job in jobs(()) if job.trials[0] == ("anbncn", next(iter(CELLS)), 2)]
    said: list[Any] = []
    run(job, tmp_path / "saved.json", said.append)
    *shares, record = said
    assert shares == [0.0]
    assert (record.trial, record.rate) == (job.trials[0], RATES[2])


def test_a_record_is_read_as_it_was_written(trial: Accuracy, tmp_path: Path) -> None:
    with writing(tmp_path / "languages.csv", Accuracy) as file:
        file.add(trial)
    assert read(tmp_path / "languages.csv", Accuracy) == [trial]


# --- the page -------------------------------------------------------------------------------------


def row(text: str, name: str) -> list[str]:
    """The cells of a table's line."""
    (line,) = [line for line in text.splitlines() if f"`{name}`" in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_best_trial_stands_beside_the_published_figure(trial: Accuracy) -> None:
    first, second, *others = CELLS
    scores = (0.501, 0.95, 0.6)
    trials = [of(trial, "bucket-sort", second, seed, score=s) for seed, s in enumerate(scores)]
    level, _, chance, *published = row(table(trials), "bucket-sort")
    assert (level, chance) == ("context-sensitive", "20.0")
    assert published == ["27.9", "99.3", "–", "**95.0** (60.0)", *("–" for _ in others)]
    assert first != second


def test_the_page_names_the_units_that_count(trial: Accuracy) -> None:
    unit = Counter(layer=0, state="cell", unit=7, up=0, rise=0.98, down=1, fall=-1.02)
    counting = replace(trial, counters=json.dumps([list(vars(unit).values())]))
    text = section([counting, of(trial, "anbn", trial.cell, 2)])
    line = next(line for line in text.splitlines() if "unit 7" in line)
    assert "| 1 of 2 | 1 | cell, unit 7: +0.98 at a, −1.02 at b |" in line


def test_the_page_says_how_many_trials_are_missing(trial: Accuracy) -> None:
    assert f"Not complete: 1 of {len(jobs(()))} trials have been run." in section([trial])


def test_an_unknown_figure_is_not_made_up(trial: Accuracy) -> None:
    assert math.isnan(LANGUAGES["anbn"].published.rnn)
    assert row(table([trial]), "anbn")[3:5] == ["–", "100.0"]


# --- the pictures ---------------------------------------------------------------------------------


def curves(picture: Any, name: str) -> Iterator[Any]:
    """What is drawn over more than two points of a panel: chance and marks have fewer."""
    (panel,) = [ax for ax in picture.axes if ax.get_title(loc="left").startswith(f"{name}\n")]
    return (line for line in panel.lines if len(line.get_xdata()) > 2)


def test_a_curve_is_the_best_trials_accuracy(trial: Accuracy) -> None:
    ranges = [[2, 100, 1.0], [101, 131, 0.9], [132, 256, 0.8]]
    better = replace(trial, seed=2, score=1.0, ranges=json.dumps(ranges))
    (curve,) = curves(accuracy_picture([trial, better]), "anbn")
    assert list(curve.get_xdata()) == [51.0, 116.0, 194.0]
    assert list(curve.get_ydata()) == [1.0, 0.9, 0.8]


def test_the_published_means_are_drawn() -> None:
    panel = accuracy_picture([]).axes[list(LANGUAGES).index("bucket-sort")]
    marks = [line.get_xydata() for line in panel.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(np.concatenate(marks), [[500, 0.279], [500, 0.993]])


def test_a_gradient_is_a_share_of_that_at_lag_0(trial: Accuracy) -> None:
    known = replace(trial, steps=2, gradient="[4.0, 2.0, 1.0]")
    (curve,) = curves(memory_picture([known]), "anbn")
    assert list(curve.get_xdata()) == [0, 1, 2]
    assert list(curve.get_ydata()) == [1.0, 0.5, 0.25]

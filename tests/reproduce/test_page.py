"""The page says what the results file says, and what it does not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from support_results import ROW_OF, TRIAL, put, trials
from unrolled.errors import InputError
from unrolled.reproduce.choices import CHOICES
from unrolled.reproduce.modern import NETWORKS
from unrolled.reproduce.page import MEASURES, failure, page, write_page
from unrolled.reproduce.pictures import NOT_RUN
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.sections import write_sections
from unrolled.reproduce.statistics import Table
from unrolled.reproduce.tables import MODERN, Result

LSTM, GRU = [*NETWORKS][:2]


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


def cells(text: str, title: str, key: str) -> list[str]:
    """Those of the line of a row."""
    (line,) = re.findall(rf"^\| `{re.escape(key)}` \| (.+) \|$", section(text, title), re.M)
    return line.split(" | ")


def test_a_row_stands_beside_its_published_figures() -> None:
    run = [replace(TRIAL, seed=seed, sequences=10_000 * (seed + 1)) for seed in range(9)]
    run += trials(1, first=9, solved=False, wrong=2560)
    assert cells(page(run), "Faithful", "4-100") == [
        *("adding, T = 100", "100% of 10", "74,000"),
        *("9 of 10 (60% to 98%)", "50,000 (30,000 to 70,000)", "50,000"),
        *("0.04%", "46", "93", "0–9"),
    ]


def test_a_network_of_today_has_a_line_of_its_own() -> None:
    text = page(trials(2, column=MODERN, network=GRU, weights=3489, horizon=100))
    lines = section(text, "Modern").splitlines()
    (first,) = (n for n, line in enumerate(lines) if line.startswith("| `4-100` "))
    empty = " | ".join([""] * len(MEASURES))
    assert lines[first + 1] == (
        f"|  |  | {GRU} | 2 of 2 (34% to 100%) | 74,000 (74,000 to 74,000) | 74,000 | 0.04% "
        "| ≥ 100 | 3,489 | 0–1 |"
    )
    assert lines[first].endswith(f"| {NOT_RUN}{empty} |")


def test_other_networks_stand_with_what_was_published_of_them() -> None:
    lines = section(page([]), "Other networks").splitlines()
    (elman,) = (line for line in lines if "Elman" in line)
    assert elman.endswith("| ≈ 435 | 0% | more than 200,000 |")
    assert sum(line.startswith("| 2a, p = 100 ") for line in lines) == 3


def test_the_columns_are_never_mixed() -> None:
    modern = trials(10, column=MODERN, network=LSTM, sequences=1, solved=False)
    both = page([*trials(10), *modern])
    assert section(both, "Faithful") == section(page(trials(10)), "Faithful")
    assert section(both, "What did") == section(page(trials(10)), "What did")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_without_results_was_not_run_yet(row: Row) -> None:
    found = cells(page([]), "Faithful", row.key)
    assert found[1:4] == [f"{row.solved}% of {row.trials}", f"{row.sequences:,}", NOT_RUN]


def test_every_row_has_a_task_of_its_own_or_is_said_to_have_none() -> None:
    text = section(page([]), "Modern")
    for row in ROWS:
        assert (f"| `{row.key}` | {row.setting} |" in text) == (row.task is not None)
        assert f"`{row.key}`" in text


def test_a_row_that_is_not_complete_is_said_to_be() -> None:
    assert "`4-100` lacks the seeds 4–9." in page(trials(4))
    assert "Not complete" not in page(trials(10))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (trials(10), ""),
        (trials(10, sequences=148_000), ""),
        (trials(10, sequences=37_000), ""),
        (
            [*trials(9), *trials(1, first=9, solved=False)],
            "9 of 10 trials were solved, at most 98.2% by the interval, where 100% were published",
        ),
        (
            trials(10, solved=False),
            "0 of 10 trials were solved, at most 27.8% by the interval, where 100% were published",
        ),
        (
            trials(10, sequences=222_000),
            "the mean of 222,000 sequences is 3 times the published 74,000",
        ),
        (
            trials(10, sequences=35_150),
            "the mean of 35,150 sequences is 0.475 times the published 74,000",
        ),
    ],
)
def test_what_did_not_reproduce_is_named(run: list[Result], words: str) -> None:
    assert failure(ROW_OF["4-100"], Table(run)) == words
    named = f"* `4-100`, adding, T = 100: {words}.\n"
    assert (named in section(page(run), "What did not reproduce")) == bool(words)


def test_a_published_rate_below_all_is_met_with_a_failed_trial() -> None:
    row = ROW_OF["1-3x2-0.2"]
    assert row.solved == 97
    run = [*trials(29), *trials(1, first=29, solved=False)]
    of_row = [replace(trial, row=row.key, sequences=row.sequences) for trial in run]
    assert failure(row, Table(of_row)) == ""


@pytest.mark.parametrize(
    ("run", "counts"),
    [
        ([], "Complete rows: 0; not reproduced: 0."),
        (trials(4, solved=False), "Complete rows: 0; not reproduced: 0."),
        (trials(10), "Complete rows: 1; not reproduced: 0."),
        (trials(10, solved=False), "Complete rows: 1; not reproduced: 1."),
    ],
)
def test_only_complete_rows_are_judged(run: list[Result], counts: str) -> None:
    assert counts in section(page(run), "What did not reproduce").splitlines()


def test_the_page_says_what_was_chosen_and_where_it_was_run() -> None:
    text = page([*trials(1), *trials(1, first=1, version="0.2.0", processor="another")])
    chosen = section(text, "What the paper leaves open")
    assert [line[2:] for line in chosen.splitlines() if line.startswith("* ")] == CHOICES
    assert "Run by unrolled 0.1.0 and 0.2.0 on a processor and another." in text


def test_the_page_is_written_with_its_pictures(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    put(tmp_path / "tables.csv", trials(10))
    write_page(tmp_path, docs)
    write_page(tmp_path, docs)
    text = (docs / "reproduction.md").read_text(encoding="utf-8")
    assert text == page(trials(10), write_sections(tmp_path, docs))
    assert text.count("Not run yet.") == 4
    assert text.startswith("<!-- Written from the results file by `unrolled reproduce --page`")
    pictures = re.findall(r"!\[(.+)\]\((.+)\)", text)
    assert len(pictures) == 2
    for alternative, path in pictures:
        assert len(alternative) > 100
        assert (docs / path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "stray",
    [replace(TRIAL, row="4-101"), replace(TRIAL, column=MODERN), replace(TRIAL, network=LSTM)],
)
def test_a_trial_of_no_table_is_refused(stray: Result, tmp_path: Path) -> None:
    put(tmp_path / "tables.csv", [TRIAL, stray])
    named = ", ".join(map(str, stray.trial))
    with pytest.raises(InputError, match=re.escape(f"is in no table ({named}). Delete its line")):
        write_page(tmp_path, tmp_path)
    assert not (tmp_path / "reproduction.md").exists()

"""``unrolled inspect``: a run folder in, a page out, and the letter on the screen."""

import html

import polars as pl
import pytest

from support_learn import wave_frame

QUICK = ["--window", 6, "--hidden-size", 4, "--epochs", 2, "--threads", 1]
COLUMNS = ["--input", "sin", "--target", "cos"]


@pytest.fixture
def trained(unrolled, tmp_path):
    """Trains with these flags, on the wave unless told; gives the run folder."""

    def train(*flags, columns=COLUMNS, frame=None):
        data, out = tmp_path / "wave.csv", tmp_path / "run"
        (wave_frame() if frame is None else frame).write_csv(data)
        outcome = unrolled("train", data, *columns, "--out", out, *QUICK, *flags)
        assert outcome.code == 0, outcome.err
        return out

    return train


@pytest.fixture
def inspected(unrolled, tmp_path):
    """Inspects, and gives what was printed and the page."""

    def inspect(*args):
        out = tmp_path / "pages" / "report.html"
        outcome = unrolled("inspect", *args, "--out", out)
        assert outcome.code == 0, outcome.err
        assert f"Wrote {out}" in outcome.out
        return outcome.out, html.unescape(out.read_text(encoding="utf-8"))

    return inspect


def test_a_run_shows_the_rows_that_its_training_left_for_it(trained, inspected):
    printed, page = inspected(trained())
    assert "Rows 1 to 30 of sample.csv" in printed  # the test part of 200 rows
    assert "Rows 1 to 30 of sample.csv" in page
    assert "LSTM: cos from sin" in page


def test_the_letter_is_printed(trained, inspected):
    printed, _ = inspected(trained())
    assert "Measured" in printed
    assert "Horizon: " in printed


def test_another_table_may_be_shown(trained, inspected, tmp_path):
    printed, _ = inspected(trained(), tmp_path / "wave.csv")
    assert "Rows 1 to 200 of wave.csv" in printed


def test_which_rows_is_up_to_the_user(trained, inspected, tmp_path):
    printed, _ = inspected(trained(), tmp_path / "wave.csv", "--steps", 20, "--end", 100)
    assert "Rows 81 to 100 of wave.csv" in printed


def test_the_page_is_written_where_one_stands_by_default(trained, unrolled, tmp_path, monkeypatch):
    run = trained()
    monkeypatch.chdir(tmp_path)
    assert unrolled("inspect", run).code == 0
    assert (tmp_path / "report.html").is_file()


def test_one_of_several_series_is_shown(trained, inspected):
    run = trained(
        "--group", "who", frame=wave_frame().with_columns(who=pl.Series(list("xy" * 100)))
    )
    assert "of sample.csv, series x" in inspected(run)[0]
    assert "of sample.csv, series y" in inspected(run, "--group", "y", "--overwrite")[0]


def test_gaps_are_dealt_with_as_told(trained, inspected, tmp_path):
    gap = pl.int_range(200) == 150
    holed = wave_frame().with_columns(sin=pl.when(~gap).then(pl.col("sin")))
    holed.write_csv(tmp_path / "holed.csv")
    args = (trained(), tmp_path / "holed.csv", "--overwrite", "--missing")
    assert "Rows 152 to 200" in inspected(*args, "drop")[0]
    assert "Rows 1 to 200" in inspected(*args, "interpolate")[0]


def test_it_speaks_chinese(trained, inspected):
    printed, page = inspected(trained(), "--lang", "zh")
    assert 'lang="zh-Hans"' in page
    assert "sample.csv 的第 1 至 30 行" in page
    assert "sample.csv 的第 1 至 30 行" in printed


def test_pictures_are_written_if_wanted(trained, inspected, tmp_path):
    printed, _ = inspected(trained(), "--png", tmp_path / "figures")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    stems = ["cell", "memory", "network", "stack", "steps"]
    assert names == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert all(name in printed for name in names)


@pytest.mark.parametrize(
    "flags",
    [
        ["--bidirectional"],
        ["--cell", "gru", "--num-layers", 2, "--dropout", 0.2],
        ["--cell", "rnn", "--target", "sin", "--ahead", 2],
        ["--target", "sin", "--ahead", 1, "--difference"],
    ],
    ids=["bidirectional", "stack", "ahead", "difference"],
)
def test_other_networks_are_shown_as_well(trained, inspected, tmp_path, flags):
    target = [] if "--target" in flags else ["--target", "cos"]
    _, page = inspected(
        trained(*flags, columns=["--input", "sin", *target]), "--png", tmp_path / "figures"
    )
    assert page.lower().startswith("<!doctype html>")


def test_the_page_is_not_replaced_unless_told(trained, inspected, unrolled, tmp_path):
    run = trained()
    inspected(run)
    page = tmp_path / "pages" / "report.html"
    refused = unrolled("inspect", run, "--out", page)
    assert refused.code == 2
    assert "report.html: exists. Name another with --out, or add --overwrite" in refused.err
    inspected(run, "--overwrite")


BAD = {
    "steps too few": (["--steps", 2], "--steps: 3 to 1000 rows"),
    "steps too many": (["--steps", 1001], "--steps: 3 to 1000 rows"),
    "end too large": (["--end", 31], "--end 31: a row from 1 to 30"),
    "end zero": (["--end", 0], "--end 0: a row from 1 to 30"),
    "end too early": (["--end", 2], "--end 2: fewer than 3 rows"),
    "group": (["--group", "x"], "--group x: the run was trained without a group column"),
    "language": (["--lang", "fr"], "--lang: one of en, zh was expected, got 'fr'"),
    "missing": (["--missing", "guess"], "--missing: one of error, drop, interpolate"),
    "png": (["--png", "RUN"], "exists and is not empty. Name another with --png"),
    "table too short": (["SHORT"], "fewer than 3"),
    "no table": (["nowhere.csv"], "nowhere.csv"),
    "other columns": (["OTHER"], "no column 'sin'"),
}


@pytest.mark.parametrize(("flags", "words"), BAD.values(), ids=BAD)
def test_what_can_not_be_shown_is_told_in_one_line(trained, unrolled, tmp_path, flags, words):
    run, out = trained(), tmp_path / "report.html"
    wave_frame(2).write_csv(tmp_path / "short.csv")
    wave_frame().rename({"sin": "sine"}).write_csv(tmp_path / "other.csv")
    places = {"RUN": run, "SHORT": tmp_path / "short.csv", "OTHER": tmp_path / "other.csv"}
    before = sorted(tmp_path.rglob("*"))
    outcome = unrolled("inspect", run, *[places.get(flag, flag) for flag in flags], "--out", out)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert words in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_sample_says_to_give_a_table(trained, unrolled, tmp_path):
    run = trained()
    (run / "sample.csv").unlink()
    outcome = unrolled("inspect", run, "--out", tmp_path / "report.html")
    assert outcome.code == 2
    assert "sample.csv: missing" in outcome.err
    assert "Give a table with the columns sin" in outcome.err

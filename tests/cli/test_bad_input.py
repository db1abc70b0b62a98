"""Bad input: exit code 2, one line that names the thing and the repair, and nothing written."""

import json

import polars as pl
import pytest

from support_learn import wave_frame, write_wave

QUICK = ["--window", 6, "--hidden-size", 2, "--epochs", 1, "--threads", 1]


@pytest.fixture
def place(tmp_path):
    """A folder with a good table and nothing else."""
    write_wave(tmp_path / "wave.csv")
    return tmp_path


@pytest.fixture
def refused(unrolled, place):
    """Runs a command that must be refused and gives its one line, without the usual start."""

    def run(*args, **written):
        for name, content in written.items():
            path = place / name.replace("_", ".")
            path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        before = sorted(place.rglob("*"))
        outcome = unrolled(*args)
        assert outcome.code == 2
        assert outcome.out == ""
        (line,) = outcome.err.splitlines()
        assert line.startswith("unrolled: error: ")
        assert sorted(place.rglob("*")) == before
        return line.removeprefix("unrolled: error: ")

    return run


@pytest.fixture
def train(refused, place):
    def run(*, data="wave.csv", input="sin", target="cos", flags=(), **written):
        flags = [*QUICK, *flags]
        where = ["--input", input, "--target", target, "--out", place / "run"]
        return refused("train", place / data, *where, *flags, **written)

    return run


def csv(**changes):
    """The good table with cells changed, by column: ``csv(sin={7: "x"})`` changes row 7."""
    frame = wave_frame().cast(pl.String)
    for name, cells in changes.items():
        values = frame[name].to_list()
        for row, text in cells.items():
            values[row - 1] = text
        frame = frame.with_columns(pl.Series(name, values))
    return frame.write_csv(quote_style="never")


def test_no_such_file(train, place):
    assert train(data="nowhere.csv") == f"{place / 'nowhere.csv'}: no such file. Check the path"


def test_no_such_column(train, place):
    expected = f"{place / 'wave.csv'}: no column 'Sin'. Did you mean 'sin'?"
    assert train(input="Sin") == expected
    assert train(target="zzz") == f"{place / 'wave.csv'}: no column 'zzz'. It has: sin, cos"
    assert "no column 'who'" in train(flags=["--group", "who"])


def test_not_numeric(train, place):
    line = train(data="bad.csv", bad_csv=csv(sin={7: "oops"}))
    assert line.startswith(f"{place / 'bad.csv'}: column 'sin', row 7: 'oops' is not a number.")
    assert "leave the cell empty" in line


@pytest.mark.parametrize(
    ("word", "what"), [("", "is missing"), ("nil", "is missing"), ("inf", "is inf")]
)
@pytest.mark.parametrize(("name", "kind"), [("sin", "input"), ("cos", "target")])
def test_nan_or_infinity(train, place, name, kind, word, what):
    line = train(data="bad.csv", bad_csv=csv(**{name: {7: word, 9: word}}))
    assert line.startswith(
        f"{place / 'bad.csv'}: {kind} column '{name}', row 7: the value {what} (2 such rows)."
    )
    assert "--missing drop" in line
    assert "--missing interpolate" in line


def test_a_constant_column(train, place):
    content = wave_frame().with_columns(sin=pl.lit(4)).write_csv()
    line = train(data="bad.csv", bad_csv=content)
    assert line.startswith(f"{place / 'bad.csv'}: column 'sin' is constant")
    assert line.endswith("Leave it out")


@pytest.mark.parametrize("rows", [1, 8, 30])
def test_fewer_rows_than_a_window(train, place, rows):
    line = train(data="bad.csv", bad_csv=wave_frame(rows).write_csv())
    assert line.startswith(f"{place / 'bad.csv'}: the longest stretch in the ")
    assert "fewer than a window of 6. Shorten --window" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty. A header and rows were expected"),
        ("sin,cos\n", "has a header but no rows"),
        (csv().replace(",", ";"), "Its columns seem to be separated by semicolons"),
        (csv(sin={7: "1,2"}), "row 7 has 3 fields, the header 2. Correct the row"),
        (csv(sin={7: "é"}).encode("latin-1"), "row 7 has the byte 0xe9, which is not UTF-8"),
        (csv(sin={7: "1e300"}), "column 'sin', row 7: 1e+300 is too large"),
        (csv().replace("sin,cos", "sin,cos,sin").replace("\n", ",1\n"), "two columns are named"),
    ],
    ids=["empty", "header", "semicolons", "ragged", "latin", "huge", "twice"],
)
def test_a_broken_table(train, place, content, message):
    line = train(data="bad.csv", bad_csv=content)
    assert line.startswith(f"{place / 'bad.csv'}: ")
    assert message in line


def test_a_table_of_another_kind(train):
    assert "a .csv, .tsv or .parquet file was expected, got '.json'" in train(
        data="bad.json", bad_json="{}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"epoch": 3}', "no setting 'epoch'. Did you mean 'epochs'?"),
        ('{"patience": "much"}', "--patience: Input should be a valid integer"),
        ('{"epochs": ', "can't be read"),
        ("[]", "names with values were expected"),
    ],
)
def test_a_broken_config(train, place, content, message):
    config = place / "settings.json"
    line = train(flags=["--config", config], settings_json=content)
    assert line.startswith(f"{config}: {message}")


def test_a_config_that_names_no_table(refused, place):
    command = ["train", "--config", place / "settings.json", "--out", place / "run"]
    assert "data: a path was expected, got 3" in refused(*command, settings_json='{"data": 3}')
    assert "data is missing" in refused(*command, settings_json="{}")


def test_nothing_but_the_command(refused):
    assert refused("train") == "data is missing. Name the table to train on"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cell", "lstmm"], "--cell: Input should be rnn, lstm, gru, a cell of unrolled.cells"),
        (["--init", "zeros"], "--init: Input should be 'unit_forget_bias', 'chrono', 'orthogonal'"),
        (["--init", "chrono", "--cell", "rnn"], "RNN has no forget gate"),
        (["--init", "identity", "--cell", "MinGRU"], "MinGRU has no recurrent matrix"),
        (["--missing", "guess"], "--missing: Input should be 'error', 'drop' or 'interpolate'"),
        (["--seed", 10**30], "--seed: "),
        (["--clip", "inf"], "--clip: Input should be a finite number, got inf"),
        (["--threads", 10**6], "--threads: "),
        (["--dropout", 0.5], "Add --num-layers 2"),
        (["--target", "sin"], "column 'sin' is both input and target"),
        (["--ahead", 1000], "Shorten --window or --ahead"),
        (["--group", "cos"], "two columns named 'cos'"),
        (["--validation", 0.01], "raise --validation"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_a_wrong_flag(train, flags, message):
    assert message in train(flags=flags)


@pytest.mark.parametrize("name", ["wave.csv", "wave.csv/deeper"])
def test_an_output_folder_that_is_a_file_or_in_one(train, place, name):
    line = train(flags=["--out", place / name, "--overwrite"])
    assert line.startswith(f"{place / name}: ")
    assert line.endswith("Name another with --out")


@pytest.fixture
def run(unrolled, place):
    unrolled(
        "train", place / "wave.csv", "--input", "sin", "--target", "cos",
        "--out", place / "run", *QUICK,
    )  # fmt: skip
    return place / "run"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_run_folder_cut_short(refused, run, place, name):
    (run / name).write_bytes((run / name).read_bytes()[:100])
    line = refused("predict", run, place / "wave.csv", "--out", place / "p.csv")
    assert line.startswith(f"{run / name}: ")
    assert line.endswith("train again")


def test_a_run_folder_of_another_version(refused, run, place):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format_version": 99}))
    line = refused("predict", run, place / "wave.csv", "--out", place / "p.csv")
    assert line.startswith(f"{run / 'config.json'}: has format version 99")


@pytest.mark.parametrize("name", ["nowhere", "wave.csv"])
def test_a_run_folder_that_is_none(refused, place, name):
    line = refused("predict", place / name, place / "wave.csv", "--out", place / "p.csv")
    assert line.startswith(f"{place / name}: no such run folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv(sin={7: "oops"}), "column 'sin', row 7: 'oops' is not a number"),
        (csv(sin={7: ""}), "input column 'sin', row 7: the value is missing"),
        (wave_frame(5).write_csv(), "has 5 rows, fewer than the 6 that the run needs"),
        ("cos\n1\n", "no column 'sin'"),
        ("", "the file is empty"),
    ],
)
def test_a_table_that_can_not_be_predicted(refused, run, place, content, message):
    line = refused("predict", run, place / "new.csv", "--out", place / "p.csv", new_csv=content)
    assert line.startswith(f"{place / 'new.csv'}: ")
    assert message in line


def test_predictions_replace_no_file_unless_asked(refused, unrolled, run, place):
    (place / "p.csv").write_text("mine")
    command = ["predict", run, place / "wave.csv", "--out", place / "p.csv"]
    assert refused(*command) == (
        f"{place / 'p.csv'}: exists. Name another with --out, or add --overwrite"
    )
    assert (place / "p.csv").read_text() == "mine"
    assert unrolled(*command, "--overwrite").code == 0
    assert (place / "p.csv").read_text().startswith("row,cos,cos_predicted")


@pytest.mark.parametrize("name", ["run", "wave.csv/p.csv"])
def test_predictions_that_can_not_be_written(refused, run, place, name):
    line = refused("predict", run, place / "wave.csv", "--out", place / name, "--overwrite")
    assert line.startswith(f"{place / name}: ")


def test_a_way_with_missing_values_that_there_is_not(refused, run, place):
    command = ["predict", run, place / "wave.csv", "--out", place / "p.csv"]
    assert refused(*command, "--missing", "guess") == (
        "--missing: one of error, drop, interpolate was expected, got 'guess'"
    )

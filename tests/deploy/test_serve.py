"""Lines in, lines out: what is a row, what is none, and what is said of it."""

import io
import json
import os
import signal

import pytest

import unrolled
from support_stream import make_run, rows
from unrolled.deploy.serve import Waiting, serve


def answer(text: str | bytes, run=None) -> tuple[list[str], list[str]]:
    """What stands on stdout and stderr after these lines."""
    out, complaints = io.BytesIO(), []
    source = io.BytesIO(text.encode() if isinstance(text, str) else text)
    serve(unrolled.Stream(run or make_run()), source, out, complaints.append)
    return out.getvalue().decode().splitlines(), complaints


X = rows(4, 2)
Y = [[float(v) for v in row] for row in unrolled.Stream(make_run()).step_many(X)]
CSV = [f"{a!r},{b!r}" for a, b in X.tolist()]
OUT = [",".join(map(repr, row)) for row in Y]
NANS = "NaN,NaN,NaN"


def test_fields_by_position_come_out_without_a_header():
    assert answer("\n".join(CSV)) == (OUT, [])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_fields_by_name_come_out_with_a_header(ending, mark):
    lines = [f"{mark}time,b,a", *[f'"3, maybe",{b!r}, {a!r} ' for a, b in X.tolist()]]
    assert answer(ending.join(lines)) == (["b,y,z", *OUT], [])


def test_objects_by_name_come_out_as_objects():
    lines = [json.dumps({"b": b, "more": None, "a": a}) for a, b in X.tolist()]
    out, complaints = answer("\n".join(lines))
    assert [json.loads(line) for line in out] == [dict(zip("byz", row, strict=True)) for row in Y]
    assert complaints == []


def test_arrays_come_out_as_arrays():
    out, _ = answer("\n".join(json.dumps(row) for row in X.tolist()))
    assert [json.loads(line) for line in out] == Y


BAD_CSV = {
    "0.5": "2 fields were expected, got 1",
    "0.5,0.5,0.5": "2 fields were expected, got 3",
    "0.5,half": "b: a number was expected, got 'half'",
    "0.5,": "b: a number was expected, the field is empty",
    "nan,0.5": "a is nan: a finite number was expected",
    "0.5,1e999": "b is inf: a finite number was expected",
    "": "the line is empty",
    '"0.5,0.5': "no CSV (unexpected end of data)",
}


@pytest.mark.parametrize("line", BAD_CSV)
def test_a_bad_csv_line_is_a_row_of_nan_and_moves_nothing(line):
    out, complaints = answer("\n".join([*CSV[:2], line, *CSV[2:]]))
    assert out == [*OUT[:2], NANS, *OUT[2:]]
    assert complaints == [f"line 3: {BAD_CSV[line]}"]


BAD_JSON = {
    '{"a": 1': "no JSON (",
    '{"a": 1}': "b is missing",
    '{"a": 1, "b": "2"}': 'b: a number was expected, got "2"',
    '{"a": 1, "b": null}': "b: a number was expected, got null",
    '{"a": 1, "b": true}': "b: a number was expected, got true",
    '{"a": 1, "b": NaN}': "b is nan: a finite number was expected",
    '{"a": 1, "b": 1%s}' % ("0" * 400): "b is 1000",
    "[1]": "2 numbers were expected, got 1",
    "7": "an object or an array was expected",
    "": "the line is empty",
}


@pytest.mark.parametrize("line", BAD_JSON, ids=range(len(BAD_JSON)))
def test_a_bad_json_line_is_an_error_with_its_number_and_moves_nothing(line):
    good = [json.dumps(row) for row in X.tolist()]
    out, complaints = answer("\n".join([*good[:2], line, *good[2:]]))
    assert [json.loads(out[i]) for i in (0, 1, 3, 4)] == Y
    error = json.loads(out[2])
    assert error["line"] == 3
    assert error["error"].startswith(BAD_JSON[line])
    assert complaints == []


def test_a_line_that_is_no_text():
    out, complaints = answer(b"\n".join([CSV[0].encode(), b"\xff\xfe", CSV[1].encode()]))
    assert out == [OUT[0], NANS, OUT[1]]
    assert complaints[0].startswith("line 2: no UTF-8")


def test_what_the_lines_are_is_told_by_the_first_that_holds_something():
    out, complaints = answer("\n" + json.dumps(X[0].tolist()))
    assert out[0] == NANS
    assert json.loads(out[1]) == Y[0]
    assert complaints == ["line 1: the line is empty"]


def test_a_header_that_lacks_an_input_is_a_bad_line():
    out, complaints = answer("a,c\n" + "\n".join(CSV))
    assert out == [NANS, *OUT]
    assert complaints == ["line 1: a: a number was expected, got 'a'"]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_first_row_of_a_run_of_changes_has_no_prediction(form):
    run = make_run(difference=True)
    expected = unrolled.Stream(run).step_many(X)[1].tolist()
    if form == "csv":
        out, _ = answer("\n".join(CSV), run)
        assert out[:2] == [NANS, ",".join(map(repr, expected))]
    else:
        out, _ = answer("\n".join(json.dumps(row) for row in X.tolist()), run)
        assert [json.loads(line) for line in out[:2]] == [[None] * 3, expected]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_stream_reads_one_series(form):
    run = make_run(group="who")
    series = ["one", "one", "two", "one"]
    if form == "csv":
        lines = ["who,a,b", *[f"{who},{row}" for who, row in zip(series, CSV, strict=True)]]
        out, (complaint,) = answer("\n".join(lines), run)
        third = unrolled.Stream(run).step_many(X[[0, 1, 3]])[2]
        assert out[1:] == [*OUT[:2], NANS, ",".join(map(repr, third.tolist()))]
        assert complaint.startswith("line 4: who is 'two' after 'one': a stream reads one series")
    else:
        lines = [
            json.dumps({"a": a, "b": b, "who": who})
            for who, (a, b) in zip(series, X.tolist(), strict=True)
        ]
        out, _ = answer("\n".join(lines), run)
        assert json.loads(out[2])["error"].startswith("who is 'two' after 'one'")
        assert "error" not in out[3]


def test_names_with_commas_are_quoted():
    run = make_run(targets=["b,c", 'y"', "z"])
    out, _ = answer("a,b\n" + CSV[0], run)
    assert out[0] == '"b,c","y""",z'


class Watched(io.BytesIO):
    """Says of each flush what is on disk by then."""

    def __init__(self, state):
        super().__init__()
        self.state, self.saved = state, []

    def flush(self):
        self.saved.append(
            int(unrolled.Stream.load(self.state).state["steps"][0]) if self.state.exists() else 0
        )


def test_the_state_is_saved_every_so_many_rows_and_at_the_end_and_never_ahead(tmp_path):
    out = Watched(tmp_path / "s")
    source = io.BytesIO("\n".join([*CSV, "bad", *CSV]).encode())
    serve(unrolled.Stream(make_run()), source, out, print, state=tmp_path / "s", save_every=3)
    assert out.saved == [0, 0, 0, 3, 3, 3, 3, 6, 6]
    assert unrolled.Stream.load(tmp_path / "s").state["steps"] == 8
    assert len(out.getvalue().splitlines()) == 9


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_second_signal_finds_the_end_under_way():
    class Impatient(io.BytesIO):
        was_let_be = False

        def readline(self, *_):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                self.was_let_be = True

    source, waiting = Impatient(), Waiting()
    with waiting.signals():
        assert waiting.line(source) == b""
    assert source.was_let_be

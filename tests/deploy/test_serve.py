"""Lines in, lines out: what is a row, what is none, and what is said of it."""

import errno
import io
import json
import os
import re
import signal
import tracemalloc

import pytest
import torch

import unrolled
from support_stream import answer, make_run, rows, write_run
from unrolled.deploy.serve import Waiting, open_stream, serve

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
    "0.5,1_000": "b: a number was expected, got '1_000'",
    "0.5,١٢": "b: a number was expected, got '١٢'",
    "0.5,0x10": "b: a number was expected, got '0x10'",
    "0.5,\0": r"b: a number was expected, got '\x00'",
    "0.5,-1e200": "x[1] (b) is -1e+200: numbers of at most ",
    "0.5,1" + "0" * 400: "b is inf: a finite number was expected",
    "0.5,1" + "0" * 140_000: "no CSV (field larger than field limit (131072))",
    "0.5,0.5\r0.5,0.5": "no CSV (a carriage return within it)",
    "0.5;0.5": "2 fields were expected, got 1",
    "[" * 100_000: "2 fields were expected, got 1",
    '{"a": 1, "b": 2}': "a: a number was expected, got '{\"a\": 1'",
    "," * 100_000: "2 fields were expected, got 100001",
}


@pytest.mark.parametrize("line", BAD_CSV, ids=range(len(BAD_CSV)))
def test_a_bad_csv_line_is_a_row_of_nan_and_moves_nothing(line):
    out, complaints = answer("\n".join([*CSV[:2], line, *CSV[2:]]))
    assert out == [*OUT[:2], NANS, *OUT[2:]]
    (complaint,) = complaints
    assert complaint.startswith(f"line 3: {BAD_CSV[line]}")
    assert len(complaint) < 500


BAD_JSON = {
    '{"a": 1': "no JSON (",
    '{"a": 1}': "b is missing",
    '{"a": 1, "b": "2"}': "b: a number was expected, got '2'",
    '{"a": 1, "b": null}': "b: a number was expected, got null",
    '{"a": 1, "b": true}': "b: a number was expected, got true",
    '{"a": 1, "b": NaN}': "b is nan: a finite number was expected",
    '{"a": 1, "b": 1%s}' % ("0" * 400): "b is 1000",
    '{"a": 1, "b": 1%s}' % ("0" * 10_000): "b is inf: a finite number was expected",
    '{"a": 1, "b": 1e400}': "b is inf: a finite number was expected",
    '{"a": 1, "b": -Infinity}': "b is -inf: a finite number was expected",
    '{"a": 1, "b": 1e200}': "x[1] (b) is 1e+200: numbers of at most ",
    '{"a": 1, "b": 2, "a": 1}': "'a' stands twice",
    '{"a": 1, "b": [[1]]}': "b: a number was expected, got an array",
    '{"a": 1, "b": {}}': "b: a number was expected, got an object",
    '{"a": 1, "b": "\\ud800"}': r"b: a number was expected, got '\ud800'",
    '{"a": 1, "b": "%s"}' % ("z" * 10_000): "b: a number was expected, got 'zzz",
    "[" * 100_000: "no row (brackets in brackets without end)",
    '{"a":' * 100_000: "no row (brackets in brackets without end)",
    "[" * 900 + "]" * 900: "",
    '{"a": 1, "b": %s}' % ("[" * 900 + "]" * 900): "",
    "[1, 2] [3]": "no JSON (Extra data",
    "[1, 2]\0": "no JSON (Extra data",
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
    assert len(out[2]) < 500
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


WRONG_HEADERS = {
    "a,c": "a row of numbers or a header with a, b was expected, got a, c. Name b in the header",
    "time,value": "a row of numbers or a header with a, b was expected, got time, value. Name a, b",
    "a;b": "got a;b (fields are told apart by commas)",
    "0;5": "got 0;5 (fields are told apart by commas)",
    "a,2020": "got a, 2020. Name b in the header",
    "b,a,b": "the header has b twice. Leave one of them out",
}


@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_a_wrong_header_ends_it_since_every_row_would_be_misread(header):
    out = io.BytesIO()
    source = io.BytesIO("\n".join([header, *CSV]).encode())
    with pytest.raises(unrolled.InputError, match=r"^line 1: ") as error:
        serve(unrolled.Stream(make_run()), source, out, print)
    assert WRONG_HEADERS[header] in str(error.value)
    assert out.getvalue() == b""


@pytest.mark.parametrize("header", ["b,a", "a,c"])
@pytest.mark.parametrize("first", ["a,b", CSV[0]])
def test_another_header_later_ends_it_with_the_rows_before_saved(first, header, tmp_path):
    lines = [first, *CSV[1:3], header, CSV[3]]
    source = io.BytesIO("\n".join(lines).encode())
    with pytest.raises(unrolled.InputError, match=f"line 4: another header, {header[0]}, "):
        serve(unrolled.Stream(make_run()), source, io.BytesIO(), print, state=tmp_path / "s")
    steps = unrolled.Stream.load(tmp_path / "s").state["steps"]
    assert steps == (2 if first == "a,b" else 3)


def test_the_same_header_once_more_is_a_bad_line():
    out, complaints = answer("\n".join(["a,b", *CSV[:2], "a, b", *CSV[2:]]))
    assert out[1:] == [*OUT[:2], NANS, *OUT[2:]]
    assert complaints == ["line 4: the header stands here once more"]


@pytest.mark.parametrize("missing", ["NA", "null", "-", "nan", ""])
def test_a_first_row_with_a_missing_number_is_no_header(missing):
    out, _ = answer("\n".join([f"{missing},{missing}", *CSV]))
    assert out == [NANS, *OUT]


def test_names_may_be_numbers_and_have_brackets_and_blanks():
    run = make_run(inputs=["1", "[x] "])
    row, swapped = CSV[0], ",".join(reversed(CSV[0].split(",")))
    assert answer(f"1,[x] \n{row}", run)[0][1:] == OUT[:1]
    assert answer(f"[x],1\n{swapped}", run)[0][1:] == OUT[:1]
    assert answer(f"1,2.5\n{row}", run)[1] == []


@pytest.mark.parametrize("lines", [["x,1", "2"], ["{}", "[1]"], ["\ufeff"], ["0.5"], ['"a']])
def test_where_no_line_was_a_row_it_ends_with_an_error(lines):
    source = io.BytesIO("\n".join([*lines, ""]).encode())
    with pytest.raises(unrolled.InputError, match=r"^stdin: no line was a row\. .* line \d: "):
        serve(unrolled.Stream(make_run()), source, io.BytesIO(), lambda _: None)


@pytest.mark.parametrize("lines", [[], ["a,b"]])
def test_no_rows_are_no_error(lines):
    answer("\n".join(lines))


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


def test_a_label_in_a_stream_has_at_most_a_thousand_letters():
    lines = [json.dumps({"a": 1, "b": 2, "who": "ö" * count}) for count in (1001, 1000)]
    out, _ = answer("\n".join(lines), make_run(group="who"))
    error = "who: a label of at most 1,000 letters was expected, got 1,001. Shorten it"
    assert json.loads(out[0])["error"] == error
    assert "error" not in out[1]


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
        assert waiting.line(source, 100) == b""
    assert source.was_let_be


class Endless(io.RawIOBase):
    """A good line, so many bytes without a line's end, and a good line, made as they are read."""

    def __init__(self, line: bytes, count: int):
        self.parts: list[bytes | int] = [line, count, b"\n" + line]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while self.parts and not self.parts[0]:
            del self.parts[0]
        if not self.parts:
            return 0
        part, size = self.parts[0], len(buffer)
        if isinstance(part, int):
            size = min(size, part)
            self.parts[0] = part - size
            buffer[:size] = b"[" * size
            return size
        size = min(size, len(part))
        buffer[:size], self.parts[0] = part[:size], part[size:]
        return size


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_line_without_an_end_is_read_past_in_little_memory(form):
    line = CSV[0] if form == "csv" else json.dumps(X[0].tolist())
    out = io.BytesIO()
    complaints: list[str] = []
    source = io.BufferedReader(Endless(line.encode() + b"\n", 300_000_000))
    tracemalloc.start()
    try:
        serve(unrolled.Stream(make_run()), source, out, complaints.append)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    first, bad, second = out.getvalue().decode().splitlines()
    assert most < 20_000_000
    expected = unrolled.Stream(make_run()).step_many(X[[0, 0]]).tolist()
    if form == "csv":
        assert [first, bad] == [OUT[0], NANS]
        assert complaints == ["line 2: the line has more than 1050624 bytes"]
    else:
        assert json.loads(bad) == {"error": "the line has more than 1050624 bytes", "line": 2}
        assert [json.loads(first), json.loads(second)] == expected


class Full(io.BytesIO):
    """Takes so many lines."""

    def __init__(self, lines: int, error: OSError):
        super().__init__()
        self.left, self.error = lines, error

    def flush(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


def test_an_output_that_is_full_leaves_what_was_saved(tmp_path):
    out, source = (
        Full(3, OSError(errno.ENOSPC, "No space left")),
        io.BytesIO("\n".join(CSV).encode()),
    )
    with pytest.raises(unrolled.InputError, match=r"^stdout: can't be written \(No space left\)"):
        serve(unrolled.Stream(make_run()), source, out, print, state=tmp_path / "s", save_every=2)
    assert unrolled.Stream.load(tmp_path / "s").state["steps"] == 2


def test_an_input_that_fails_ends_it_with_the_state_saved(tmp_path):
    class Failing(io.BytesIO):
        def readline(self, *size):
            line = super().readline(*size)
            if not line:
                raise OSError(errno.EIO, "Input/output error")
            return line

    source = Failing("\n".join(CSV).encode())
    with pytest.raises(unrolled.InputError, match=r"^stdin: can't be read \(Input/output error\)"):
        serve(unrolled.Stream(make_run()), source, io.BytesIO(), print, state=tmp_path / "s")
    assert unrolled.Stream.load(tmp_path / "s").state["steps"] == 4


@pytest.mark.parametrize("difference", [False, True])
def test_a_network_that_runs_off_is_not_saved(tmp_path, difference):
    run = make_run("rnn", difference=difference)
    with torch.no_grad():
        run.network.readout.bias[0] = float("inf")  # no file holds such a run
    source = io.BytesIO("\n".join(CSV).encode())
    with pytest.raises(unrolled.InputError, match=f"^line {1 + difference}: .* no longer finite"):
        serve(unrolled.Stream(run), source, io.BytesIO(), print, state=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_group_is_a_name():
    run = make_run(group="who")
    lines = [json.dumps({"a": 1, "b": 2, "who": who}) for who in (7, [7], None, 7, "7", 7)]
    out, _ = answer("\n".join(lines), run)
    assert ["error" in json.loads(line) for line in out] == [False, True, True, False, True, False]


UNNAMED = {
    "csv": ["a,b,who", "1,2,"],
    "quoted": ["a,b,who", '1,2,""'],
    "text": ['{"a": 1, "b": 2, "who": ""}'],
    "null": ['{"a": 1, "b": 2, "who": null}'],
    "NaN": ['{"a": 1, "b": 2, "who": NaN}'],
    "a number too large": ["a,b,who", "1,1e300,y"],
    "a number too large in JSON": ['{"a": 1, "b": 1e300, "who": "y"}'],
}


@pytest.mark.parametrize("lines", UNNAMED.values(), ids=UNNAMED)
def test_a_bad_line_does_not_say_which_series_it_is(lines):
    is_json = lines[0].startswith("{")
    after = ['{"a": 1, "b": 2, "who": "x"}'] * 2 if is_json else ["1,2,x"] * 2
    out, said = answer("\n".join([*lines, *after]), make_run(group="who"))
    bad, first, second = out[-3:]
    assert ("error" in bad) if is_json else (bad, len(said)) == (NANS, 1)
    assert not {"error", "NaN"} & {first[2:7], second[:3]}
    assert first != second


def test_a_group_of_booleans_is_read_from_json():
    run = make_run(group="who")
    lines = [json.dumps({"a": 1, "b": 2, "who": who}) for who in (True, 1, False, True, "true")]
    out, _ = answer("\n".join(lines), run)
    assert ["error" in line for line in out] == [False, True, True, False, False]
    assert "who is 1 after 'true'" in out[1].replace("\\", "")
    assert "who is 'false' after 'true'" in out[2]


def test_a_group_of_csv_is_taken_as_it_stands():
    lines = ["a,b,who", "1,2,x", "1,2,x ", "1,2, x", "1,2,x"]
    _, said = answer("\r\n".join(lines), make_run(group="who"))
    assert ["after 'x'" in line for line in said] == [True, True]


def test_an_unwritable_place_for_the_state_is_told_before_any_row(tmp_path):
    run = write_run(tmp_path / "run", make_run())
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "run", tmp_path / "none" / "s", tmp_path / "file" / "s"):
        with pytest.raises(unrolled.InputError, match=re.escape(f"{state}: ")):
            open_stream(run, state)


def test_what_killed_processes_left_beside_the_state_is_removed(tmp_path):
    run = write_run(tmp_path / "run", make_run())
    names = [".s.0123abcd.draft", ".s.other.draft", ".t.0123abcd.draft"]
    for name in names:
        (tmp_path / name).write_text("half")
    open_stream(run, tmp_path / "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[1:], "run"]

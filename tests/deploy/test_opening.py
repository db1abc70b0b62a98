"""The first line of a stream, where names may be numbers: no row is taken for a header, or lost."""

import json

import pytest

import unrolled
from support_stream import answer, make_run, rows

X = rows(3, 2)
CSV = [f"{a!r},{b!r}" for a, b in X.tolist()]
SWAPPED = [f"{b!r},{a!r}" for a, b in X.tolist()]

NUMBERED = [
    ("0", "1"), ("1", "0"), ("1.5", "-2"), ("1e3", "+.5"), ("nan", "inf"), ("1_000", "0"),
    ("NA", "null"), (" 7", "8 "), ("", "3"),
]  # fmt: skip
"""Names of two columns of which each could stand in a row, as a number or for a missing one."""
MIXED = [("0", "a"), ("a", "nan"), ("0x10", "1"), ("1.5 m", "2"), ("", "a"), ("1,5", "2")]
"""Names of which one at least could not."""

each = pytest.mark.parametrize


def line(*names):
    """A line of CSV with these fields, quoted where they have to be."""
    return ",".join(f'"{name}"' if "," in name else name for name in names)


def stepped(run, x=X):
    return [",".join(map(repr, y)) for y in unrolled.Stream(run).step_many(x).tolist()]


def is_row(text):
    """Whether the fields of a line are finite numbers by what Python and a stream both say."""
    try:
        return all(abs(float(field)) < 1e30 and "_" not in field for field in text.split(","))
    except ValueError:
        return False


@each("names", NUMBERED)
@each("swapped", [False, True])
@each("quote", ["", '"'])
def test_a_first_line_of_numbers_is_a_row_whatever_the_names_are(names, swapped, quote):
    run = make_run(inputs=list(names))
    first = ",".join(f"{quote}{name}{quote}" for name in (names[::-1] if swapped else names))
    out, said = answer("\n".join([first, *CSV]), run)
    assert len(out) == 4  # an answer for each line, and no header
    plain = first.replace('"', "")
    if is_row(plain):
        x = [[float(field) for field in plain.split(",")], *X]
        assert out == stepped(run, x)
        (remark,) = said
    else:  # a row with a missing number
        assert out == ["NaN,NaN,NaN", *stepped(run)]
        remark = said[0]
    assert remark.startswith("line 1: ")
    assert "is read as a row, though it has the names of the run's inputs" in remark
    assert "add --header, and if not, --no-header" in remark


@each("names", NUMBERED + MIXED)
@each("more", [[], ["time"], ["5"]])
def test_a_header_that_is_asked_for_is_read_by_name(names, more):
    run = make_run(inputs=list(names))
    lines = [line(*more, *names[::-1]), *(",".join(["9"] * len(more) + [row]) for row in SWAPPED)]
    assert answer("\n".join(lines), run, has_header=True) == (["b,y,z", *stepped(run)], [])


@each("names", MIXED)
@each("more", [[], ["time"], ["5"]])
def test_a_name_that_is_no_number_tells_a_header(names, more):
    run = make_run(inputs=list(names))
    lines = [line(*more, *names[::-1]), *(",".join(["9"] * len(more) + [row]) for row in SWAPPED)]
    assert answer("\n".join(lines), run) == (["b,y,z", *stepped(run)], [])


@each("names", NUMBERED)
@each("more", ["time", "5"])
def test_names_among_more_fields_have_to_be_told(names, more):
    lines = "\n".join([line(more, *names), *CSV])
    with pytest.raises(unrolled.InputError, match=r"^line 1: 2 fields .* add --header: ") as error:
        answer(lines, make_run(inputs=list(names)))
    assert "\n" not in str(error.value)


@each("names", NUMBERED)
def test_told_that_there_is_no_header_nothing_is_said_of_one(names):
    run = make_run(inputs=list(names))
    assert answer("\n".join(CSV), run, has_header=False) == (stepped(run), [])
    _, said = answer("\n".join([line(*names), *CSV]), run, has_header=False)
    assert not any("header" in words for words in said)


@each("first", [*CSV[:1], "0,2", "1.0,0"])
def test_nothing_is_said_of_a_row_that_is_no_header(first):
    """Of a name that is a number, another number is not the name, not even one of its value."""
    run = make_run(inputs=["0", "1"])
    out, said = answer("\n".join([first, *CSV]), run)
    assert (len(out), said) == (4, [])


@each(
    ("has_header", "said"),
    [(None, ["line 1: 7 is read as a row, though"]), (False, []), (True, [])],
)
def test_one_column_that_a_number_names(has_header, said):
    run = make_run(inputs=["7"], input_size=1)
    out, found = answer("7\n0.5\n", run, has_header=has_header)
    first = ["b,y,z"] if has_header else stepped(run, [7.0, 0.5])[:1]
    rest = stepped(run, [0.5] if has_header else [7.0, 0.5])[-1:]
    assert out == first + rest
    assert [words[: len(part)] for words, part in zip(found, said, strict=True)] == said


@each("names", [("0", "1"), ("nan", "1e3"), ("[1", "2]")])
def test_json_has_no_header(names):
    run = make_run(inputs=list(names))
    objects = [json.dumps(dict(zip(names, row, strict=True))) for row in X.tolist()]
    arrays = [json.dumps(row) for row in X.tolist()]
    for lines in (objects, arrays):
        out, said = answer("\n".join(lines), run)
        assert said == []
        assert len(out) == 3
    assert [json.loads(text) for text in out] == unrolled.Stream(run).step_many(X).tolist()


def test_an_array_that_has_the_names_is_a_row():
    run = make_run(inputs=["[1", " 2]"])
    out, (said,) = answer("[1, 2]\n", run)
    assert json.loads(out[0]) == unrolled.Stream(run).step([1.0, 2.0]).tolist()
    assert said.startswith("line 1: [1, 2] is read as a row")


@each("missing", ["na", "-", "nan", ""])
def test_a_missing_number_in_the_first_row_is_no_name(missing):
    run = make_run(inputs=[missing or "-", "b"])
    out, _ = answer("\n".join([f"{missing},5", *CSV]), run)
    assert out == ["NaN,NaN,NaN", *stepped(run)]


@each("first", ["a,c", "1,2", "[1, 2]", '{"a": 1, "b": 2}', '"a'])
def test_a_header_that_is_asked_for_and_is_none_ends_it(first):
    with pytest.raises(
        unrolled.InputError, match=r"^line 1: a header with a, b was expected, got "
    ):
        answer("\n".join([first, *CSV]), has_header=True)


@each(("again", "ends"), [("time,0,1", False), ("0,time,1", True), ("time,1,0", True)])
def test_a_header_of_numbers_that_comes_again_is_known_by_its_other_columns(again, ends):
    run = make_run(inputs=["0", "1"])
    lines = ["time,0,1", f"9,{CSV[0]}", again, f"9,{CSV[1]}"]
    if ends:
        with pytest.raises(unrolled.InputError, match=r"^line 3: another header, "):
            answer("\n".join(lines), run, has_header=True)
        return
    out, said = answer("\n".join(lines), run, has_header=True)
    assert out == ["b,y,z", *stepped(run)[:1], "NaN,NaN,NaN", *stepped(run)[1:2]]
    assert said == ["line 3: the header stands here once more"]


@each("names", MIXED)
def test_a_header_in_another_order_later_ends_it(names):
    run = make_run(inputs=list(names))
    lines = [line(*names), CSV[0], line(*names[::-1]), SWAPPED[1]]
    with pytest.raises(unrolled.InputError, match=r"^line 3: another header, "):
        answer("\n".join(lines), run)


def test_a_header_where_none_should_be_is_a_bad_line():
    out, said = answer("\n".join(["a,b", *CSV]), has_header=False)
    assert out == ["NaN,NaN,NaN", *stepped(make_run())]
    assert said == ["line 1: a header stands here"]


SPACED = [
    (" x", "x "), (" x", "x"), ("x ", "x"), ("x", "  x"), (" x", "y "), ("x  y", "x y"),
    ("\tx", "x"),
]  # fmt: skip
"""Names that white space tells apart, or that begin or end with it."""


@each("names", SPACED)
@each("swapped", [False, True])
def test_white_space_around_a_name_is_part_of_it(names, swapped):
    header = ",".join(names[::-1] if swapped else names)
    lines = [header, *(SWAPPED if swapped else CSV)]
    run = make_run(inputs=list(names))
    assert answer("\n".join(lines), run) == (["b,y,z", *stepped(run)], [])


@each("names", SPACED)
def test_where_nothing_else_tells_names_apart_another_order_ends_it(names):
    first, again = ",".join(names), ",".join(names[::-1])
    with pytest.raises(unrolled.InputError, match=r"^line 2: another header, "):
        answer("\n".join([first, again, *CSV]), make_run(inputs=list(names)))
    out, (said,) = answer("\n".join([first, first, *CSV]), make_run(inputs=list(names)))
    assert "the header stands here once more" in said
    assert len(out) == 5


@each("header", [" x , y ", "y ,x", " y, x"])
def test_white_space_that_tells_nothing_may_be_missing_or_more(header):
    run = make_run(inputs=["x", "y"])
    lines = [header, *(CSV if header.strip().startswith("x") else SWAPPED)]
    assert answer("\n".join(lines), run) == (["b,y,z", *stepped(run)], [])


@each("has_header", [None, True])
def test_what_differs_in_white_space_is_shown_in_quotes(has_header):
    run = make_run(inputs=[" x", "x  "])
    with pytest.raises(unrolled.InputError, match=r"^line 1: ") as error:
        answer("x,x  \n1,2\n", run, has_header=has_header)
    assert "header with ' x', 'x  ' was expected, got x, 'x  '" in str(error.value)
    assert "Name ' x' in" in str(error.value)


@each("header", ["a,b, who", "a,b,who", "who ,a,b"])
def test_a_group_is_found_whatever_white_space_is_around_its_name(header):
    rows = ["1,2,s", "1,2,t"] if header.startswith("a") else ["s,1,2", "t,1,2"]
    _, said = answer("\n".join([header, *rows]), make_run(group=" who"))
    assert [words.split(":")[0] for words in said] == ["line 3"]

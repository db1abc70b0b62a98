"""Settings: from flags, TOML or JSON, checked as a whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from unrolled.errors import InputError
from unrolled.learn.comparison import CompareSettings, read_compare_settings
from unrolled.learn.settings import TrainSettings, read_settings

GIVEN = {"data": "t.csv", "out": "run", "input": ["a"], "target": ["b"]}


def refusal(config=None, **flags) -> str:
    with pytest.raises(InputError) as caught:
        read_settings({**GIVEN, **flags}, config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def flat(values):
    for key, value in values.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        yield from ((f"{key}.{name}".rstrip("."), v) for name, v in inner)


def write(path, values):
    if path.suffix.lower() == ".json":
        path.write_text(json.dumps(values))
    else:  # what these tests use of TOML is written as JSON writes it, but for tables
        lines = [f"{key} = {json.dumps(v)}" for key, v in flat(values)]
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("kind", ["settings.toml", "settings.json", "SETTINGS.TOML"])
def test_a_file_may_give_all_of_it(tmp_path, kind):
    values = {**GIVEN, "hidden-size": 7, "learning_rate": 0.5, "bidirectional": True}
    values |= {"cell": "ProjectedLSTM", "size": {"proj": 3}}
    config = write(tmp_path / kind, values)
    data, out, settings = read_settings({}, config)
    assert (data, out) == (Path("t.csv"), Path("run"))
    assert (settings.hidden_size, settings.learning_rate, settings.bidirectional) == (7, 0.5, True)
    assert settings.size == {"proj": 3}


@pytest.mark.parametrize("kind", ["settings.toml", "settings.json"])
def test_flags_win_over_the_file(tmp_path, kind):
    config = write(tmp_path / kind, {**GIVEN, "epochs": 7, "window": 9, "out": "elsewhere"})
    _, out, settings = read_settings({"epochs": 3, "input": ["c"], "out": "here"}, config)
    assert (settings.epochs, settings.window) == (3, 9)
    assert settings.input == ["c"]
    assert out == Path("here")


def test_one_column_need_not_be_a_list(tmp_path):
    config = write(tmp_path / "settings.toml", {**GIVEN, "input": "a", "target": "b"})
    assert read_settings({}, config)[2].input == ["a"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("epoch", "epochs"),
        ("hiden_size", "hidden_size"),
        ("lerning-rate", "learning_rate"),
        ("inputs", "input"),
    ],
)
def test_an_unknown_setting_suggests_the_near_miss(tmp_path, name, near):
    message = refusal(write(tmp_path / "settings.json", {name: 3}))
    assert message.endswith(
        f"settings.json: no setting {name.replace('-', '_')!r}. Did you mean {near!r}?"
    )


def test_a_setting_like_no_other_is_answered_with_all_there_are(tmp_path):
    message = refusal(write(tmp_path / "settings.json", {"zzz": 3}))
    assert "no setting 'zzz'. There are: input, target, " in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", "[1]", "names with values were expected, got a list"),
        ("s.json", '{"a"', "can't be read"),
        ("s.toml", "a = = 1", "can't be read"),
        ("s.yaml", "a: 1", "a .toml or .json file was expected"),
        ("s.json", '{"data": 5}', "data: a path was expected, got 5"),
        ("s.json", '{"out": null}', "out: a path was expected, got None"),
        ("s.json", '{"input": ["a", 3]}', "--input: Input should be a valid string, got 3"),
        ("s.json", '{"input": []}', "--input: "),
        ("s.json", '{"clip": 1e999}', "--clip: Input should be a finite number, got inf"),
    ],
)
def test_a_broken_file_is_refused_by_its_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_settings({k: v for k, v in GIVEN.items() if k not in content}, path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path):
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe")
    assert "s.toml: can't be read" in refusal(tmp_path / "s.toml")
    assert "nowhere.toml: no such file" in refusal(tmp_path / "nowhere.toml")
    (tmp_path / "folder.toml").mkdir()
    assert "folder.toml: " in refusal(tmp_path / "folder.toml")


@pytest.mark.parametrize("name", ["data", "out", "input", "target"])
def test_what_must_be_given_is_named(name):
    with pytest.raises(InputError, match=rf"{name} is missing\. Name "):
        read_settings({key: value for key, value in GIVEN.items() if key != name}, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", 0),
        ("ahead", -1),
        ("missing", "guess"),
        ("validation", 0.0),
        ("test", 1.0),
        ("cell", "lstmm"),
        ("hidden_size", 0),
        ("num_layers", 0),
        ("dropout", 1.0),
        ("epochs", 0),
        ("patience", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", 1e38),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("clip", -1.0),
        ("clip", float("inf")),
        ("seed", -1),
        ("seed", 2**64),
        ("threads", 0),
        ("threads", 100_000),
        ("precision", "fp8"),
    ],
)
def test_a_wrong_value_names_its_flag_and_what_came(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"--{name.replace('_', '-')}: Input should be ")
    assert message.endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation": 0.6, "test": 0.5}, "leave no rows to train on"),
        ({"input": ["a", "a"]}, "input names a column twice: a, a"),
        ({"target": ["b", "c", "b"]}, "target names a column twice"),
        ({"target": ["a"]}, "'a' is both input and target.*add --ahead 1"),
        ({"difference": True}, "none of the targets is also an input"),
        ({"dropout": 0.5}, "Add --num-layers 2"),
        ({"target": ["row"]}, "two columns named 'row'"),
        ({"init": ["chrono"], "window": 1}, "which has 1 row. Raise --window"),
        ({"group": "row"}, "two columns named 'row'"),
        ({"group": "for_row", "ahead": 1}, "two columns named 'for_row'"),
        ({"group": "b"}, "two columns named 'b'"),
        ({"target": ["b", "b_predicted"]}, "two columns named 'b_predicted'"),
        ({"group": "b_predicted"}, "two columns named 'b_predicted'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        TrainSettings(**{"input": ["a"], "target": ["b"], **values})


def test_a_column_may_have_the_name_of_one_that_is_not_written():
    TrainSettings(input=["row"], target=["for_row"])


def test_a_target_that_is_an_input_is_fine_some_rows_ahead():
    assert TrainSettings(input=["a"], target=["a"], ahead=1).table().ahead == 1


KINDS = {
    "whole": ("window", "ahead", "hidden_size", "num_layers", "epochs", "patience", "batch_size",
              "seed", "threads", "watch_every"),
    "number": ("validation", "test", "dropout", "learning_rate", "clip"),
    "truth": ("difference", "bidirectional", "watch"),
    "text": ("group", "missing", "cell", "precision"),
    "texts": ("input", "target"),
    "presets": ("init",),
    "sizes": ("size",),
}  # fmt: skip
COMPARED = {
    "whole": ("steps", "batch_size", "hidden_size", "test_size", "seed", "threads"),
    "number": ("learning_rate", "clip", "forget_bias"),
}
WRONG = {
    "whole": [True, False, "4", 4.5, [4], "4.0", " 4"],
    "number": [True, False, "0.25", [0.25], "1e-3"],
    "truth": [0, 1, 1.0, "yes", "true", "false", [True]],
    "text": [True, 1, 0.5, ["error"]],
    "texts": [True, 1, [True], [1], [["sin"]]],
    "presets": [True, 1, [True], "sin", [["chrono"]]],
    "sizes": [True, 8, [8], {"proj": "8"}, {"proj": True}, {"proj": 4.5}, {"proj": [8]}],
}


def cases(kinds, values):
    return [(name, value) for kind, names in kinds.items() for name in names
            for value in values[kind]]  # fmt: skip


def test_every_setting_is_of_one_kind_here():
    """The lists above leave none out, so that what is asked of them is asked of all."""
    assert sorted(sum(KINDS.values(), ())) == sorted(TrainSettings.model_fields)
    assert sorted(sum(COMPARED.values(), ())) == sorted(CompareSettings.model_fields)


@pytest.mark.parametrize("kind", ["settings.toml", "settings.json"])
@pytest.mark.parametrize(("name", "value"), cases(KINDS, WRONG))
def test_a_value_of_another_kind_is_refused(tmp_path, kind, name, value):
    config = write(tmp_path / kind, {**GIVEN, name: value})
    with pytest.raises(InputError) as caught:
        read_settings({}, config)
    flag = f"--{name.replace('_', '-')}"
    assert str(caught.value).startswith(f"{config}: {flag}: Input should be ")


@pytest.mark.parametrize(("name", "value"), cases(COMPARED, WRONG))
def test_a_comparisons_value_of_another_kind_is_refused(name, value):
    with pytest.raises(InputError, match=f"^--{name.replace('_', '-')}: Input should be a valid"):
        read_compare_settings({name: value})


RIGHT = {
    "whole": [np.int64(1), np.uint8(1), np.float64(1.0), 1.0, 1],
    "number": [np.float32(0.5), np.float64(0.5), 0.5],
    "truth": [np.True_, np.False_, False],
    "text": [],
    "texts": [("x", "y"), ["x", "y"], "x", np.str_("x")],
    "presets": [("chrono", "orthogonal"), ["identity"], "chrono", np.str_("chrono")],
    "sizes": [],
}


@pytest.mark.parametrize(
    "size", ["proj=8", ["proj=8"], {"proj": 8}, {"proj": 8.0}, {"proj": np.int64(8)}], ids=str
)
def test_a_size_of_the_cells_own_is_said_in_each_of_these_ways(size):
    found = TrainSettings(input=["a"], target=["b"], cell="ProjectedLSTM", size=size).size
    assert found == {"proj": 8}
    assert type(found["proj"]) is int


@pytest.mark.parametrize(
    ("cell", "size", "message"),
    [
        ("ProjectedLSTM", [], r"a size of its own, proj, and it is not given. Add --size proj=8"),
        ("ProjectedLSTM", ["proj"], "a name and a number were expected, proj=8, got 'proj'"),
        ("ProjectedLSTM", ["proj=x"], "got 'proj=x'"),
        ("ProjectedLSTM", ["=8"], "got '=8'"),
        ("ProjectedLSTM", ["proj=8", "proj=9"], "proj is given twice"),
        ("ProjectedLSTM", ["proj=0"], "greater than 0"),
        ("ProjectedLSTM", ["proj=8", "hidden=9"], "no size 'hidden': its own are proj. Leave it"),
        ("lstm", ["proj=8"], "LSTM has no size 'proj': it has none of its own. Leave it out"),
    ],
)
def test_sizes_that_are_not_the_cells_are_refused(cell, size, message):
    with pytest.raises(ValidationError, match=message):
        TrainSettings(input=["a"], target=["b"], cell=cell, size=size)


@pytest.mark.parametrize(("name", "value"), cases(KINDS, RIGHT))
def test_numbers_of_numpy_become_pythons(name, value):
    given = {"input": ["a"], "target": ["b"], "num_layers": 2, "validation": 0.25, "test": 0.25}
    if name == "difference" and value:
        given |= {"input": ["b"], "ahead": 1}
    found = getattr(TrainSettings(**{**given, name: value}), name)
    assert type(found) in (int, float, bool, list)
    if name not in KINDS["texts"] + KINDS["presets"]:
        assert found == value


@pytest.mark.parametrize("name", KINDS["number"])
def test_a_whole_number_is_a_number(name):
    values: dict[str, Any] = {"input": ["a"], "target": ["b"], name: 0}
    if name in ("dropout", "clip"):
        assert type(getattr(TrainSettings(**values), name)) is float
    else:
        with pytest.raises(ValidationError, match="greater than 0"):
            TrainSettings(**values)


@pytest.mark.parametrize("kind", ["settings.toml", "settings.json"])
def test_a_setting_under_both_of_its_spellings_is_refused(tmp_path, kind):
    config = write(tmp_path / kind, {**GIVEN, "hidden-size": 4, "hidden_size": 8})
    with pytest.raises(InputError, match="names 'hidden_size' twice, with - and with _"):
        read_settings({}, config)

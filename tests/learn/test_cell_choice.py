"""Which cell a setting says: names, classes, descriptions, and classes in a Python file."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import unrolled
from unrolled import cells
from unrolled.cells import linear, tanh
from unrolled.errors import InputError
from unrolled.learn.cell_choice import SHIPPED, cell_of, cell_or_file

LEAKY = """\
from __future__ import annotations

from dataclasses import dataclass

import unrolled
from unrolled.cells import linear, tanh


@dataclass(frozen=True)
class Leaky(unrolled.Cell):
    rate: float = 0.5

    def step(self, x, h):
        return (1 - self.rate) * h + self.rate * tanh(linear(x, h))


class Needy(unrolled.Cell):
    def __init__(self, rate):
        self.rate = rate

    def step(self, x, h):
        return self.rate * tanh(linear(x, h))


slow = Leaky(0.125)
"""


class Mine(unrolled.Cell):
    def step(self, x: Any, h: Any) -> Any:
        return tanh(linear(x, h))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mycell.py"
    path.write_text(LEAKY)
    return path


def refusal(value) -> str:
    """The message that a choice is refused with: one line."""
    with pytest.raises(InputError) as caught:
        cell_or_file(value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", sorted(SHIPPED.keys() - {"RNN", "LSTM", "GRU", "EALSTM", "ProjectedLSTM"})
)
def test_a_shipped_cell_goes_by_its_name(name):
    assert cell_of(name) == SHIPPED[name]().description


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "RNN", "LSTM", "GRU"])
def test_torchs_cells_are_the_modules(name):
    assert cell_of(name) == name.lower()


@pytest.mark.parametrize("cell", [Mine, Mine(), Mine().description], ids=["class", "cell", "data"])
def test_a_cell_is_taken_in_any_form(cell):
    assert cell_of(cell) == Mine().description


def test_a_class_in_a_file_is_read_from_it(file):
    found = cell_or_file(f"{file}:Leaky")
    assert isinstance(found, unrolled.cells.Description)
    assert found.name == "Leaky"
    assert found.states[0].name == "h"


def test_an_instance_in_a_file_has_its_settings(file):
    found = cell_or_file(f"{file}:slow")
    assert isinstance(found, unrolled.cells.Description)
    assert 0.125 in {operand for line in found.lines for operand in getattr(line, "operands", ())}


def test_a_file_leaves_no_module_and_no_other_file(file):
    before = set(sys.modules)
    cell_or_file(f"{file}:Leaky")
    assert set(sys.modules) == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["mycell.py:Leaky", "Nothing"])
def test_an_estimators_cell_is_no_file(name):
    with pytest.raises(InputError, match=f"cell should be rnn, .*got '{name}'"):
        cell_of(name, "cell")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nobody", "no cell named Nobody. It has Leaky, Needy"),
        ("linear", "no cell named linear"),
        ("Needy", "missing 1 required positional argument.*make an instance"),
    ],
)
def test_what_is_no_cell_in_a_file_is_named(file, name, message):
    with pytest.raises(InputError, match=message):
        cell_or_file(f"{file}:{name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nx = = 2\n", ", line 2: invalid syntax. Correct the file"),
        ("x = 1\n\nx / 0\n", ", line 3: ZeroDivisionError: division by zero. Correct the file"),
        ("raise SystemExit(3)\n", ", line 1: SystemExit: 3. Correct the file"),
        ("import nowhere_at_all\n", ", line 1: ModuleNotFoundError: No module named"),
        ("x = 1\n", "no cell named Leaky. Derive a class from unrolled.Cell in it"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(file, text, words):
    file.write_text(text)
    message = refusal(f"{file}:Leaky")
    assert message.startswith(str(file))
    assert words in message


def test_a_cells_own_error_is_said_as_it_is(file):
    file.write_text(LEAKY.replace("tanh(linear(x, h))", "tanh(linear(x, h)).squeeze()"))
    assert refusal(f"{file}:Leaky").startswith("mycell.py, line 14: a value of a step has no")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.py:Leaky", "nowhere.py: no such file. Check --cell"),
        ("mycell.py", "the cell's class is missing. Name it: mycell.py:MyCell"),
        (
            "EALSTM",
            "EALSTM reads static beside the input, the same at every step, and the rows of a table "
            "are the input alone. Choose a cell without constants",
        ),
        (3, "got 3"),
    ],
)
def test_what_can_not_be_trained_is_refused(value, message):
    assert message in refusal(value)


def test_zoneout_around_a_cell_is_a_cell():
    found = cell_of(cells.zoneout(cells.MGU, hidden=0.1))
    assert isinstance(found, unrolled.cells.Description)
    assert found.draws

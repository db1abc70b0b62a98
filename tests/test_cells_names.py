"""What is known of a cell stands in its own file: nothing else knows it by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import unrolled
from unrolled.cells import elman, gru, lstm
from unrolled.cells.built_in import BUILT_IN, OF_RUNS

PACKAGE = Path(unrolled.__file__).parent
OWN = {Path(str(module.__file__)).resolve() for module in (elman, gru, lstm)}
"""The files of the cells themselves."""
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.resolve() not in OWN)

CELLS = {*BUILT_IN, *OF_RUNS, *(known.name for known in BUILT_IN.values())}
GATES = {gate for known in BUILT_IN.values() for gate in known.gates}
GATES -= {"hidden", "input", "output", "update"}  # which are words for much else

OF_ONNX = "operators and gates of ONNX's standard, which has cells of these names"
EXPORTED = "public names, which a package has to spell out"
DRAWN = "how the textbooks draw a gate, and what it does in their drawing"
MAY_NAME = {
    "__init__.py": EXPORTED,
    "cells/__init__.py": EXPORTED,
    "deploy/onnx_gates.py": OF_ONNX,
    "deploy/onnx_patterns.py": OF_ONNX,
    "inspect/drawing.py": DRAWN,
    "inspect/painter.py": DRAWN,
    "inspect/scene.py": DRAWN,
    "inspect/words.py": "what a gate is called in a sentence: in English by its own name",
    "nn/__init__.py": EXPORTED,
    "reproduce/architecture.py": "a block of cells shares gates, not what they take in",
    "reproduce/continual_kinds.py": "which gates begin open is what the experiment is about",
    "reproduce/modern.py": "which cells are compared is what the experiment is about",
    "reproduce/stepwise.py": "its derivatives are written out, gate by gate",
}
"""The files that may, and why."""


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def named(source: str) -> list[str]:
    """The cells and gates that are texts of the source by themselves: no part of a sentence."""
    nodes = ast.walk(ast.parse(source))
    texts = [node for node in nodes if isinstance(node, ast.Constant)]
    return [f"line {t.lineno}: {t.value}" for t in texts if t.value in CELLS | GATES]


def test_there_are_cells_and_gates_to_look_for() -> None:
    assert {"LSTM", "lstm", "RNN_TANH", "rnn", "RNN"} <= CELLS
    assert {"forget", "candidate", "reset"} <= GATES


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("mode == 'LSTM'", ["line 1: LSTM"]),
        ("\nTABLE = {'gru': 1}", ["line 2: gru"]),
        ("match mode:\n    case 'RNN_RELU': pass", ["line 2: RNN_RELU"]),
        ("cell: Literal['rnn']", ["line 1: rnn"]),
        ("gates['forget']", ["line 1: forget"]),
        ('def f():\n    """The LSTM\'s."""\n    return LSTM("an LSTM", update=b"GRU")', []),
    ],
)
def test_a_name_is_found_wherever_it_stands(source: str, found: list[str]) -> None:
    assert named(source) == found


@pytest.mark.parametrize("path", FILES, ids=place)
def test_no_cell_is_known_by_its_name_outside_its_file(path: Path) -> None:
    found = named(path.read_text(encoding="utf-8"))
    if place(path) in MAY_NAME:
        assert found, f"{place(path)} names no cell any more: take it out of MAY_NAME"
    else:
        assert found == [], "what depends on the cell belongs into its file in cells/"

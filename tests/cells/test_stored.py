"""Descriptions in files: they come back as they were, and nothing else comes in."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from typing import Any

import pytest
import torch

from support_cells import SHIPPED, SPECIAL, UNITS, Everything
from unrolled.cells.stored import FORMAT, from_json, to_json
from unrolled.errors import InputError
from unrolled.nn import Recurrent


@pytest.mark.parametrize("cell", [*SHIPPED, *SPECIAL])
def test_a_description_comes_back_as_it_was(cell):
    description = cell().description
    assert from_json(json.loads(json.dumps(to_json(description)))) == description


def test_infinity_comes_back():
    stored = to_json(Everything().description)
    line = next(one for one in stored["lines"] if one.get("operation") == "maximum")
    line["operands"][1] = {"number": "-inf"}
    written = to_json(from_json(stored))
    assert written == stored


def test_a_newer_format_is_named():
    stored = to_json(Everything().description) | {"format": FORMAT + 1}
    with pytest.raises(InputError, match=f"unrolled reads {FORMAT}"):
        from_json(stored)


def line_of_numbers(stored):
    line = next(one for one in stored["lines"] if one.get("operation") == "maximum")
    line["operands"] = [1, 2.5]


def initial_beyond_float32(stored):
    stored["weights"][0]["initial"] = 1e39


def resting_beyond_float32(stored):
    stored["draws"][0]["resting"] = -1e308


def unprintable(stored):
    stored["name"] = "\0"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (unprintable, "a text that can be printed was expected"),
        (line_of_numbers, "a name among the operands was expected"),
        (initial_beyond_float32, "the largest of float32, was expected"),
        (resting_beyond_float32, "the largest of float32, was expected"),
    ],
)
def test_what_no_engine_could_run_is_refused(damage, expected):
    stored = json.loads(json.dumps(to_json(Everything().description)))
    damage(stored)
    with pytest.raises(InputError, match=expected):
        from_json(stored)


def mutations(draw: random.Random) -> Any:
    """A description with something changed, anywhere in it."""
    stored: Any = to_json(Everything().description)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        holder: Any = stored
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = draw.choice(keys)
            inner = holder[key]
            if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.1:
                break
            holder = inner
        holder[key] = draw.choice(
            [
                None, True, -1, 0, 1, 10**30, 1e308, float("nan"), "", "x", "h", "one", "hidden",
                "weight_ih", "∂1", "a" * 1000, [], {}, [1], {"number": "inf"}, copy.copy(inner),
                draw.choice(["middle", "first", "_1", "input", "mean", "add", "where", "matrix"]),
            ]
        )  # fmt: skip
        if isinstance(holder, list) and draw.random() < 0.3:
            draw.shuffle(holder)
    return stored


def read(stored):
    """The description, or why it is refused."""
    try:
        return from_json(stored)
    except InputError as error:
        return str(error)


def test_what_is_damaged_is_refused_or_runs():
    seed = random.randrange(2**32)
    draw, ran = random.Random(seed), 0
    for _ in range(1500):
        stored = mutations(draw)
        description = read(stored)
        if isinstance(description, str):
            assert "\n" not in description, seed
            assert len(description) < 400, seed
            continue
        ran += 1
        if ran % 5 == 0:
            runs(description)
    assert ran > 20


def runs(description):
    sizes: Any = {f"{size}_size": UNITS.get(size, 2) for size in description.sizes}
    module = Recurrent(description, **sizes)
    constants = {c.name: torch.randn(2, module.units[c.size]) for c in description.constants}
    output, _ = module(torch.randn(3, 2, module.input_size), **constants)
    output.sum().backward()


def test_a_pickle_leaves_what_was_computed_once():
    description = Everything().description
    assert hash(description)
    again = pickle.loads(pickle.dumps(description))
    assert set(vars(again)) == {field.name for field in dataclasses.fields(again)}
    assert again == description

"""The fuzz of descriptions reaches what it is there for: cells that run, and refusals."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

import pytest
import torch

import unrolled
from fuzz import target_descriptions as target
from fuzz.random_cells import random_cell, sizes_of
from unrolled.cells import Description
from unrolled.cells.stored import from_json
from unrolled.errors import InputError
from unrolled.scan import native, plan
from unrolled.scan.equations import TORCHS


def _module(cell: Description) -> unrolled.Recurrent:
    sizes: Any = sizes_of(cell.sizes)
    return unrolled.Recurrent(cell, **sizes)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_cell_is_read(seed: int) -> None:
    cell = from_json(random_cell(Random(seed)))
    assert _module(cell).cell == cell


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_cell_runs_on_the_core(seed: int) -> None:
    cell = from_json(random_cell(Random(seed)))
    units = _module(cell).units
    assert isinstance(plan.linked(cell, tuple(units.items()), draws=False), plan.Linked)


def test_some_mutations_are_read_and_some_refused() -> None:
    read = refused = 0
    for data in itertools.islice(target.mutations(Random(0)), 300):
        try:
            from_json(json.loads(data))
            read += 1
        except (InputError, ValueError, RecursionError):
            refused += 1
    assert read > 60
    assert refused > 60


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
def test_a_core_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TORCHS, "tanh", torch.sin)
    with pytest.raises(AssertionError, match="the core and the equations differ"):
        target.run(target.SEEDS["known_1"]())

"""``at_rest``: outside of training a cell is itself without its random numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unrolled
from support_cells import UNITS, Everything
from unrolled import cells
from unrolled.cells import Cell, Description, linear, mask, mean, noise, tanh, weight
from unrolled.cells.resting import at_rest
from unrolled.nn import Recurrent

T, B = 5, 3


class Needed(Cell):
    """Random numbers that a matrix multiplies, and that a state becomes."""

    def step(self, x, h, drawn):
        kept = mask(0.5, resting=0.25)
        return tanh(linear(x, h, kept) + drawn), noise(1.0)


class Shared(Cell):
    """A mask times a number that all units share: not that number alone."""

    def step(self, x, h):
        wide = mask(0.5) * mean(h)
        return tanh(linear(x, h, wide))


class Averaged(Cell):
    """A mean of what a mask leaves: outside of training, of the state as it was."""

    def step(self, x, h):
        kept = h * mask(0.5, resting=1.0)
        return tanh(linear(x, kept) - mean(kept))


CELLS: dict[str, Description] = {
    "zoneout": cells.zoneout(cells.GRU, hidden=0.2),
    "variational": cells.variational_dropout(cells.LSTM, x=0.2, hidden=0.3),
    "LeakyRNN": cells.LeakyRNN(noise=0.5).description,
    "Everything": Everything().description,
    "Needed": Needed().description,
    "Shared": Shared().description,
    "Averaged": Averaged().description,
}


def module_of(cell):
    others = [size for size in cell.sizes if size not in ("input", "hidden")]
    sizes: dict[str, Any] = {f"{size}_size": UNITS[size] for size in others}
    return Recurrent(cell, UNITS["input"], UNITS["hidden"], dtype=torch.float64, **sizes).eval()


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_it_computes_what_the_cell_does_in_eval(cell):
    whole, resting = module_of(cell), module_of(at_rest(cell))
    resting.load_state_dict(whole.state_dict())
    x = torch.randn(T, B, UNITS["input"], dtype=torch.float64)
    constants = {c.name: torch.randn(B, UNITS[c.size], dtype=x.dtype) for c in cell.constants}
    with unrolled.backend("reference"):
        torch.testing.assert_close(resting(x, **constants), whole(x, **constants))


@pytest.mark.parametrize("name", ["zoneout", "variational", "LeakyRNN", "Everything"])
def test_no_draw_is_left(name):
    assert CELLS[name].draws
    assert not at_rest(CELLS[name]).draws


@pytest.mark.parametrize("name", ["Needed", "Shared"])
def test_a_draw_that_is_needed_as_a_vector_stays(name):
    assert at_rest(CELLS[name]).draws == CELLS[name].draws


def test_with_variational_dropout_a_cell_is_the_cell_again():
    lstm = cells.LSTM().description
    assert at_rest(cells.variational_dropout(lstm, x=0.2, hidden=0.3)) == lstm


def test_a_cell_without_random_numbers_is_left_as_it_is():
    for cell in (cells.SLSTM(heads=2), cells.LayerNormLSTM(), cells.EALSTM()):
        assert at_rest(cell.description) == cell.description


def test_what_nothing_reads_any_more_is_gone():
    class Scaled(Cell):
        def step(self, x, h):
            share = mask(0.8, resting=0.8) / 0.8
            return tanh(linear(x) + share * h * weight("w"))

    found = at_rest(Scaled().description)
    assert "share" in Scaled().description.named
    assert "share" not in found.by_name
    assert "share" not in found.named

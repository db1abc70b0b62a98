"""A step's sums by few products: what they are, and how many."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from support_described import every_cell
from unrolled import cells
from unrolled.cells import Description, layers
from unrolled.cells.options import described
from unrolled.scan import equations, sums

UNITS = {"input": 4, "hidden": 6, "proj": 2, "other": 3, "one": 1}


def random_step(cell: Description) -> tuple[dict[str, int], dict[str, Any], dict[str, Any]]:
    """Sizes, what a step is given, and the weights as they multiply."""
    units = {size: UNITS.get(size, 3) for size in (*cell.sizes, "one")}
    options: dict[str, Any] = {"dtype": torch.float64}
    sizes = {q.name: q.size for q in (cell.input, *cell.states, *cell.constants)}
    sizes |= {draw.name: draw.size for draw in cell.draws}
    known = {name: torch.rand(5, units[size], **options) for name, size in sizes.items()}
    weights = {}
    for weight in cell.weights:
        rows = sum(units[part.size] for part in weight.parts)
        columns = () if weight.columns is None else (units[weight.columns],)
        shape = layers.shape(weight, units) if weight.kind == "scalar" else (rows, *columns)
        weights[weight.name] = torch.randn(shape, **options)
        if weight.kind in ("vector", "scalar"):
            known[weight.name] = weights[weight.name]
    return units, known, weights


@every_cell
def test_a_sum_is_its_products_and_biases(cell: Any) -> None:
    cell = described(cell)
    units, known, weights = random_step(cell)
    values = equations.Step.of(cell, weights, units).run(known)
    parts = equations.parts(cell, weights, units)
    for line in cell.sums:
        expected = sum(values[p.of] @ parts[p.weight, p.part].T for p in line.products)
        expected += sum(parts[b.weight, b.part] for b in line.biases)
        torch.testing.assert_close(
            values[line.name], expected, rtol=1e-12, atol=1e-12, equal_nan=True
        )


@pytest.mark.parametrize(
    ("cell", "products"),
    [
        (cells.LSTM, 2),  # with the input, and with the hidden state
        (cells.GRU, 2),
        (cells.GRUResetBefore, 3),  # and with the hidden state once it is reset
        (cells.PeepholeLSTM, 2),
        (cells.MinGRU, 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_multiplies_one_value_is_one_product(
    cell: Any, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, linear = [], nn.functional.linear

    def counted(*given: Any) -> torch.Tensor:
        calls.append(given)
        return linear(*given)

    monkeypatch.setitem(sums.LINEAR, "whole", counted)
    cell = described(cell)
    units, known, weights = random_step(cell)
    equations.Step.of(cell, weights, units).run(known)
    assert len(calls) == products

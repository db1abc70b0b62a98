"""Networks of 1997 side by side, against one written out by the paper's appendix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support_1997 import Array, Paper
from unrolled.cells import TruncatedLSTM1997
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.lanes import Asked, Lanes, SymbolLanes

Whole = NDArray[np.int64]

FULL = Architecture(TruncatedLSTM1997, inputs=3, outputs=2, blocks=2, size=2)
UNBIASED = Architecture(TruncatedLSTM1997, 5, 2, blocks=2, size=1, biased=frozenset())
SHORTCUT = Architecture(TruncatedLSTM1997, 4, 3, blocks=1, size=2, shortcut=True)


def drawn(architecture: Architecture, lanes: int, steps: int) -> tuple[Array, Whole, Array, Array]:
    """Weights [K, W], symbols [T, K], targets [T, K, O] and where they are asked [T, K]."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1, 1, (lanes, architecture.weights))
    symbols = rng.integers(0, architecture.inputs, (steps, lanes))
    targets = rng.uniform(size=(steps, lanes, architecture.outputs))
    return weights, symbols, targets, (rng.random((steps, lanes)) < 0.7).astype(float)


@pytest.mark.parametrize("kind", [Lanes, SymbolLanes])
@pytest.mark.parametrize("architecture", [FULL, UNBIASED, SHORTCUT])
def test_an_update_is_the_papers(architecture: Architecture, kind: type[Lanes]) -> None:
    weights, symbols, targets, mask = drawn(architecture, lanes=3, steps=7)
    lanes = kind(architecture, torch.from_numpy(weights.copy()))
    inputs = np.eye(architecture.inputs)[symbols]
    asked = Asked(torch.from_numpy(targets).transpose(0, 1), torch.from_numpy(mask).T[..., None])
    read = torch.from_numpy(inputs if kind is Lanes else symbols)[:, None]
    for _ in range(2):  # the second update sees the weights of the first
        given = lanes.learn(read, asked, rate=0.3)
        for k in range(3):
            paper = Paper(architecture, weights[k])
            gradient, outputs = paper.gradient(inputs[:, k], targets[:, k], mask[:, k])
            weights[k] -= 0.3 * gradient
            assert np.allclose(given[k], outputs, rtol=1e-12)
        assert np.allclose(lanes.weights, weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [Lanes, SymbolLanes])
def test_what_is_asked_at_the_end_alone(kind: type[Lanes]) -> None:
    weights, symbols, targets, _ = drawn(UNBIASED, lanes=2, steps=6)
    ends = np.array([5, 3])
    mask = (np.arange(6)[:, None] == ends).astype(float)
    inputs = np.eye(UNBIASED.inputs)[symbols]
    read = torch.from_numpy(inputs if kind is Lanes else symbols)[:, None]
    everywhere, at_the_end = (kind(UNBIASED, torch.from_numpy(weights.copy())) for _ in range(2))
    all_steps = torch.from_numpy(targets).transpose(0, 1)
    everywhere.learn(read, Asked(all_steps, torch.from_numpy(mask).T[..., None]), rate=1.0)
    at = all_steps[torch.arange(2), torch.from_numpy(ends)][:, None]
    at_the_end.learn(read, Asked(at, ends=torch.from_numpy(ends)[None]), rate=1.0)
    assert torch.allclose(everywhere.weights, at_the_end.weights, rtol=1e-12)


@pytest.mark.parametrize("kind", [Lanes, SymbolLanes])
@pytest.mark.parametrize("architecture", [FULL, SHORTCUT])
def test_many_sequences_at_once_are_each_by_itself(
    architecture: Architecture, kind: type[Lanes]
) -> None:
    weights, _, _, _ = drawn(architecture, lanes=2, steps=1)
    lanes = kind(architecture, torch.from_numpy(weights))
    symbols = torch.randint(architecture.inputs, (5, 3, 2))
    inputs = torch.eye(architecture.inputs, dtype=torch.float64)[symbols]
    read = inputs if kind is Lanes else symbols
    together = lanes.outputs(read).unflatten(1, (5, 3))
    for row in range(3):
        alone = lanes.outputs(read[:, row : row + 1])
        assert torch.allclose(together[:, :, row], alone, rtol=1e-12)


def test_networks_do_not_touch_each_other() -> None:
    weights, symbols, targets, _ = drawn(FULL, lanes=3, steps=9)
    inputs = torch.eye(FULL.inputs, dtype=torch.float64)[torch.from_numpy(symbols)][:, None]
    asked = torch.from_numpy(targets).transpose(0, 1)
    together = Lanes(FULL, torch.from_numpy(weights.copy()))
    alone = Lanes(FULL, torch.from_numpy(weights[1:2].copy()))
    for _ in range(20):
        together.learn(inputs, Asked(asked), rate=0.5)
        alone.learn(inputs[:, :, 1:2], Asked(asked[1:2]), rate=0.5)
    assert torch.allclose(together.weights[1:2], alone.weights, rtol=1e-12)

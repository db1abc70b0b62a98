"""Updates after each symbol of a sequence, against the paper's appendix written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support_1997 import Array, Paper
from unrolled.cells import TruncatedLSTM1997
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.faithful import embedded_reber
from unrolled.reproduce.lanes import Asked, Lanes
from unrolled.reproduce.stepped import SteppedLanes

NETWORKS = {
    "4 blocks of 1": embedded_reber(4, 1, 0.1, 1).architecture,
    "3 blocks of 2": embedded_reber(3, 2, 0.1, 1).architecture,
    "with a shortcut": Architecture(
        TruncatedLSTM1997, 7, 5, 2, 2, frozenset({"gates", "outputs"}), shortcut=True
    ),
}

each_network = pytest.mark.parametrize("architecture", NETWORKS.values(), ids=NETWORKS.keys())


def drawn(architecture: Architecture, networks: int, steps: int) -> tuple[Array, Array, Array]:
    """Weights [K, W], inputs [T, 1, K, 7] and targets [K, T, O]."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1, 1, (networks, architecture.weights))
    inputs = np.eye(7)[rng.integers(0, 7, (steps, 1, networks))]
    return weights, inputs, rng.uniform(size=(networks, steps, architecture.outputs))


@each_network
def test_each_step_updates_as_in_the_paper(architecture: Architecture) -> None:
    """The derivatives of the states are carried on as they are, while the weights change."""
    weights, inputs, targets = drawn(architecture, networks=2, steps=30)
    mask = np.arange(30) < np.array([30, 18])[:, None]  # the second sequence ends sooner
    lanes = SteppedLanes(architecture, torch.from_numpy(weights.copy()))
    asked = Asked(torch.from_numpy(targets), torch.from_numpy(mask[..., None].astype(float)))
    for _ in range(2):  # the second sequence begins anew
        given = lanes.learn(torch.from_numpy(inputs), asked, rate=0.5)
        for k, count in enumerate(mask.sum(axis=1)):
            paper = Paper(architecture, weights[k])
            paper.begin()
            for t in range(count):
                gradient, outputs = paper.step(inputs[t, 0, k], targets[k, t], 1.0)
                weights[k] -= 0.5 * gradient
                paper.load(weights[k])
                assert np.allclose(given[k, t], outputs, rtol=1e-10)
        assert np.allclose(lanes.weights, weights, rtol=1e-9, atol=1e-12)


@each_network
def test_the_outputs_are_those_of_updates_after_sequences(architecture: Architecture) -> None:
    weights, inputs, targets = drawn(architecture, networks=3, steps=12)
    after_steps, after_sequences = (
        kind(architecture, torch.from_numpy(weights)) for kind in (SteppedLanes, Lanes)
    )
    read, asked = torch.from_numpy(inputs), Asked(torch.from_numpy(targets))
    expected = after_sequences.learn(read, asked, rate=0.0)
    assert torch.allclose(after_steps.learn(read, asked, rate=0.0), expected, rtol=1e-12)
    assert torch.allclose(after_steps.outputs(read), expected, rtol=1e-12)

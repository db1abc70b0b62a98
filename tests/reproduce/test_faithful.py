"""The recipes of 1997, against table 10 of Hochreiter & Schmidhuber 1997."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from unrolled.reproduce import faithful
from unrolled.reproduce.online import Recipe

Biases = Mapping[str, Sequence[float]]

OUTPUT: Biases = {"output": (-1, -2, -3)}
BOTH: Biases = {"output": (-2, -4, -6), "input": (-1, -3, -5)}


@pytest.mark.parametrize(
    ("recipe", "weights", "rate", "biases"),
    [
        (faithful.embedded_reber(4, 1, 0.1, 1), 264, 0.1, {"output": (-1, -2, -3, -4)}),
        (faithful.embedded_reber(3, 2, 0.5, 1), 276, 0.5, OUTPUT),
        (faithful.noise_free_lag(100, 1), 10_504, 1.0, {}),
        (faithful.noisy_lag(100, 1), 10_504, 1.0, {}),
        (faithful.very_long_lag(50, 50, 1), 364, 0.01, {}),
        (faithful.very_long_lag(1000, 1000, 1), 6064, 0.01, {}),
        (faithful.two_sequence(100, 3, 1), 102, 1.0, BOTH),
        (faithful.two_sequence_targets(100, 3, 1), 102, 0.1, BOTH),
        (faithful.adding(100, 1), 93, 0.5, {"input": (-3, -6)}),
        (faithful.multiplication(13, 1), 93, 0.1, {}),
        (faithful.temporal_order(2, 1), 156, 0.5, {"input": (-2, -4)}),
        (faithful.temporal_order(3, 1), 308, 0.1, {"input": (-2, -4, -6)}),
    ],
)
def test_a_recipe_is_the_tables(recipe: Recipe, weights: int, rate: float, biases: Biases) -> None:
    assert recipe.architecture.weights == weights
    assert recipe.rate == rate
    assert {gate: tuple(values) for gate, values in recipe.start.biases.items()} == biases

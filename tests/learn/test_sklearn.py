"""scikit-learn's own checks of an estimator, of ours as it comes: nothing set but the cell.

The checks give every estimator the seed 0 (or 1). So that they meet other networks, other orders
and other sequences held out, ``first_seed`` moves theirs. ``make test-sklearn`` runs them all over
ten seeds, for an hour or so on one core.
"""

import os
from collections.abc import Callable
from functools import partial

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_regressors_train, parametrize_with_checks

from unrolled.learn.estimator import SequenceRegressor
from unrolled.model.choice import NAMES

SEEDS = range(int(os.environ.get("UNROLLED_TEST_SKLEARN_SEEDS", "1")))


@pytest.fixture
def first_seed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the seeds that the checks set by as many."""

    def move(by: int) -> None:
        def moved(estimator: BaseEstimator, random_state: int = 0) -> None:
            estimator.set_params(random_state=random_state + by)

        monkeypatch.setattr(estimator_checks, "set_random_state", moved)

    return move


@pytest.mark.parametrize("seed_of_checks", SEEDS)
@parametrize_with_checks([SequenceRegressor(cell) for cell in NAMES])
def test_scikit_learn_checks(
    first_seed: Callable[[int], None],
    estimator: SequenceRegressor,
    check: partial[None],
    seed_of_checks: int,
) -> None:
    first_seed(seed_of_checks)
    check(estimator)


@pytest.mark.parametrize("seed_of_checks", range(1, 10))
def test_the_check_of_learning_on_other_seeds(
    first_seed: Callable[[int], None], seed_of_checks: int
) -> None:
    """The one check that asks how well it learns, of the cell that finds it hardest."""
    first_seed(seed_of_checks)
    check_regressors_train("SequenceRegressor", SequenceRegressor())


def test_the_checks_meet_the_seed_that_they_are_given(first_seed: Callable[[int], None]) -> None:
    first_seed(7)
    met: list[object] = []

    class Seen(SequenceRegressor):
        def fit(self, X: object, y: object) -> "Seen":
            met.append(self.random_state)
            self.set_params(epochs=1)
            return super().fit(X, y)

    estimator_checks.check_estimators_fit_returns_self("Seen", Seen())
    assert met == [7]

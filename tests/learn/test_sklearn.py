"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from unrolled.learn.estimator import SequenceRegressor


@parametrize_with_checks([SequenceRegressor(hidden_size=8, epochs=40, learning_rate=0.02)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)

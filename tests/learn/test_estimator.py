"""``SequenceRegressor``: every form of X and y, and scikit-learn's manners."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from support_estimator import INPUTS, LENGTHS, N, T, forms_of_x, quick, ragged
from unrolled import SequenceRegressor
from unrolled.learn import estimator as estimator_module
from unrolled.learn.loop import fit


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


FORMS = sorted(forms_of_x(np.random.default_rng(0)))


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_target_for_each_sequence_comes_back_in_its_own_shape(rng, form, outputs):
    x = forms_of_x(rng)[form]
    y = rng.normal(size=N if outputs is None else (N, outputs))
    model = quick(target="sequence").fit(x, y)
    assert model.target_ == "sequence"
    assert model.predict(x).shape == y.shape
    assert np.isfinite(model.score(x, y))


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_target_for_each_step_comes_back_in_its_own_shape(rng, form, outputs):
    x = forms_of_x(rng)[form]
    shape = () if outputs is None else (outputs,)
    rows = [rng.normal(size=(len(row), *shape)) for row in (x.to_numpy() if form == "frame" else x)]
    y = rows if "ragged" in form or form == "list of frames" else np.array(rows)
    model = quick().fit(x, y)
    assert [row.shape for row in model.predict(x)] == [row.shape for row in y]
    assert model.target_ == "step"
    assert np.isfinite(model.score(x, y))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_it_learns_the_cosine_from_the_sine_step_by_step(cell):
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, size=(40, 1))
    t = 0.3 * np.arange(30) + phases
    x, y = 7.0 + np.sin(t), 100.0 * np.cos(t)
    model = quick(
        cell=cell, hidden_size=16, epochs=60, batch_size=10, learning_rate=0.02, patience=None
    )
    predicted = model.fit(x[:30], y[:30]).predict(x[30:])
    # A first sine says nothing of the cosine's sign.
    assert r2_score(y[30:, 2:].ravel(), predicted[:, 2:].ravel()) > 0.95


@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_learns_the_mean_of_ragged_sequences(bidirectional):
    rng = np.random.default_rng(0)
    x = [rng.normal(rng.normal(), 1.0, size=rng.integers(2, 9)) for _ in range(150)]
    y = np.array([50.0 + 10.0 * row.mean() for row in x])
    model = quick(
        cell="gru", hidden_size=16, epochs=80, learning_rate=0.02, bidirectional=bidirectional
    )
    assert model.fit(x[:120], y[:120]).score(x[120:], y[120:]) > 0.95


def test_it_learns_several_targets_in_units_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 6, 1))
    y = np.column_stack([1e4 * x[:, -1, 0], 1e-4 * x[:, -2, 0]])
    model = quick(hidden_size=16, epochs=80, learning_rate=0.02).fit(x[:120], y[:120])
    predicted = model.predict(x[120:])
    for column in range(2):
        error = np.square(predicted[:, column] - y[120:, column]).mean()
        assert error < 0.05 * y[:, column].var()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("target", ["step", "sequence"])
def test_padding_does_not_matter(rng, target, bidirectional):
    """Each row predicted alone, without a step of padding, gives what it gives among others."""
    x = ragged(rng)
    y = [rng.normal(size=n) for n in LENGTHS] if target == "step" else rng.normal(size=N)
    model = quick(target=target, bidirectional=bidirectional).fit(x, y)
    together = model.predict(x)
    for row, mine in zip(x, together, strict=True):
        (alone,) = model.predict([row])
        np.testing.assert_allclose(alone, mine, rtol=1e-5, atol=1e-6)


def test_ragged_rows_that_happen_to_have_one_length_train_as_the_cube_does(rng):
    cube, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=(N, T))
    one = quick().fit(cube, y).predict(cube)
    two = quick().fit(list(cube), list(y)).predict(list(cube))
    np.testing.assert_array_equal(one, np.array(two))


@pytest.mark.parametrize("rows", [1, 3])
def test_after_ragged_rows_of_one_input_rows_of_one_length_are_sequences_too(rng, rows):
    """They look like a matrix of features, which after such a fit they are not."""
    x = ragged(rng, flat=True)
    model = quick().fit(x, [rng.normal(size=n) for n in LENGTHS])
    predicted = model.predict([x[1]] * rows)
    assert [row.shape for row in predicted] == [(5,)] * rows
    np.testing.assert_allclose(predicted[0], model.predict(x)[1], rtol=1e-5, atol=1e-6)


def test_the_scaling_is_fitted_on_the_training_sequences_alone(rng):
    x, y = rng.normal(size=(20, T, 1)), rng.normal(size=20)
    model = quick(validation_fraction=0.2).fit(x, y)
    held_out = np.random.RandomState(0).permutation(20)[:4]
    rest = np.delete(x, held_out, axis=0)
    np.testing.assert_allclose(model.input_scaler_.mean, rest.mean())
    np.testing.assert_allclose(model.target_scaler_.scale, np.delete(y, held_out).std())


def test_score_is_scikit_learns_with_weights_for_sequences(rng):
    x, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    model = quick().fit(x, y)
    weights = np.array([1.0] * 6 + [0.0] * 6)
    assert model.score(x, y, sample_weight=weights) == pytest.approx(model.score(x[:6], y[:6]))


def test_the_same_random_state_gives_the_same_numbers_and_another_does_not(rng):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    one, two, other = (
        quick(random_state=seed, dropout=0.5, num_layers=2).fit(x, y).predict(x)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def global_numbers():
    return np.random.get_state(legacy=False)["state"]["key"].copy()


def test_the_callers_random_numbers_are_left_alone(rng):
    torch.manual_seed(3)
    np.random.seed(3)
    torch_state, numpy_state = torch.get_rng_state(), global_numbers()
    quick().fit(rng.normal(size=(N, T)), rng.normal(size=N))
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(global_numbers(), numpy_state)


def test_clone_and_parameters_are_scikit_learns(rng):
    model = quick(cell="gru", clip=None).fit(rng.normal(size=(N, T)), rng.normal(size=N))
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "network_")
    assert copy.set_params(hidden_size=9).hidden_size == 9
    with pytest.raises(ValueError, match="hiden_size"):
        copy.set_params(hiden_size=9)


@pytest.mark.parametrize("method", ["predict", "score"])
def test_before_fit_there_is_nothing_to_ask(rng, method):
    args = [rng.normal(size=(N, T)), rng.normal(size=N)][: 1 + (method == "score")]
    with pytest.raises(NotFittedError):
        getattr(quick(), method)(*args)


@pytest.mark.parametrize("form", ["matrix", "ragged"])
def test_a_pickled_model_predicts_the_same(rng, form):
    x, y = forms_of_x(rng)[form], rng.normal(size=N)
    model = quick().fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_it_works_in_a_pipeline_and_in_a_grid_search(rng):
    x, y = rng.normal(size=(30, T)), rng.normal(size=30)
    pipeline = make_pipeline(StandardScaler(), quick(epochs=1))
    search = GridSearchCV(pipeline, {"sequenceregressor__hidden_size": [2, 3]}, cv=2)
    search.fit(x, y)
    assert search.best_params_["sequenceregressor__hidden_size"] in (2, 3)
    assert search.predict(x).shape == (30,)


def test_sequences_of_several_inputs_go_through_a_pipeline_and_cross_validation(rng):
    x, y = rng.normal(size=(30, T, INPUTS)), rng.normal(size=(30, T))
    pipeline = make_pipeline(FunctionTransformer(np.tanh), quick(epochs=1))
    assert pipeline.fit(x, y).predict(x).shape == (30, T)
    assert cross_val_score(quick(epochs=1), x, y, cv=3).shape == (3,)


def test_ragged_lists_go_through_cross_validation(rng):
    x = ragged(rng)
    assert cross_val_score(quick(epochs=1), x, rng.normal(size=N), cv=3).shape == (3,)


def test_the_five_lines_of_the_readme(rng):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    assert SequenceRegressor(cell="lstm", hidden_size=32).fit(X, y).predict(X).shape == (N,)


def test_fitting_again_forgets_what_was_fitted_before(rng):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    model = quick().fit(ragged(rng), [rng.normal(size=n) for n in LENGTHS])
    np.testing.assert_array_equal(model.fit(x, y).predict(x), quick().fit(x, y).predict(x))


def test_an_interrupt_keeps_the_best_weights_and_warns(rng, monkeypatch):
    def interrupted(*args, **settings):
        def stop(_):
            raise KeyboardInterrupt

        return fit(*args, **{**settings, "on_epoch": stop})

    monkeypatch.setattr(estimator_module, "fit", interrupted)
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    with pytest.warns(ConvergenceWarning, match="interrupted after 1 epochs"):
        model = quick(epochs=50).fit(x, y)
    assert model.n_iter_ == 1
    assert np.isfinite(model.predict(x)).all()


def test_nothing_is_said_where_all_is_well(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(num_layers=2, dropout=0.1).fit(rng.normal(size=(N, T)), rng.normal(size=N))


@pytest.mark.parametrize("form", ["cube", "ragged of one input"])
def test_after_sequences_of_one_input_a_matrix_has_any_number_of_steps(rng, form):
    x = forms_of_x(rng)[form]
    x = x[:, :, :1] if form == "cube" else x
    model = quick(target="sequence").fit(x, rng.normal(size=N))
    longer = rng.normal(size=(3, T + 2))
    np.testing.assert_array_equal(model.predict(longer), model.predict(longer[:, :, np.newaxis]))


def test_names_of_an_earlier_fit_are_forgotten(rng):
    forms, y = forms_of_x(rng), rng.normal(size=N)
    model = quick(target="sequence").fit(forms["frame"], y)
    assert list(model.feature_names_in_) == [f"t{step}" for step in range(T)]
    assert not hasattr(model.fit(forms["cube"], y), "feature_names_in_")


def test_parameters_may_be_numpys_as_a_search_gives_them(rng):
    model = quick(
        cell=np.str_("gru"), hidden_size=np.int64(3), num_layers=np.int32(2), epochs=np.int64(2),
        patience=np.int64(1), batch_size=np.int64(5), dropout=np.float32(0.1),
        learning_rate=np.float32(0.01), clip=np.float64(1.0), bidirectional=np.bool_(True),
    )  # fmt: skip
    assert model.fit(rng.normal(size=(N, T)), rng.normal(size=N)).n_iter_ <= 2


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
def test_torchs_default_type_does_not_matter(rng):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    assert np.isfinite(quick().fit(x, y).predict(x)).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_the_caller_takes_no_gradients(rng, mode):
    x, y = rng.normal(size=(N, T)), rng.normal(size=N)
    expected = quick().fit(x, y).predict(x)
    with mode():
        model = quick().fit(x, y)
    np.testing.assert_array_equal(model.predict(x), expected)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("form", ["cube", "matrix", "ragged"])
@pytest.mark.parametrize("target", ["step", "sequence"])
def test_a_rows_prediction_does_not_depend_on_its_batch(rng, cell, form, target):
    x = forms_of_x(rng)[form]
    y = [rng.normal(size=len(row)) for row in x] if target == "step" else rng.normal(size=N)
    model = quick(cell=cell, target=target, hidden_size=33).fit(
        x, y if form == "ragged" else np.array(y)
    )
    together = model.predict(x)
    for size in (1, 2, 3, 5, 7):
        apart = [row for at in range(0, N, size) for row in model.predict(x[at : at + size])]
        for mine, whole in zip(apart, together, strict=True):
            np.testing.assert_allclose(mine, whole, rtol=1e-9, atol=1e-9)

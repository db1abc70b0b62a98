"""``SequenceRegressor`` with cells that are written down."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import unrolled
from support_estimator import INPUTS, N, T, quick
from unrolled import cells
from unrolled.cells import PeepholeLSTM

CELLS = {
    "name": "PeepholeLSTM",
    "class": PeepholeLSTM,
    "cell": cells.LeakyRNN(time_constant=3.0),
    "description": cells.zoneout(cells.LSTM, cell=0.1),
}
ANY = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


@ANY
@pytest.mark.parametrize("target", ["sequence", "step"])
def test_it_fits_and_predicts(rng, cell, target):
    X = [rng.normal(size=(length, INPUTS)) for length in (3, 5, 1, 4)]
    y = rng.normal(size=4) if target == "sequence" else [row[:, 0] for row in X]
    predicted = quick(cell=cell, target=target).fit(X, y).predict(X)
    shapes = [np.shape(row) for row in predicted]
    assert shapes == [np.shape(row) for row in y]


@ANY
def test_a_clone_has_an_equal_cell(cell):
    copied = clone(quick(cell=cell))
    assert copied.get_params()["cell"] == cell


@ANY
def test_a_fitted_one_is_pickled(rng, cell):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    model = quick(cell=cell).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_another_process_reads_a_pickle(rng, tmp_path):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    model = quick(cell="MGU").fit(X, y)
    (tmp_path / "model").write_bytes(pickle.dumps((model, X)))
    script = (
        "import pickle, sys; model, X = pickle.load(open(sys.argv[1], 'rb'));"
        "print(*model.predict(X).tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model")],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "1"},
    )  # fmt: skip
    np.testing.assert_allclose([float(word) for word in found.stdout.split()], model.predict(X))


def test_a_size_of_the_cells_own_is_searched_and_streamed(rng):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    grid = {"sizes": [{"proj": 2}, {"proj": np.int64(3)}]}
    model = GridSearchCV(quick(cell="ProjectedLSTM"), grid, cv=2).fit(X, y).best_estimator_
    assert model.network_.config.sizes == model.sizes
    assert model.network_.readout.in_features == model.sizes["proj"]
    streamed = [unrolled.Stream(model).step_many(x)[-1, 0] for x in X[:3]]
    np.testing.assert_allclose(streamed, model.predict(X[:3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "sizes", "message"),
    [
        ("ProjectedLSTM", None, r"a size of its own, proj, .* Give it: sizes=\{'proj': 8\}"),
        ("ProjectedLSTM", {"proj": 0}, r"sizes should be whole numbers from 1 .* or None, got"),
        ("ProjectedLSTM", 8, "sizes should be whole numbers"),
        ("ProjectedLSTM", {"proj": True}, "sizes should be whole numbers"),
        ("ProjectedLSTM", {8: 8}, "sizes should be whole numbers"),
        ("gru", {"proj": 8}, "GRU has no size 'proj'"),
        ("EALSTM", None, "EALSTM reads static beside the input, the same at every step"),
    ],
    ids=str,
)
def test_sizes_that_are_not_the_cells_are_refused(rng, cell, sizes, message):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    with pytest.raises(ValueError, match=message):
        quick(cell=cell, sizes=sizes).fit(X, y)


def test_cells_are_searched_among(rng):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    search = GridSearchCV(quick(), {"cell": ["gru", PeepholeLSTM]}, cv=2).fit(X, y)
    assert search.best_params_["cell"] in ("gru", PeepholeLSTM)

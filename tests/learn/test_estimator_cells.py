"""``SequenceRegressor`` with cells that are written down."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

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


def test_cells_are_searched_among(rng):
    X, y = rng.normal(size=(N, T, INPUTS)), rng.normal(size=N)
    search = GridSearchCV(quick(), {"cell": ["gru", PeepholeLSTM]}, cv=2).fit(X, y)
    assert search.best_params_["cell"] in ("gru", PeepholeLSTM)

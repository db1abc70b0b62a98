"""Whatever takes arrays: a number that a mask hides is never used, wherever the array stands."""

from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from support_stream import make_run
from unrolled.masked import count_masked

each = pytest.mark.parametrize


def hiding(*shape, dtype=np.float64):
    """Ones of which the last is masked."""
    values = np.ma.masked_array(np.ones(shape, dtype), mask=np.zeros(shape, bool))
    values[(-1,) * len(shape)] = np.ma.masked
    return values


FORMS: dict[str, Any] = {
    "an array": lambda x: x,
    "rows": list,
    "rows of rows": lambda x: [list(row) if row.ndim else row for row in x],
    "a tuple": tuple,
}


@pytest.mark.usefixtures("stepper")
@each("form", FORMS)
@each("dtype", ["float32", "float64", "int64"])
@each("kind", ["module", "double", "run"])
@each("call", ["step", "step_many", "a row"])
def test_a_stream_refuses_it_and_has_not_moved(call, kind, dtype, form):
    model: Any = make_run() if kind == "run" else unrolled.GRU(2, 3)
    stream = unrolled.Stream(model.double() if kind == "double" else model)
    shape = {"step": (1, 2), "step_many": (4, 2), "a row": (2,)}[call]
    x = FORMS[form](hiding(*shape, dtype=dtype))
    with pytest.raises(unrolled.InputError, match=r"^xs?: numbers .* got 1 that are masked\. Fill"):
        (stream.step_many if call == "step_many" else stream.step)(x)
    assert stream.state["steps"] == 0


@pytest.mark.usefixtures("stepper")
def test_a_mask_that_hides_nothing_is_as_none():
    x = np.ma.masked_array([[0.5, 1.0]])
    expected = unrolled.Stream(make_run()).step([[0.5, 1.0]])
    np.testing.assert_array_equal(unrolled.Stream(make_run()).step(x), expected)
    np.testing.assert_array_equal(unrolled.Stream(make_run()).step_many(x), expected)


@pytest.mark.usefixtures("stepper")
def test_a_result_is_not_put_under_a_mask():
    stream = unrolled.Stream(unrolled.GRU(2, 3))
    with pytest.raises(unrolled.InputError, match=r"^out should be .* got masked float32 \[3\]$"):
        stream.step([0.5, 1.0], hiding(3, dtype="float32"))
    assert stream.state["steps"] == 0


@each("name", ["hidden", "steps"])
def test_a_state_refuses_it(name):
    stream = unrolled.Stream(unrolled.GRU(2, 3))
    state = stream.state
    state[name] = hiding(*state[name].shape)
    with pytest.raises(unrolled.InputError, match=f"^{name}: numbers were expected, got 1 that"):
        stream.state = state


def test_rows_to_reset_refuse_it():
    with pytest.raises(unrolled.InputError, match=r"^rows: numbers were expected, got 1 that are"):
        unrolled.Stream(unrolled.GRU(2, 3), 2).reset(hiding(2, dtype=int))


@each("module", [unrolled.RNN(2, 3), unrolled.LSTM(2, 3), unrolled.GRUCell(2, 3)])
def test_a_module_names_no_repair_that_would_drop_the_mask(module):
    x = hiding(4, 1, 2)
    with pytest.raises(AttributeError, match=r"of which 1 are masked\. Fill them in") as raised:
        module(x)
    names = {"torch": torch, "numpy": np, "x": x}
    made = eval(raised.value.args[0].split("tensor: ")[1], names)
    assert made[-1, -1, -1] == 0.0


@each("lengths", [hiding(3, dtype=int), list(hiding(3, dtype=int))])
def test_lengths_refuse_it(lengths):
    with pytest.raises(ValueError, match=r"^lengths: 1 of them are masked"):
        unrolled.GRU(2, 3)(torch.ones(4, 3, 2), lengths=lengths)


X, Y = np.random.default_rng(0).normal(size=(2, 6, 4))


@each("form", FORMS)
@each("place", ["X", "y of steps", "a cube"])
def test_an_estimator_refuses_it(place, form):
    wrong = FORMS[form](hiding(6, 4, 1) if place == "a cube" else hiding(6, 4))
    given = {"X": X, "y": Y} | {"y" if place == "y of steps" else "X": wrong}
    words = rf"^{'y' if place == 'y of steps' else 'X'} (is a|has) masked array.*, and 1 of its"
    with pytest.raises(ValueError, match=words):
        unrolled.SequenceRegressor("gru", 2, epochs=1).fit(**given)
    fitted = unrolled.SequenceRegressor("gru", 2, epochs=1).fit(X, Y)
    if place == "X":
        with pytest.raises(ValueError, match=words):
            fitted.predict(wrong)
    with pytest.raises(ValueError, match=words):
        fitted.score(**given)


def test_an_estimators_weights_of_sequences_refuse_it():
    fitted = unrolled.SequenceRegressor("gru", 2, epochs=1).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match=r"^sample_weight is a masked array, and 1 of its values"):
        fitted.score(X, Y[:, 0], sample_weight=hiding(6))


def test_a_mask_within_an_array_of_objects_counts():
    values = np.empty(2, object)
    values[:] = [hiding(3), np.ones(2)]
    assert count_masked(values) == count_masked([values]) == 1
    assert count_masked([[1.0, np.ma.masked], 2]) == 1
    assert count_masked([np.ma.masked_array([1.0]), "text", None]) == 0

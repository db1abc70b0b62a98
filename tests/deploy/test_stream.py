"""A stream says, row by row, what the module says of the whole sequence."""

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_stream import KINDS, NUMBERS, module, rows
from unrolled.deploy import stepping
from unrolled.scan import native

both = pytest.mark.usefixtures("stepper")
needs_the_core = pytest.mark.skipif(not native.is_built(), reason="the bits are the core's")


def whole(model: nn.RNNBase, x: np.ndarray, hx=None):
    with torch.no_grad():
        return model(torch.from_numpy(x), hx)


@needs_the_core
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("hidden", [4, 8, 33, 70])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_stepping_gives_the_bits_of_the_whole_sequence(kind, number, hidden, layers, batch):
    model = module(kind, hidden, layers, NUMBERS[number])
    x = rows(12, batch, 3, dtype=number)
    output, _ = whole(model, x)
    stream = unrolled.Stream(model, batch)
    stepped = [stream.step(row) for row in x]
    np.testing.assert_array_equal(stepped, output.numpy())


@needs_the_core
@pytest.mark.parametrize("kind", KINDS)
def test_without_biases_too(kind):
    model = module(kind, bias=False)
    x = rows(12, 2, 3, dtype=np.float32)
    np.testing.assert_array_equal(
        unrolled.Stream(model, 2).step_many(x), whole(model, x)[0].numpy()
    )


@needs_the_core
@pytest.mark.parametrize("kind", KINDS)
def test_the_states_are_the_modules(kind):
    model = module(kind, layers=2)
    x = rows(9, 2, 3, dtype=np.float32)
    _, last = whole(model, x)
    stream = unrolled.Stream(model, 2)
    stream.step_many(x)
    names = ("hidden", "cell") if isinstance(last, tuple) else ("hidden",)
    for name, state in zip(names, last if isinstance(last, tuple) else (last,), strict=True):
        np.testing.assert_array_equal(stream.state[name], state.numpy())
    np.testing.assert_array_equal(stream.state["steps"], [9, 9])


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_readable_stepper_says_the_same(kind, number, monkeypatch):
    model = module(kind, layers=2, dtype=NUMBERS[number])
    x = rows(20, 3, 3, dtype=number)
    monkeypatch.setattr(stepping, "compiled", None)
    stream = unrolled.Stream(model, 3)
    assert stream.backend == "numpy"
    tolerance = 1e-5 if number == "float32" else 1e-12
    np.testing.assert_allclose(
        stream.step_many(x), whole(model, x)[0].numpy(), rtol=tolerance, atol=tolerance
    )


@needs_the_core
def test_rows_side_by_side_are_each_as_if_alone():
    model = module("LSTM")
    x = rows(10, 5, 3, dtype=np.float32)
    together = unrolled.Stream(model, 5).step_many(x)
    for b in range(5):
        np.testing.assert_array_equal(unrolled.Stream(model).step_many(x[:, b]), together[:, b])


@both
@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (0.5, (4,)),
        (1, (4,)),
        (np.float32(0.5), (4,)),
        ([0.5], (4,)),
        (np.array([0.5]), (4,)),
        (np.array([[0.5]]), (1, 4)),
        (np.array([[7]], np.int8), (1, 4)),
        (np.arange(6.0)[::3][1:], (4,)),
        (np.array([0.5], ">f8"), (4,)),
        (np.frombuffer(bytes(9), np.float64, offset=1), (4,)),
    ],
    ids=str,
)
def test_what_a_row_may_be(x, shape):
    model = module("GRU", hidden=4, inputs=1)
    y = unrolled.Stream(model).step(x)
    assert (y.shape, y.dtype) == (shape, np.dtype(np.float32))
    same = whole(model, np.reshape(np.asarray(x, np.float32), (1, 1, 1)))[0].numpy()
    # Sums of up to 7 are rounded by 2.4e-7 at each term, and NumPy adds in another order.
    np.testing.assert_allclose(y.ravel(), same.ravel(), rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize("x", [[0.5, 0.5], np.zeros((2, 1)), np.zeros((1, 1, 1)), [], "half", None])
def test_what_a_row_may_not_be(x):
    stream = unrolled.Stream(module("GRU", inputs=1))
    stream.step(0.5)
    before = stream.state
    with pytest.raises(unrolled.InputError, match="x"):
        stream.step(x)
    assert all(np.array_equal(before[name], stream.state[name]) for name in before)


@both
def test_a_result_goes_where_it_is_wanted():
    model = module("GRU")
    out = np.empty((2, 7), np.float32)
    x = rows(1, 2, 3)[0]
    assert unrolled.Stream(model, 2).step(x, out) is out
    np.testing.assert_array_equal(out, unrolled.Stream(model, 2).step(x))


@both
def test_each_result_is_an_array_of_its_own():
    stream = unrolled.Stream(module("GRU", inputs=1))
    first = stream.step(0.1)
    kept = first.copy()
    stream.step(0.9)
    np.testing.assert_array_equal(first, kept)


@both
@pytest.mark.parametrize(
    "out", [np.empty(7), np.empty(6, np.float32), np.empty((1, 7), np.float32), [0.0] * 7]
)
def test_a_place_that_does_not_fit(out):
    stream = unrolled.Stream(module("GRU", inputs=1))
    with pytest.raises(unrolled.InputError, match=r"out should be a dense float32 array \[1, 7\]"):
        stream.step(0.5, out)
    assert stream.state["steps"] == 0


@needs_the_core
def test_a_step_takes_no_memory():
    stream = unrolled.Stream(module("LSTM", inputs=1, hidden=200))
    out, x = np.empty(200, np.float32), np.zeros(1, np.float32)
    stream.step(x, out)
    # The least of three: what Python itself does now and then, such as a collection, counts too.
    kept, peak = map(min, zip(*[traced(stream, x, out) for _ in range(3)], strict=True))
    assert kept < 100
    assert peak < 400  # half a row: NumPy's notes on the two arrays that are read


def traced(stream, x, out):
    """What a thousand steps keep of memory, and the most they had, in bytes."""
    tracemalloc.start()
    try:
        begin = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            stream.step(x, out)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return now - begin, peak - begin


@both
def test_many_steps_are_the_single_ones():
    model = module("LSTM")
    x = rows(20, 2, 3, dtype=np.float32)
    one, many = unrolled.Stream(model, 2), unrolled.Stream(model, 2)
    single = np.stack([one.step(row) for row in x])
    together = np.concatenate(
        [many.step_many(x[:7]), many.step_many(x[7:7]), many.step_many(x[7:])]
    )
    np.testing.assert_array_equal(single, together)


@both
@pytest.mark.parametrize(
    ("xs", "shape"),
    [(np.zeros(5), (5, 7)), (np.zeros((5, 1)), (5, 7)), (np.zeros((5, 1, 1)), (5, 1, 7))],
)
def test_what_many_rows_may_be(xs, shape):
    assert unrolled.Stream(module("GRU", inputs=1)).step_many(xs).shape == shape


@both
def test_many_rows_of_a_wrong_shape():
    stream = unrolled.Stream(module("GRU"), 2)
    with pytest.raises(unrolled.InputError, match=r"xs should be \[T, 2, 3\], got \[5, 3\]"):
        stream.step_many(np.zeros((5, 3)))


@needs_the_core
def test_a_second_thread_is_refused_while_the_first_steps():
    stream = unrolled.Stream(module("LSTM", hidden=64, inputs=1))
    long = threading.Thread(target=stream.step_many, args=(np.zeros(200_000),))

    def step_meanwhile():
        while long.is_alive():
            stream.step(0.5)

    long.start()
    with pytest.raises(RuntimeError, match="another thread is stepping this stream"):
        step_meanwhile()
    long.join()
    assert stream.state["steps"] >= 200_000


@both
def test_a_reset_row_begins_anew_and_the_others_go_on():
    model = module("LSTM")
    x = rows(8, 3, 3, dtype=np.float32)
    stream, other = unrolled.Stream(model, 3), unrolled.Stream(model, 3)
    stream.step_many(x)
    other.step_many(x)
    stream.reset([1])
    np.testing.assert_array_equal(stream.state["steps"], [8, 0, 8])
    y, others = stream.step(x[0]), other.step(x[0])
    np.testing.assert_array_equal(y[[0, 2]], others[[0, 2]])
    np.testing.assert_array_equal(y[1], unrolled.Stream(model, 3).step(x[0])[1])
    stream.reset()
    assert not any(array.any() for array in stream.state.values())


@both
@pytest.mark.parametrize("rows", [3, -1, [0, 5], 0.5])
def test_there_is_no_such_row(rows):
    stream = unrolled.Stream(module("GRU"), 3)
    with pytest.raises(unrolled.InputError, match="rows from 0 to 2 were expected"):
        stream.reset(rows)


@both
def test_a_state_can_be_set_to_the_modules():
    model = module("LSTM", layers=2)
    x = rows(6, 2, 3, dtype=np.float32)
    _, (h, c) = whole(model, x)
    stream = unrolled.Stream(model, 2)
    stream.state = {**stream.state, "hidden": h, "cell": c}
    further = whole(model, x[:1], (h, c))[0][0].numpy()
    np.testing.assert_allclose(stream.step(x[0]), further, rtol=1e-6, atol=1e-6)


@both
def test_a_state_is_a_copy():
    stream = unrolled.Stream(module("GRU"))
    stream.state["hidden"][...] = 7
    assert not stream.state["hidden"].any()


@both
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell": np.zeros((1, 1, 7))}, "a state with hidden, steps was expected, got"),
        ({"hidden": np.zeros((1, 7))}, r"hidden should be \[1, 1, 7\], got \[1, 7\]"),
        ({"steps": ["one"]}, "steps: real numbers were expected"),
    ],
)
def test_a_state_that_does_not_fit(change, words):
    stream = unrolled.Stream(module("GRU"))
    with pytest.raises(unrolled.InputError, match=words):
        stream.state = {**stream.state, **change}


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "2"])
def test_no_such_batch(batch_size):
    with pytest.raises(unrolled.InputError, match="batch_size should be a whole number"):
        unrolled.Stream(module("GRU"), batch_size)


@needs_the_core
def test_a_module_says_what_it_says_of_nan():
    model = module("LSTM")
    x = rows(5, 1, 3, dtype=np.float32)
    x[2, 0, 1] = np.nan
    np.testing.assert_array_equal(unrolled.Stream(model).step_many(x), whole(model, x)[0].numpy())

"""A copy of a stream goes on by itself, to the same bits; a state that is none is refused."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_stream import make_run, rows
from unrolled import cells

pytestmark = pytest.mark.usefixtures("stepper")

MODELS: dict[str, Callable[[], Any]] = {
    "module": lambda: unrolled.LSTM(2, 5, num_layers=2, proj_size=3).eval(),
    "double": lambda: nn.GRU(2, 5, dtype=torch.float64),
    "stack": lambda: nn.Sequential(
        nn.Linear(2, 4), nn.ELU(0.3), unrolled.GRU(4, 3), nn.LayerNorm(3), unrolled.RNN(3, 2)
    ).eval(),
    "run": lambda: make_run("gru"),
    "run of changes": lambda: make_run(difference=True),
    "cell": lambda: unrolled.Recurrent(cells.PeepholeLSTM, 2, 5, 2).eval(),
    "run of a cell": lambda: make_run(cells.SLSTM(heads=5)),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy within": lambda stream: copy.deepcopy({"a": [stream]})["a"][0],
    "pickle": lambda stream: pickle.loads(pickle.dumps(stream)),
    "the first pickle": lambda stream: pickle.loads(pickle.dumps(stream, 0)),
    "a copy of a copy": lambda stream: copy.copy(copy.deepcopy(stream)),
}

each_model = pytest.mark.parametrize("model", MODELS)
each_way = pytest.mark.parametrize("way", WAYS)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name


@each_model
@each_way
@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_copy_goes_on_by_itself_to_the_same_bits(way, model, at):
    x = rows(12, 3, 2)
    stream = unrolled.Stream(MODELS[model](), 3)
    stream.step_many(x[:at])
    before = stream.state
    copied = WAYS[way](stream)
    assert type(copied) is unrolled.Stream
    assert_same(copied.state, before)
    assert (repr(copied), copied.inputs, copied.targets, copied.dtype) == (
        repr(stream), stream.inputs, stream.targets, stream.dtype
    )  # fmt: skip
    assert copied.is_of_same_model(stream)

    found = copied.step_many(x[at:])
    assert_same(stream.state, before)  # which the copy has left alone
    assert found.tobytes() == stream.step_many(x[at:]).tobytes()
    assert_same(copied.state, stream.state)
    stream.reset()
    assert (copied.state["steps"] == 12).all()


@each_way
def test_a_copy_has_a_state_of_infinite_numbers_too(way):
    """As a module's may be; a stream goes on from it, if to no good."""
    stream = unrolled.Stream(unrolled.RNN(1, 2, nonlinearity="relu"))
    stream.state = {**stream.state, "hidden": np.full((1, 1, 2), np.inf, np.float32)}
    assert_same(WAYS[way](stream).state, stream.state)


def test_a_copy_has_the_weights_that_the_stream_has():
    module = unrolled.GRU(2, 3)
    stream = unrolled.Stream(module)
    with torch.no_grad():
        module.get_parameter("weight_hh_l0").zero_()
    copied = pickle.loads(pickle.dumps(stream))
    x = rows(4, 2)
    assert copied.step_many(x).tobytes() == stream.step_many(x).tobytes()


def test_a_pickle_is_read_without_torch(tmp_path):
    stream = unrolled.Stream(make_run())
    stream.step_many(rows(3, 2))
    (tmp_path / "s").write_bytes(pickle.dumps(stream))
    script = (
        f"import pickle, sys; s = pickle.load(open({str(tmp_path / 's')!r}, 'rb')); "
        "print(int(s.state['steps'][0]), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "False"]


@pytest.mark.parametrize("wrong", [None, [], "hidden", 3, [("hidden", 0)], {1, 2}])
def test_what_is_no_state_is_refused_and_nothing_moves(wrong):
    stream = unrolled.Stream(unrolled.LSTM(2, 3))
    stream.step([0.5, 1.0])
    before = stream.state
    words = r"^a state should be a dict with hidden, cell, steps, got "
    with pytest.raises(unrolled.InputError, match=f"{words}{type(wrong).__name__}. To begin anew"):
        stream.state = wrong
    assert_same(stream.state, before)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: unrolled.GRU(2, 3, device="meta"), "GRU: weight_ih_l0"),
        (lambda: nn.LSTM(2, 3, device="meta"), "LSTM: weight_ih_l0"),
        (
            lambda: nn.Sequential(unrolled.GRU(2, 3), nn.Linear(3, 1, device="meta")),
            r"module '1' \(Linear\): weight",
        ),
    ],
)
def test_a_model_without_numbers_is_refused(model, named):
    words = rf"^{named} is on the device meta and has no numbers. Give it some: load weights, or "
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream(model())

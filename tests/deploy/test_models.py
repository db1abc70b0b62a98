"""What can be a stream's model, and what can't: stacks, estimators, run folders."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import unrolled
from support_stream import NUMBERS, make_run, module, rows, through, write_run
from unrolled.model import Network, NetworkConfig

both = pytest.mark.usefixtures("stepper")


class Doubled(unrolled.GRU):
    def forward(self, *args):
        output, last = super().forward(*args)
        return 2 * output, last


class Stack(nn.Sequential):
    def forward(self, input):
        return 2 * super().forward(input)


def patched(model):
    model.forward = lambda *_: None
    return model


def hooked(model):
    model.register_forward_hook(lambda *_: None)
    return model


@both
@pytest.mark.parametrize("number", NUMBERS)
def test_a_stack_of_all_that_can_stream(number):
    dtype = NUMBERS[number]
    stack = nn.Sequential(
        nn.Linear(3, 6, dtype=dtype),
        nn.LayerNorm(6, dtype=dtype),
        unrolled.LSTM(6, 9, num_layers=2, dropout=0.5, dtype=dtype),
        nn.Sequential(nn.Dropout(0.3), nn.Linear(9, 5, bias=False, dtype=dtype), nn.Identity()),
        nn.LayerNorm(5, elementwise_affine=False),
        nn.GRU(5, 4, dtype=dtype),
        nn.Linear(4, 2, dtype=dtype),
    ).eval()
    x = rows(15, 2, 3, dtype=number)
    stream = unrolled.Stream(stack, 2)
    tolerance = 2e-5 if number == "float32" else 1e-12
    np.testing.assert_allclose(
        stream.step_many(x), through(stack, torch.from_numpy(x)), rtol=tolerance, atol=tolerance
    )
    assert list(stream.state) == ["2.hidden", "2.cell", "5.hidden", "steps"]


def test_containers_are_one_row_of_modules():
    config = NetworkConfig(cell="gru", input_size=3, hidden_size=4, output_size=2)
    network, head = Network(config), nn.Linear(2, 5)
    network.aside = nn.Linear(4, 9)  # forward does not call it
    x = rows(8, 1, 3, dtype="float32")
    y = unrolled.Stream(nn.ModuleList([nn.Sequential(network), head])).step_many(x)
    with torch.no_grad():
        expected = head(network(torch.from_numpy(x).transpose(0, 1))[0]).transpose(0, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_a_module_in_two_places_runs_twice():
    twice, bend = unrolled.GRU(3, 3), nn.Tanh()
    stack = nn.Sequential(twice, bend, nn.Linear(3, 3), twice, bend)
    x = rows(8, 1, 3, dtype="float32")
    stream = unrolled.Stream(stack)
    expected = through(stack, torch.from_numpy(x))
    np.testing.assert_allclose(stream.step_many(x), expected, rtol=1e-5, atol=1e-6)
    assert list(stream.state) == ["0.hidden", "3.hidden", "steps"]


def test_weights_are_what_they_are_in_use():
    """Parametrized weights are computed, and what streams is the result."""
    recurrent = parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0")
    stack = nn.Sequential(recurrent, parametrizations.weight_norm(nn.Linear(4, 2)))
    x = rows(8, 1, 3, dtype="float32")
    expected = through(stack, torch.from_numpy(x))
    y = unrolled.Stream(stack).step_many(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@both
@pytest.mark.parametrize(
    "activation",
    [
        nn.Tanh(),
        nn.Sigmoid(),
        nn.ReLU(),
        nn.LeakyReLU(0.2),
        nn.ELU(0.7),
        nn.SiLU(),
        nn.Softplus(beta=2.0),
        nn.GELU(),
        nn.GELU(approximate="tanh"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("number", NUMBERS)
def test_the_activations_are_torchs(activation, number):
    dtype = NUMBERS[number]
    head = nn.Linear(5, 21, dtype=dtype)
    nn.init.normal_(head.weight, std=20.0)  # far into the tails
    stack = nn.Sequential(unrolled.GRU(3, 5, dtype=dtype), head, activation).eval()
    x = rows(30, 1, 3, dtype=number)
    tolerance = 1e-5 if number == "float32" else 1e-10
    np.testing.assert_allclose(
        unrolled.Stream(stack).step_many(x),
        through(stack, torch.from_numpy(x)),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: unrolled.LSTM(2, 3, bidirectional=True), "bidirectional, and its reverse"),
        (lambda: unrolled.LSTM(2, 3, 2, dropout=0.5), r"in training mode.*Call model\.eval\(\)"),
        (lambda: nn.Sequential(nn.GRU(2, 3), nn.Dropout(0.5)), r"'1' \(Dropout\) with dropout=0.5"),
        (
            lambda: nn.Sequential(nn.GRU(2, 3), nn.Softplus(threshold=5)),
            r"'1' \(Softplus\): has threshold=5, and .* 20",
        ),
        (
            lambda: nn.Sequential(nn.GRU(2, 3), nn.Linear(3, 1).double()),
            "one type, float32 or float64, were expected, got float32, float64",
        ),
        (lambda: Stack(nn.GRU(2, 3)), "Stack: has a forward of its own"),
        (lambda: nn.Sequential(nn.LayerNorm(2), nn.GRU(3, 3)), r"\(GRU\): reads 3 numbers .* 2"),
        (lambda: nn.GRU(2, 3).bfloat16(), r"got bfloat16\. Convert them with model\.float\(\)"),
        (lambda: nn.Linear(2, 3), "the model has no RNN, LSTM or GRU"),
        (lambda: nn.Sequential(nn.GRU(2, 3), nn.Linear(4, 1)), r"\(Linear\): reads 4 numbers"),
        (lambda: nn.Sequential(nn.GRU(2, 3), nn.Softmax(-1)), r"'1' \(Softmax\): one of RNN"),
        (lambda: nn.LSTMCell(2, 3), "LSTMCell: one of RNN, LSTM, GRU"),
        (lambda: Doubled(2, 3), "Doubled: has a forward of its own"),
        (lambda: patched(unrolled.GRU(2, 3)), "GRU: has a forward of its own"),
        (lambda: hooked(unrolled.GRU(2, 3)), "GRU: has forward hooks"),
        (lambda: unrolled.SequenceRegressor(), "SequenceRegressor is not fitted. Call its fit"),
        (lambda: "nowhere/at/all", "no such run folder. Make one with: unrolled train"),
        (lambda: 7, "a run folder, a Run, .* was expected, got int"),
    ],
)
def test_what_can_not_stream_is_refused_with_the_reason(make, words):
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream(make())


def test_a_saved_stream_is_no_run_folder(tmp_path):
    unrolled.Stream(module("GRU")).save(tmp_path / "s")
    with pytest.raises(unrolled.InputError, match=r"Stream\.load reads a saved stream"):
        unrolled.Stream(tmp_path / "s")


@both
@pytest.mark.parametrize("target", ["step", "sequence"])
def test_an_estimator_says_step_by_step_what_it_predicts(target):
    x, y = rows(6, 10, 2), rows(6, 10)
    model = unrolled.SequenceRegressor("gru", 4, epochs=2, target=target, random_state=0)
    model.fit(20 + 5 * x, 300 * (y if target == "step" else y[:, -1]))
    stream = unrolled.Stream(model, 6)
    stepped = stream.step_many(20 + 5 * x.transpose(1, 0, 2))
    assert stepped.dtype == np.float64
    last = model.predict(20 + 5 * x)
    last = last[:, -1] if target == "step" else last
    np.testing.assert_allclose(stepped[-1, :, 0], last, rtol=1e-4, atol=1e-3)


@both
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_run_speaks_the_units_of_its_table(cell, tmp_path):
    run = make_run(cell, num_layers=2)
    x = rows(9, 2)
    scaled = torch.from_numpy(run.input_scaler.transform(x)).float()
    with torch.no_grad():
        output = run.network(scaled[None])[0][0].double().numpy()
    expected = run.target_scaler.inverse(output)
    for model in (run, write_run(tmp_path / "run", run), str(tmp_path / "run")):
        stream = unrolled.Stream(model)
        assert (stream.inputs, stream.targets) == (("a", "b"), ("b", "y", "z"))
        np.testing.assert_allclose(stream.step_many(x), expected, rtol=1e-5, atol=1e-5)


@both
def test_a_window_from_a_fresh_stream_is_a_prediction():
    """Of a run with differences: a change is read, and added to the last value."""
    run = make_run(difference=True, ahead=1)
    x = rows(run.table.history, 2).cumsum(axis=0)
    frame = {"a": x[:, 0], "b": x[:, 1], "y": x[:, 0], "z": x[:, 0]}
    predicted = unrolled.predict_table(run, pl.DataFrame(frame)).frame
    stream = unrolled.Stream(run)
    y = stream.step_many(x)
    assert stream.ahead == 1
    assert np.isnan(y[0]).all()
    names = [name for name in predicted.columns if "predict" in name]
    assert len(names) == 3
    np.testing.assert_allclose(y[-1], predicted[-1, names].row(0), rtol=1e-5, atol=1e-5)


@both
def test_a_first_row_of_changes_leaves_the_states_alone():
    run = make_run(difference=True)
    x = rows(12, 3, 2)
    stream = unrolled.Stream(run, 3)
    stream.step_many(x[:5])
    stream.reset(1)
    before = stream.state
    assert np.isnan(before["last"][1]).all()
    y = stream.step(x[5])
    assert np.isnan(y).any(axis=-1).tolist() == [False, True, False]
    assert not stream.state["hidden"][:, 1].any()
    np.testing.assert_array_equal(stream.state["last"], x[5])
    further = stream.step(x[6])
    for b, start in ((0, 0), (1, 5), (2, 0)):
        alone = unrolled.Stream(run).step_many(x[start:7, b])
        np.testing.assert_allclose(further[b], alone[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_run_takes_finite_numbers_only(bad):
    stream = unrolled.Stream(make_run())
    stream.step([0.5, 0.5])
    before = stream.state
    with pytest.raises(unrolled.InputError, match=r"x\[1\] \(b\) is (nan|inf): finite numbers"):
        stream.step([0.5, bad])
    with pytest.raises(unrolled.InputError, match=r"x\[2, 0, 1\] \(b\) is"):
        stream.step_many([[0.5, 0.5], [0.5, 0.5], [0.5, bad]])
    assert all(np.array_equal(before[name], stream.state[name]) for name in before)


def test_a_stream_says_what_it_is():
    words = repr(unrolled.Stream(nn.Sequential(module("LSTM"), nn.Tanh(), nn.Linear(7, 2)), 4))
    assert words.startswith("Stream(LSTM, tanh, Linear: 3 → 2, batch_size=4, backend='")

"""What is recorded is what the cells did: their own equations, and autograd's own gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support_nn import BACKENDS, KINDS, Kind, every_kind, random_hx, use_backend
from unrolled.errors import InputError
from unrolled.inspect.trace import Direction

T, B, INPUTS, HIDDEN = 7, 3, 2, 6
LENGTHS = [4, 0, 7]
GATES = {
    "RNN": ["hidden"],
    "LSTM": ["input", "forget", "candidate", "output", "cell", "hidden"],
    "GRU": ["reset", "update", "candidate", "hidden"],
}
OPTIONS = {
    "plain": {},
    "stack": {"num_layers": 3},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "batch_first": {"batch_first": True, "bias": False},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
dense_and_ragged = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["dense", "ragged"])


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


def module_and_input(kind: Kind, **options):
    module, _ = kind.pair(dtype=torch.float64, **options)
    shape = (B, T, INPUTS) if module.batch_first else (T, B, INPUTS)
    return module, torch.randn(shape, dtype=torch.float64)


def directions_of(module) -> list[Direction]:
    return ["forward", "reverse"] if module.bidirectional else ["forward"]


def weights_of(module, layer, suffix):
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return [getattr(module, f"{name}_l{layer}{suffix}", None) for name in names]


def step(module, x, h, c, layer, suffix):
    """A step as the class docstrings write it: what each gate and state should be, by name."""
    w_ih, w_hh, b_ih, b_hh = weights_of(module, layer, suffix)
    by_input, by_hidden = linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)
    if module.mode == "LSTM":
        i, f, g, o = (by_input + by_hidden).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cell = f * c + i * g
        hidden = o * cell.tanh()
        if module.proj_size:
            hidden = linear(hidden, getattr(module, f"weight_hr_l{layer}{suffix}"))
        return dict(zip(GATES["LSTM"], (i, f, g, o, cell, hidden), strict=True))
    if module.mode == "GRU":
        (x_r, x_z, x_n), (h_r, h_z, h_n) = by_input.chunk(3, -1), by_hidden.chunk(3, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + r * h_n).tanh()
        return {"reset": r, "update": z, "candidate": n, "hidden": (1 - z) * n + z * h}
    hidden = by_input + by_hidden
    return {"hidden": hidden.tanh() if module.mode == "RNN_TANH" else hidden.relu()}


@dense_and_ragged
@every_option
@every_kind
def test_the_values_satisfy_the_equations(kind: Kind, options, lengths):
    module, x = module_and_input(kind, **options)
    hx = random_hx(module, B, dtype=torch.float64)
    trace = unrolled.record(module, x, hx, lengths=lengths)
    states = hx if isinstance(hx, tuple) else (hx,)
    below = x.transpose(0, 1) if module.batch_first else x
    directions = directions_of(module)
    for layer in range(module.num_layers):
        given = []
        for number, direction in enumerate(directions):
            index = layer * len(directions) + number
            suffix = "_reverse" if number else ""
            values = {
                gate: trace.get(gate, layer=layer, direction=direction)
                for gate in GATES[module.mode.split("_")[0]]
            }
            given.append(values["hidden"])
            for row, length in enumerate(lengths or [T] * B):
                h, c = states[0][index, row], states[-1][index, row]
                for t in reversed(range(length)) if number else range(length):
                    expected = step(module, below[t, row], h, c, layer, suffix)
                    for gate, value in expected.items():
                        torch.testing.assert_close(values[gate][t, row], value)
                    h, c = values["hidden"][t, row], values.get("cell", values["hidden"])[t, row]
        below = torch.cat(given, -1)


@every_kind
def test_steps_that_are_not_there_are_marked(kind: Kind):
    module, x = module_and_input(kind)
    trace = unrolled.record(module, x, lengths=LENGTHS)
    expected = torch.arange(T).unsqueeze(1) < torch.tensor(LENGTHS)
    assert torch.equal(trace.masks[""], expected)
    assert all(torch.equal(~value.isnan().any(-1), expected) for value in trace.values.values())


def test_packed_sequences_come_back_in_the_callers_order():
    module, x = module_and_input(KINDS[2])
    packed = pack_padded_sequence(x, torch.tensor([4, 2, 7]), enforce_sorted=False)
    found = unrolled.record(module, packed).get("hidden")
    expected = unrolled.record(module, x, lengths=[4, 2, 7]).get("hidden")
    torch.testing.assert_close(found, expected, equal_nan=True)


@dense_and_ragged
@every_option
def test_a_step_receives_the_state_that_the_step_before_left(options, lengths):
    """c_t = f ⊙ c_{t−1} + i ⊙ g, in both directions and from the call's own initial state."""
    module, x = module_and_input(Kind("LSTM"), **options)
    trace = unrolled.record(module, x, random_hx(module, B, dtype=torch.float64), lengths=lengths)
    for layer in range(module.num_layers):
        for direction in directions_of(module):
            where: dict[str, Any] = {"layer": layer, "direction": direction}
            f, i, g = (trace.get(name, **where) for name in ("forget", "input", "candidate"))
            cell = f * trace.before("cell", **where) + i * g
            torch.testing.assert_close(cell, trace.get("cell", **where), equal_nan=True)


def test_what_the_module_read_is_in_the_trace():
    module, x = module_and_input(Kind("GRU"), batch_first=True)
    given = unrolled.record(module, x, lengths=LENGTHS).given[""]
    assert (given.name, given.batch_first, given.starts) == ("GRU", True, (0,))
    there = torch.arange(T).unsqueeze(1) < torch.tensor(LENGTHS)
    torch.testing.assert_close(given.input[there], x.transpose(0, 1)[there])
    assert given.input[~there].isnan().all()


# --- Gradients.


@every_kind
def test_the_gradient_of_the_states_handed_on_is_that_of_the_rest_from_there(kind: Kind):
    """∂L/∂s_t: run the steps after t from that state, and ask autograd."""
    module, x = module_and_input(kind)
    trace = unrolled.record(module, x, gradients=True)
    names = ["hidden", "cell"] if module.mode == "LSTM" else ["hidden"]
    for t in range(T - 1):
        states = [trace.get(name)[t].unsqueeze(0).clone().requires_grad_() for name in names]
        hx = tuple(states) if module.mode == "LSTM" else states[0]
        loss = module(x[t + 1 :], hx)[0][-1].sum()
        for name, expected in zip(names, torch.autograd.grad(loss, states), strict=True):
            found = trace.get(name, kind="carried")[t]
            torch.testing.assert_close(found, expected[0], rtol=1e-10, atol=1e-12)


@dense_and_ragged
@every_option
@every_kind
def test_gradients_are_those_of_autograd(kind: Kind, options, lengths):
    """Of the output by what is added to the hidden states of the top layer, step by step."""
    module, x = module_and_input(kind, **options)
    trace = unrolled.record(module, x, lengths=lengths, loss=lambda out: out[0].square().sum())
    top = module.num_layers - 1
    with unrolled.backend("reference"):
        expected = unrolled.record(
            module, x, lengths=lengths, loss=lambda out: out[0].square().sum()
        )
    for key, gradient in expected.gradients.items():
        torch.testing.assert_close(trace.gradients[key], gradient, equal_nan=True)
    hidden = trace.get("hidden", layer=top)
    shown = trace.get("hidden", layer=top, kind="gradient") - trace.get(
        "hidden", layer=top, kind="carried"
    )
    torch.testing.assert_close(shown, 2 * hidden, equal_nan=True)


def test_total_gradients_are_what_retain_grad_gives():
    """On an LSTM written out by hand, whose every h and c is a tensor of its own."""
    module, x = module_and_input(Kind("LSTM"))
    trace = unrolled.record(module, x, loss=lambda out: out[0].square().sum())
    h = c = torch.zeros(B, HIDDEN, dtype=torch.float64)
    states = []
    for t in range(T):
        values = step(module, x[t], h, c, 0, "")
        h, c = values["hidden"], values["cell"]
        states.append((h, c))
    loss = sum(h.square().sum() for h, _ in states)
    for t, (h, c) in enumerate(states):
        by_h, by_c = torch.autograd.grad(loss, (h, c), retain_graph=True)
        torch.testing.assert_close(trace.get("hidden", kind="gradient")[t], by_h)
        torch.testing.assert_close(trace.get("cell", kind="gradient")[t], by_c)


def test_frozen_models_have_gradients_too():
    module, x = module_and_input(Kind("GRU"))
    expected = unrolled.record(module, x, gradients=True).get("hidden", kind="gradient")
    frozen = copy.deepcopy(module).requires_grad_(requires_grad=False)
    found = unrolled.record(frozen, x, gradients=True).get("hidden", kind="gradient")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("rows", "lengths"), [(0, None), (2, [0, 0])], ids=["rows", "steps"])
@every_kind
def test_a_stack_in_which_nothing_runs(kind: Kind, rows, lengths):
    module, _ = module_and_input(kind, num_layers=2)
    x = torch.randn(T, rows, INPUTS, dtype=torch.float64)
    trace = unrolled.record(module, x, lengths=lengths, gradients=True)
    for layer in range(2):
        found = trace.get("hidden", layer=layer, kind="gradient")
        assert found.shape[1] == rows
        assert found.isnan().all()  # no row has a step


def test_a_loss_with_a_target():
    module, x = module_and_input(Kind("RNN"))
    target = torch.randn(T, B, HIDDEN, dtype=torch.float64)
    loss = lambda out, target: nn.functional.mse_loss(out[0], target)  # noqa: E731
    trace = unrolled.record(module, x, loss=loss, target=target)
    last = trace.get("hidden", kind="gradient")[-1]
    torch.testing.assert_close(last, 2 * (trace.get("hidden")[-1] - target[-1]) / target.numel())


def test_nothing_of_the_model_is_touched():
    module, x = module_and_input(Kind("LSTM"))
    unrolled.record(module, x, gradients=True)
    assert all(weight.grad is None for weight in module.parameters())
    assert not module._forward_hooks


# --- Models.


class Model(nn.Module):
    """Two modules, one of torch's own, with something between."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(INPUTS, HIDDEN, batch_first=True)
        self.heads = nn.ModuleDict({"a": unrolled.LSTM(HIDDEN, 4, batch_first=True)})
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.heads["a"](self.encoder(x)[0].relu())[0])


def test_modules_go_by_their_path_in_the_model():
    trace = unrolled.record(Model(), torch.randn(B, T, INPUTS))
    assert trace.modules == ["encoder", "heads.a"]
    assert trace.get("update", module="encoder").shape == (T, B, HIDDEN)
    assert trace.get("forget", module="heads.a").shape == (T, B, 4)


def test_torchs_own_are_left_as_they_were():
    model, x = Model(), torch.randn(B, T, INPUTS)
    expected = model(x)
    trace = unrolled.record(model, x)
    assert type(model.encoder) is nn.GRU
    torch.testing.assert_close(trace.output, expected.detach())


def test_they_are_left_as_they_were_when_the_model_fails():
    model = Model()
    with pytest.raises(RuntimeError):
        unrolled.record(model, torch.randn(B, T, INPUTS + 1))
    assert type(model.encoder) is nn.GRU
    assert not model.encoder._forward_hooks


def test_a_module_that_runs_twice_is_recorded_call_after_call():
    lstm = unrolled.LSTM(INPUTS, HIDDEN)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = lstm

        def forward(self, x):
            _, state = self.lstm(x[:4])
            return self.lstm(x[4:], state)

    x = torch.randn(T, B, INPUTS)
    twice, once = unrolled.record(Twice(), x), unrolled.record(lstm, x)
    torch.testing.assert_close(twice.get("cell"), once.get("cell"))
    torch.testing.assert_close(twice.before("cell"), once.before("cell"))
    assert twice.given["lstm"].starts == (0, 4)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("home", [unrolled, nn], ids=["ours", "torchs"])
def test_a_cell_in_a_loop_is_recorded_as_its_sequence_is(home, name):
    module = getattr(unrolled, name)(INPUTS, HIDDEN, dtype=torch.float64)
    cell = getattr(home, f"{name}Cell")(INPUTS, HIDDEN, dtype=torch.float64)
    cell.load_state_dict({key.removesuffix("_l0"): w for key, w in module.state_dict().items()})

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            state = None
            for x_t in x:
                state = self.cell(x_t, state)
            return state

    x = torch.randn(T, B, INPUTS, dtype=torch.float64)
    found = unrolled.record(Loop(), x, gradients=True)
    expected = unrolled.record(module, x, gradients=True)
    assert [key._replace(module="") for key in found.values] == list(expected.values)
    for kind in ("values", "gradients"):
        for key, value in getattr(expected, kind).items():
            torch.testing.assert_close(getattr(found, kind)[key._replace(module="cell")], value)


def test_recompute_every_is_set_aside():
    module = unrolled.LSTM(INPUTS, HIDDEN, recompute_every=2)
    assert unrolled.record(module, torch.randn(T, B, INPUTS)).get("forget").shape[0] == T


# --- The trace as a value.


def test_a_saved_trace_is_the_same_again(tmp_path):
    module, x = module_and_input(Kind("LSTM"))
    trace = unrolled.record(module, x, lengths=LENGTHS, gradients=True)
    trace.save(tmp_path / "trace.safetensors")
    again = unrolled.Trace.load(tmp_path / "trace.safetensors")
    for kind in ("values", "gradients", "carried", "masks", "initial"):
        found, expected = getattr(again, kind), getattr(trace, kind)
        assert list(found) == list(expected)
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], equal_nan=True)
    assert torch.equal(again.output[1][0], trace.output[1][0])
    torch.testing.assert_close(again.before("cell"), trace.before("cell"), equal_nan=True)
    torch.testing.assert_close(again.given[""].input, trace.given[""].input, equal_nan=True)


def test_the_frame_has_a_row_for_each_number_that_is_there():
    module, x = module_and_input(Kind("GRU"))
    trace = unrolled.record(module, x, lengths=LENGTHS, gradients=True)
    frame = trace.to_frame()
    assert frame.height == 4 * sum(LENGTHS) * HIDDEN
    assert frame["value"].null_count() == 0
    assert not frame["value"].is_nan().any()
    row = frame.filter(gate="update", sequence=2, step=5, unit=1).row(0, named=True)
    assert row["value"] == trace.get("update")[5, 2, 1].item()
    assert row["gradient"] is None
    hidden = frame.filter(gate="hidden", sequence=0, step=3, unit=0).row(0, named=True)
    assert hidden["gradient"] == trace.get("hidden", kind="gradient")[3, 0, 0].item()


# --- What can't be.


def test_a_model_without_recurrent_modules_is_refused():
    with pytest.raises(InputError, match="Linear has no RNN, LSTM, GRU or cell to record"):
        unrolled.record(nn.Linear(2, 3), torch.zeros(1, 2))


def test_a_gate_that_is_not_there_is_refused_with_those_that_are():
    trace = unrolled.record(unrolled.GRU(2, 3), torch.zeros(4, 2))
    with pytest.raises(InputError, match=r"no value of the model, layer 0, .*forget.*update"):
        trace.get("forget")
    with pytest.raises(InputError, match="record with gradients=True"):
        trace.get("hidden", kind="gradient")


def test_one_of_several_modules_has_to_be_named():
    trace = unrolled.record(Model(), torch.randn(B, T, INPUTS))
    with pytest.raises(InputError, match="2 recurrent modules: say which"):
        trace.get("hidden")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda out: out[0], r"one number, a tensor of one element, got \[4, 3\]"),
        (lambda _: 3.0, "one number, a tensor of one element, got float"),
        (lambda out: out[0].detach().sum(), "does not hang on the model"),
    ],
)
def test_a_loss_that_is_no_number_of_the_models_is_refused(loss, words):
    with pytest.raises(InputError, match=words):
        unrolled.record(unrolled.GRU(2, 3), torch.zeros(4, 2), loss=loss)


def test_a_target_without_a_loss_is_refused():
    with pytest.raises(InputError, match="only a loss looks at it"):
        unrolled.record(unrolled.GRU(2, 3), torch.zeros(4, 2), target=torch.zeros(1))


def test_a_file_that_is_no_trace_is_refused(tmp_path):
    (tmp_path / "a").write_text("no")
    with pytest.raises(InputError, match="a trace was expected, and this is none"):
        unrolled.Trace.load(tmp_path / "a")
    with pytest.raises(InputError, match="No such file"):
        unrolled.Trace.load(tmp_path / "b")

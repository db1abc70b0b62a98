"""``export_onnx``: a module in ONNX Runtime gives what it gives here."""

import os
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import unrolled
from support_nn import BATCH, INPUTS, KINDS, STEPS, assert_close, random_hx, random_input
from support_onnx import ALL, Exported, named, run
from unrolled.deploy import onnx_extra
from unrolled.deploy.onnx_export import _check_size
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError
from unrolled.model import Network, NetworkConfig

PLAIN = [kind for kind in KINDS if "proj_size" not in kind.options]
SIZES = [(1, 1), (3, 4), (5, 11)]
"""Rows and steps of the batches that one file is run on."""

every_kind = pytest.mark.parametrize("kind", PLAIN, ids=str)
both_directions = pytest.mark.parametrize("bidirectional", [False, True])


@pytest.fixture
def exported(tmp_path):
    return lambda model, **options: Exported(model, tmp_path / "model.onnx", **options)


@every_kind
@both_directions
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_the_file_gives_our_numbers_for_any_batch_and_length(
    exported, kind, layers, bidirectional, bias
):
    module, _ = kind.pair(num_layers=layers, bidirectional=bidirectional, bias=bias)
    file = exported(module)
    for batch, steps in SIZES:
        x, hx = torch.randn(steps, batch, INPUTS), random_hx(module, batch)
        assert_close(file(x, **named(hx)), run(module, x, hx))


@every_kind
@both_directions
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_step_by_step_with_the_state_fed_back_is_the_whole(
    exported, kind, layers, bidirectional, bias
):
    """In two directions each call is a sequence of its own, here as in ONNX Runtime."""
    module, _ = kind.pair(num_layers=layers, bidirectional=bidirectional, bias=bias)
    file = exported(module)
    x, hx = random_input(module), random_hx(module)
    states, expected, fed = named(hx), [], hx
    for step in x.split(1):
        output, *last = file(step, **states)
        states = dict(zip(states, last, strict=True))
        with torch.no_grad():
            mine, fed = module(step, fed)
        expected.append(mine)
        assert_close(output, mine)
    if not bidirectional:
        assert_close(torch.cat(expected), run(module, x, hx)[0])
    assert_close(tuple(states.values()), fed)


@every_kind
@both_directions
@pytest.mark.parametrize("lengths", [[4, 1, 3], [0, 4, 2], [2, 2, 2], [0, 0, 0]])
def test_rows_end_at_their_own_length(exported, kind, bidirectional, lengths):
    module, _ = kind.pair(num_layers=2, bidirectional=bidirectional)
    x, hx, lengths = random_input(module), random_hx(module), torch.tensor(lengths)
    found = exported(module)(x, lengths, **named(hx))
    assert_close(found, run(module, x, hx, lengths))


@pytest.mark.parametrize("lengths", [[-1], [2], [-1, 2, 0]])
def test_one_length_may_stand_for_all_rows_and_minus_one_for_all_steps(exported, lengths):
    module = unrolled.GRU(INPUTS, 5)
    x, hx = random_input(module), random_hx(module)
    found = exported(module)(x, torch.tensor(lengths), **named(hx))
    whole = torch.tensor([STEPS if length < 0 else length for length in lengths]).expand(BATCH)
    assert_close(found, run(module, x, hx, whole))


@pytest.mark.parametrize("lengths", [STEPS + 1, -2])
def test_onnx_runtime_refuses_a_length_that_is_none(exported, lengths):
    module = unrolled.LSTM(INPUTS, 5)
    with pytest.raises(Exception, match="sequence_lens"):
        exported(module)(random_input(module), torch.tensor([lengths]), **named(random_hx(module)))


@every_kind
@both_directions
def test_without_states_every_call_begins_from_zeros(exported, kind, bidirectional):
    module, _ = kind.pair(num_layers=2, bidirectional=bidirectional)
    file = exported(module, stateful=False)
    assert list(file.inputs) == ["input", "lengths"]
    assert list(file.outputs) == ["output"]
    x, lengths = random_input(module), torch.tensor([2, 0, 4])
    assert_close(file(x, lengths), run(module, x, None, lengths)[:1])


@every_kind
def test_a_batch_first_module_stays_so(exported, kind):
    module, _ = kind.pair(batch_first=True)
    file = exported(module)
    assert file.inputs["input"] == ["batch", "time", INPUTS]
    x, hx = random_input(module), random_hx(module)
    assert_close(file(x, **named(hx)), run(module, x, hx))


@every_kind
def test_torchs_own_modules_are_taken_as_well(exported, kind):
    _, module = kind.pair(num_layers=2, bidirectional=True)
    x, hx = random_input(module), random_hx(module)
    assert_close(exported(module)(x, **named(hx)), run(module, x, hx))


def test_every_layer_is_one_node_of_the_standard(exported):
    file = exported(unrolled.GRU(INPUTS, 5, num_layers=3, bidirectional=True))
    assert [node.name for node in file.nodes("GRU")] == ["l0", "l1", "l2"]
    assert {domain.domain for domain in file.model.opset_import} == {""}


def test_inputs_and_outputs_have_torchs_names_and_shapes(exported):
    file = exported(unrolled.LSTM(INPUTS, 5, num_layers=2, bidirectional=True))
    state = [4, "batch", 5]
    assert file.inputs == {
        "input": ["time", "batch", INPUTS],
        "lengths": ["batch or 1"],
        "h_0": state,
        "c_0": state,
    }
    assert file.outputs == {"output": ["time", "batch", 10], "h_n": state, "c_n": state}


def test_weights_are_what_they_are_in_use(exported):
    """Parametrized weights are computed, and what is written is the result."""
    module = unrolled.LSTM(INPUTS, 5)
    parametrizations.weight_norm(module, "weight_hh_l0")
    x, hx = random_input(module), random_hx(module)
    assert_close(exported(module)(x, **named(hx)), run(module, x, hx))


def test_dropout_is_left_out(exported):
    module = nn.Sequential(unrolled.GRU(INPUTS, 5, num_layers=2, dropout=0.5), nn.Dropout(0.5))
    x, hx = random_input(module[0]), random_hx(module[0])
    found = exported(module.train())(x, **named(hx))
    assert_close(found, run(module[0].eval(), x, hx))


STACK = [
    nn.Linear(INPUTS, 7),
    nn.LeakyReLU(0.2),
    unrolled.LSTM(7, 6, num_layers=2, bidirectional=True, batch_first=True),
    nn.LayerNorm(12),
    nn.Tanh(),
    nn.Sequential(nn.Linear(12, 4, bias=False), nn.ELU(0.7), nn.Identity()),
    nn.GRU(4, 3, batch_first=True),
    nn.Dropout(0.3),
    nn.LayerNorm(3, elementwise_affine=False),
    nn.Sigmoid(),
    nn.Linear(3, 2),
    nn.ReLU(),
]


def through(modules, x, lengths, states):
    """What a Sequential means whose recurrent parts hand on their output: output and states."""
    last: list[torch.Tensor] = []
    for module in modules:
        if isinstance(module, nn.RNNBase):
            ours = getattr(unrolled, module.mode)(
                *(module.input_size, module.hidden_size, module.num_layers),
                batch_first=True,
                bidirectional=module.bidirectional,
            )
            ours.load_state_dict(module.state_dict())
            x, hx = ours(x, states.pop(0), lengths)
            last += hx if isinstance(hx, tuple) else (hx,)
        else:
            x = module(x)
    return x, *last


def test_a_stack_of_modules_is_one_graph(exported):
    module = nn.Sequential(*STACK).eval()
    file = exported(module)
    assert list(file.inputs) == ["input", "lengths", "2.h_0", "2.c_0", "6.h_0"]
    assert list(file.outputs) == ["output", "2.h_n", "2.c_n", "6.h_n"]
    x, lengths = torch.randn(BATCH, STEPS, INPUTS), torch.tensor([4, 2, 3])
    first, second = random_hx(module[2]), random_hx(module[6])
    states = {"2.h_0": first[0], "2.c_0": first[1], "6.h_0": second}
    with torch.no_grad():
        expected = through(module, x, lengths, [first, second])
    output, *last = file(x, lengths, **states)
    assert_close(last, list(expected[1:]))
    real = torch.arange(STEPS) < lengths[:, None]
    assert_close(output[real], expected[0][real])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@both_directions
def test_a_network_is_read_out_at_every_step(exported, cell, bidirectional):
    config = NetworkConfig(
        cell=cell, input_size=2, hidden_size=5, output_size=3, bidirectional=bidirectional
    )
    network = Network(config).eval()
    x, hx = random_input(network.recurrent), random_hx(network.recurrent)
    assert_close(exported(network)(x, **named(hx)), run(network, x, hx))


def test_containers_are_one_row_of_modules(exported):
    network = Network(NetworkConfig(cell="gru", input_size=2, hidden_size=5, output_size=3))
    head = nn.Linear(3, 4)
    x, hx = random_input(network.recurrent), random_hx(network.recurrent)
    found = exported(nn.ModuleList([nn.Sequential(network), head]))(x, **named(hx))
    output, last = run(network, x, hx)
    with torch.no_grad():
        assert_close(found, [head(output), last])


def test_a_module_in_two_places_runs_twice(exported):
    twice, bend = unrolled.GRU(3, 3, batch_first=True), nn.Tanh()
    module = nn.Sequential(twice, bend, nn.Linear(3, 3), twice, bend)
    x, (first, second) = torch.randn(BATCH, STEPS, 3), torch.randn(2, 1, BATCH, 3)
    with torch.no_grad():
        expected = through(module, x, None, [first, second])
    found = exported(module)(x, **{"0.h_0": first, "3.h_0": second})
    assert_close(found, list(expected))


class Own(unrolled.LSTM):
    def forward(self, x, hx=None, lengths=None):
        return super().forward(2 * x, hx, lengths)


def hooked():
    module = unrolled.LSTM(2, 3)
    module.register_forward_hook(lambda *_: None)
    return module


def mixed():
    return nn.Sequential(unrolled.RNN(2, 3), unrolled.RNN(3, 3, batch_first=True))


REFUSED = {
    "projection": (
        lambda: unrolled.LSTM(2, 6, proj_size=4),
        r"LSTM: has a projection \(proj_size=4",
    ),
    "torch's": (lambda: nn.LSTM(2, 6, proj_size=4), r"LSTM: has a projection \(proj_size=4"),
    "float64": (lambda: unrolled.GRU(2, 3).double(), r"GRU: weight_ih_l0 is torch.float64"),
    "own forward": (lambda: Own(2, 3), "Own: has a forward of its own"),
    "hooks": (hooked, "LSTM: has forward hooks"),
    "another module": (
        lambda: nn.Sequential(unrolled.RNN(2, 3), nn.Conv1d(3, 3, 1)),
        r"module '1' \(Conv1d\): one of RNN, LSTM, GRU, Recurrent, Linear",
    ),
    "no node": (
        lambda: nn.Sequential(unrolled.RNN(2, 3), nn.GELU()),
        r"module '1' \(GELU\): of activations one of Tanh, Sigmoid, ReLU, LeakyReLU, ELU was",
    ),
    "a cell": (lambda: unrolled.GRUCell(2, 3), "GRUCell: one of RNN"),
    "nothing recurrent": (lambda: nn.Sequential(nn.Linear(2, 3)), "has no RNN, LSTM or GRU"),
    "mixed layouts": (mixed, "module '1' has batch_first=True, module '0' False"),
    "sizes": (
        lambda: nn.Sequential(unrolled.RNN(2, 3), nn.Linear(4, 1)),
        r"module '1' \(Linear\): reads 4 numbers at each step, and what stands before it gives 3",
    ),
    "a wide norm": (
        lambda: nn.Sequential(unrolled.RNN(2, 3), nn.LayerNorm((4, 3))),
        r"normalises over \[4, 3\]",
    ),
    "no model": (lambda: 3, "was expected, got int"),
    "not fitted": (unrolled.SequenceRegressor, "is not fitted. Call its fit first"),
    "no folder": (lambda: "nowhere", "nowhere: no such run folder"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("stateful", [True, False])
def test_what_onnx_cant_say_is_refused_before_a_file_appears(tmp_path, what, stateful):
    make, words = REFUSED[what]
    with pytest.raises(InputError, match=words):
        unrolled.export_onnx(make(), tmp_path / "model.onnx", stateful=stateful)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(onnx_extra, "import_module", absent)
    with pytest.raises(InputError, match=r"package onnx is needed.*pip install 'unrolled\[onnx\]'"):
        unrolled.export_onnx(unrolled.RNN(2, 3), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    unrolled.export_onnx(unrolled.RNN(2, 3), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(InputError, match="no space left"):
            unrolled.export_onnx(unrolled.RNN(2, 4), path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == before
    unrolled.export_onnx(unrolled.RNN(2, 4), path)
    assert path.read_bytes() != before


def test_a_folder_that_is_missing_is_made(tmp_path):
    path = tmp_path / "deep" / "down" / "model.onnx"
    unrolled.export_onnx(unrolled.RNN(2, 3), path)
    assert path.is_file()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        unrolled.export_onnx(unrolled.RNN(2, 3), tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    module = unrolled.LSTM(2, 3, num_layers=2, bidirectional=True)
    for name in ("a", "b"):
        unrolled.export_onnx(module, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_graph_is_dynamic_in_every_combination(exported):
    file = exported(unrolled.GRU(INPUTS, 5))
    for batch, steps in product((1, 2, 7), repeat=2):
        states = {"h_0": torch.zeros(1, batch, 5)}
        output, _ = file(torch.zeros(steps, batch, INPUTS), ALL, **states)
        assert output.shape == (steps, batch, 5)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file/m.onnx", "can't be written"),
        ("a" * 300, "can't be written"),
        ("zero\0byte", "can't be written"),
        ("pipe", "is no plain file"),
        ("", "is a folder"),
    ],
)
def test_a_place_where_no_file_can_be_is_named(tmp_path, place, words):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=words):
        unrolled.export_onnx(unrolled.RNN(1, 1), tmp_path / place)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "pipe"}


def test_a_model_that_no_file_holds_is_refused_before_it_is_made():
    with torch.device("meta"):
        module = unrolled.LSTM(1, 12_000)
    with pytest.raises(InputError, match=r"weights have 2,304,\d{3},\d{3} bytes as float32"):
        _check_size(parts_of(module), "float32")


def test_a_model_without_numbers_is_refused(tmp_path):
    with pytest.raises(InputError, match="weight_ih_l0 is on the device meta"):
        unrolled.export_onnx(unrolled.LSTM(1, 2, device="meta"), tmp_path / "m.onnx")


def test_stateful_is_a_truth_value(tmp_path):
    with pytest.raises(InputError, match="stateful: True or False was expected, got 'no'"):
        unrolled.export_onnx(unrolled.LSTM(1, 2), tmp_path / "m.onnx", stateful="no")  # type: ignore[arg-type]

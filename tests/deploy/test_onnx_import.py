"""``import_onnx``: the standard's nodes as modules, by its own tests and by ours."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

# All of the package's node tests take ten seconds to make; these are the ones with our nodes.
from onnx.backend.test.case.node import _NodeTestCases, gru, lstm, rnn  # noqa: F401
from torch import nn

import unrolled
from support_nn import INPUTS, KINDS, assert_close, random_hx, random_input
from support_onnx import Exported, named, run
from unrolled.deploy.onnx_export import build, write
from unrolled.deploy.onnx_modules import ResetFirstGRU, Reversed
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError

PLAIN = [kind for kind in KINDS if "proj_size" not in kind.options]
HELD = ("W", "R", "B", "P")
"""Inputs of the node tests that are weights, which a file has as constants."""

CASES = {
    case.name: case
    for case in _NodeTestCases
    if {node.op_type for node in case.model.graph.node} & {"RNN", "LSTM", "GRU"}
}
REFUSED = {"test_lstm_with_peepholes": "has peepholes"}


def held(case):
    """The test's model with its weights as constants; the other inputs, and all outputs."""
    (inputs, outputs), graph = case.data_sets[0], case.model.graph
    given = dict(zip([value.name for value in graph.input], inputs, strict=True))
    constants = [numpy_helper.from_array(given.pop(n), n) for n in HELD if n in given]
    made = dict(zip([value.name for value in graph.output], outputs, strict=True))
    ports = [value for value in graph.input if value.name in given]
    whole = helper.make_graph(graph.node, case.name, ports, graph.output, constants)
    model = helper.make_model(whole, opset_imports=case.model.opset_import, ir_version=10)
    return model, given, made


def test_the_package_has_the_node_tests_that_are_run_here():
    assert sorted(CASES) == [
        "test_gru_batchwise",
        "test_gru_bidirectional",
        "test_gru_defaults",
        "test_gru_reverse",
        "test_gru_seq_length",
        "test_gru_with_initial_bias",
        "test_lstm_batchwise",
        "test_lstm_bidirectional",
        "test_lstm_defaults",
        "test_lstm_reverse",
        "test_lstm_with_initial_bias",
        "test_lstm_with_peepholes",
        "test_rnn_seq_length",
        "test_simple_rnn_batchwise",
        "test_simple_rnn_bidirectional",
        "test_simple_rnn_defaults",
        "test_simple_rnn_reverse",
        "test_simple_rnn_with_initial_bias",
    ]


@pytest.mark.parametrize("name", sorted(set(CASES) - set(REFUSED)))
def test_the_node_tests_of_the_onnx_package_pass(tmp_path, name):
    model, given, made = held(CASES[name])
    onnx.save(model, tmp_path / "node.onnx")
    (module,) = unrolled.import_onnx(tmp_path / "node.onnx").values()
    output, *last = run(module, torch.from_numpy(given["X"]))
    batch_first = name.endswith("batchwise")  # layout=1: [B, T, D, H] and [B, D, H]
    directions = last[0].shape[0]
    found = {"Y": output.unflatten(-1, (directions, -1)), "Y_h": last[0], "Y_c": last[-1]}
    for which, expected in made.items():
        value = found[which]
        if batch_first and which != "Y":
            value = value.transpose(0, 1)
        if which == "Y" and not batch_first:
            value = value.transpose(1, 2)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_the_node_tests_that_no_module_can_pass_are_refused_by_name(tmp_path, name):
    onnx.save(held(CASES[name])[0], tmp_path / "node.onnx")
    with pytest.raises(InputError, match=REFUSED[name]):
        unrolled.import_onnx(tmp_path / "node.onnx")


@pytest.mark.parametrize("kind", PLAIN, ids=str)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_what_we_export_comes_back_to_the_last_bit(tmp_path, kind, layers, bidirectional, bias):
    options = {"num_layers": layers, "bidirectional": bidirectional, "bias": bias}
    module, _ = kind.pair(**options)
    unrolled.export_onnx(module, tmp_path / "m.onnx")
    found = unrolled.import_onnx(tmp_path / "m.onnx")
    assert list(found) == ["l0"]
    again = found["l0"]
    assert repr(again) == repr(module)
    assert not again.training
    assert_close(dict(again.state_dict()).values(), dict(module.state_dict()).values(), 0.0)


@pytest.mark.parametrize(("storage", "apart"), [("bfloat16", 2**-8), ("int8", 1 / 254)])
def test_quantized_weights_come_back_as_what_is_computed_with(tmp_path, storage, apart):
    module = unrolled.LSTM(INPUTS, 16, num_layers=2)
    write(build(parts_of(module), stateful=True, storage=storage), tmp_path / "m.onnx")
    again = unrolled.import_onnx(tmp_path / "m.onnx")["l0"]
    for mine, found in zip(module.parameters(), again.parameters(), strict=True):
        assert (mine - found).abs().max() <= apart * mine.abs().max() * 1.001
    x, hx = random_input(module), random_hx(module)
    assert_close(Exported.at(tmp_path / "m.onnx")(x, **named(hx)), run(again, x, hx))


def test_modules_with_something_between_them_stay_apart(tmp_path):
    model = nn.Sequential(
        unrolled.GRU(2, 3), nn.Tanh(), unrolled.GRU(3, 3), unrolled.GRU(3, 4), unrolled.RNN(4, 4)
    )
    unrolled.export_onnx(model, tmp_path / "m.onnx")
    found = unrolled.import_onnx(tmp_path / "m.onnx")
    assert list(found) == ["0.l0", "2.l0", "3.l0", "4.l0"]
    assert [type(module) for module in found.values()] == [unrolled.GRU] * 3 + [unrolled.RNN]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:Exporting a model to ONNX with a batch_size:UserWarning")
@pytest.mark.parametrize("kind", PLAIN, ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_torch_exports_is_read(tmp_path, kind, bidirectional):
    _, module = kind.pair(num_layers=2, bidirectional=bidirectional)
    x = random_input(module)
    torch.onnx.export(module.eval(), (x,), tmp_path / "t.onnx", dynamo=False)
    (again,) = unrolled.import_onnx(tmp_path / "t.onnx").values()
    assert again.num_layers == 2
    assert_close(run(again, x), run(module, x))


def port(name):
    """An input or output of any size."""
    kind = TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT
    axes = {"y": 4, "lengths": 1}.get(name, 3)
    return helper.make_tensor_value_info(name, kind, [None] * axes)


def node_file(path, operator="LSTM", *, size=3, directions=1, opset=22, **attributes):
    """A file with a single node of random weights, whose other inputs are all given."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    rows, states = gates * size, ["h", "c"][: 2 if operator == "LSTM" else 1]
    shapes = {"W": (rows, INPUTS), "R": (rows, size), "B": (2 * rows,)}
    constants = {
        name: torch.randn(directions, *shape).numpy() / 2 for name, shape in shapes.items()
    }
    constants |= attributes.pop("constants", {})
    initial = [f"{state}_0" for state in states]
    inputs = ["x", "W", "R", "B", "lengths", *initial, *attributes.pop("more", [])]
    node = helper.make_node(
        operator, inputs, ["y", *(f"{s}_n" for s in states)], hidden_size=size, **attributes
    )
    graph = helper.make_graph(
        [node],
        "one",
        [port(name) for name in inputs if name not in constants],
        [port(name) for name in node.output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def by_onnx_runtime(path, x, lengths, hx):
    """The node's own outputs, as a module would give them."""
    file = Exported.at(path)
    feed = {"x": x, "lengths": lengths.int(), **named(hx)}
    y, *last = file.session.run(None, {name: value.numpy() for name, value in feed.items()})
    return torch.from_numpy(y).transpose(1, 2).flatten(2), *map(torch.from_numpy, last)


@pytest.mark.parametrize(
    ("operator", "attributes", "kind"),
    [
        *product(["LSTM"], [{"direction": "reverse"}], [Reversed]),
        *product(["RNN"], [{"direction": "reverse", "activations": ["Relu"]}], [Reversed]),
        ("GRU", {"direction": "reverse", "linear_before_reset": 1}, Reversed),
        ("GRU", {"direction": "reverse"}, Reversed),
        ("GRU", {}, ResetFirstGRU),
        ("GRU", {"direction": "bidirectional", "directions": 2}, ResetFirstGRU),
    ],
)
def test_nodes_that_torch_has_no_module_for_run_as_in_onnx_runtime(
    tmp_path, operator, attributes, kind
):
    path = node_file(tmp_path / "n.onnx", operator, **attributes)
    (module,) = unrolled.import_onnx(path).values()
    assert type(module) is kind
    directions, lengths = attributes.get("directions", 1), torch.tensor([3, 5, 1])
    x, states = torch.randn(5, 3, INPUTS), torch.randn(2, directions, 3, 3)
    hx = tuple(states) if operator == "LSTM" else states[0]
    assert_close(run(module, x, hx, lengths), by_onnx_runtime(path, x, lengths, hx))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "make", [ResetFirstGRU, lambda *a, **k: Reversed(unrolled.LSTM(*a, **k))], ids=["first", "rev"]
)
def test_those_modules_keep_a_row_without_steps_and_zero_what_is_padded(make, batch_first):
    module = make(INPUTS, 4, batch_first=batch_first)
    x, lengths = torch.randn(5, 3, INPUTS), torch.tensor([2, 0, 5])
    h, c = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    reads = x.transpose(0, 1) if batch_first else x
    output, last, *_ = run(module, reads, h if make is ResetFirstGRU else (h, c), lengths)
    output = output.transpose(0, 1) if batch_first else output
    assert not output[2:, 0].any()
    assert not output[:, 1].any()
    assert_close(last[:, 1], h[:, 1], 0.0)


CONSTANT = {"initial_h": "h_0", "initial_c": "c_0"}
NOT_A_MODULE: dict[str, tuple[dict[str, Any], str]] = {
    "clip": ({"clip": 3.0}, "has clip=3, which bounds"),
    "input_forget": ({"input_forget": 1}, "has input_forget=1, which couples"),
    "activations": (
        {"activations": ["Sigmoid", "Relu", "Tanh"]},
        "has the activations Sigmoid, Relu, Tanh, and Sigmoid, Tanh, Tanh was expected",
    ),
    "peepholes": (
        {"more": ["P"], "constants": {"P": np.ones((1, 9), np.float32)}},
        r"LSTM node 'y': has peepholes \(P\)",
    ),
    "first state": (
        {"constants": {"h_0": np.ones((1, 2, 3), np.float32)}},
        "its initial_h is a constant",
    ),
    "lengths": ({"constants": {"lengths": np.array([2], np.int32)}}, "its sequence_lens is a"),
}


@pytest.mark.parametrize("what", NOT_A_MODULE)
def test_what_no_module_can_do_is_refused_by_name(tmp_path, what):
    attributes, words = NOT_A_MODULE[what]
    path = node_file(tmp_path / "n.onnx", **attributes)
    with pytest.raises(InputError, match=words):
        unrolled.import_onnx(path)


def test_an_rnns_activations_are_told_apart(tmp_path):
    path = node_file(
        *(tmp_path / "n.onnx", "RNN"),
        directions=2,
        direction="bidirectional",
        activations=["Tanh", "Relu"],
    )
    with pytest.raises(InputError, match="Tanh or Relu, in both directions alike"):
        unrolled.import_onnx(path)


@pytest.mark.parametrize("what", ["P", "h_0"])
def test_zeros_that_are_spelled_out_are_nothing(tmp_path, what):
    zeros = np.zeros((1, 9) if what == "P" else (1, 2, 3), np.float32)
    path = node_file(tmp_path / "n.onnx", more=["P"] * (what == "P"), constants={what: zeros})
    assert type(unrolled.import_onnx(path)["y"]) is unrolled.LSTM


def test_weights_that_are_given_later_are_no_modules(tmp_path):
    graph = held(CASES["test_lstm_defaults"])[0].graph
    del graph.initializer[:]
    for name in ("W", "R"):
        graph.input.append(port(name))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(InputError, match=r"weights W \('W'\) are no constants: 'W' is an input"):
        unrolled.import_onnx(tmp_path / "n.onnx")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"\xff\xfe, no model", "not a whole ONNX file"),
        (b"", "not a whole"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path, content, words):
    path = tmp_path / "n.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"n\.onnx: {words}"):
        unrolled.import_onnx(path)


def test_nodes_of_one_name_are_told_apart_by_their_outputs(tmp_path):
    model = nn.Sequential(unrolled.GRU(2, 3), nn.Tanh(), unrolled.GRU(3, 3))
    unrolled.export_onnx(model, tmp_path / "m.onnx")
    file = onnx.load(tmp_path / "m.onnx")
    for node in file.graph.node:
        node.name = "node"
    del file.metadata_props[:]  # the digest, since the change is meant
    onnx.save(file, tmp_path / "m.onnx")
    assert list(unrolled.import_onnx(tmp_path / "m.onnx")) == ["0.l0.Y", "2.l0.Y"]


def test_a_model_without_such_nodes_is_told_what_it_has(tmp_path):
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(InputError, match="expected in the graph, and it has Relu"):
        unrolled.import_onnx(tmp_path / "n.onnx")


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_the_precision_of_the_weights_is_kept(tmp_path, precision):
    kind = {
        torch.float16: TensorProto.FLOAT16,
        torch.bfloat16: TensorProto.BFLOAT16,
        torch.float64: TensorProto.DOUBLE,
    }[precision]
    path = node_file(tmp_path / "n.onnx")
    model = onnx.load(path)
    exact = {}
    for value in model.graph.initializer:
        array = torch.from_numpy(numpy_helper.to_array(value).copy()).to(precision)
        exact[value.name] = array
        new = helper.make_tensor(value.name, kind, array.shape, array.double().flatten().tolist())
        value.CopyFrom(new)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = kind
    onnx.save(model, path)
    module = unrolled.import_onnx(path)["y"]
    weight = module.get_parameter("weight_hh_l0")
    assert weight.dtype == precision
    assert torch.equal(weight[:3], exact["R"][0, :3])  # the input gate

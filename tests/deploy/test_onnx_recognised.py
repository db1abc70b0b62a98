"""Which node a cell becomes: by its equations, whatever they are called."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unrolled
from support_nn import assert_close
from support_onnx import Exported
from support_onnx_cells import (
    DESCRIPTIONS,
    INPUTS,
    B,
    T,
    attributes,
    every_cell,
    given_for,
    layers,
    module_of,
    run,
)
from unrolled import cells
from unrolled.cells import Cell, Form, detach, linear, sigmoid, tanh, weight


@pytest.fixture
def exported(tmp_path):
    return lambda model, **options: Exported(model, tmp_path / "model.onnx", **options)


STANDARD: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "RNN-relu": ("RNN", {"activations": [b"Relu"]}),
    "LSTM": ("LSTM", {}),
    "LSTM-no-bias": ("LSTM", {}),
    "variational": ("LSTM", {}),
    "PeepholeLSTM": ("LSTM", {}),
    "VanillaLSTM": ("LSTM", {}),
    "NP": ("LSTM", {}),
    "CIFG": ("LSTM", {"input_forget": 1}),
    "GRU": ("GRU", {"linear_before_reset": 1}),
    "GRUResetBefore": ("GRU", {"linear_before_reset": 0}),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_what_is_a_cell_of_the_standard_is_its_node_and_all_else_a_scan(exported, name):
    operator, expected = STANDARD.get(name, ("Scan", {}))
    options = {} if name == "Outside" else {"num_layers": 2}
    found = layers(exported(module_of(DESCRIPTIONS[name], **options)))
    assert [node.op_type for node in found] == [operator] * len(found)
    assert expected.items() <= attributes(found[0]).items()


class OwnLSTM(Cell):
    """With other names, orders and numbers of biases, and a forget gate that begins open."""

    def step(self, u, s, m):
        out = sigmoid(linear(s, u))
        take = sigmoid(linear(u) + linear(s, bias=False) + weight("bias_take"))
        new = tanh(linear(s, bias=False) + linear(u, bias=False))
        keep = sigmoid(1.0 + linear(u) + linear(s))
        m = new * take + m * keep
        return tanh(m) * out, m


class Truncated(Cell):
    """What is detached is as it is where nobody learns."""

    def step(self, x, h, c):
        old = detach(h)
        take, keep = sigmoid(linear(x, old)), sigmoid(linear(x, old))
        c = detach(keep) * c + take * tanh(linear(x, old))
        return sigmoid(linear(x, old)) * tanh(c), c


class OwnPeephole(Cell):
    def step(self, x, h, c):
        p, q, r = weight(), weight(), weight()
        forget = sigmoid(c * p + linear(x, h))
        take = sigmoid(linear(x) + q * c + linear(h))
        c = take * tanh(linear(x, h)) + forget * c
        return sigmoid(r * c + linear(h, x)) * tanh(c), c


class OwnCIFG(Cell):
    def step(self, x, h, c):
        take = sigmoid(linear(x, h))
        c = c + take * (tanh(linear(x, h)) - c)
        return tanh(c) * sigmoid(linear(x, h)), c


class OwnGRU(Cell):
    """As the standard writes it, with the reset after the product."""

    def step(self, x, h):
        z, r = sigmoid(linear(x, h)), sigmoid(linear(x, h))
        of_state = linear(h)
        new = tanh(of_state * r + linear(x))
        return z * h + (1 - z) * new


class OwnGRUResetBefore(Cell):
    def step(self, x, h):
        z, r = sigmoid(linear(x, h)), sigmoid(linear(x, h))
        seen = h * r
        new = tanh(linear(seen) + linear(x))
        return new + z * (h - new)


class OwnRNN(Cell):
    def step(self, x, h):
        of_state = linear(h, form=Form(antisymmetric=True))
        of_input = linear(x)
        return tanh(of_state + of_input)


OWN = {
    OwnLSTM: ("LSTM", {}),
    Truncated: ("LSTM", {}),
    OwnPeephole: ("LSTM", {}),
    OwnCIFG: ("LSTM", {"input_forget": 1}),
    OwnGRU: ("GRU", {"linear_before_reset": 1}),
    OwnGRUResetBefore: ("GRU", {"linear_before_reset": 0}),
    OwnRNN: ("RNN", {}),
}


@pytest.mark.parametrize("cell", OWN, ids=lambda cell: cell.__name__)
def test_equations_of_ones_own_are_recognised(exported, cell):
    module = module_of(cell, num_layers=2, bidirectional=True)
    file = exported(module)
    operator, expected = OWN[cell]
    assert [node.op_type for node in layers(file)] == [operator] * 2
    assert expected.items() <= attributes(layers(file)[0]).items()
    x, given, lengths = torch.randn(T, B, INPUTS), given_for(module), torch.tensor([5, 0, 3])
    assert_close(file(x, lengths, **given), run(module, x, given, lengths))


class LooksBack(Cell):
    """A peephole LSTM whose output gate sees the cell state before the step."""

    def step(self, x, h, c):
        p, q, r = weight(), weight(), weight()
        take, keep = sigmoid(linear(x, h) + p * c), sigmoid(linear(x, h) + q * c)
        after = keep * c + take * tanh(linear(x, h))
        return sigmoid(linear(x, h) + r * c) * tanh(after), after


class UpdatesTheOther(Cell):
    """A GRU whose update gate lets in what the standard's keeps."""

    def step(self, x, h):
        z, r = sigmoid(linear(x, h)), sigmoid(linear(x, h))
        return (1 - z) * h + z * tanh(linear(x) + r * linear(h))


class ShowsTheRaw(Cell):
    """An LSTM without a tanh on its way out."""

    def step(self, x, h, c):
        take, keep, show = (sigmoid(linear(x, h)) for _ in range(3))
        c = keep * c + take * tanh(linear(x, h))
        return show * c, c


class SharesAGate(Cell):
    """An LSTM that forgets by the same gate as it takes in."""

    def step(self, x, h, c):
        take, show = sigmoid(linear(x, h)), sigmoid(linear(x, h))
        c = take * c + take * tanh(linear(x, h))
        return show * tanh(c), c


NEARLY = [LooksBack, UpdatesTheOther, ShowsTheRaw]


@pytest.mark.parametrize("cell", NEARLY, ids=lambda cell: cell.__name__)
def test_what_only_looks_like_the_standards_is_a_scan(exported, cell):
    module = module_of(cell)
    file = exported(module)
    assert [node.op_type for node in layers(file)] == ["Scan"]
    x, given = torch.randn(T, B, INPUTS), given_for(module)
    assert_close(file(x, **given), run(module, x, given))


def test_one_matrix_may_be_two_gates(exported):
    module = module_of(SharesAGate)
    file = exported(module)
    assert [node.op_type for node in layers(file)] == ["LSTM"]
    x, given = torch.randn(T, B, INPUTS), given_for(module)
    assert_close(file(x, **given), run(module, x, given))


def test_in_float64_all_are_scans_since_onnx_runtime_has_no_other(exported):
    file = exported(module_of(cells.LSTM, dtype=torch.float64))
    assert [node.op_type for node in layers(file)] == ["Scan"]
    assert file.metadata["unrolled.weights"] == "float64"


def test_import_reads_the_weights_back_to_the_last_bit(exported, tmp_path):
    module = module_of(cells.LSTM, num_layers=2)
    exported(module)
    (found,) = unrolled.import_onnx(tmp_path / "model.onnx").values()
    for name, expected in module.named_parameters():
        assert torch.equal(found.get_parameter(name), expected)


def test_only_what_hangs_on_states_is_in_the_body(exported):
    (scan,) = layers(exported(module_of(cells.MinGRU)))
    body = attributes(scan)["body"]
    assert [node.op_type for node in body.node] == ["Mul", "Add", "Where", "Where"]
    assert "update = σ(" in body.doc_string


@every_cell
@pytest.mark.parametrize("stateful", [True, False])
def test_every_constant_of_the_file_is_read(exported, cell, stateful):
    """ONNX Runtime warns of others, each time it loads the file."""
    graph = exported(module_of(cell, bidirectional=True), stateful=stateful).model.graph
    bodies = [attributes(node)["body"] for node in graph.node if node.op_type == "Scan"]
    read = {name for each in (graph, *bodies) for node in each.node for name in node.input}
    assert {constant.name for constant in graph.initializer} <= read

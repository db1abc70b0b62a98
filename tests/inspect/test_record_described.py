"""What is recorded of a cell that is written down: its equations, and autograd's gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support_cells import SHIPPED, SPECIAL
from support_nn import BACKENDS, use_backend
from unrolled import cells
from unrolled.cells import Cell, linear, sigmoid, tanh, weight
from unrolled.scan import equations, forms

T, B, INPUTS, HIDDEN = 7, 4, 3, 6
LENGTHS = [4, 0, 7, 6]
F64 = torch.float64
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {"num_layers": 2},
    "batch_first": {"batch_first": True, "bidirectional": True},
    "ragged": {"lengths": LENGTHS},
    "bidirectional": {"num_layers": 2, "bidirectional": True, "lengths": LENGTHS},
}
every_cell = pytest.mark.parametrize("cell", [*SHIPPED, *SPECIAL], ids=lambda cell: cell.__name__)
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


class Peephole(Cell):
    """A cell as a user writes it."""

    def step(self, x, h, c):
        p = weight()
        keep = sigmoid(linear(x, h) + p * c)
        new = tanh(linear(x, h))
        c = keep * c + (1 - keep) * new
        return tanh(c), c


class Fixed(nn.Module):
    """A module with what its cell takes besides the input."""

    def __init__(self, cell, **options):
        super().__init__()
        described = cells.options.described(cell)
        others = [s for s in described.sizes if s not in ("input", "hidden")]
        sizes: dict[str, Any] = {f"{size}_size": INPUTS for size in others}
        self.module = unrolled.Recurrent(cell, INPUTS, HIDDEN, dtype=F64, **sizes, **options)
        self.constants = {
            q.name: torch.randn(B, self.module.units[q.size], dtype=F64)
            for q in self.module.cell.constants
        }

    def forward(self, x, hx=None, lengths=None):
        return self.module(x, hx, lengths, **self.constants)


def stackable(cell, options):
    """Some states are as large as the input, which a layer above has in another size."""
    described = cells.options.described(cell)
    of_input = any(q.size == "input" for q in (*described.states, *described.constants))
    return not (of_input and options.get("num_layers", 1) > 1)


def model_and_input(cell, **options):
    model = Fixed(cell, **options)
    shape = (B, T, INPUTS) if model.module.batch_first else (T, B, INPUTS)
    return model, torch.randn(shape, dtype=F64)


def random_states(module):
    depth = module.num_layers * (2 if module.bidirectional else 1)
    return tuple(torch.randn(depth, B, module.units[s.size], dtype=F64) for s in module.cell.states)


class Oracle:
    """The pass row by row and step by step, in plain torch, each state a tensor of its own."""

    def __init__(self, model, x, hx, lengths):
        self.module, self.constants = model.module, model.constants
        self.values: dict[Any, Tensor] = {}
        self.states: dict[Any, tuple[Tensor, Tensor, Tensor, bool]] = {}
        padded = x.transpose(0, 1) if self.module.batch_first else x
        self.rows = [
            self.row(padded[:length, row].detach().requires_grad_(), hx, row)
            for row, length in enumerate(lengths or [T] * B)
        ]

    def row(self, read, hx, row):
        module = self.module
        directions = 2 if module.bidirectional else 1
        for layer in range(module.num_layers):
            outputs = []
            for number in range(directions):
                index, suffix = layer * directions + number, "_reverse" if number else ""
                state = [s[index, row].clone() for s in hx]
                kind = module.spec().kinds[index]
                named = {n: getattr(module, f"{n}_l{layer}{suffix}") for n in module._names[0]}
                weights = forms.multiplies(module.cell, named, kind.units)
                found: dict[int, Tensor] = {}
                for t in reversed(range(len(read))) if number else range(len(read)):
                    found[t], state = self.step(kind, weights, read[t], state, row, (index, row, t))
                outputs.append([found[t] for t in range(len(read))])
            read = [torch.cat(each) for each in zip(*outputs, strict=True)]
        return read

    def step(self, kind, weights, x, state, row, place):
        cell = kind.cell
        known = {cell.input.name: x.unsqueeze(0)}
        known |= {name: value[row].unsqueeze(0) for name, value in self.constants.items()}
        known |= dict(
            zip([s.name for s in cell.states], [s.unsqueeze(0) for s in state], strict=True)
        )
        for draw in cell.draws:
            known[draw.name] = x.new_full((1, kind.units[draw.size]), draw.resting)
        known |= {w.name: weights[w.name] for w in cell.weights if w.kind in ("vector", "scalar")}
        values = equations.Step.of(cell, weights, kind.units).run(known)
        sizes = {line.name: kind.units[line.size] for line in cell.lines}
        for name in cell.named:
            self.values[(*place, name)] = values[name].expand(1, sizes[name])[0]
        after = []
        for state_, name in zip(cell.states, cell.next, strict=True):
            whole, shape = values[name], (1, kind.units[state_.size])
            if whole.shape != shape or not whole.requires_grad:
                whole = whole.expand(shape).detach().requires_grad_()
            on, out = whole[0], whole[0]
            for tensor in (whole, on, out):
                tensor.retain_grad()
            self.states[(*place, state_.name)] = (whole, on, out, name in cell.by_name)
            after.append((on, out))
        return after[0][1], [on for on, _ in after]


def keys(trace, oracle_key):
    index, row, t, name = oracle_key
    directions = len({key.direction for key in trace.values})
    layer, number = divmod(index, directions)
    return {"gate": name, "layer": layer, "direction": ("forward", "reverse")[number]}, t, row


@every_option
@every_cell
def test_values_and_gradients_are_those_of_a_loop(cell, options):
    options = dict(options)
    lengths = options.pop("lengths", None)
    if not stackable(cell, options):
        options = {**options, "num_layers": 1}
    model, x = model_and_input(cell, **options)
    model.eval()
    hx = random_states(model.module)
    trace = unrolled.record(
        model, x, hx, lengths=lengths, loss=lambda out: out[0].sin().sum() + out[1][-1].sum()
    )
    oracle = Oracle(model, x, hx, lengths)
    ends = [
        oracle.states[index, row, (len(out) - 1) * (1 - index % directions), names[-1]][1]
        for directions in [2 if model.module.bidirectional else 1]
        for names in [[s.name for s in model.module.cell.states]]
        for row, out in enumerate(oracle.rows)
        if out
        for index in range(model.module.num_layers * directions)
    ]
    torch.stack(
        [step.sin().sum() for row in oracle.rows for step in row] + [e.sum() for e in ends]
    ).sum().backward()
    for key, expected in oracle.values.items():
        where, t, row = keys(trace, key)
        torch.testing.assert_close(trace.get(**where)[t, row], expected.detach())
    for key, (whole, on, out, is_line) in oracle.states.items():
        where, t, row = keys(trace, key)
        torch.testing.assert_close(trace.get(**where)[t, row], whole[0].detach())
        carried = torch.zeros_like(on) if on.grad is None else on.grad
        given_out = torch.zeros_like(on) if out.grad is None else out.grad
        torch.testing.assert_close(trace.get(**where, kind="carried")[t, row], carried)
        total = carried + given_out
        if is_line and whole.grad is not None:
            total = whole.grad[0]
        torch.testing.assert_close(trace.get(**where, kind="gradient")[t, row], total)
    assert {key.gate for key in trace.values} == {
        key[-1] for key in [*oracle.values, *oracle.states]
    }


@every_cell
def test_a_run_that_is_recorded_has_the_bits_of_one_that_is_not(cell):
    model, x = model_and_input(cell)
    for run_in_training in (True, False):
        model.train(run_in_training)
        for gradients in (True, False):
            torch.manual_seed(3)
            with torch.set_grad_enabled(gradients):
                expected = model(x, lengths=LENGTHS)
            torch.manual_seed(3)
            found = unrolled.record(model, x, lengths=LENGTHS, gradients=gradients)
            torch.testing.assert_close(
                found.output, (expected[0].detach(), tuple(s.detach() for s in expected[1])),
                rtol=0, atol=0, equal_nan=True,
            )  # fmt: skip


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_a_cell_that_is_written_down_is_recorded_as_the_module_is(name):
    module = getattr(unrolled, name)(INPUTS, HIDDEN, num_layers=2, bidirectional=True, dtype=F64)
    written = unrolled.Recurrent(
        getattr(cells, name), INPUTS, HIDDEN, num_layers=2, bidirectional=True, dtype=F64
    )
    written.load_state_dict(module.state_dict())
    x = torch.randn(T, B, INPUTS, dtype=F64)
    found = unrolled.record(written, x, lengths=LENGTHS, gradients=True)
    expected = unrolled.record(module, x, lengths=LENGTHS, gradients=True)
    assert list(found.values) == list(expected.values)
    for kind in ("values", "gradients", "carried", "initial"):
        for key, value in getattr(expected, kind).items():
            torch.testing.assert_close(getattr(found, kind)[key], value, equal_nan=True)


def test_what_is_fused_is_recorded_and_changes_nothing():
    """A named product within a sum: the core rounds the sum once, the product by itself."""

    class Fused(Cell):
        def step(self, x, h):
            gate = sigmoid(linear(x, h))
            kept = gate * h
            written = (1 - gate) * tanh(linear(x, h))
            return kept + written

    model = unrolled.Recurrent(Fused, INPUTS, HIDDEN)
    x = torch.randn(50, B, INPUTS)
    trace = unrolled.record(model, x)
    assert torch.equal(trace.output[0], model(x)[0].detach())
    assert torch.equal(trace.get("kept"), trace.get("gate") * trace.before("h"))


def test_random_numbers_are_those_of_the_run():
    """With zoneout a unit either keeps its state or takes the new one."""
    cell = cells.zoneout(Peephole, c=0.5)
    model = unrolled.Recurrent(cell, INPUTS, HIDDEN, dtype=F64).train()
    trace = unrolled.record(model, torch.randn(T, B, INPUTS, dtype=F64))
    before, after = trace.before("c"), trace.get("c")
    keep, new = trace.get("keep"), trace.get("new")
    is_kept = after == before
    assert 0.2 < is_kept.double().mean() < 0.8
    torch.testing.assert_close(after[~is_kept], (keep * before + (1 - keep) * new)[~is_kept])


def test_dropout_between_layers_is_that_of_the_run():
    model = unrolled.Recurrent(Peephole, INPUTS, HIDDEN, num_layers=2, dropout=0.5, dtype=F64)
    x = torch.randn(T, B, INPUTS, dtype=F64)
    torch.manual_seed(5)
    expected, _ = model.train()(x)
    torch.manual_seed(5)
    assert torch.equal(unrolled.record(model, x).get("h", layer=1), expected.detach())


def test_packed_sequences_come_back_in_the_callers_order():
    model = unrolled.Recurrent(Peephole, INPUTS, HIDDEN, dtype=F64)
    x = torch.randn(T, 3, INPUTS, dtype=F64)
    packed = pack_padded_sequence(x, torch.tensor([4, 2, 7]), enforce_sorted=False)
    found = unrolled.record(model, packed, gradients=True)
    expected = unrolled.record(model, x, lengths=[4, 2, 7], gradients=True)
    for kind in ("values", "gradients", "carried"):
        for key, value in getattr(expected, kind).items():
            torch.testing.assert_close(getattr(found, kind)[key], value, equal_nan=True)


def test_recompute_every_is_set_aside():
    model = unrolled.Recurrent(Peephole, INPUTS, HIDDEN, dtype=F64)
    x = torch.randn(T, B, INPUTS, dtype=F64)
    expected = unrolled.record(model, x, lengths=LENGTHS, gradients=True)
    model.recompute_every = 2
    found = unrolled.record(model, x, lengths=LENGTHS, gradients=True)
    for kind in ("values", "gradients", "carried"):
        for key, value in getattr(expected, kind).items():
            torch.testing.assert_close(getattr(found, kind)[key], value, equal_nan=True)


def test_frozen_models_have_gradients_too():
    model = unrolled.Recurrent(Peephole, INPUTS, HIDDEN, num_layers=2)
    x = torch.randn(T, B, INPUTS)
    expected = unrolled.record(model, x, gradients=True)
    found = unrolled.record(model.requires_grad_(requires_grad=False), x, gradients=True)
    for key, gradient in expected.gradients.items():
        torch.testing.assert_close(found.gradients[key], gradient)


def test_what_a_caller_does_to_the_output_is_not_in_the_trace():
    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = unrolled.Recurrent(Peephole, INPUTS, HIDDEN)

        def forward(self, x):
            return self.recurrent(x)[0].clamp_(min=0)

    trace = unrolled.record(Clipped(), torch.randn(T, B, INPUTS))
    assert (trace.get("h") < 0).any()


def test_a_module_in_bfloat16_is_recorded_in_float32_as_it_computes():
    model = unrolled.Recurrent(Peephole, INPUTS, HIDDEN, dtype=torch.bfloat16)
    x = torch.randn(T, B, INPUTS, dtype=torch.bfloat16)
    with unrolled.backend("auto"):
        trace, expected = unrolled.record(model, x), model(x)[0].detach()
    assert trace.get("keep").dtype == torch.float32
    assert torch.equal(trace.get("h").bfloat16(), expected)


def test_a_saved_trace_is_the_same_again(tmp_path):
    model, x = model_and_input(cells.EALSTM)
    trace = unrolled.record(model, x, lengths=LENGTHS, gradients=True)
    trace.save(tmp_path / "trace.safetensors")
    again = unrolled.Trace.load(tmp_path / "trace.safetensors")
    given, expected = again.given["module"], trace.given["module"]
    assert (given.name, given.cell, given.units) == ("EALSTM", expected.cell, expected.units)
    for name, constant in model.constants.items():
        assert torch.equal(given.constants[name][0], constant)
    assert again.to_frame().equals(trace.to_frame())


def test_the_trace_has_a_line_of_its_own():
    model = unrolled.Recurrent(cells.LeakyRNN, INPUTS, HIDDEN)
    assert "LeakyRNN, L=1, [T=7, B=4, H=6] of share, driven, potential, rate" in repr(
        unrolled.record(model, torch.randn(T, B, INPUTS))
    )

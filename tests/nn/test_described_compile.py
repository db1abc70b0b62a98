"""torch.compile, torch.export, torch.jit.trace of described cells: an operator for each layer."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

import unrolled
from support_compile import Recorder, our_calls
from support_described import double, every_cell, given, results
from unrolled import cells
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

# Dynamo's own, which it silences in a way that does not hold where warnings are errors; and of what
# inductor imports.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning",
)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_same_bits(found, expected):
    assert [torch.equal(f, e) for f, e in zip(found, expected, strict=True)] == [True] * len(
        expected
    )


class Compiled:
    """A module, and the same compiled, with what the tests read of one."""

    def __init__(self, module, **options):
        self.module = module
        self.run = torch.compile(module, fullgraph=True, **{"backend": "aot_eager", **options})

    def __call__(self, *arguments, **constants):
        return self.run(*arguments, **constants)

    def parameters(self):
        return self.module.parameters()


@every_cell
def test_the_bits_of_eager(cell):
    """Results, states and all gradients, and what is drawn."""
    module = double(cell)
    what = given(module, 3, 5)
    assert_same_bits(results(Compiled(module), "auto", *what), results(module, "native", *what))


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3, "dropout": 0.5},
        {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
        {"num_layers": 2, "recompute_every": 3},
    ],
    ids=str,
)
def test_the_bits_of_eager_in_layers(options):
    module = double(cells.zoneout(cells.PeepholeLSTM, hidden=0.2), **options)
    what = given(module, 3, 5)
    assert_same_bits(results(Compiled(module), "auto", *what), results(module, "native", *what))


def test_by_inductor():
    module = double(cells.JANET)
    what = given(module, 3, 5)
    found = results(Compiled(module, backend="inductor"), "auto", *what)
    torch.testing.assert_close(found, results(module, "native", *what), rtol=0, atol=1e-12)


def test_one_operator_whatever_the_layers_and_steps():
    module = double(cells.MGU, num_layers=2)
    sizes = set()
    for steps in (2, 9):
        recorder = Recorder()
        x = torch.randn(steps, 3, 3, dtype=torch.float64)
        compiled = torch.compile(module, fullgraph=True, backend=recorder.backend, dynamic=False)
        compiled(x)[0].sum().backward()
        names = [[str(node.target) for node in our_calls(g)] for g in recorder.graphs]
        assert names == [["unrolled.scan.default"], ["unrolled.scan_backward.default"]]
        sizes.add(tuple(len(graph.nodes) for graph in recorder.graphs))
        torch._dynamo.reset()
    assert len(sizes) == 1


def test_one_graph_serves_any_steps_and_rows():
    module = double(cells.PeepholeLSTM, num_layers=2, dropout=0.5).train()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for steps, rows in ((5, 8), (7, 2), (9, 4)):
        x = torch.randn(steps, rows, 3, dtype=torch.float64)
        torch.manual_seed(0)
        found, _ = compiled(x)
        torch.manual_seed(0)
        assert torch.equal(found, module(x)[0])
    assert counter.frame_count == 1


def test_one_graph_serves_states_and_constants_of_any_rows():
    module = double(cells.EALSTM, num_layers=2)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    counts = set()
    for steps, rows in ((5, 8), (7, 9), (9, 3)):
        x, hx, constants = given(module, rows, steps)
        assert torch.equal(compiled(x, hx, **constants)[0], module(x, hx, **constants)[0])
        counts.add(counter.frame_count)
    assert len(counts) == 1  # compiled for the first call alone


def test_modules_of_several_settings_in_one_function():
    made = [
        double(cells.JANET),
        double(cells.JANET, hidden=8, num_layers=2),
        double(cells.MGU, num_layers=3, dropout=0.5, recompute_every=2).eval(),
    ]
    compiled = torch.compile(lambda module, x: module(x)[0], fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    for module in [*made, *made]:
        assert torch.equal(compiled(module, x), module(x)[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode):
    module, x = double(cells.IndRNN), torch.randn(5, 3, 3, dtype=torch.float64)
    with mode():
        torch.testing.assert_close(Compiled(module)(x), module(x), rtol=0, atol=0)


def test_lengths_break_the_graph_and_run_on_the_core():
    module = double(cells.CIFG)
    what = given(module, 3, 5)
    compiled = torch.compile(module, backend="aot_eager")
    expected = module(what[0], what[1], lengths=[5, 2, 4])
    found = compiled(what[0], what[1], lengths=[5, 2, 4])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_weights_may_be_computed():
    module, x = double(cells.MGU), torch.randn(5, 3, 3, dtype=torch.float64)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    found = torch.autograd.grad(Compiled(module)(x)[0].sum(), list(module.parameters()))
    expected = torch.autograd.grad(module(x)[0].sum(), list(module.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_transform_works_inside():
    module, x = double(cells.JANET), torch.randn(4, 2, 3, dtype=torch.float64)

    def loss(weights):
        return torch.func.functional_call(module, weights, (x,))[0].sum()

    weights = dict(module.named_parameters())
    found = torch.compile(torch.func.grad(loss), fullgraph=True, backend="aot_eager")(weights)
    torch.testing.assert_close(found, torch.func.grad(loss)(weights), rtol=0, atol=1e-12)


def test_what_the_core_does_not_compute_in_is_traced_step_by_step():
    module = double(cells.CIFG).bfloat16()
    x = torch.randn(3, 2, 3, dtype=torch.bfloat16)
    torch.testing.assert_close(Compiled(module)(x), module(x))


def test_the_caller_may_change_the_output_in_place():
    module, x = double(cells.GRU), torch.randn(5, 3, 3, dtype=torch.float64)

    def loss(run):
        output, _ = run(x)
        return output.mul_(2).square().sum()

    weight = next(module.parameters())
    (found,) = torch.autograd.grad(loss(Compiled(module)), weight)
    (expected,) = torch.autograd.grad(loss(module), weight)
    torch.testing.assert_close(found, expected)


class Catchment(torch.nn.Module):
    """A module that hands on a constant: torch.export knows no dynamic ``**kwargs``."""

    def __init__(self) -> None:
        super().__init__()
        self.module = double(cells.EALSTM)

    def forward(self, x, static):
        return self.module(x, static=static)


@pytest.mark.parametrize(
    "make",
    [Catchment, partial(double, cells.SLSTM), partial(double, cells.LayerNormLSTM)],
    ids=["EALSTM", "SLSTM", "LayerNormLSTM"],
)
def test_exported_to_a_file_it_runs_for_any_steps_and_rows(make):
    module = make().eval()

    def given(steps, rows):
        x = torch.randn(steps, rows, 3, dtype=torch.float64)
        return (x, x.new_ones(rows, 4)) if make is Catchment else (x,)

    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, {0: Dim.DYNAMIC})[: len(given(1, 1))]
    exported = torch.export.export(module, given(4, 3), dynamic_shapes=shapes)
    assert [str(node.target) for node in our_calls(exported.graph)] == ["unrolled.scan.default"]
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    run = torch.export.load(file).module()
    for steps, rows in ((1, 1), (6, 5)):
        what = given(steps, rows)
        torch.testing.assert_close(run(*what), module(*what), rtol=0, atol=0)


def test_an_exported_program_can_be_trained():
    module, x = double(cells.LeakyRNN), torch.randn(4, 2, 3, dtype=torch.float64)
    run = torch.export.export(module, (x,)).module()
    found = torch.autograd.grad(run(x)[0].square().sum(), list(run.parameters()))
    expected = torch.autograd.grad(module(x)[0].square().sum(), list(module.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_an_exported_program_draws_for_any_steps_and_rows():
    module = double(cells.zoneout(cells.LSTM, hidden=0.5), num_layers=2, dropout=0.5).train()
    x = torch.randn(4, 3, 3, dtype=torch.float64)
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)
    run = torch.export.export(module, (x,), dynamic_shapes=shapes).module()
    longer = torch.randn(6, 5, 3, dtype=torch.float64)
    torch.manual_seed(0)
    found, _ = run(longer)
    torch.manual_seed(0)
    assert torch.equal(found, module(longer)[0])


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.* is deprecated:DeprecationWarning", "ignore::torch.jit.TracerWarning"
)
def test_traced_it_is_an_operator():
    module, x = double(cells.MinLSTM), torch.randn(4, 2, 3, dtype=torch.float64)
    traced = torch.jit.trace(module, (x,))
    assert "unrolled::scan" in str(traced.inlined_graph)
    longer = torch.randn(9, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(traced(longer), module(longer))


def test_under_the_reference_it_is_traced_as_plain_torch():
    module, x = double(cells.GRU), torch.randn(3, 2, 3, dtype=torch.float64)
    recorder = Recorder()
    with unrolled.backend("reference"):
        torch.compile(module, backend=recorder.backend)(x)
    assert not [node for graph in recorder.graphs for node in our_calls(graph)]


def test_the_operator_checks_itself():
    """torch's own checks: schema, fake kernel, autograd registration, with dynamic shapes too."""
    module = double(cells.PeepholeLSTM)
    x, hx, _ = given(module, 2, 3)
    tensors = [x, *[state.detach().requires_grad_() for state in hx], *module.parameters()]
    for keep in (True, False):
        known: Any = (tensors, [], module.spec().text, keep)
        torch.library.opcheck(torch.ops.unrolled.scan.default, known)

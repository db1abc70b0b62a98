"""torch.compile on our modules: the eager numbers, from one operator in one graph."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.exc import Unsupported
from torch.nn.utils.parametrizations import weight_norm

import unrolled
from support_compile import Recorder, calls, our_calls
from support_native import gradients
from support_nn import (
    BATCH,
    HIDDEN,
    INPUTS,
    PROJECTED,
    STEPS,
    Kind,
    assert_close,
    assert_same_error,
    every_cell,
    every_kind,
    random_hx,
    random_input,
    run_lengths,
    run_packed,
    tensors,
)
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

# Dynamo's own, which it silences in a way that does not hold where warnings are errors; and of what
# inductor imports.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning",
)

# What takes a compilation and is not about the kind.
two_kinds = pytest.mark.parametrize(
    "kind", [Kind("GRU"), Kind("LSTM", {"proj_size": PROJECTED})], ids=str
)

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first, no bias": {"batch_first": True, "bias": False},
    "stack, dropout": {"num_layers": 3, "dropout": 0.5},
    "bidirectional, dropout": {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    "recomputed": {"num_layers": 2, "recompute_every": 3},
    "bidirectional, dropout, recomputed": {
        "num_layers": 2, "bidirectional": True, "dropout": 0.5, "recompute_every": 3
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Any:
    """It has seen nothing, and takes modules that are an RNN, LSTM or GRU of torch's."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        yield
    torch._dynamo.reset()


def make(kind: Kind, *, recompute_every: int | None = None, **options: Any) -> nn.RNNBase:
    module, _ = kind.pair(**options)
    module.recompute_every = recompute_every
    return module


def compiled(function: Any, backend: Any = "aot_eager", **options: Any) -> Any:
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def seeded(seed: int, function: Any, *arguments: Any) -> Any:
    torch.manual_seed(seed)
    return function(*arguments)


class Model(nn.Module):
    """A recurrent module between two others."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.before = nn.Linear(INPUTS, INPUTS)
        self.module = module
        self.after = nn.Linear(module.proj_size or HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.relu(self.module(self.before(x))[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
@every_kind
def test_the_bits_of_eager(kind: Kind, case: str, dtype: torch.dtype, seed: int) -> None:
    """Results, states, all gradients, and what dropout drops."""
    module = make(kind, dtype=dtype, **CASES[case])
    options: dict[str, Any] = {"dtype": dtype, "requires_grad": True}
    x, hx = random_input(module, **options), random_hx(module, **options)
    found = seeded(seed, gradients, compiled(module), x, hx)
    assert_close(found, seeded(seed, gradients, module, x, hx), 0)


@two_kinds
def test_without_given_states(kind: Kind) -> None:
    module = make(kind)
    x = random_input(module, requires_grad=True)
    assert_close(gradients(compiled(module), x), gradients(module, x), 0)


@two_kinds
def test_an_unbatched_input(kind: Kind) -> None:
    module = make(kind)
    x, hx = random_input(module, batch=None), random_hx(module, batch=None)
    assert_close(compiled(module)(x, hx), module(x, hx), 0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@two_kinds
def test_without_gradients(kind: Kind, mode: Any) -> None:
    """The operator alone, and of its results nothing but the output and the states."""
    module = make(kind, num_layers=2, dropout=0.5).eval()
    x, recorder = random_input(module), Recorder()
    with mode():
        assert_close(compiled(module, recorder.backend)(x), module(x), 0)
    (scan,) = calls(recorder.graphs[0])
    assert len(scan.users) == len(tensors(module(x)))


@two_kinds
def test_a_model_is_one_graph_whatever_the_steps(kind: Kind) -> None:
    """One operator forward and one backward, and no loop around them."""
    model = Model(make(kind))
    sizes = set()
    for steps in (2, 9):
        recorder = Recorder()
        x = torch.randn(steps, BATCH, INPUTS)
        compiled(model, recorder.backend, dynamic=False)(x).sum().backward()
        names = [[str(node.target) for node in our_calls(g)] for g in recorder.graphs]
        assert names == [["unrolled.scan.default"], ["unrolled.scan_backward.default"]]
        sizes.add(tuple(len(graph.nodes) for graph in recorder.graphs))
        torch._dynamo.reset()
    assert len(sizes) == 1


@two_kinds
def test_a_model_trains_as_in_eager(kind: Kind) -> None:
    weights = []
    batches = [torch.randn(STEPS, BATCH, INPUTS) for _ in range(3)]
    model = Model(make(kind))
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    for function in (compiled(model), model):
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x in batches:
            optimizer.zero_grad()
            function(x).square().sum().backward()
            optimizer.step()
        weights.append([weight.detach().clone() for weight in model.parameters()])
    assert_close(weights[0], weights[1], 1e-6)


def test_two_calls_that_are_alike_drop_different_outputs() -> None:
    """A compiler makes one of two calls of an operator with the same arguments."""
    module = make(Kind("GRU"), num_layers=2, dropout=0.5)

    def twice(x: Tensor) -> tuple[Tensor, Tensor]:
        return module(x)[0], module(x)[0]

    first, second = compiled(twice)(random_input(module))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("batch_first", [False, True])
@two_kinds
def test_dynamic_shapes_compile_once(kind: Kind, batch_first: bool) -> None:
    module = make(kind, bidirectional=True, batch_first=batch_first)
    recorder = Recorder()
    function = compiled(module, recorder.backend, dynamic=True)
    with torch.no_grad():
        for rows, columns in [(3, 4), (5, 7), (2, 9), (8, 2)]:
            x = torch.randn(rows, columns, INPUTS)
            assert_close(function(x), module(x), 0)
    assert len(recorder.graphs) == 1


def test_dynamic_shapes_have_the_gradients_of_eager() -> None:
    module = make(Kind("LSTM"), num_layers=2, bidirectional=True, dropout=0.5, batch_first=True)
    function = compiled(module, dynamic=True)
    for rows, columns in [(3, 4), (5, 7)]:
        x = torch.randn(rows, columns, INPUTS, requires_grad=True)
        found = seeded(0, gradients, function, x)
        assert_close(found, seeded(0, gradients, module, x), 0)


def test_by_the_default_backend() -> None:
    """Not one kernel of the graph is inductor's own, so that it needs no C++ compiler."""
    module = make(Kind("LSTM"), num_layers=2, bidirectional=True, batch_first=True)
    model = nn.Sequential(nn.Linear(INPUTS, INPUTS, bias=False), module)
    x = random_input(module)
    results = []
    for function in (compiled(model, "inductor"), model):
        output, last = function(x)
        found = [output, *last]
        grads = torch.autograd.grad(found, list(model.parameters()), [f.cos() for f in found])
        results.append([found, grads])
    assert_close(results[0], results[1], 1e-6)


@two_kinds
def test_functional_call_runs_on_the_given_weights(kind: Kind) -> None:
    module = make(kind)
    x = random_input(module)
    given = {name: torch.randn_like(weight) for name, weight in module.named_parameters()}

    def call(given: dict[str, Tensor], x: Tensor) -> Any:
        return torch.func.functional_call(module, given, (x,))

    assert_close(compiled(call)(given, x), call(given, x), 0)


@two_kinds
def test_weight_norm_learns(kind: Kind) -> None:
    """A computed weight is computed anew in every call, and its parts have gradients."""
    module = make(kind)
    weight_norm(module, "weight_ih_l0")
    magnitude = module.get_parameter("parametrizations.weight_ih_l0.original0")
    function, x = compiled(module), random_input(module)
    before = gradients(function, x)
    assert_close(before, gradients(module, x), 1e-6)
    with torch.no_grad():
        magnitude.mul_(2)
    after = gradients(function, x)
    assert_close(after, gradients(module, x), 1e-6)
    assert not torch.equal(before[0][0], after[0][0])


def test_a_transform_of_torch_func_inside() -> None:
    """Per-sample gradients, by the reference: the operator has no rule for a batch of batches."""
    module = make(Kind("GRU"))
    weights: dict[str, Tensor] = dict(module.named_parameters())
    samples = torch.randn(2, 2, BATCH, INPUTS)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))[0].square().sum()

    def per_sample(weights: dict[str, Tensor], samples: Tensor) -> dict[str, Tensor]:
        return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, samples)

    found, expected = compiled(per_sample)(weights, samples), per_sample(weights, samples)
    assert_close(list(found.values()), list(expected.values()), 1e-5)


@every_kind
def test_autocast(kind: Kind) -> None:
    """On the core, as without torch.compile."""
    module = make(kind)
    x = random_input(module)

    def call(x: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return module(x)

    with torch.no_grad():
        assert_close(compiled(call)(x), call(x), 0.01)


@two_kinds
def test_bfloat16(kind: Kind) -> None:
    """On the core, as without torch.compile."""
    module = make(kind, dtype=torch.bfloat16)
    x = random_input(module, dtype=torch.bfloat16, requires_grad=True)
    assert_close(gradients(compiled(module), x), gradients(module, x), 0.03)


@every_cell
def test_a_cell(kind: Kind) -> None:
    cell, _ = kind.pair()
    x, hx = random_input(cell), random_hx(cell)
    assert_close(compiled(cell)(x, hx), cell(x, hx))


@pytest.mark.parametrize("run", [run_lengths, run_packed])
@two_kinds
def test_ragged_rows_leave_the_graph(kind: Kind, run: Any) -> None:
    """They run as in eager, to the last bit."""
    module = make(kind, num_layers=2)
    x, lengths = random_input(module), torch.tensor([2, 4, 1])

    def call(x: Tensor, lengths: Tensor) -> Any:
        return run(module, x * 2, None, lengths)

    found = torch.compile(call, backend="aot_eager")(x, lengths)
    assert_close(found, call(x, lengths), 0)


def test_ragged_rows_in_a_model_have_the_gradients_of_eager() -> None:
    module = make(Kind("LSTM"))
    x = random_input(module, requires_grad=True)

    def loss(x: Tensor, lengths: list[int]) -> Tensor:
        output, _ = module(x.tanh(), None, lengths)
        return output.square().sum()

    function = torch.compile(loss, backend="aot_eager")
    leaves = [x, *module.parameters()]
    for lengths in ([2, 4, 1], [0, 0, 3]):
        found = torch.autograd.grad(function(x, lengths), leaves)
        assert_close(found, torch.autograd.grad(loss(x, lengths), leaves), 1e-6)


def test_other_lengths_compile_nothing_anew() -> None:
    module = make(Kind("LSTM"))
    function = torch.compile(module, backend="aot_eager")
    x = random_input(module)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lengths in ([2, 4, 1], [1, 1, 1], [0, 3, 4], torch.tensor([4, 4, 4]).tolist()):
            assert_close(function(x, None, lengths), module(x, None, lengths), 0)


@pytest.mark.parametrize("run", [run_lengths, run_packed])
def test_ragged_rows_are_refused_where_the_graph_must_be_whole(run: Any) -> None:
    module = make(Kind("LSTM"))
    with pytest.raises(Unsupported, match="disable"):
        run(compiled(module), random_input(module), None, torch.tensor([4, 2, 1]))


def test_the_backend_that_is_forced_while_it_compiles_is_what_stays() -> None:
    module = make(Kind("GRU"))
    x, recorder = random_input(module), Recorder()
    function = compiled(module, recorder.backend)
    with unrolled.backend("reference"):
        expected = module(x)
        assert_close(function(x), expected)
    assert_close(function(x), expected)
    (graph,) = recorder.graphs
    assert not our_calls(graph)


def test_a_second_derivative_is_torchs_own_error() -> None:
    module = make(Kind("LSTM"))
    x = random_input(module, requires_grad=True)
    loss = compiled(module)(x)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        gradient.sum().backward()


@two_kinds
def test_a_wrong_shape_is_the_same_error(kind: Kind) -> None:
    module = make(kind)
    x = torch.randn(STEPS, BATCH, INPUTS + 1)
    function = torch.compile(module, backend="aot_eager")
    assert_same_error(lambda: function(x), lambda: module(x))


@two_kinds
def test_without_dynamos_leave_the_module_runs_outside_the_graph(kind: Kind) -> None:
    model = Model(make(kind))
    x = torch.randn(STEPS, BATCH, INPUTS)
    with torch._dynamo.config.patch(allow_rnn=False):
        assert_close(torch.compile(model, backend="aot_eager")(x), model(x), 1e-6)
        torch._dynamo.reset()
        with pytest.raises(Unsupported, match="allow_rnn=True"):
            compiled(model)(x)


def test_the_modules_are_there_without_dynamo() -> None:
    """Importing it takes as long as importing torch."""
    code = "import sys, unrolled.nn; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("allow_rnn", [True, False])
@every_kind
def test_modules_of_several_settings_one_after_the_other(kind: Kind, allow_rnn: bool) -> None:
    """The compiler takes numbers that differ from the last time for symbols; these are settings."""
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        for options in ({"num_layers": 2}, {}, {"num_layers": 3, "recompute_every": 2}):
            module = make(kind, **options)
            x, hx = random_input(module, requires_grad=True), random_hx(module, requires_grad=True)
            function: Any = torch.compile(module, backend="aot_eager")
            found = gradients(function, x, hx)
            assert_close(found, gradients(module, x, hx), 0)

"""Tools that take a model apart: on ours they do what they do on torch's."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.passes.shape_prop import ShapeProp

import unrolled
from support_nn import (
    Kind,
    assert_close,
    every_cell,
    every_kind,
    every_module,
    random_hx,
    random_input,
    tensors,
)
from unrolled.scan import native


class Model(nn.Module):
    """The module with something before it and after it, and called as ``call`` says."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.inner = module
        self.call = call
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        result = self.call(self.inner, x * self.scale)
        alone = isinstance(self.inner, nn.RNNCell | nn.GRUCell)
        output: Tensor = result if alone else result[0]
        return output.relu() * self.scale


def models(
    kind: Kind, call: Callable[[nn.Module, Tensor], Any] = lambda module, x: module(x)
) -> list[Model]:
    """On ours, on torch's converted, and on torch's, with the same weights."""
    ours, theirs = kind.pair()
    converted = copy.deepcopy(theirs)
    unrolled.convert(converted)
    return [Model(module, call) for module in (ours, converted, theirs)]


def weight(module: nn.Module) -> str:
    return "weight_hh" if isinstance(module, nn.RNNCellBase) else "weight_hh_l0"


# --- torch.fx


@every_module
def test_fx_has_the_graph_that_it_has_of_torchs(kind: Kind) -> None:
    *ours, theirs = models(kind)
    expected = torch.fx.symbolic_trace(theirs)
    x = random_input(theirs.inner)
    for model in ours:
        traced = torch.fx.symbolic_trace(model)
        assert traced.code == expected.code
        assert [n.meta.keys() for n in traced.graph.nodes] == [
            n.meta.keys() for n in expected.graph.nodes
        ]
        assert traced.inner is model.inner
        assert_close(traced(x), model(x), 0)


@every_module
def test_fx_takes_the_arguments_as_they_were_given(kind: Kind) -> None:
    hx = random_hx(kind.pair()[0])
    ours, _, theirs = models(kind, lambda module, x: module(x, hx=hx))
    traced = torch.fx.symbolic_trace(ours)
    assert traced.code == torch.fx.symbolic_trace(theirs).code
    x = random_input(ours.inner)
    assert_close(traced(x), ours(x), 0)


@every_module
def test_fx_sees_a_call_whose_arguments_are_constants(kind: Kind) -> None:
    """Its result is no constant: it changes with the weights."""
    constant = random_input(kind.pair()[0])
    ours, *_ = models(kind, lambda module, x: (module(constant), x)[0])
    traced = torch.fx.symbolic_trace(ours)
    with torch.no_grad():
        getattr(ours.inner, weight(ours.inner)).zero_()
    assert_close(traced(constant), ours(constant), 0)


def double(_: nn.Module, given: Any) -> Any:
    return tuple(value * 2 for value in given)


def halve(_: nn.Module, __: Any, output: Any) -> Any:
    return output / 2 if isinstance(output, Tensor) else (output[0] / 2, *output[1:])


@every_module
def test_hooks_run_once_in_what_fx_traced(kind: Kind) -> None:
    for model in models(kind):
        model.inner.register_forward_pre_hook(double)
        model.inner.register_forward_hook(halve)
        x = random_input(model.inner)
        assert_close(torch.fx.symbolic_trace(model)(x), model(x), 0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@every_module
def test_weights_computed_by_hooks_are_left_in_peace_by_fx(kind: Kind) -> None:
    for model in models(kind):
        torch.nn.utils.weight_norm(model.inner, weight(model.inner))
        x = random_input(model.inner)
        traced = torch.fx.symbolic_trace(model)
        assert_close(traced(x), model(x), 0)
        assert isinstance(getattr(model.inner, weight(model.inner)), Tensor)


@every_module
def test_what_fx_traced_is_copied_and_pickled(kind: Kind) -> None:
    ours = nn.Sequential(kind.pair()[0])
    traced, x = torch.fx.symbolic_trace(ours), random_input(ours[0])
    for again in (copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        assert_close(again(x), ours(x), 0)


@every_kind
def test_fx_propagates_shapes(kind: Kind) -> None:
    ours, _, theirs = models(kind)
    shapes = []
    for model in (ours, theirs):
        traced = torch.fx.symbolic_trace(model)
        ShapeProp(traced).propagate(random_input(model.inner))
        metas = [node.meta.get("tensor_meta") for node in traced.graph.nodes]
        shapes.append([getattr(meta, "shape", None) for meta in metas])
    assert shapes[0] == shapes[1]


class Doubled(unrolled.LSTM):
    """A forward on top of ours."""

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        output, last = super().forward(input, hx, lengths)
        return 2 * output, last


def put_on_the_instance(module: nn.LSTM) -> nn.LSTM:
    forward = module.forward
    module.forward = lambda x: (2 * forward(x)[0], None)  # type: ignore[method-assign, assignment]
    return module


@pytest.mark.parametrize(
    "module", [Doubled(2, 6), put_on_the_instance(unrolled.LSTM(2, 6))], ids=["class", "instance"]
)
def test_fx_follows_a_forward_around_ours_and_says_what_it_says_of_torchs(
    module: nn.Module,
) -> None:
    """One node for all of it would run the outer forward twice."""
    with pytest.raises(torch.fx.proxy.TraceError, match="cannot be used as inputs to control flow"):
        torch.fx.symbolic_trace(Model(module, lambda module, x: module(x)))


def test_fx_says_of_ours_alone_what_it_says_of_torchs_alone() -> None:
    for module in Kind("LSTM").pair():
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(module)


# --- torch.ao.quantization

quantising = pytest.mark.filterwarnings(
    "ignore:.*torch.ao.quantization is deprecated:DeprecationWarning",
    "ignore:.*quantize_dynamic:DeprecationWarning",
    "ignore::DeprecationWarning:torch.*",
    "ignore::FutureWarning:torch.*",
    "ignore::UserWarning:torch.*",
)


@quantising
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_what_was_reverted_is_quantised_as_torchs(name: str) -> None:
    *ours, theirs = models(Kind(name))
    x = random_input(theirs.inner)
    expected = torch.ao.quantization.quantize_dynamic(theirs)
    assert type(expected.inner).__module__.startswith("torch.ao.nn.quantized")
    for model in ours:
        unrolled.revert(model, every=True)
        assert_close(torch.ao.quantization.quantize_dynamic(model)(x), expected(x), 0)


# --- torch.jit

jit = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.* is deprecated:DeprecationWarning",
    "ignore::torch.jit.TracerWarning",
)


@jit
@every_kind
def test_script_compiles_torchs_on_the_same_weights(kind: Kind) -> None:
    ours, theirs = (nn.Sequential(module) for module in kind.pair())
    with pytest.warns(UserWarning, match=r"in place of unrolled's.*unrolled\.convert\(model\)"):
        scripted = torch.jit.script(ours)
    x = random_input(theirs[0])
    assert_close(scripted(x), theirs(x), 0)
    assert scripted.state_dict().keys() == ours.state_dict().keys()
    weights = ours.state_dict(), scripted.state_dict()
    assert [w.data_ptr() for w in weights[0].values()] == [
        w.data_ptr() for w in weights[1].values()
    ]
    assert unrolled.convert(ours).replaced == {"0": kind.name}
    assert_close(ours(x), theirs(x))


@jit
@every_cell
def test_script_compiles_torchs_cell(kind: Kind) -> None:
    ours, theirs = kind.pair()
    with pytest.warns(UserWarning, match="in place of unrolled's"):
        scripted = torch.jit.script(ours)
    x = random_input(theirs)
    assert_close(scripted(x), theirs(x), 0)
    assert isinstance(ours, kind.ours)


@jit
def test_script_is_told_of_a_subclass_what_to_do_instead() -> None:
    with pytest.raises(RuntimeError, match=r"its class Doubled extends.*torch\.jit\.trace"):
        torch.jit.script(nn.Sequential(Doubled(2, 6)))


class WithLengths(nn.Module):
    """``lengths=`` inside of a model, as a trace meets it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.inner(x, lengths=lengths)


@jit
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@every_kind
def test_a_trace_with_lengths_holds_for_others(kind: Kind, batch_first: bool, grad: bool) -> None:
    """The core's results would be constants in it, memory that nobody fills."""
    ours, _ = kind.pair(batch_first=batch_first)
    model = WithLengths(ours)
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(model, (random_input(ours), torch.tensor([4, 1, 2])))
    x, lengths = torch.randn(7, 7, ours.input_size), torch.tensor([2, 7, 1, 3, 7, 5, 4])
    assert_close(traced(x, lengths), model(x, lengths))


needs_core = pytest.mark.skipif(not native.is_built(), reason="built without a compiler")


@needs_core
@jit
@pytest.mark.parametrize("batch_first", [True, False])
@every_kind
def test_a_trace_on_the_core_where_that_is_forced(kind: Kind, batch_first: bool) -> None:
    ours, _ = kind.pair(batch_first=batch_first, num_layers=2)
    x = random_input(ours)
    with unrolled.backend("native"):
        traced = torch.jit.trace(ours, (x,))
    assert "unrolled::scan" in str(traced.inlined_graph)
    other = torch.randn(7, 5, ours.input_size)
    assert_close(traced(other), ours(other), 0)
    losses = [tensors(module(other))[0].square().sum() for module in (traced, ours)]
    found, expected = (torch.autograd.grad(loss, list(ours.parameters())) for loss in losses)
    assert_close(found, expected)


@needs_core
@jit
def test_a_trace_on_the_core_asks_for_our_modules_when_it_is_loaded(tmp_path: Path) -> None:
    ours, _ = Kind("LSTM").pair()
    with unrolled.backend("native"):
        torch.jit.trace(ours, (random_input(ours),)).save(tmp_path / "trace.pt")
    code = "import torch{}\ntorch.jit.load('trace.pt')(torch.randn(7, 5, 2))"
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code.format(more)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        for more in ("", ", unrolled.nn")
    ]
    assert "Unknown builtin op: unrolled::scan" in runs[0].stderr
    assert runs[1].returncode == 0, runs[1].stderr


@jit
def test_a_trace_is_torchs_unless_that_is_forced() -> None:
    """So that it loads without unrolled, in C++ too."""
    ours, _ = Kind("LSTM").pair()
    traced = torch.jit.trace(ours, (random_input(ours),))
    assert "unrolled::" not in str(traced.inlined_graph)


# --- The others.


@every_kind
def test_a_profile_names_the_pass(kind: Kind) -> None:
    ours, _ = kind.pair()
    with torch.no_grad(), torch.profiler.profile() as profile:
        ours(random_input(ours))
    assert f"unrolled::{ours.mode.lower()}" in {event.key for event in profile.key_averages()}


@every_module
def test_a_whole_module_is_loaded_with_its_class_named(kind: Kind) -> None:
    ours, _ = kind.pair()
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    with torch.serialization.safe_globals([type(ours), set]):
        again = torch.load(file, weights_only=True)
    x = random_input(ours)
    assert_close(again(x), ours(x), 0)


@every_module
def test_a_module_made_without_memory_takes_a_state_dict_over(kind: Kind) -> None:
    ours, _ = kind.pair()
    bare = copy.deepcopy(ours).to("meta")
    bare.load_state_dict(ours.state_dict(), assign=True)
    x = random_input(ours)
    assert_close(bare(x), ours(x), 0)


@every_module
def test_ensembles_by_stacked_weights(kind: Kind) -> None:
    members = [kind.pair()[0] for _ in range(2)]
    stacked, _ = torch.func.stack_module_state(members)
    x = random_input(members[0])

    def run(weights: dict[str, Tensor]) -> Any:
        return torch.func.functional_call(members[0], weights, (x,))

    found = tensors(torch.func.vmap(run)(stacked))
    for index, member in enumerate(members):
        assert_close([output[index] for output in found], member(x))


@every_kind
def test_the_average_of_weights_over_training(kind: Kind) -> None:
    averages = []
    for module in kind.pair():
        average = torch.optim.swa_utils.AveragedModel(module)
        for _ in range(2):
            with torch.no_grad():
                module.get_parameter("weight_hh_l0").add_(0.1)
            average.update_parameters(module)
        averages.append(average)
    x = random_input(kind.pair()[0])
    assert_close(averages[0](x), averages[1](x))

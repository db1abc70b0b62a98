"""Quantized modules as modules: what they take over, how they are stored, what they refuse."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.prune import l1_unstructured

import unrolled
from support_quantized import quantized
from unrolled.nn.quantized import Quantized
from unrolled.scan import native

each_kind = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
needs_the_core = pytest.mark.skipif(not native.is_built(), reason="the bits are the core's")


# --- as a module ----------------------------------------------------------------------------------


@each_kind
def test_torchs_own_modules_are_quantized(kind: str) -> None:
    theirs = getattr(torch.nn, kind)(4, 9)
    ours = getattr(unrolled, kind)(4, 9)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 3, 4)
    assert torch.equal(unrolled.quantize(theirs)(x)[0], unrolled.quantize(ours)(x)[0])


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(4, 9, batch_first=True)
        self.again = self.rnn
        self.head = torch.nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.rnn.flatten_parameters()
        output = self.head(self.again(x)[0][:, -1])
        return output.view(-1, self.rnn.hidden_size - 7)


def test_a_model_is_copied_and_its_layers_replaced() -> None:
    model, x = Model(), torch.randn(3, 6, 4)
    found = unrolled.quantize(model)
    assert isinstance(found.rnn, Quantized)
    assert found.again is found.rnn
    assert isinstance(model.rnn, torch.nn.LSTM)
    assert not found.training
    assert torch.allclose(found(x).detach(), model(x).detach(), atol=0.05)


def test_a_quarter_of_the_memory_holds_it() -> None:
    def size(module: torch.nn.Module) -> int:
        return sum(value.numel() * value.element_size() for value in module.state_dict().values())

    assert size(quantized("LSTM", 128, 256)) < 0.27 * size(unrolled.LSTM(128, 256))


def again_by_state_dict(module: Quantized) -> Quantized:
    other = quantized("GRU", 4, 9, num_layers=2)
    other.load_state_dict(module.state_dict())
    return other


def again_by_save(module: Quantized) -> Quantized:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), again_by_state_dict,
     again_by_save],
)  # fmt: skip
def test_it_is_copied_and_stored(again: Any) -> None:
    module, x = quantized("GRU", 4, 9, num_layers=2), torch.randn(5, 3, 4)
    expected = module(x)[0]
    other = again(module)
    for name, buffer in module.named_buffers():
        buffer.zero_()
        assert other.get_buffer(name).any()
    assert torch.equal(other(x)[0], expected)


def test_changed_weights_are_seen() -> None:
    module, x = quantized("GRU", 4, 9), torch.randn(5, 3, 4)
    before = module(x)[0]
    module.get_buffer("weight_hh_l0").neg_()
    assert not torch.equal(module(x)[0], before)
    module.load_state_dict(quantized("GRU", 4, 9).state_dict())
    assert torch.equal(module(x)[0], before)


def test_changed_weights_are_seen_where_it_was_made_in_inference_mode() -> None:
    with torch.inference_mode():
        module, x = quantized("GRU", 4, 9), torch.randn(5, 3, 4)
        before = module(x)[0]
        module.load_state_dict(quantized("GRU", 4, 9, bias=True).state_dict())
        assert torch.equal(module(x)[0], before)
        module.get_buffer("bias_hh_l0").add_(1)
        assert not torch.equal(module(x)[0], before)


def test_a_buffer_in_the_place_of_another_is_seen() -> None:
    """A new tensor often lies where the old one was."""
    module, x = quantized("RNN", 4, 24, nonlinearity="relu"), torch.randn(1, 1, 4)
    seen = set()
    for value in range(30):
        del module.bias_ih_l0
        module.register_buffer("bias_ih_l0", torch.full((24,), float(value)))
        seen.add(float(module(x)[0].sum()))
    assert len(seen) == 30


def with_pruning(module: torch.nn.Module) -> None:
    l1_unstructured(module, "weight_hh_l0", 0.5)


def with_old_weight_norm(module: torch.nn.Module) -> None:
    torch.nn.utils.weight_norm(module, "weight_ih_l0")


def with_old_spectral_norm(module: torch.nn.Module) -> None:
    torch.nn.utils.spectral_norm(module, "weight_hh_l0")


def with_weight_norm(module: torch.nn.Module) -> None:
    torch.nn.utils.parametrizations.weight_norm(module, "weight_ih_l0")


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("made", [torch.nn.GRU, unrolled.GRU])
@pytest.mark.parametrize(
    "changed", [with_pruning, with_old_weight_norm, with_old_spectral_norm, with_weight_norm]
)
def test_computed_weights_are_taken_as_they_are(made: Any, changed: Any) -> None:
    module, plain, x = made(4, 9).eval(), torch.nn.GRU(4, 9), torch.randn(5, 3, 4)
    changed(module)
    module(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)  # what was computed from it is older
    found = unrolled.quantize(module)(x)[0]
    module(x)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(getattr(module, name))
    assert torch.equal(found, unrolled.quantize(plain)(x)[0])


def test_attributes_stay() -> None:
    module = torch.nn.LSTM(2, 3, num_layers=2, dropout=0.5)
    module.tag = "mine"
    found = unrolled.quantize(module)
    assert (found.tag, found.hidden_size, found.dropout) == ("mine", 3, 0.5)


def test_it_is_gone_when_nobody_has_it() -> None:
    module = quantized("GRU", 4, 9)
    module(torch.randn(5, 3, 4))
    reference = weakref.ref(module)
    gc.disable()
    del module
    gc.enable()
    assert reference() is None


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.* is deprecated:DeprecationWarning", "ignore::torch.jit.TracerWarning"
)
def test_a_trace_has_torchs_kernels() -> None:
    model, x = unrolled.quantize(Model()), torch.randn(3, 6, 4)
    traced = torch.jit.trace(model, (x,))
    longer = torch.randn(2, 11, 4)
    assert torch.allclose(traced(longer), model(longer), atol=0.02)


def test_it_is_one_node_to_fx() -> None:
    model, x = unrolled.quantize(torch.nn.Sequential(unrolled.GRU(4, 9))), torch.randn(5, 3, 4)
    graph = torch.fx.symbolic_trace(model)
    assert torch.equal(graph(x)[0], model(x)[0])


def test_hooks_stay() -> None:
    module, seen = unrolled.GRU(4, 9), []
    module.register_forward_hook(lambda *_: seen.append(1))
    unrolled.quantize(module)(torch.randn(5, 3, 4))
    assert seen == [1]


@needs_the_core
def test_it_is_told_what_it_runs_on() -> None:
    module, x = quantized("GRU", 4, 9), torch.randn(5, 3, 4)
    assert unrolled.which_backend(module, x).startswith("native")
    with unrolled.backend("reference"):
        assert unrolled.which_backend(module, x).startswith("reference")


def test_it_says_what_it_is() -> None:
    assert "LSTM(4, 9, num_layers=2" in repr(quantized("LSTM", 4, 9, num_layers=2))


# --- what is refused ------------------------------------------------------------------------------


def test_no_gradient_is_asked_of_it() -> None:
    module, x = quantized("GRU", 4, 9), torch.randn(5, 3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="for inference"):
        module(x)
    with torch.no_grad():
        assert not module(x)[0].requires_grad


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own jvp
def test_no_tangent_is_asked_of_it() -> None:
    module, x = quantized("GRU", 4, 9), torch.randn(5, 3, 4)
    with pytest.raises(RuntimeError, match="for inference"):
        torch.func.jvp(lambda x: module(x)[0], (x,), (x,))


def test_a_model_asks_for_no_gradient() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.GRU(4, 9))
    output, _ = unrolled.quantize(model)(torch.tensor([[1, 2, 3]]))
    assert not output.requires_grad


@pytest.mark.parametrize("strict", [True, False])
def test_float_weights_are_not_loaded_as_bytes(strict: bool) -> None:
    module = quantized("GRU", 4, 9)
    with pytest.raises(RuntimeError, match="int8 was expected"):
        module.load_state_dict(unrolled.GRU(4, 9).state_dict(), strict=strict)


def test_another_dtype_is_refused() -> None:
    module = quantized("GRU", 4, 9).double()
    with pytest.raises(RuntimeError, match=r"is torch\.float64"):
        module(torch.randn(5, 3, 4).double())


@pytest.mark.parametrize("shape", [(5, 3, 6), (5, 3, 4, 1), (4,), (0, 3, 4)])
def test_a_wrong_input_has_torchs_words(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        torch.nn.GRU(4, 9)(x)
    with pytest.raises(theirs.type) as ours:
        quantized("GRU", 4, 9)(x)
    assert str(ours.value) == str(theirs.value)


def test_a_model_without_recurrent_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no RNN, LSTM or GRU"):
        unrolled.quantize(torch.nn.Linear(2, 2))


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        unrolled.quantize("model.pt")  # type: ignore[call-overload]  # what is tested


def test_what_is_left_is_named() -> None:
    class Own(torch.nn.GRU):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # as users write it
            return x

    model = torch.nn.ModuleDict({"one": torch.nn.GRU(2, 3), "own": Own(2, 3)})
    with pytest.warns(UserWarning, match="own: its class Own has a forward"):
        found = unrolled.quantize(model)
    assert isinstance(found["own"], Own)
    with pytest.raises(ValueError, match="float64"):
        unrolled.quantize(torch.nn.GRU(2, 3).double())
    with_more = torch.nn.GRU(2, 3)
    with_more.h0 = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="more than its weights: h0"):
        unrolled.quantize(with_more)

"""Which subclasses are converted, and what is left alone, with the reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import unrolled
from support_convert import (
    BATCH,
    HIDDEN,
    INPUTS,
    STEPS,
    Initialised,
    Lazy,
    Lenient,
    Mixed,
    Running,
    Scaled,
    Seq2Seq,
    outputs_and_gradients,
    parametrized,
    sharded,
    with_attribute,
)
from support_nn import (
    assert_close,
)


def test_a_subclass_that_leaves_the_pass_to_torch_is_replaced_and_stays_one():
    module = Initialised(INPUTS, HIDDEN)
    x = torch.randn(STEPS, BATCH, INPUTS)
    expected = outputs_and_gradients(module, x)
    assert unrolled.convert(module).replaced == {"": "Initialised"}
    assert isinstance(module, Initialised)
    assert isinstance(module, unrolled.LSTM)
    assert unrolled.which_backend(module, x)
    assert module.half() == HIDDEN // 2
    assert repr(module) == repr(Initialised(INPUTS, HIDDEN))
    assert_close(outputs_and_gradients(module, x), expected)
    unrolled.revert(module)
    assert type(module) is Initialised


def test_a_parametrized_subclass():
    module = parametrized(Initialised(INPUTS, HIDDEN))
    unrolled.convert(module)
    assert isinstance(module, Initialised)
    assert isinstance(module, unrolled.LSTM)
    unrolled.revert(module)
    assert parametrize.type_before_parametrizations(module) is Initialised


def test_a_subclass_with_a_metaclass():
    module = Mixed(INPUTS, HIDDEN)
    unrolled.convert(module)
    assert isinstance(module, unrolled.RNN)
    assert isinstance(module, Mixed)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Scaled(INPUTS, HIDDEN), "its class Scaled has a forward of its own"),
        (parametrized(Scaled(INPUTS, HIDDEN)), "its class Scaled has a forward of its own"),
        (Lenient(INPUTS, HIDDEN), "its class Lenient has a check_forward_args of its own"),
        (unrolled.LSTM(INPUTS, HIDDEN), "LSTM is unrolled's already"),
        (Running(INPUTS, HIDDEN), "it has an attribute _weights, which unrolled's GRU uses"),
        (with_attribute("recompute_every"), "it has an attribute recompute_every, which"),
        (sharded(), "its class FSDPLSTM is also torch's FSDPModule, which goes by the class"),
        (nn.RNNBase("LSTM", INPUTS, HIDDEN), "its class RNNBase is none of torch.nn's RNN, LSTM,"),
    ],
    ids=[
        *("forward", "parametrized", "of forward's", "ours"),
        *("name in the class", "name in the instance", "sharded", "base"),
    ],
)
def test_what_is_left_alone(module, reason):
    cls, before = type(module), dict(vars(module))
    found = unrolled.convert(nn.Sequential(module))
    assert not found.replaced
    assert found.left["0"].startswith(reason)
    assert type(module) is cls
    assert vars(module) == before


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_module_is_left():
    """It exchanges its class itself, at its first call."""
    found = unrolled.convert(Lazy(INPUTS, HIDDEN))
    assert found.left == {
        "": "its class Lazy is also torch's LazyModuleMixin, which goes by the class"
    }


def test_a_class_that_can_not_be_extended_is_left():
    class Final(nn.LSTM):
        def __init_subclass__(cls):
            raise TypeError("Final is final")

    found = unrolled.convert(Final(INPUTS, HIDDEN))
    assert found.left == {"": "its class Final can't be extended: Final is final"}


def test_a_subclass_with_slots():
    class Slotted(nn.LSTM):
        __slots__ = ("note",)

    module = Slotted(INPUTS, HIDDEN)
    unrolled.convert(module)
    unrolled.revert(module)
    assert type(module) is Slotted


def test_a_forward_replaced_on_the_instance_is_left():
    """As libraries do that move weights between devices: what runs is no longer the class's."""
    module = nn.LSTM(INPUTS, HIDDEN)
    module.forward = module.forward  # type: ignore[method-assign]  # as hooks of libraries do
    found = unrolled.convert(module)
    assert "its forward was replaced on the instance" in found.left[""]
    assert type(module) is nn.LSTM


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_torch_jit_compiled_is_left():
    model = torch.jit.script(nn.Sequential(nn.LSTM(INPUTS, HIDDEN)))
    found = unrolled.convert(model)
    assert found.left == {"0": "torch.jit has compiled this LSTM; convert before that"}


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_what_is_quantised_is_left():
    model = torch.ao.quantization.quantize_dynamic(Seq2Seq(), {nn.LSTM, nn.GRUCell})
    found = unrolled.convert(model)
    assert list(found.left) == ["encoder", "decoder.cell"]
    assert found.left["encoder"].startswith("a quantised LSTM of torch.ao")

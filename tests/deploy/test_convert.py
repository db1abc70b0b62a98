"""A converted model is the same model: objects, numbers and manners; reverted, the same types."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support_convert import (
    BATCH,
    HIDDEN,
    INPUTS,
    STEPS,
    Initialised,
    Scaled,
    Seq2Seq,
    batch,
    outputs_and_gradients,
    parametrized,
)
from support_nn import (
    Kind,
    assert_close,
    every_kind,
    every_module,
    random_hx,
    random_input,
)


@every_module
def test_outputs_and_gradients_are_the_same(kind: Kind):
    _, module = kind.pair()
    x, hx = random_input(module), random_hx(module)
    expected = outputs_and_gradients(module, x, hx)
    assert unrolled.convert(module).replaced == {"": kind.name}
    assert type(module) is kind.ours
    assert_close(outputs_and_gradients(module, x, hx), expected)


@every_module
def test_revert_restores_the_type_and_the_attributes(kind: Kind):
    _, module = kind.pair()
    before = dict(vars(module))
    unrolled.convert(module)
    assert unrolled.revert(module).replaced == {"": kind.name}
    assert type(module) is kind.theirs
    assert vars(module) == before


def test_the_report_says_what_was_replaced_and_what_was_left():
    model = Seq2Seq()
    model.scaled = Scaled(INPUTS, HIDDEN)
    found = unrolled.convert(model)
    assert found.replaced == {"encoder": "LSTM", "decoder.cell": "GRUCell"}
    assert found.left == {"scaled": "its class Scaled has a forward of its own"}
    assert str(found).splitlines() == [
        "Replaced: 2",
        "  encoder       LSTM",
        "  decoder.cell  GRUCell",
        "Left: 1",
        "  scaled        its class Scaled has a forward of its own",
    ]


def test_a_model_with_nothing_recurrent():
    model = nn.Linear(2, 2)
    assert str(unrolled.convert(model)) == "There is no RNN, LSTM, GRU or cell in the model."
    assert unrolled.revert(model) == unrolled.Conversion()


@pytest.mark.parametrize("change", [unrolled.convert, unrolled.revert])
def test_what_is_no_module(change):
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got dict\. Give the network"):
        change({"model": nn.LSTM(2, 3)})


def test_the_very_parameters_stay():
    model = Seq2Seq()
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    unrolled.convert(model)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before


def test_the_state_dict_stays():
    model = Seq2Seq()
    expected = copy.deepcopy(model.state_dict())
    unrolled.convert(model)
    assert list(model.state_dict()) == list(expected)
    assert all(model.state_dict()[name].equal(value) for name, value in expected.items())
    Seq2Seq().load_state_dict(model.state_dict())
    model.load_state_dict(Seq2Seq().state_dict())


def train(model, optimizer, x, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def test_an_optimiser_made_before_goes_on():
    """Its moments too: the same weights as without the conversion half way."""
    model = Seq2Seq().double().eval()
    other = copy.deepcopy(model)
    x = batch().double()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.05) for m in (model, other)]
    for m, optimizer in zip((model, other), optimizers, strict=True):
        train(m, optimizer, x, 3)
    unrolled.convert(model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for m, optimizer in zip((model, other), optimizers, strict=True):
        train(m, optimizer, x, 3)
    assert_close(list(model.parameters()), list(other.parameters()), 1e-9)
    assert not all(map(torch.equal, model.parameters(), before))


def test_what_was_trained_in_between_stays_after_revert():
    model = Seq2Seq()
    unrolled.convert(model)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), batch(), 2)
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    unrolled.revert(model)
    assert all(map(torch.equal, model.parameters(), trained))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_and_dropout_follows_it(training):
    model = Seq2Seq().train(training)
    unrolled.convert(model)
    assert all(module.training is training for module in model.modules())
    x = batch()
    assert torch.equal(model(x), model(x)) is not training


def test_frozen_parameters_stay_frozen():
    model = Seq2Seq()
    model.encoder.requires_grad_(False)
    unrolled.convert(model)
    model(batch()).sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())


def test_hooks_fire():
    model = Seq2Seq()
    called = []
    model.encoder.register_forward_pre_hook(lambda *_: called.append("before"))
    model.encoder.register_forward_hook(lambda *_: called.append("after"))
    model.encoder.register_full_backward_hook(lambda *_: called.append("back"))
    model.encoder.get_parameter("weight_hh_l0").register_hook(lambda _: called.append("weight"))
    unrolled.convert(model)
    model(batch().requires_grad_()).sum().backward()
    assert sorted(called) == ["after", "back", "before", "weight"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_dtype_stays(dtype):
    model = Seq2Seq().to(dtype)
    unrolled.convert(model)
    assert model(batch().to(dtype)).dtype == dtype
    assert model.float()(batch()).dtype == torch.float32


@every_kind
def test_packed_sequences_and_lengths(kind: Kind):
    _, module = kind.pair()
    x, lengths = random_input(module), torch.tensor([2, 4, 1])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected = module(packed)
    unrolled.convert(module)
    assert_close(module(packed), expected)
    assert_close(module(x, lengths=lengths)[1], expected[1])


def test_a_converted_module_takes_recompute_every():
    model = Seq2Seq().eval()
    unrolled.convert(model)
    x = batch()
    expected = outputs_and_gradients(model, x)
    model.encoder.recompute_every = 3
    assert "recompute_every=3" in repr(model)
    assert_close(outputs_and_gradients(model, x), expected, 0)
    unrolled.revert(model)
    assert not hasattr(model.encoder, "recompute_every")


# Parametrizations


@every_kind
def test_parametrizations_stay(kind: Kind):
    _, module = kind.pair()
    parametrized(module)
    x = random_input(module)
    expected, names = outputs_and_gradients(module, x), list(module.state_dict())
    assert list(unrolled.convert(module).replaced) == [""]
    assert isinstance(module, kind.ours)
    assert parametrize.is_parametrized(module, "weight_hh_l0")
    assert parametrize.type_before_parametrizations(module) is kind.ours
    assert list(module.state_dict()) == names
    assert_close(outputs_and_gradients(module, x), expected)
    unrolled.revert(module)
    assert parametrize.type_before_parametrizations(module) is kind.theirs
    assert type(module).__name__ == f"Parametrized{kind.name}"
    assert_close(outputs_and_gradients(module, x), expected)


def test_more_parametrizations_can_be_put_on_and_taken_off():
    module = parametrized(nn.GRU(INPUTS, HIDDEN))
    unrolled.convert(module)
    parametrized(module, "weight_ih_l0")
    x = torch.randn(STEPS, BATCH, INPUTS)
    expected = module(x)
    for name in ("weight_hh_l0", "weight_ih_l0"):
        parametrize.remove_parametrizations(module, name)
    assert type(module) is unrolled.GRU
    assert_close(module(x), expected)
    unrolled.revert(module)
    assert type(module) is nn.GRU


def test_a_copy_of_a_parametrized_module_is_not_touched():
    """It shares the class, which torch makes one for a module."""
    module = parametrized(nn.LSTM(INPUTS, HIDDEN))
    twin = copy.deepcopy(module)
    unrolled.convert(module)
    assert not isinstance(twin, unrolled.LSTM)
    x = torch.randn(STEPS, BATCH, INPUTS)
    assert_close(copy.deepcopy(module)(x), twin(x))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_the_older_norms_which_are_hooks(normed):
    module = normed(nn.LSTM(INPUTS, HIDDEN, dtype=torch.float64), "weight_hh_l0").eval()
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    expected = outputs_and_gradients(module, x)
    unrolled.convert(module)
    assert_close(outputs_and_gradients(module, x), expected, 1e-10)


# Where modules stand


def test_a_module_at_two_paths_is_one():
    model = nn.ModuleDict({"a": nn.GRU(INPUTS, HIDDEN)})
    model["b"] = model["a"]
    assert unrolled.convert(model).replaced == {"a": "GRU"}
    assert model["a"] is model["b"]


def test_weights_shared_by_two_modules_stay_shared():
    model = nn.ModuleList([nn.GRU(INPUTS, HIDDEN), nn.GRU(INPUTS, HIDDEN)])
    model[1].weight_hh_l0 = model[0].weight_hh_l0
    unrolled.convert(model)
    assert model[1].weight_hh_l0 is model[0].weight_hh_l0


def test_inside_data_parallel():
    model = nn.DataParallel(Seq2Seq())
    assert list(unrolled.convert(model).replaced) == ["module.encoder", "module.decoder.cell"]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a:UserWarning")
@pytest.mark.parametrize("before", [True, False], ids=["called before", "not called before"])
def test_inside_a_compiled_model(before):
    """What was compiled for torch's module is not used for ours."""
    model = Seq2Seq().double().eval()
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    x = batch().double()
    expected = compiled(x) if before else model(x)
    assert list(unrolled.convert(compiled).replaced) == [
        "_orig_mod.encoder",
        "_orig_mod.decoder.cell",
    ]
    run = []
    model.encoder.register_forward_hook(lambda module, *_: run.append(type(module)))
    assert_close(compiled(x), expected, 1e-12)
    assert run == [unrolled.LSTM]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a:UserWarning")
def test_a_module_that_compiles_itself():
    module = nn.GRU(INPUTS, HIDDEN, dtype=torch.float64)
    module.compile(backend="eager")
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    expected = module(x)
    unrolled.convert(module)
    assert_close(module(x), expected, 1e-12)


def test_a_module_of_torch_fx():
    model = torch.fx.symbolic_trace(Seq2Seq().eval())
    x = batch()
    expected = model(x)
    assert list(unrolled.convert(model).replaced) == ["encoder", "decoder.cell"]
    assert_close(model(x), expected)


# Copies, pickles, and more than one time


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickled, saved])
@pytest.mark.parametrize("make", [Seq2Seq, lambda: Initialised(INPUTS, HIDDEN, batch_first=True)])
def test_copies_and_pickles(copied, make):
    model = make().eval()
    unrolled.convert(model)
    twin = copied(model)
    x = batch()
    assert_close(twin(x), model(x), 0)
    originals = {path: type(module) for path, module in make().named_modules()}
    unrolled.revert(twin)
    assert {path: type(module) for path, module in twin.named_modules()} == originals


def test_converted_twice_is_converted_once():
    model = Seq2Seq()
    unrolled.convert(model)
    again = unrolled.convert(model)
    assert not again.replaced
    assert again.left["encoder"] == "LSTM is unrolled's already"
    unrolled.revert(model)
    assert type(model.encoder) is nn.LSTM


def test_revert_leaves_what_was_ours_from_the_start():
    model = nn.ModuleList([unrolled.LSTM(INPUTS, HIDDEN), nn.LSTM(INPUTS, HIDDEN)])
    unrolled.convert(model)
    found = unrolled.revert(model)
    assert found.replaced == {"1": "LSTM"}
    assert found.left == {"0": "LSTM was unrolled's from the start; every=True reverts it too"}
    assert [type(module) for module in model] == [unrolled.LSTM, nn.LSTM]


class OfOurs(unrolled.LSTM):
    """A class that torch has nothing like."""


def test_every_one_of_ours_is_reverted_where_that_is_asked_for() -> None:
    model = nn.ModuleList(
        [unrolled.LSTM(INPUTS, HIDDEN, recompute_every=3), OfOurs(INPUTS, HIDDEN)]
    )
    x = torch.randn(4, 3, INPUTS)
    before = model[0](x)
    found = unrolled.revert(model, every=True)
    assert found.replaced == {"0": "LSTM"}
    assert found.left == {"1": "its class OfOurs extends unrolled's, and torch has none like it"}
    assert type(model[0]) is nn.LSTM
    assert vars(model[0]).keys() == vars(nn.LSTM(INPUTS, HIDDEN)).keys()
    assert_close(model[0](x), before)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_reverted_model_can_be_scripted():
    """Which ours can't: a reason to go back."""
    model = nn.Sequential(nn.LSTM(INPUTS, HIDDEN))
    unrolled.convert(model)
    unrolled.revert(model)
    assert torch.jit.script(model)


# Recording goes by the same table


@pytest.mark.parametrize(
    "module",
    [parametrized(nn.LSTM(INPUTS, HIDDEN)), Initialised(INPUTS, HIDDEN)],
    ids=["parametrized", "subclass"],
)
def test_what_can_be_converted_can_be_recorded_as_it_is(module):
    cls = type(module)
    trace = unrolled.record(module, torch.randn(STEPS, BATCH, INPUTS))
    assert trace.get("forget").shape == (STEPS, BATCH, HIDDEN)
    assert type(module) is cls


def test_a_converted_model_records_like_the_model():
    model = Seq2Seq().eval()
    x = batch()
    expected = unrolled.record(model, x).get("forget", module="encoder", layer=1)
    unrolled.convert(model)
    assert_close(unrolled.record(model, x).get("forget", module="encoder", layer=1), expected)

"""Code that was written for torch's modules works with ours: one habit of such code a test."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled.nn
from support_nn import (
    BATCH,
    HIDDEN,
    INPUTS,
    STEPS,
    Kind,
    assert_close,
    assert_same_error,
    every_cell,
    every_kind,
    every_module,
    random_hx,
    random_input,
    tensors,
    total,
)


def train(module: nn.Module, steps: int = 2) -> None:
    """A few steps of gradient descent, on the same data for every module."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(steps):
        x = random_input(module, generator=generator)
        optimizer.zero_grad()
        total(tensor.square().sum() for tensor in tensors(module(x))).backward()
        optimizer.step()


# --- Construction.


@every_module
def test_same_arguments_in_the_same_places(kind: Kind) -> None:
    """And one of our own, by name."""
    ours, theirs = inspect.signature(kind.ours), inspect.signature(kind.theirs)
    same = [(p.name, p.kind) for p in ours.parameters.values() if p.name != "recompute_every"]
    assert same == [(p.name, p.kind) for p in theirs.parameters.values()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RNN", (2, 6, 2, "relu", False, True, 0.5, True)),  # torch takes no more by position
        ("LSTM", (2, 6, 2, False, True, 0.5, True, 5, "cpu", torch.float64)),
        ("GRU", (2, 6, 2, False, True, 0.5, True, 0, "cpu", torch.float64)),
        ("RNNCell", (2, 6, False, "relu", "cpu", torch.float64)),
        ("LSTMCell", (2, 6, False, "cpu", torch.float64)),
        ("GRUCell", (2, 6, False, "cpu", torch.float64)),
    ],
)
def test_positional_arguments(name: str, arguments: tuple[Any, ...]) -> None:
    def attributes(module: nn.Module) -> dict[str, Any]:
        return {key: v for key, v in vars(module).items() if isinstance(v, str | int | float)}

    ours, theirs = getattr(unrolled.nn, name)(*arguments), getattr(nn, name)(*arguments)
    assert attributes(ours) == attributes(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for our_weight, their_weight in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (our_weight.shape, our_weight.dtype) == (their_weight.shape, their_weight.dtype)


@every_module
def test_same_parameters_under_the_same_seed(kind: Kind, seed: int) -> None:
    built = []
    for module_class in (kind.ours, kind.theirs):
        torch.manual_seed(seed)
        built.append(module_class(INPUTS, HIDDEN, **kind.options).state_dict())
    assert list(built[0]) == list(built[1])
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])


@every_module
def test_reset_parameters_draws_them_again(kind: Kind, seed: int) -> None:
    torch.manual_seed(seed)
    theirs = kind.theirs(INPUTS, HIDDEN, **kind.options)
    ours, _ = kind.pair()
    torch.manual_seed(seed)
    ours.reset_parameters()
    assert_close(list(ours.parameters()), list(theirs.parameters()), 0)


@every_module
def test_same_repr(kind: Kind) -> None:
    ours, theirs = kind.pair(bias=False)
    assert repr(ours) == repr(theirs)
    assert repr(nn.Sequential(ours)) == repr(nn.Sequential(theirs))


@every_kind
def test_same_repr_with_every_option(kind: Kind) -> None:
    options = {"num_layers": 2, "bias": False, "batch_first": True, "bidirectional": True}
    ours, theirs = kind.pair(dropout=0.5, **options)
    assert repr(ours) == repr(theirs)


@every_kind
def test_all_weights(kind: Kind) -> None:
    ours, theirs = kind.pair(num_layers=2, bidirectional=True)
    assert list(map(len, ours.all_weights)) == list(map(len, theirs.all_weights))
    assert_close(ours.all_weights, theirs.all_weights, 0)
    flat = tensors(ours.all_weights)
    assert all(weight is own for weight, own in zip(flat, ours.parameters(), strict=True))


@every_kind
def test_flatten_parameters_changes_nothing(kind: Kind) -> None:
    ours, theirs = kind.pair()
    assert ours.flatten_parameters() is None  # type: ignore[func-returns-value]  # as torch's
    x = random_input(ours)
    assert_close(ours(x), theirs(x))


@every_module
def test_public_attributes_are_torchs_and_one_more(kind: Kind) -> None:
    ours, theirs = kind.pair()
    public = [{name for name in dir(m) if not name.startswith("_")} for m in (ours, theirs)]
    assert public[0] - {"recompute_every"} == public[1]


@every_module
def test_isinstance_of_torchs_class(kind: Kind) -> None:
    assert isinstance(kind.pair()[0], kind.theirs)


# --- Copies and files.


@every_module
def test_state_dict_loads_in_both_directions(kind: Kind) -> None:
    ours, theirs = (
        kind.ours(INPUTS, HIDDEN, **kind.options),
        kind.theirs(INPUTS, HIDDEN, **kind.options),
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = random_input(ours)
    assert_close(ours(x), theirs(x))
    train(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_close(ours(x), theirs(x))


@every_module
def test_state_dict_of_another_shape_is_torchs_error(kind: Kind) -> None:
    ours, theirs = kind.pair()
    other = kind.pair(hidden_size=HIDDEN + 1)[0].state_dict()
    other["extra"] = other.pop("weight_hh" if hasattr(ours, "weight_hh") else "weight_hh_l0")
    assert_same_error(lambda: ours.load_state_dict(other), lambda: theirs.load_state_dict(other))


@pytest.mark.parametrize(
    "copied",
    [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
@every_module
def test_a_copy_of_a_trained_module_runs_on_its_own_weights(kind: Kind, copied: Any) -> None:
    ours, theirs = kind.pair()
    train(ours)
    again = copied(ours)
    x = random_input(ours)
    assert type(again) is type(ours)
    assert_close(again(x), ours(x), 0)
    with torch.no_grad():
        for weight in again.parameters():
            weight.add_(0.1)
    theirs.load_state_dict(again.state_dict())
    assert_close(again(x), theirs(x))


@every_module
def test_a_deep_copy_shares_nothing(kind: Kind) -> None:
    ours, _ = kind.pair()
    x = random_input(ours)
    before = ours(x)
    train(copy.deepcopy(ours))
    assert_close(ours(x), before, 0)


# --- Calls.


@every_module
def test_input_and_hx_by_name(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x, hx = random_input(ours), random_hx(ours)
    assert_close(ours(input=x, hx=hx), theirs(input=x, hx=hx))


@pytest.mark.parametrize("given_state", [True, False], ids=["hx", "zeros"])
@every_module
def test_unbatched_input(kind: Kind, given_state: bool) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours, batch=None)
    hx = random_hx(ours, batch=None) if given_state else None
    assert_close(ours(x, hx), theirs(x, hx))


@pytest.mark.parametrize("batch_first", [True, False])
@every_kind
def test_batch_of_0(kind: Kind, batch_first: bool) -> None:
    ours, theirs = kind.pair(batch_first=batch_first, bidirectional=True)
    x = random_input(ours, batch=0)
    assert_close(ours(x), theirs(x))


@every_cell
def test_cells_batch_of_0(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours, batch=0)
    assert_close(ours(x), theirs(x))


@every_cell
def test_cells_take_inputs_of_size_0(kind: Kind) -> None:
    """So do torch's. Its recurrent modules do not: test_errors.py."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op")
        ours, theirs = kind.pair(input_size=0)
    x, hx = random_input(ours), random_hx(ours)
    assert_close(ours(x, hx), theirs(x, hx))


@pytest.mark.parametrize("kind", [Kind("LSTM"), Kind("LSTMCell")], ids=str)
def test_a_list_of_two_states(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x, hx = random_input(ours), list(random_hx(ours))
    assert_close(ours(x, hx), theirs(x, hx))


@every_module
def test_types_of_what_comes_back(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours)

    def types(value: Any) -> Any:
        return [types(v) for v in value] if isinstance(value, tuple) else type(value)

    assert types(ours(x)) == types(theirs(x))


@pytest.mark.parametrize("is_sorted", [True, False])
@every_kind
def test_a_packed_sequence_comes_back_with_its_own_indices(kind: Kind, is_sorted: bool) -> None:
    ours, theirs = kind.pair()
    lengths = torch.tensor([STEPS, 2, 1] if is_sorted else [2, STEPS, 1])
    packed = pack_padded_sequence(random_input(ours), lengths, enforce_sorted=is_sorted)
    found, expected = ours(packed)[0], theirs(packed)[0]
    assert isinstance(found, PackedSequence)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert getattr(found, name) is getattr(expected, name)


@every_kind
def test_an_unsorted_packed_sequence_with_more_states_than_rows(kind: Kind) -> None:
    """torch does not mind, it takes the first of them; nor do we."""
    ours, theirs = kind.pair()
    packed = pack_padded_sequence(
        random_input(ours), torch.tensor([2, STEPS, 1]), enforce_sorted=False
    )
    hx = random_hx(ours, batch=BATCH + 1)
    assert_close(ours(packed, hx), theirs(packed, hx))


@every_module
def test_the_input_is_left_as_it_was(kind: Kind) -> None:
    ours, _ = kind.pair()
    x, hx = random_input(ours), random_hx(ours)
    before = [tensor.clone() for tensor in [x, *tensors(hx)]]
    ours(x, hx)
    assert_close([x, *tensors(hx)], before, 0)


@every_module
def test_outputs_may_be_changed_in_place(kind: Kind) -> None:
    """As with torch's, no output shares memory with another or with the given state."""
    ours, _ = kind.pair()
    hx = random_hx(ours)
    with torch.no_grad():
        found = tensors(ours(random_input(ours), hx))
        for index, tensor in enumerate(found):
            tensor.fill_(index)
    assert [tensor.unique().tolist() for tensor in found] == [[i] for i in range(len(found))]
    assert all(state.unique().numel() > 1 for state in tensors(hx))

"""Bad arguments: torch's exception, in torch's words, which torch's own module says here."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from support_nn import (
    BATCH,
    HIDDEN,
    INPUTS,
    KINDS,
    STEPS,
    Kind,
    assert_same_error,
    every_cell,
    every_kind,
    random_hx,
    random_input,
    tensors,
)

# --- The constructors.

BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "input_size_0": {"input_size": 0},
    "input_size_negative": {"input_size": -1},
    "input_size_float": {"input_size": 2.0},
    "input_size_none": {"input_size": None},
    "hidden_size_0": {"hidden_size": 0},
    "hidden_size_str": {"hidden_size": "6"},
    "num_layers_0": {"num_layers": 0},
    "num_layers_float": {"num_layers": 1.5},
    "num_layers_str": {"num_layers": "1"},
    "bias_int": {"bias": 1},
    "bias_none": {"bias": None},
    "batch_first_str": {"batch_first": "yes"},
    "dropout_negative": {"dropout": -0.1},
    "dropout_above_1": {"dropout": 1.1},
    "dropout_bool": {"dropout": True},
    "dropout_str": {"dropout": "half"},
    "dropout_nan": {"dropout": float("nan")},
    "dropout_none": {"dropout": None},
    "proj_size_negative": {"proj_size": -1},
    "proj_size_too_large": {"proj_size": HIDDEN},
    "nonlinearity_unknown": {"nonlinearity": "sigmoid"},
    "unknown_option": {"layers": 2},
    "dtype_int": {"dtype": torch.int64},
    "dtype_str": {"dtype": "float32"},
    "device_unknown": {"device": "abacus"},
}


@pytest.mark.parametrize("bad", BAD_OPTIONS.values(), ids=list(BAD_OPTIONS))
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_bad_options(name: str, bad: dict[str, Any]) -> None:
    kind = Kind(name)
    options = {"input_size": INPUTS, "hidden_size": HIDDEN, **bad}
    assert_same_error(lambda: kind.ours(**options), lambda: kind.theirs(**options))


BAD_CELL_OPTIONS: dict[str, dict[str, Any]] = {
    "input_size_negative": {"input_size": -1},
    "input_size_float": {"input_size": 2.0},
    "hidden_size_none": {"hidden_size": None},
    "hidden_size_str": {"hidden_size": "6"},
    "unknown_option": {"num_layers": 2},
    "dtype_int": {"dtype": torch.int64},
    "device_unknown": {"device": "abacus"},
}


@pytest.mark.parametrize("bad", BAD_CELL_OPTIONS.values(), ids=list(BAD_CELL_OPTIONS))
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_bad_cell_options(name: str, bad: dict[str, Any]) -> None:
    kind = Kind(name)
    options = {"input_size": INPUTS, "hidden_size": HIDDEN, **bad}
    assert_same_error(lambda: kind.ours(**options), lambda: kind.theirs(**options))


@pytest.mark.parametrize("count", [0, 1, 14])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_wrong_number_of_positional_arguments(name: str, count: int) -> None:
    kind = Kind(name)
    arguments = [1, 2, 1, "tanh", *[True] * 10] if name == "RNN" else [1] * 14
    assert_same_error(
        lambda: kind.ours(*arguments[:count]), lambda: kind.theirs(*arguments[:count])
    )


# --- The call.


def assert_torchs_error(ours: nn.Module, theirs: nn.Module, x: Any, hx: Any) -> None:
    """torch's words where it has some; where it trips over what is no tensor, its type and ours."""
    takes_pair = isinstance(theirs, nn.LSTM | nn.LSTMCell)
    is_pair = isinstance(hx, tuple) and len(hx) >= 2 and all(isinstance(s, Tensor) for s in hx)
    are_tensors = is_pair if takes_pair else isinstance(hx, Tensor)
    if isinstance(x, Tensor | PackedSequence) and (hx is None or are_tensors):
        assert_same_error(lambda: ours(x, hx), lambda: theirs(x, hx))
        return
    with pytest.raises(Exception) as expected:  # noqa: PT011 - torch says which
        theirs(x, hx)
    with pytest.raises(expected.type) as raised:
        ours(x, hx)
    assert raised.type is expected.type
    assert re.match(
        r"(input|hx) should be a (tensor|pair of tensors).*, got ", raised.value.args[0]
    )


# --- The input. Each entry makes the forward's arguments from torch's module.

Inputs = Callable[[Any], Any]


def packed(module: nn.RNNBase, *, is_sorted: bool = True, inputs: int = INPUTS) -> PackedSequence:
    lengths = torch.tensor([STEPS, 2, 1] if is_sorted else [1, STEPS, 2])
    shape = (BATCH, STEPS) if module.batch_first else (STEPS, BATCH)
    return pack_padded_sequence(
        torch.randn(*shape, inputs), lengths, module.batch_first, enforce_sorted=is_sorted
    )


BAD_INPUTS: dict[str, Inputs] = {
    "no_dimension": lambda _: torch.tensor(1.0),
    "one_dimension": lambda _: torch.randn(INPUTS),
    "four_dimensions": lambda _: torch.randn(2, STEPS, BATCH, INPUTS),
    "wrong_size": lambda _: torch.randn(STEPS, BATCH, INPUTS + 1),
    "wrong_size_unbatched": lambda _: torch.randn(STEPS, INPUTS + 1),
    "no_feature": lambda _: torch.randn(STEPS, BATCH, 0),
    "no_step": lambda m: torch.randn(*((BATCH, 0) if m.batch_first else (0, BATCH)), INPUTS),
    "no_step_unbatched": lambda _: torch.randn(0, INPUTS),
    "float64": lambda m: random_input(m).double(),
    "bfloat16": lambda m: random_input(m).bfloat16(),
    "integers": lambda m: random_input(m).long(),
    "complex": lambda m: random_input(m).to(torch.complex64),
    "meta_device": lambda m: random_input(m).to("meta"),
    "none": lambda _: None,
    "numpy": lambda _: np.zeros((STEPS, BATCH, INPUTS), dtype=np.float32),
    "list": lambda _: [[[0.0] * INPUTS] * BATCH] * STEPS,
    "str": lambda _: "input",
    "tuple_of_tensors": lambda m: (random_input(m), random_input(m)),
    "packed_wrong_size": lambda m: packed(m, inputs=INPUTS + 1),
    "packed_float64": lambda m: packed(m).double(),
    "packed_three_dimensions": lambda _: PackedSequence(torch.randn(1, 1, INPUTS), torch.ones(1)),
}


@pytest.mark.parametrize("batch_first", [False, True], ids=["time_first", "batch_first"])
@pytest.mark.parametrize("bad", BAD_INPUTS.values(), ids=list(BAD_INPUTS))
@pytest.mark.parametrize("given_state", [True, False], ids=["hx", "zeros"])
@every_kind
def test_bad_input(kind: Kind, bad: Inputs, given_state: bool, batch_first: bool) -> None:
    ours, theirs = kind.pair(batch_first=batch_first)
    x, hx = bad(theirs), random_hx(theirs) if given_state else None
    assert_torchs_error(ours, theirs, x, hx)


# --- The states, each beside a good input; batch is None where that input is unbatched.

States = Callable[[nn.Module, "int | None"], Any]


def each(change: Callable[[Tensor], Any]) -> States:
    """A good state, or pair of states, with each tensor changed."""

    def changed(module: nn.Module, batch: int | None) -> Any:
        states = [change(state) for state in tensors(random_hx(module, batch))]
        return tuple(states) if len(states) > 1 else states[0]

    return changed


def resized(dim: int, by: int) -> States:
    """A state, or pair of states, with one dimension too large or too small."""

    def resize(state: Tensor) -> Tensor:
        shape = list(state.shape)
        shape[dim] += by
        return torch.randn(shape)

    return each(resize)


def only_second(bad: States) -> States:
    """A pair of which the cell state alone is bad."""
    return lambda m, batch: (random_hx(m, batch)[0], bad(m, batch)[1])


BAD_STATES: dict[str, States] = {
    "too_narrow": resized(-1, -1),
    "too_wide": resized(-1, +1),
    "a_dimension_more": each(lambda s: s.unsqueeze(0)),
    "no_dimension": each(lambda _: torch.tensor(0.0)),
    "float64": each(Tensor.double),
    "bfloat16": each(Tensor.bfloat16),
    "integers": each(Tensor.long),
    "meta_device": each(lambda s: s.to("meta")),
    "numpy": each(Tensor.numpy),
    "list": each(Tensor.tolist),
    "zero": lambda *_: 0,
    "str": lambda *_: "zeros",
    "dict": lambda m, batch: {"h": random_hx(m, batch)},
    "empty_tuple": lambda *_: (),
    "tuple_of_one": lambda m, batch: (tensors(random_hx(m, batch))[0],),
    "pair_of_none": lambda *_: (None, None),
}
BAD_SEQUENCE_STATES = BAD_STATES | {
    "too_deep": resized(0, +1),
    "too_shallow": resized(0, -1),
    "of_an_unbatched_input": lambda m, _: random_hx(m, batch=None),
    "of_a_smaller_batch": lambda m, _: random_hx(m, batch=BATCH - 1),
}
FORMS: dict[str, Callable[[nn.RNNBase], Any]] = {
    "dense": random_input,
    "unbatched": lambda m: random_input(m, batch=None),
    "sorted": packed,
    "unsorted": lambda m: packed(m, is_sorted=False),
}


def has_torchs_error(kind: Kind, form: str, bad: str) -> bool:
    """Not where the state is good after all, nor where torch's kernel crashes the process."""
    good = form == "unbatched" and bad == "of_an_unbatched_input"
    crash = kind.name == "LSTM" and form in ("sorted", "unsorted") and bad == "a_dimension_more"
    return not good and not crash


@pytest.mark.parametrize(
    ("kind", "form", "bad"),
    [
        pytest.param(kind, form, bad, id=f"{kind}-{form}-{bad}")
        for kind, form, bad in itertools.product(KINDS, FORMS, BAD_SEQUENCE_STATES)
        if has_torchs_error(kind, form, bad)
    ],
)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["oneway", "bidirectional"])
def test_bad_state(kind: Kind, form: str, bad: str, bidirectional: bool) -> None:
    ours, theirs = kind.pair(bidirectional=bidirectional)
    x = FORMS[form](theirs)
    hx = BAD_SEQUENCE_STATES[bad](theirs, None if form == "unbatched" else BATCH)
    assert_torchs_error(ours, theirs, x, hx)


@pytest.mark.parametrize("bad", ["too_narrow", "float64", "of_a_smaller_batch"])
@pytest.mark.parametrize("form", ["dense", "sorted"])
@pytest.mark.parametrize("options", [{}, {"proj_size": 5}], ids=["plain", "projected"])
def test_bad_cell_state_beside_a_good_hidden_state(
    options: dict[str, Any], form: str, bad: str
) -> None:
    ours, theirs = Kind("LSTM", options).pair()
    x, hx = FORMS[form](theirs), only_second(BAD_SEQUENCE_STATES[bad])(theirs, BATCH)
    assert_torchs_error(ours, theirs, x, hx)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (BAD_STATES["a_dimension_more"], "Expected hidden[0] size (1, 3, 6), got [1, 1, 3, 6]"),
        (only_second(resized(0, -1)), "Expected hidden[1] size (1, 3, 6), got [0, 3, 6]"),
    ],
    ids=["a_dimension_more", "cell_state_too_shallow"],
)
@pytest.mark.parametrize("form", ["sorted", "unsorted"])
def test_states_that_crash_torch_are_refused_in_its_words_for_a_dense_input(
    form: str, bad: States, words: str
) -> None:
    ours, theirs = Kind("LSTM").pair()
    hx = bad(theirs, BATCH)
    with pytest.raises(RuntimeError, match=f"^{re.escape(words)}$"):
        ours(FORMS[form](theirs), hx)
    assert_same_error(lambda: ours(random_input(ours), hx), lambda: theirs(random_input(ours), hx))


@pytest.mark.parametrize("states", [3, 4])
def test_an_lstm_given_too_many_states(states: int) -> None:
    ours, theirs = Kind("LSTM").pair()
    x, hx = random_input(theirs), (random_hx(theirs)[0],) * states
    assert_torchs_error(ours, theirs, x, hx)


# --- The cells.

BAD_CELL_INPUTS = {
    name: bad
    for name, bad in BAD_INPUTS.items()
    if name in {"no_dimension", "float64", "bfloat16", "integers", "complex", "meta_device"}
} | {
    "three_dimensions": lambda _: torch.randn(1, BATCH, INPUTS),
    "wrong_size": lambda _: torch.randn(BATCH, INPUTS + 1),
    "wrong_size_unbatched": lambda _: torch.randn(INPUTS + 1),
    "none": lambda _: None,
    "numpy": lambda _: np.zeros((BATCH, INPUTS), dtype=np.float32),
    "list": lambda _: [[0.0] * INPUTS] * BATCH,
}
BAD_CELL_STATES = BAD_STATES | {
    "of_a_larger_batch": lambda m, _: random_hx(m, batch=BATCH + 1),
}


@pytest.mark.parametrize("bad", BAD_CELL_INPUTS.values(), ids=list(BAD_CELL_INPUTS))
@pytest.mark.parametrize("given_state", [True, False], ids=["hx", "zeros"])
@every_cell
def test_bad_cell_input(kind: Kind, bad: Any, given_state: bool) -> None:
    ours, theirs = kind.pair()
    x, hx = bad(theirs), random_hx(theirs) if given_state else None
    assert_torchs_error(ours, theirs, x, hx)


@pytest.mark.parametrize("bad", BAD_CELL_STATES.values(), ids=list(BAD_CELL_STATES))
@pytest.mark.parametrize("batch", [BATCH, None], ids=["batched", "unbatched"])
@every_cell
def test_bad_cell_state(kind: Kind, bad: States, batch: int | None) -> None:
    ours, theirs = kind.pair()
    x, hx = random_input(theirs, batch=batch), bad(theirs, batch)
    assert_torchs_error(ours, theirs, x, hx)


def test_a_cells_unknown_nonlinearity_is_found_out_by_forward() -> None:
    ours, theirs = Kind("RNNCell", {"nonlinearity": "sigmoid"}).pair()
    x = random_input(theirs)
    assert_same_error(lambda: ours(x), lambda: theirs(x))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            np.zeros((4, 3, 2)),
            "input should be a tensor [T, B, 2] or [T, 2], or a PackedSequence, got numpy.ndarray "
            "[4, 3, 2]. Make it a tensor: torch.as_tensor(numpy.asarray(x), dtype=torch.float32)",
        ),
        (None, "input should be a tensor [T, B, 2] or [T, 2], or a PackedSequence, got None"),
    ],
    ids=["numpy", "none"],
)
def test_what_is_no_tensor_is_told_what_was_expected_and_the_repair(bad: Any, words: str) -> None:
    ours, _ = Kind("LSTM").pair()
    with pytest.raises(AttributeError, match=f"^{re.escape(words)}$"):
        ours(bad)


def test_the_repair_that_is_named_is_one() -> None:
    ours, _ = Kind("GRU").pair(dtype=torch.float64)
    array = np.zeros((4, 3, 2), dtype=np.float32)
    with pytest.raises(AttributeError) as raised:
        ours(array)
    names = {"torch": torch, "numpy": np, "x": array}
    output, _ = ours(eval(raised.value.args[0].split("tensor: ")[1], names))
    assert output.dtype == torch.float64


def test_a_state_that_is_no_pair_is_told_so() -> None:
    ours, theirs = Kind("LSTM").pair()
    words = "hx should be a pair of tensors, h_0 [1, B, 6] and c_0 [1, B, 6], got torch.Tensor"
    with pytest.raises(IndexError, match=f"^{re.escape(words)}"):
        ours(random_input(theirs), random_hx(theirs)[0])

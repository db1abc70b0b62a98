"""The ``lengths`` argument: our one addition to torch's call.

What it computes for lengths of 1 or more is held against torch's packed sequences in
test_parity.py. Here is what torch can't be asked.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support_nn import (
    BATCH,
    STEPS,
    Kind,
    assert_close,
    every_kind,
    grad_of,
    random_hx,
    random_input,
    tensors,
)
from unrolled.scan import native, sums

LENGTHS = [2, 0, STEPS]

both_layouts = pytest.mark.parametrize("batch_first", [False, True], ids=["time", "batch"])


def our_module(kind: Kind, **options: Any) -> nn.RNNBase:
    """Two bidirectional layers in float64, so that every path is taken."""
    return kind.pair(num_layers=2, bidirectional=True, dtype=torch.float64, **options)[0]


def like(module: nn.RNNBase) -> dict[str, Any]:
    return {"dtype": module.weight_ih_l0.dtype}


def padding_of(x: Tensor, lengths: list[int], *, batch_first: bool) -> Tensor:
    """True at each step past its row's length, in the layout of ``x``."""
    padding = torch.arange(STEPS).unsqueeze(0) >= torch.tensor(lengths).unsqueeze(1)
    padding = padding if batch_first else padding.T
    return padding.unsqueeze(-1).expand(*padding.shape, x.shape[-1])


def assert_same(found: Any, expected: Any) -> None:
    """The same to the bit."""
    assert_close(found, expected, 0)


def row(value: Any, index: int, dim: int = 1) -> Any:
    """Row ``index`` of a state, or of each of a pair of states, as a batch of one."""
    parts = [tensor.narrow(dim, index, 1) for tensor in tensors(value)]
    return tuple(parts) if len(parts) > 1 else parts[0]


# --- What may be given.


@pytest.mark.parametrize(
    "given",
    [
        tuple(LENGTHS),
        torch.tensor(LENGTHS),
        torch.tensor(LENGTHS, dtype=torch.int32),
        torch.tensor(LENGTHS, dtype=torch.uint8),
        np.array(LENGTHS),
    ],
    ids=["tuple", "int64", "int32", "uint8", "numpy"],
)
def test_any_integers_are_lengths(given: Any) -> None:
    module = our_module(Kind("LSTM"))
    x = random_input(module, **like(module))
    assert_same(module(x, lengths=given), module(x, lengths=LENGTHS))


def test_lengths_is_the_third_argument() -> None:
    module = our_module(Kind("GRU"))
    x, hx = random_input(module, **like(module)), random_hx(module, **like(module))
    assert_same(module(x, hx, LENGTHS), module(x, hx=hx, lengths=LENGTHS))


@both_layouts
@every_kind
def test_full_lengths_are_the_dense_pass_to_the_bit(kind: Kind, batch_first: bool) -> None:
    module = our_module(kind, batch_first=batch_first)
    x, hx = random_input(module, **like(module)), random_hx(module, **like(module))
    assert_same(module(x, hx, [STEPS] * BATCH), module(x, hx))


def test_a_batch_of_0_has_no_lengths() -> None:
    module = our_module(Kind("LSTM"))
    x = random_input(module, batch=0, **like(module))
    assert_same(module(x, lengths=[]), module(x))


@both_layouts
@every_kind
def test_unbatched_input_has_one_length(kind: Kind, batch_first: bool) -> None:
    module = our_module(kind, batch_first=batch_first)
    x = random_input(module, batch=None, **like(module))
    hx = random_hx(module, batch=None, **like(module))
    output, last = module(x, hx, [2])
    expected, expected_last = module(x[:2], hx)
    assert_close(output[:2], expected, 1e-12)
    assert_close(last, expected_last, 1e-12)
    assert (output[2:] == 0).all()


# --- What comes out.


@both_layouts
@every_kind
def test_each_row_is_the_row_alone_without_padding(kind: Kind, batch_first: bool) -> None:
    """So the reverse direction too starts at each row's own end."""
    module = our_module(kind, batch_first=batch_first)
    batch_dim, time_dim = (0, 1) if batch_first else (1, 0)
    x, hx = random_input(module, **like(module)), random_hx(module, **like(module))
    lengths = [3, 1, STEPS]
    output, last = module(x, hx, lengths)
    for index, length in enumerate(lengths):
        alone = row(x, index, batch_dim).narrow(time_dim, 0, length)
        expected, expected_last = module(alone, row(hx, index))
        assert_close(row(output, index, batch_dim).narrow(time_dim, 0, length), expected, 1e-12)
        assert_close(row(last, index), expected_last, 1e-12)


@both_layouts
@every_kind
def test_outputs_past_each_length_are_zero(kind: Kind, batch_first: bool) -> None:
    module = our_module(kind, batch_first=batch_first)
    output, _ = module(random_input(module, **like(module)), lengths=LENGTHS)
    padding = padding_of(output, LENGTHS, batch_first=batch_first)
    assert (output[padding] == 0).all()
    assert (output[~padding] != 0).any()


@pytest.mark.parametrize("given_state", [True, False])
@every_kind
def test_a_row_of_length_0_keeps_its_state(kind: Kind, given_state: bool) -> None:
    module = our_module(kind)
    zeros = tuple(torch.zeros_like(s) for s in tensors(random_hx(module, **like(module))))
    hx = random_hx(module, **like(module)) if given_state else None
    _, last = module(random_input(module, **like(module)), hx, LENGTHS)
    assert_same(row(last, LENGTHS.index(0)), row(hx if given_state else zeros, LENGTHS.index(0)))


@every_kind
def test_all_rows_may_have_length_0(kind: Kind) -> None:
    module = our_module(kind)
    x = random_input(module, requires_grad=True, **like(module))
    hx = random_hx(module, requires_grad=True, **like(module))
    output, last = module(x, hx, [0] * BATCH)
    assert (output == 0).all()
    assert_same(last, hx)
    sum(tensor.sum() for tensor in [output, *tensors(last)]).backward()
    assert all(grad_of(state).eq(1).all() for state in tensors(hx))
    assert grad_of(x).eq(0).all()
    assert all(grad_of(parameter).eq(0).all() for parameter in module.parameters())


def test_a_row_without_a_step_passes_its_states_gradient_on() -> None:
    module = our_module(Kind("GRU"))
    x, hx = random_input(module, **like(module)), random_hx(module, **like(module))
    hx.requires_grad_()
    _, last = module(x, hx, LENGTHS)
    weight = torch.randn_like(last)
    (gradient,) = torch.autograd.grad((last * weight).sum(), hx)
    assert_same(row(gradient, LENGTHS.index(0)), row(weight, LENGTHS.index(0)))


# --- Padding touches nothing.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300], ids=str)
@both_layouts
@every_kind
def test_padding_touches_nothing(kind: Kind, batch_first: bool, value: float) -> None:
    """Not the outputs, the states, the weights' gradients; and it has no gradient itself."""
    module = our_module(kind, batch_first=batch_first)
    clean, hx = random_input(module, **like(module)), random_hx(module, **like(module))
    padding = padding_of(clean, LENGTHS, batch_first=batch_first)
    results, gradients = [], []
    for x in (clean, clean.masked_fill(padding, value)):
        x.requires_grad_()
        output, last = module(x, hx, LENGTHS)
        loss = sum(tensor.square().sum() for tensor in [output, *tensors(last)])
        results.append([output, *tensors(last)])
        gradients.append(torch.autograd.grad(loss, [x, *module.parameters()]))
    assert_same(results[1], results[0])
    assert_same(gradients[1], gradients[0])
    assert all(gradient.isfinite().all() for gradient in gradients[1])
    assert (gradients[1][0][padding] == 0).all()


@every_kind
def test_derivatives_with_lengths(kind: Kind) -> None:
    module = our_module(kind)
    x = random_input(module, requires_grad=True, **like(module))
    hx = random_hx(module, requires_grad=True, **like(module))

    def function(x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given = states if module.mode == "LSTM" else states[0]
        return tuple(tensors(module(x, given, LENGTHS)))

    # Steps this small, for which double precision has the digits, hardly ever meet relu's kink.
    assert torch.autograd.gradcheck(function, (x, *tensors(hx)), eps=1e-8)
    assert torch.autograd.gradgradcheck(function, (x, *tensors(hx)), eps=1e-8, fast_mode=True)


# --- Work.


def test_work_is_proportional_to_the_sum_of_the_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in rows of the products, of which each step of each row needs two."""
    rows = []
    linear = nn.functional.linear

    def counted(input: Tensor, *weights: Any) -> Tensor:
        rows.append(input.shape[0])
        return linear(input, *weights)

    monkeypatch.setitem(sums.LINEAR, "whole", counted)
    ours, _ = Kind("GRU").pair()
    with unrolled.backend("reference"):
        ours(random_input(ours), lengths=LENGTHS)
    assert sum(rows) == 2 * sum(LENGTHS)


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
def test_the_core_is_given_the_steps_that_exist_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []
    stretch = native.Steps.stretch

    def watched(self: native.Steps, *bounds: int, reverse: bool) -> tuple[Any, int]:
        layout, count = stretch(self, *bounds, reverse=reverse)
        given.append(count)
        return layout, count

    monkeypatch.setattr(native.Steps, "stretch", watched)
    ours, _ = Kind("GRU").pair(bidirectional=True)
    with torch.inference_mode():
        ours(random_input(ours), lengths=LENGTHS)
    assert given == [sum(LENGTHS)] * 2


# --- What may not be given: what was expected, what came, and the repair where there is one.

BAD_LENGTHS = {
    "float": (
        torch.tensor([2.0, 0.0, 4.0]),
        TypeError,
        "lengths should be integers, got torch.float32. Convert them: lengths.long()",
    ),
    "float_list": (
        [2.0, 0.0, 4.0],
        TypeError,
        "lengths should be integers, got torch.float32. Convert them: lengths.long()",
    ),
    "bool": (
        [True, False, True],
        TypeError,
        "lengths should be integers, got torch.bool. Convert them: lengths.long()",
    ),
    "too_few": (
        [2, 4],
        ValueError,
        "lengths should have one entry for each of the 3 rows of the input, shape [3], "
        "got shape [2]",
    ),
    "scalar": (
        2,
        ValueError,
        "lengths should have one entry for each of the 3 rows of the input, shape [3], "
        "got shape []",
    ),
    "two_dimensional": (
        torch.ones(3, 1, dtype=torch.int64),
        ValueError,
        "lengths should have one entry for each of the 3 rows of the input, shape [3], "
        "got shape [3, 1]",
    ),
    "negative": (
        [2, -1, 4],
        ValueError,
        "lengths should lie between 0 and the input's 4 steps, got -1 for row 1",
    ),
    "too_long": (
        [2, 0, 5],
        ValueError,
        "lengths should lie between 0 and the input's 4 steps, got 5 for row 2",
    ),
    "empty": (
        [],
        ValueError,
        "lengths should have one entry for each of the 3 rows of the input, shape [3], "
        "got shape [0]",
    ),
    "words": (
        ["two", "zero", "four"],
        TypeError,
        "lengths should be integers in a list or a tensor, got ['two', 'zero', 'four']",
    ),
    "ragged_list": (
        [[1], [2, 3], [4]],
        TypeError,
        "lengths should be integers in a list or a tensor, got [[1], [2, 3], [4]]",
    ),
}


@pytest.mark.parametrize(("given", "error", "words"), BAD_LENGTHS.values(), ids=list(BAD_LENGTHS))
@both_layouts
def test_bad_lengths(batch_first: bool, given: Any, error: type[Exception], words: str) -> None:
    module = our_module(Kind("LSTM"), batch_first=batch_first)
    with pytest.raises(error, match=f"^{re.escape(words)}$"):
        module(random_input(module, **like(module)), lengths=given)


def test_a_packed_sequence_has_its_own_lengths() -> None:
    module = our_module(Kind("LSTM"))
    packed = pack_padded_sequence(random_input(module, **like(module)), torch.tensor([4, 2, 1]))
    with pytest.raises(ValueError, match="Pass the padded tensor with lengths, or the PackedSeq"):
        module(packed, lengths=[4, 2, 1])


@every_kind
def test_a_bad_input_with_lengths_is_torchs_error(kind: Kind) -> None:
    module = our_module(kind)
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
        module(torch.zeros(STEPS, BATCH, module.input_size + 1, dtype=torch.float64), None, LENGTHS)


def test_no_step_to_have_a_length_of_is_torchs_error() -> None:
    module = our_module(Kind("LSTM"))
    x = torch.zeros(0, BATCH, module.input_size, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        module(x, lengths=[0] * BATCH)

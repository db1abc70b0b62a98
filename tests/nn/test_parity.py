"""Our modules against torch's with the same weights: outputs, last states and every gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support_nn import (
    BACKENDS,
    BATCH,
    KINDS,
    STEPS,
    Kind,
    every_kind,
    random_hx,
    random_input,
    run_dense,
    run_lengths,
    run_packed,
    tensors,
    total,
    use_backend,
)

TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-12}


def sorted_lengths() -> Tensor:
    return unsorted_lengths().sort(descending=True).values


def unsorted_lengths() -> Tensor:
    """Fresh lengths from 1 to T: torch's own modules, the measure here, know no length of 0."""
    return torch.randint(1, STEPS + 1, (BATCH,))


FORMS: dict[str, tuple[Callable[..., Any], Callable[[], Tensor]]] = {
    "dense": (run_dense, unsorted_lengths),
    "lengths": (run_lengths, unsorted_lengths),
    "packed_sorted": (run_packed, sorted_lengths),
    "packed_unsorted": (run_packed, unsorted_lengths),
}


def assert_parity(
    ours: nn.RNNBase, theirs: nn.RNNBase, *, form: str, given_state: bool, seed: int
) -> None:
    """Both modules on the same fresh input give the same numbers, forward and backward.

    The loss weights every output and every state at random, so that no two of them can change
    places unseen.
    """
    run, make_lengths = FORMS[form]
    options: dict[str, Any] = {"dtype": theirs.weight_ih_l0.dtype, "requires_grad": True}
    x, lengths = random_input(theirs, **options), make_lengths()
    hx = random_hx(theirs, **options) if given_state else None
    results, gradients = [], []
    for module in (theirs, ours):
        torch.manual_seed(seed)  # the same dropout masks
        outputs = tensors(run(module, x, hx, lengths))
        floats = [tensor for tensor in outputs if tensor.is_floating_point()]
        loss = total(
            (tensor * torch.randn(tensor.shape, dtype=tensor.dtype)).sum() for tensor in floats
        )
        leaves = [x, *tensors(hx), *module.parameters()]
        results.append(outputs)
        gradients.append(torch.autograd.grad(loss, leaves))
    tolerance = TOLERANCE[x.dtype]
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# The masks are the same because the order of the draws is: for each layer but the last, one draw
# for all outputs of both directions. That holds in every combination, so none falls back on
# statistics.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("given_state", [True, False], ids=["hx", "zeros"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["oneway", "bidirectional"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time_first", "batch_first"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@every_kind
@pytest.mark.parametrize("backend", BACKENDS)
def test_same_numbers_and_gradients_as_torch(
    backend: str,
    kind: Kind,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    bidirectional: bool,
    dropout: float,
    form: str,
    given_state: bool,
    dtype: torch.dtype,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_backend(monkeypatch, backend)
    ours, theirs = kind.pair(
        num_layers=num_layers,
        bias=bias,
        batch_first=batch_first,
        bidirectional=bidirectional,
        dropout=dropout,
        dtype=dtype,
    )
    assert_parity(ours, theirs, form=form, given_state=given_state, seed=seed)


GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        pytest.param(kind, *gates, id=f"{kind}-{gates[0]}-{gates[1]}")
        for kind in KINDS
        for gates in itertools.combinations(range(GATES[kind.name]), 2)
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_parity_fails_for_two_gates_in_the_wrong_order(
    kind: Kind, first: int, second: int, dtype: torch.dtype, seed: int
) -> None:
    ours, theirs = kind.pair(dtype=dtype)
    order = list(range(GATES[kind.name]))
    order[first], order[second] = order[second], order[first]
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if "hr" not in name:
                weight.copy_(torch.cat([weight.chunk(len(order))[gate] for gate in order]))
    with pytest.raises(AssertionError, match="not close"):
        assert_parity(ours, theirs, form="dense", given_state=True, seed=seed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dropped", ["bias_ih_l0", "bias_hh_l0", "bias_ih_l1_reverse"])
@every_kind
def test_parity_fails_for_one_dropped_bias(kind: Kind, dropped: str, form: str, seed: int) -> None:
    ours, theirs = kind.pair(num_layers=2, bidirectional=True)
    nn.init.zeros_(getattr(ours, dropped))
    with pytest.raises(AssertionError, match="not close"):
        assert_parity(ours, theirs, form=form, given_state=True, seed=seed)

"""Gradients that nobody wants are not computed, and the others are the same without them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unrolled
from support_nn import Kind, every_kind, random_hx, random_input, tensors
from unrolled.scan import layer, native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

WAYS: list[dict[str, Any]] = [{"num_layers": 2}, {"num_layers": 2, "bidirectional": True}]
every_way = pytest.mark.parametrize("options", WAYS, ids=["stack", "bidirectional"])


@pytest.mark.parametrize("every", [None, 2], ids=["kept", "recomputed"])
@every_way
@every_kind
def test_any_choice_of_gradients(kind: Kind, options: dict[str, Any], every: int | None) -> None:
    """Each of the input, the states and the weights in turn, and some at random."""
    torch.manual_seed(0)
    ours, theirs = kind.pair(dtype=torch.float64, **options)
    ours.recompute_every = every
    names = [name for name, _ in ours.named_parameters()]
    x, hx = random_input(ours, dtype=torch.float64), random_hx(ours, dtype=torch.float64)
    given = [x, *tensors(hx)]
    count = len(given) + len(names)
    choices = [[i] for i in range(count)]
    choices += [torch.rand(count).lt(0.5).nonzero().flatten().tolist() or [0] for _ in range(6)]
    for choice in choices:
        found = []
        for module in (ours, theirs):
            leaves = given + [module.get_parameter(name) for name in names]
            for place, leaf in enumerate(leaves):
                leaf.requires_grad_(place in choice)
            output, last = module(x, hx)
            loss = output.square().sum() + sum(s.sin().sum() for s in tensors(last))
            found.append(torch.autograd.grad(loss, [leaves[place] for place in choice]))
        for of_ours, of_theirs in zip(*found, strict=True):
            torch.testing.assert_close(of_ours, of_theirs, rtol=1e-10, atol=1e-10)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[layer.ScanBack]:
    """The backward scans that the core is asked for."""
    found: list[layer.ScanBack] = []
    original = layer.ScanBack.run

    def run(self: layer.ScanBack, *args: Any, **options: Any) -> None:
        found.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(layer.ScanBack, "run", run)
    return found


@every_way
def test_layers_below_the_last_that_learns_are_left_alone(
    options: dict[str, Any], ran: list[layer.ScanBack]
) -> None:
    """As who trains the upper layer of a stack on a frozen lower one expects."""
    module = unrolled.GRU(2, 3, **options)
    for name, weight in module.named_parameters():
        weight.requires_grad_("_l1" in name)
    module(torch.randn(4, 3, 2))[0].sum().backward()
    assert len(ran) == (2 if module.bidirectional else 1)


def test_a_frozen_weight_has_no_sums(ran: list[layer.ScanBack]) -> None:
    module = unrolled.LSTM(2, 3)
    module.weight_hh_l0.requires_grad_(False)
    module(torch.randn(4, 3, 2))[0].sum().backward()
    assert [g is None for g in ran[0].gradients] == [False, True, False, False]

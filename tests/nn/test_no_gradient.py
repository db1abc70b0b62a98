"""Where no gradient comes back, the backward pass leaves none: not zeros, as torch has it.

An optimizer passes over a weight without a gradient. With zeros it would decay it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from programs.vocabulary import Stopped
from support_nn import (
    Kind,
    assert_close,
    every_cell,
    every_kind,
    random_hx,
    random_input,
    tensors,
    total,
)

USES: dict[str, Callable[[Tensor], Tensor]] = {
    "used": torch.clone,
    "stopped": Stopped.apply,
    "unused": torch.zeros_like,
}


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("steps", [1, 4])
@every_kind
def test_results_that_give_none_back(kind: Kind, steps: int, options: dict[str, Any]) -> None:
    pair = kind.pair(**options)
    assert_same_gradients(pair, random_input(pair[0])[:steps])


@every_cell
def test_results_of_a_cell(kind: Kind) -> None:
    pair = kind.pair()
    assert_same_gradients(pair, random_input(pair[0]))


def assert_same_gradients(pair: tuple[nn.Module, nn.Module], x: Tensor) -> None:
    """Whichever of the results are used."""
    hx = random_hx(pair[0])
    for uses in itertools.product(USES.values(), repeat=len(tensors(pair[0](x, hx)))):
        for ours, theirs in zip(*[gradients(m, x, hx, uses) for m in pair], strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert_close(ours, theirs)


def gradients(
    module: nn.Module, x: Tensor, hx: Any, uses: Sequence[Callable[[Tensor], Tensor]]
) -> list[Tensor | None]:
    """What is left in ``grad`` of the input, the states and the weights."""
    module.zero_grad()
    given = [t.clone().requires_grad_() for t in (x, *tensors(hx))]
    results = tensors(module(given[0], tuple(given[1:]) if len(given) > 2 else given[1]))
    loss = total(use(r).square().sum() for use, r in zip(uses, results, strict=True))
    if loss.requires_grad:
        loss.backward()
    return [t.grad for t in (*given, *module.parameters())]


def test_a_result_that_hangs_on_nothing_that_is_wanted() -> None:
    """A derivative that can be differentiated again: by none of it, or by the rest of the loss."""
    ours, theirs = Kind("LSTM").pair(proj_size=2, dtype=torch.float64)
    x = torch.randn(1, 3, ours.input_size, dtype=torch.float64)
    found: list[Tensor] = []
    for module in (ours, theirs):
        for name, weight in module.named_parameters():
            weight.requires_grad_(name == "weight_hr_l0")
        output, (_, cell) = module(x)  # of one step, the cell state has nothing of the projection
        loss = output.square().sum() + cell.sum()
        projection = module.get_parameter("weight_hr_l0")
        found += torch.autograd.grad(loss, projection, create_graph=True)
    assert_close(found[0], found[1])
    _, (_, cell) = ours(x)
    weight = ours.get_parameter("weight_hr_l0")
    loss = cell.sum() + 0 * weight.sum()
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True, allow_unused=True)
    assert gradient.eq(0).all()

"""Weights that are computed whenever they are read: torch.nn.utils.parametrize."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import cached, register_parametrization

from support_nn import Kind, assert_close, every_module, random_input, tensors


def weight_of(module: nn.Module, name: str) -> str:
    return name if isinstance(module, nn.RNNCellBase) else f"{name}_l0"


@every_module
def test_weight_norm_learns(kind: Kind) -> None:
    """A computed weight is computed anew in every call."""
    ours, theirs = kind.pair()
    results = []
    x = random_input(ours)
    for module in (ours, theirs):
        name = weight_of(module, "weight_ih")
        weight_norm(module, name)
        before = tensors(module(x))[0].detach()
        magnitude = getattr(module.parametrizations, name).original0
        tensors(module(x))[0].square().sum().backward()
        assert magnitude.grad is not None
        with torch.no_grad():
            magnitude.mul_(2)
        after = tensors(module(x))[0]
        results.append([before, after, magnitude.grad])
    assert_close(results[0], results[1])


class Counted(nn.Module):
    """A parametrization that notes when it is evaluated."""

    def __init__(self, name: str, seen: list[str]) -> None:
        super().__init__()
        self.name, self.seen = name, seen

    def forward(self, weight: Tensor) -> Tensor:
        self.seen.append(self.name)
        return weight * 1


@pytest.mark.parametrize(
    "names", [["weight_ih"], ["weight_hh"], ["bias_hh"], ["bias_ih", "weight_hh", "weight_ih"]]
)
@every_module
def test_they_are_computed_when_torch_computes_them(kind: Kind, names: list[str]) -> None:
    """Each as often and in the same order, on good input and on bad."""
    found = []
    for module in kind.pair():
        seen: list[str] = []
        for name in names:
            register_parametrization(module, weight_of(module, name), Counted(name, seen))
        for x in (random_input(module), random_input(module)[..., :-1]):
            seen.append("a call")
            try:
                module(x)
            except RuntimeError:
                seen.append("refused")
        with cached():
            module(random_input(module))
        found.append(seen)
    assert found[0] == found[1]


class Noisy(nn.Module):
    """A parametrization that is another at each evaluation."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + 0.1 * torch.randn_like(weight)


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh"])
@every_module
def test_a_random_weight_is_torchs(kind: Kind, name: str) -> None:
    found = []
    for module in kind.pair():
        register_parametrization(module, weight_of(module, name), Noisy())
        torch.manual_seed(0)
        found.append([tensors(module(random_input(module))) for _ in range(2)])
    assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh"])
@every_module
def test_spectral_norm_trains_as_torchs(kind: Kind, name: str) -> None:
    """Each evaluation in training goes on with its estimate of the norm."""
    found = []
    for module in kind.pair(dtype=torch.float64):
        torch.manual_seed(0)
        x = random_input(module, dtype=torch.float64)
        spectral_norm(module, weight_of(module, name))
        optimizer = torch.optim.SGD(module.parameters(), 0.01)
        for _ in range(20):
            optimizer.zero_grad()
            tensors(module(x))[0].square().sum().backward()
            optimizer.step()
        found.append(tensors(module(x)))
    assert_close(found[0], found[1], 1e-9)

"""``recompute_every``: the same results from less memory."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest
import torch

import unrolled
from support_native import gradients, run_apart
from support_nn import Kind, every_kind, grad_of, random_hx
from unrolled import cells
from unrolled.scan import native

needs_core = pytest.mark.skipif(not native.is_built(), reason="built without a compiler")

LENGTHS = [12, 0, 40, 39, 1]


def results(module, x, hx, lengths, every):
    module.recompute_every = every
    torch.manual_seed(0)  # the same dropout
    found, gradient = gradients(module, x, hx, lengths)
    return [*found, *gradient]


def assert_same_bits(found, expected):
    assert [torch.equal(f, e) for f, e in zip(found, expected, strict=True)] == [True] * len(found)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["dense", "ragged"])
@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3, "dropout": 0.5},
        {"num_layers": 2, "dropout": 0.5, "bidirectional": True},
        {"batch_first": True, "bias": False},
    ],
    ids=["stack", "bidirectional", "batch_first"],
)
@every_kind
def test_the_same_bits_whatever_is_kept(kind: Kind, options, lengths):
    module, _ = kind.pair(**options)
    x = torch.randn((5, 40, 2) if module.batch_first else (40, 5, 2), requires_grad=True)
    hx = random_hx(module, 5)
    expected = results(module, x, hx, lengths, None)
    for every in (1, 7, 16, 40, 1000):
        assert_same_bits(results(module, x, hx, lengths, every), expected)


@needs_core
@every_kind
def test_the_same_bits_where_sums_are_long(kind: Kind):
    """Beyond some thousand terms the weights' gradients are summed in parts."""
    module, _ = kind.pair()
    x = torch.randn(3000, 3, 2)
    expected = results(module, x, None, None, None)
    assert_same_bits(results(module, x, None, None, 77), expected)


@needs_core
def test_gradients_of_long_sequences_are_right_to_rounding():
    module = unrolled.RNN(1, 3)
    x = torch.rand(200_000, 1, 1)
    module(x)[0].sum().backward()
    double = copy.deepcopy(module).double()
    double.zero_grad()
    double(x.double())[0].sum().backward()
    for ours, exact in zip(module.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(grad_of(ours).double(), exact.grad, rtol=2e-5, atol=0)


MODULES = {
    "kernels": "unrolled.LSTM(1, 64",
    "a program": "unrolled.Recurrent(unrolled.cells.PeepholeLSTM, 1, 64",
}


@needs_core
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
def test_only_the_states_are_kept(module, layers):
    """What 100,000 steps would leave is 128 MB a layer; the output alone is 26 MB."""
    code = f"""
import resource, torch, unrolled
import unrolled.cells
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
module = {module}, {layers}, recompute_every=300)
module(torch.randn(1000, 1, 1))[0].backward(torch.ones(1000, 1, 64))  # imports sympy
x = torch.randn(100_000, 1, 1)
before = peak()
module(x)[0].backward(torch.ones(1).expand(100_000, 1, 64).contiguous())
print(peak() - before)
"""
    output_and_its_gradient = 2 * 100_000 * 64 * 4 / 2**20
    assert float(run_apart(code)) < output_and_its_gradient + 16


def test_second_derivatives_are_the_same():
    module = unrolled.GRU(2, 3, dtype=torch.float64)
    x = torch.randn(6, 2, 2, dtype=torch.float64, requires_grad=True)
    found = []
    for every in (None, 4):
        module.recompute_every = every
        (gradient,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), x)[0])
    assert torch.equal(*found)


# --- As an argument.


MAKERS = {
    "LSTM(2, 3": unrolled.LSTM,
    "Recurrent(CIFG, 2, 3": partial(unrolled.Recurrent, cells.CIFG),
}


@pytest.mark.parametrize(("shown", "make"), MAKERS.items(), ids=list(MAKERS))
def test_it_is_copied_and_pickled_and_shown(shown, make):
    module = make(2, 3, recompute_every=10)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.recompute_every == 10
    assert repr(module) == f"{shown}, recompute_every=10)"
    assert repr(make(2, 3)) == f"{shown})"


@pytest.mark.parametrize(
    ("every", "error", "words"),
    [
        (0, ValueError, "at least 1 step, or None, got 0"),
        (2.5, TypeError, r"a number of steps or None, got 2\.5"),
        (True, TypeError, "a number of steps or None, got True"),
    ],
)
@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_what_is_no_number_of_steps_is_refused(make, every, error, words):
    with pytest.raises(error, match=words):
        make(2, 3, recompute_every=every)
    module = make(2, 3, recompute_every=1)
    module(torch.zeros(4, 2))  # True is as good a key as 1, and is not to be found in its place
    module.recompute_every = every
    with pytest.raises(error, match=words):
        module(torch.zeros(4, 2))

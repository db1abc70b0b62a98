"""A process that trains for long does not grow, whatever comes new with every step."""

from __future__ import annotations

import gc
import itertools
import sys

import pytest
import torch
from torch.func import functional_call

import unrolled
from support_native import run_apart
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)


def resident():
    """KiB of this process that are in memory now; its peak would hide what other tests left."""
    gc.collect()
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1])


needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="there is no /proc/self/status"
)


def growth(step, warm_up, steps):
    for _ in range(warm_up):
        step()
    before = resident()
    for _ in range(steps):
        step()
    return resident() - before


RAGGED = [20, 0, 7, 20, 1, 13, 20, 4]


@needs_proc
@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"num_layers": 2}, None),
        ({"num_layers": 2, "bidirectional": True, "dropout": 0.5}, RAGGED),
        ({"num_layers": 2, "recompute_every": 7}, RAGGED),
        ({"bidirectional": True, "recompute_every": 7}, None),
    ],
    ids=["stack", "bidirectional_ragged", "recomputed_ragged", "recomputed_bidirectional"],
)
def test_a_thousand_training_steps(options, lengths):
    """One step of the least of them keeps 100 KiB and more until its backward pass."""
    module, x = unrolled.LSTM(8, 32, **options), torch.randn(20, 8, 8)

    def step():
        module(x, None, lengths)[0].sum().backward()
        module.zero_grad()

    assert growth(step, 100, 1000) < 4 * 1024


@needs_proc
def test_weights_that_are_new_at_every_step():
    """As a parametrization makes them: nothing is remembered of them."""
    module, x = unrolled.LSTM(8, 32, num_layers=2), torch.randn(3, 2, 8)
    alive = []  # so that no address comes again

    def step():
        weights = {name: p.detach().clone() for name, p in module.named_parameters()}
        alive.append([w.untyped_storage().data_ptr() for w in weights.values()])
        functional_call(module, weights, (x,))

    assert growth(step, 100, 1000) < 4 * 1024


@needs_proc
def test_shapes_that_are_new_at_every_step():
    module = unrolled.GRU(2, 8)
    shapes = itertools.cycle(itertools.product(range(1, 60), range(1, 60)))

    def step():
        module(torch.zeros(*next(shapes), 2))[0].sum().backward()

    bound = native._dense_layout.cache_info().maxsize
    assert bound is not None
    assert growth(step, bound + 100, 1000) < 4 * 1024
    assert native._dense_layout.cache_info().currsize <= bound


@needs_proc
def test_without_memory_there_is_an_error_and_the_next_call_runs():
    """The packed weights are 77 MB; what is there for them is half of it."""
    code = """
import resource, torch, unrolled
torch.set_num_threads(1)
module, x = unrolled.LSTM(1, 1600), torch.zeros(1, 1, 1)
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
unlimited = resource.getrlimit(resource.RLIMIT_AS)
with torch.inference_mode():
    resource.setrlimit(resource.RLIMIT_AS, (used + 20 * 2**20, unlimited[1]))
    try:
        module(x)
    except MemoryError as error:
        print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    print(module(x)[0].isfinite().all().item())
"""
    assert run_apart(code).split() == ["MemoryError", "True"]

"""Threads: ours, the caller's, and those that a forked process no longer has."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch

import unrolled
from support_native import gradients, run_apart
from support_nn import Kind, every_kind, random_hx
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

THREADS = (1, 2, 3, 8)


@pytest.fixture
def threads():
    """Sets torch's threads for a test; the other tests run on one."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def results(module, x, hx=None, lengths=None):
    with torch.inference_mode():
        output, _ = module(x, hx, lengths)
    found, gradient = gradients(module, x, hx, lengths)
    return [output, *found, *gradient]


def assert_same_bits(found, expected):
    assert [torch.equal(f, e) for f, e in zip(found, expected, strict=True)] == [True] * len(found)


# --- The core's own. Each shape has work enough for eight: see worth_a_thread in csrc/share.h.


@pytest.mark.parametrize("layout", ["dense", "lengths"])
@pytest.mark.parametrize(
    ("steps", "batch", "hidden"),
    [(60, 23, 48), (230, 23, 48), (800, 1, 48), (800, 3, 48), (2000, 23, 4)],
    ids=["plain", "long_sums", "one_row", "few_rows", "few_tasks"],
)
@every_kind
def test_any_number_of_threads_gives_the_same_bits(
    kind: Kind, steps, batch, hidden, layout, threads
):
    projection = {"proj_size": hidden // 2} if "proj_size" in kind.options else {}
    module, _ = kind.pair(hidden_size=hidden, bidirectional=True, **projection)
    x = torch.randn(steps, batch, 2, requires_grad=True)
    hx = random_hx(module, batch, requires_grad=True)
    lengths = None if layout == "dense" else torch.randint(0, steps + 1, (batch,))
    found = []
    for count in THREADS:
        threads(count)
        found.append(results(module, x, hx, lengths))
    for other in found[1:]:
        assert_same_bits(other, found[0])


def test_a_block_with_more_rows_than_fit_into_a_panel(threads):
    """A panel of the gates is copied in pieces; see panel_slots in csrc/sums.h."""
    module = unrolled.GRU(3, 20, dtype=torch.float64)
    x = torch.randn(2, 1000, 3, dtype=torch.float64, requires_grad=True)
    with unrolled.backend("reference"):
        expected = gradients(module, x)[1]
    for count in (1, 2):
        threads(count)
        for ours, theirs in zip(gradients(module, x)[1], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@every_kind
def test_training_gives_the_same_bits_from_run_to_run(kind: Kind, threads):
    threads(2)
    module, _ = kind.pair(hidden_size=48)
    x = torch.randn(60, 23, 2, requires_grad=True)
    assert_same_bits(results(module, x), results(module, x))


@pytest.mark.parametrize(
    "limits",
    [{"OMP_THREAD_LIMIT": "3"}, {"OMP_DYNAMIC": "true"}],
    ids=["limit", "dynamic"],
)
def test_the_runtime_may_give_fewer_threads_than_asked_for(limits):
    code = """
import torch, unrolled
module, x = unrolled.LSTM(2, 48), torch.randn(60, 23, 2, requires_grad=True)
found = []
for threads in (1, 8):
    torch.set_num_threads(threads)
    output, _ = module(x)
    found.append([output, *torch.autograd.grad(output.square().sum(), [x, *module.parameters()])])
print(all(map(torch.equal, *found)))
"""
    assert run_apart(code, **limits) == "True"


# --- The caller's.


@pytest.mark.parametrize("callers", [2, 4])
@pytest.mark.parametrize("options", [{}, {"recompute_every": 7}], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_python_threads_may_use_one_module_at_once(name, options, callers, threads):
    """Training and inference, dense and ragged, each on two threads of the core's own."""
    threads(2)
    module = getattr(unrolled, name)(3, 40, bidirectional=True, **options)
    calls = [
        (torch.randn(50, 8, 3), lengths)
        for _, lengths in product(range(4), (None, [50, 0, 3, 7, 50, 21, 4, 1]))
    ]
    alone = [results(module, x, None, lengths) for x, lengths in calls]
    with ThreadPoolExecutor(callers) as pool:
        together = list(pool.map(lambda call: results(module, call[0], None, call[1]), calls))
    for found, expected in zip(together, alone, strict=True):
        assert_same_bits(found, expected)


def test_a_python_thread_may_train_while_another_runs_torch_on_all_threads(threads):
    threads(2)
    module, x = unrolled.LSTM(3, 64), torch.randn(60, 16, 3)
    factor = torch.randn(300, 300)
    expected, square = results(module, x), factor @ factor

    def torchs(_):
        return torch.equal((factor @ factor).relu(), square.relu())

    def ours(_):
        assert_same_bits(results(module, x), expected)
        return True

    with ThreadPoolExecutor(2) as pool:
        found = [pool.map(torchs, range(60)), pool.map(ours, range(20))]
        assert all(all(answers) for answers in found)


# --- A forked process has its parent's memory, and of its threads only one.


@pytest.mark.skipif(sys.platform != "linux", reason="workers are not forked here")
def test_a_worker_of_a_data_loader_may_run_and_train_a_module():
    """torch sets its workers to one thread, with which the core waits for no others."""
    code = """
import torch, unrolled
torch.set_num_threads(2)
module, x = unrolled.LSTM(2, 48), torch.randn(60, 23, 2)

def results():
    output, _ = module(x)
    found = [output, *torch.autograd.grad(output.sum(), list(module.parameters()))]
    return [tensor.detach() for tensor in found]

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return results()

if __name__ == "__main__":
    expected = results()
    data = torch.utils.data.DataLoader(
        Data(), num_workers=1, batch_size=None, multiprocessing_context="fork", timeout=30
    )
    print(all(torch.equal(*pair) for found in data for pair in zip(found, expected)))
"""
    assert run_apart(code) == "True"

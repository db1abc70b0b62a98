"""DistributedDataParallel on our modules, with gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import support_distributed
from support_nn import INPUTS, STEPS, Kind, assert_close, every_kind, random_input
from unrolled.nn import LSTM

if not distributed.is_available() or not distributed.is_gloo_available():
    pytest.skip("torch was built without gloo", allow_module_level=True)


def gradients(module, x, lengths):
    """Of the module, or of the one that it is in: with ``lengths`` and without."""
    module.zero_grad()
    loss = module(x)[0].sum() + module(x, lengths=lengths)[0].square().sum()
    loss.backward()
    return [weight.grad.clone() for weight in module.parameters()]


@every_kind
def test_one_process(kind: Kind, tmp_path: Path) -> None:
    """The gradients of the module by itself; ``lengths`` goes through."""
    module, _ = kind.pair(num_layers=2)
    x, lengths = random_input(module), [4, 1, 2]
    with support_distributed.joined(tmp_path, 0, 1):
        found = gradients(DistributedDataParallel(module), x, lengths)
    assert_close(found, gradients(module, x, lengths), 0)


def test_two_processes_have_the_gradients_of_all_rows(tmp_path: Path) -> None:
    module = LSTM(INPUTS, 6, num_layers=2, bidirectional=True, recompute_every=3)
    x = torch.randn(STEPS, 6, INPUTS)
    torch.save((module, x), tmp_path / "task.pt")
    spawn(support_distributed.train, (tmp_path, 2), nprocs=2)
    support_distributed.loss(module, x).backward()
    expected = [weight.grad for weight in module.parameters()]
    for rank in range(2):
        assert_close(torch.load(tmp_path / f"gradients-{rank}.pt"), expected)

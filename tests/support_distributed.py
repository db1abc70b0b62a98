"""One of the processes of a DistributedDataParallel; it has to be importable by a new one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def join(folder: Path, rank: int, processes: int) -> None:
    """A group of processes of this machine, which meet in a file."""
    file = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=processes)


def train(rank: int, folder: Path, processes: int) -> None:
    """Leaves the gradients that this process ends with, of its share of the rows."""
    torch.set_num_threads(1)
    join(folder, rank, processes)
    try:
        module, x = torch.load(folder / "task.pt", weights_only=False)
        parallel = DistributedDataParallel(module)
        loss(parallel, x.chunk(processes, dim=1)[rank]).backward()
        gradients = [weight.grad for weight in module.parameters()]
        torch.save(gradients, folder / f"gradients-{rank}.pt")
    finally:
        distributed.destroy_process_group()


def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The mean over the rows of ``x`` [T, B, I]."""
    return module(x)[0].square().sum() / x.shape[1]

"""One of the processes of a DistributedDataParallel; it has to be importable by a new one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def joined(folder: Path, rank: int, processes: int) -> Iterator[None]:
    """A group of processes of this machine, which meet in a file, for the time of a block.

    What is distributed in the block has to be gone when it ends, and so is made in a function of
    its own: a DistributedDataParallel that outlives its group takes the last hold of it along, and
    then waits for the group's threads while they wait for the interpreter.
    """
    file = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=processes)
    try:
        yield
    finally:
        gc.collect()
        distributed.destroy_process_group()


def train(rank: int, folder: Path, processes: int) -> None:
    """Leaves the gradients that this process ends with, of its share of the rows."""
    torch.set_num_threads(1)
    module, x = torch.load(folder / "task.pt", weights_only=False)
    with joined(folder, rank, processes):
        backward(DistributedDataParallel(module), x.chunk(processes, dim=1)[rank])
    torch.save([weight.grad for weight in module.parameters()], folder / f"gradients-{rank}.pt")


def backward(module: nn.Module, x: torch.Tensor) -> None:
    """Adds the loss's gradients to the module's weights, while the module is there."""
    loss(module, x).backward()


def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The mean over the rows of ``x`` [T, B, I]."""
    return module(x)[0].square().sum() / x.shape[1]

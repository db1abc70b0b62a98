"""Seeds and threads, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible(seed: int, threads: int | None = None) -> Iterator[torch.Generator]:
    """The block draws its random numbers from ``seed`` and leaves the caller's as they were.

    Gradients are taken in it even where the caller does without, and tensors are made on the CPU
    wherever the caller has them made.

    Yields a generator of its own, for the order of batches. ``threads`` is how many torch uses in
    the block; None leaves them.
    """
    before = torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.device("cpu"),
    ):
        torch.manual_seed(seed)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            torch.set_num_threads(before)

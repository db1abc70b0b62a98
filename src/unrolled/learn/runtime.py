"""Seeds and threads, for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextmanager
def alone_where_forked() -> Iterator[None]:
    """In a forked process, such as a server's worker, the block computes on one thread.

    OpenMP's threads stay in the parent, and a loop over several would wait for them for ever.
    """
    if not _forked:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible(seed: int, threads: int | None = None) -> Iterator[torch.Generator]:
    """The block draws its random numbers from ``seed`` and leaves the caller's as they were.

    Gradients are taken in it even where the caller does without, and tensors are made on the CPU
    wherever the caller has them made.

    Yields a generator of its own, for the order of batches. ``threads`` is how many torch uses in
    the block; None leaves them. In a forked process it is one.
    """
    before = torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.device("cpu"),
        alone_where_forked(),
    ):
        torch.manual_seed(seed)
        if threads is not None and not _forked:
            torch.set_num_threads(threads)
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            torch.set_num_threads(before)

"""What runs here, and whether it is right: the material of ``unrolled doctor``."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unrolled
from unrolled.nn.recurrent import GRU, LSTM, RNN
from unrolled.nn.which import which_backend
from unrolled.scan import engine, native

MODULES: tuple[type[RNN | LSTM | GRU], ...] = (RNN, LSTM, GRU)
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def describe() -> dict[str, str]:
    """What runs on this machine, by name."""
    sets = native.isas()
    return {
        "unrolled": unrolled.__version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "compiled core": "built" if sets else "not built: install a C++20 compiler and reinstall",
        "instruction sets": ", ".join(sets) or "none",
        "runs on": sets[native.isa()] if sets else "none",
        "threads": str(torch.get_num_threads()),
        "OpenMP runtimes loaded": ", ".join(openmp_runtimes()) or "none found",
        "an LSTM in float32": which_backend(LSTM(1, 1), torch.zeros(1, 1)),
    }


def openmp_runtimes() -> list[str]:
    """The OpenMP libraries in this process, where the system tells (Linux).

    More than one is a trap: the idle workers of each spin, and slow the other down.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    names = {Path(line.split()[-1]).name for line in lines if "/" in line}
    return sorted(name for name in names if name.startswith(("libgomp", "libomp", "libiomp")))


@dataclass(frozen=True)
class Check:
    """One random pass on both backends: what it was, and how far the numbers were apart.

    ``error`` is the largest difference of an output, a state or a gradient, as a share of the
    largest entry of that tensor (or of 1).
    """

    what: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the two backends agree; NaN does not."""
        return self.error <= self.allowed


def checks(seconds: float, seed: int = 0) -> Iterator[Check]:
    """Random modules and batches on the compiled core and on the reference, for so long.

    The caller's random numbers stay as they were.
    """
    choose = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(choose.randrange(2**31))
            yield _check(choose)


def _check(choose: random.Random) -> Check:
    kind, dtype = choose.choice(MODULES), choose.choice(list(TOLERANCE))
    steps, batch, inputs = choose.randint(1, 30), choose.randint(1, 20), choose.randint(1, 20)
    options: dict[str, Any] = {
        "hidden_size": choose.randint(1, 80),
        "num_layers": choose.randint(1, 2),
        "bidirectional": choose.random() < 0.5,
        "batch_first": choose.random() < 0.5,
        "dtype": dtype,
    }
    module = kind(inputs, **options)
    x = torch.randn((batch, steps) if module.batch_first else (steps, batch), dtype=dtype)
    x = x.unsqueeze(-1) * torch.randn(inputs, dtype=dtype)
    lengths = None
    if choose.random() < 0.5:
        lengths = [choose.randint(0, steps) for _ in range(batch)]

    def run() -> list[Tensor]:
        output, last = module(x, lengths=lengths)
        states = list(last) if isinstance(last, tuple) else [last]
        loss = output.square().sum() + sum(state.sum() for state in states)
        return [output, *states, *torch.autograd.grad(loss, list(module.parameters()))]

    error = max(map(_apart, *(_on(backend, run) for backend in ("native", "reference"))))
    return Check(f"{module}, T={steps}, B={batch}", error, TOLERANCE[dtype])


def _on(backend: engine.Backend, run: Callable[[], list[Tensor]]) -> list[Tensor]:
    with engine.backend(backend):
        return run()


def _apart(found: Tensor, expected: Tensor) -> float:
    if expected.numel() == 0:
        return 0.0
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()

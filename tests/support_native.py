"""What the tests of the compiled core share: a pass on it beside the same pass on the reference."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import torch
from torch import Tensor

import unrolled
from support_nn import tensors


def gradients(
    module: torch.nn.RNNBase, x: Tensor, hx: Any = None, lengths: Any = None
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """All results, and the gradients of a random weighting of them by all that wants one."""
    output, last = module(x, hx, lengths)
    results = [output, *tensors(last)]
    generator = torch.Generator().manual_seed(0)
    loss = sum(
        (r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results
    )
    leaves = [t for t in (x, *tensors(hx), *module.parameters()) if t.requires_grad]
    return results, torch.autograd.grad(loss, leaves)


def assert_like_the_reference(
    module: torch.nn.RNNBase, x: Tensor, hx: Any = None, lengths: Any = None
) -> None:
    with unrolled.backend("reference"):
        expected = gradients(module, x, hx, lengths)
    with unrolled.backend("native"):
        found = gradients(module, x, hx, lengths)
    tolerance = 1e-11 if x.dtype == torch.float64 else 2e-5
    for ours, theirs in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def run_apart(code: str, **environment: str) -> str:
    """What the code prints, in a process of its own that has a minute for it."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()

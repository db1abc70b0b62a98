"""Cells without a single weight: all that asks a module of its weights has to do without."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unrolled
from support_nn import BACKENDS, use_backend
from unrolled.cells import Cell, mean, tanh
from unrolled.nn import Recurrent

T, B, H = 7, 3, 4


class Leaking(Cell):
    def step(self, x, h):
        return tanh(0.5 * h + mean(x))


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


def by_loop(x, layers, directions):
    """Layer by layer with torch's operations."""
    for _ in range(layers):
        outputs = []
        for turn in range(directions):
            h, found = x.new_zeros(x.shape[1], H), []
            for now in x.flip(0) if turn else x:
                h = torch.tanh(0.5 * h + now.mean(-1, keepdim=True))
                found.append(h)
            outputs.append(torch.stack(found[::-1] if turn else found))
        x = torch.cat(outputs, -1)
    return x


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_layers_and_directions_are_those_of_a_loop(layers, directions):
    module = Recurrent(Leaking, 2, H, num_layers=layers, bidirectional=directions == 2)
    x = torch.randn(T, B, 2, requires_grad=True)
    found, expected = module(x)[0], by_loop(x, layers, directions)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_it_is_recorded_and_measured():
    diagnosis = unrolled.diagnose(Recurrent(Leaking, 2, H), torch.randn(30, B, 2))
    assert diagnosis.lyapunov is not None
    assert diagnosis.gradient_by_lag[1] > 0


def test_a_stream_gives_what_the_module_gives():
    module, x = Recurrent(Leaking, 2, H).eval(), torch.randn(T, 1, 2)
    stream = unrolled.Stream(module)
    stepped = np.stack([stream.step(row.numpy()) for row in x[:, 0]])
    np.testing.assert_allclose(stepped, module(x)[0][:, 0].numpy(), atol=1e-6)

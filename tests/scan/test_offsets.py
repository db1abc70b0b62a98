"""Numbers that lie more than 2³¹ apart, in memory of which next to nothing is touched."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

import pytest
import torch

import unrolled
from support_native import gradients
from support_nn import Kind, every_kind, random_hx
from unrolled.scan import layer, native, passes

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)
if sys.platform != "linux" or sys.maxsize < 2**40:
    pytest.skip("elsewhere memory may be there before it is touched", allow_module_level=True)

FAR = 2**29  # from one step to the next, of five


def far_apart(steps, batch, width):
    """Room for [T, B, F], float32, its steps 2 GiB apart. What is not touched takes no memory."""
    try:
        everything = torch.empty((steps - 1) * FAR + batch * width)
    except RuntimeError:
        pytest.skip("the system does not promise 8 GiB that nobody will use")
    return everything.as_strided((steps, batch, width), (FAR, width, 1))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=["one_way", "bidirectional"])
@every_kind
def test_steps_of_the_input_and_of_the_gradient(kind: Kind, options):
    module, _ = kind.pair(**options)
    hx = random_hx(module, 3, requires_grad=True)
    near, d_near = torch.randn(5, 3, 2, requires_grad=True), None
    far = far_apart(5, 3, 2).copy_(near.detach()).requires_grad_()
    found = []
    for x in (near, far):
        output, _ = module(x, hx)
        if d_near is None:
            d_near = torch.randn_like(output)
            d_output = d_near
        else:
            d_output = far_apart(*output.shape).copy_(d_near)
        found.append([output, *torch.autograd.grad(output, [x, *module.parameters()], d_output)])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=["one_way", "bidirectional"])
@every_kind
def test_steps_of_the_output_and_of_the_inputs_gradient(kind: Kind, options, monkeypatch):
    """The pass makes them dense; here they are made so that they lie far apart."""
    module, _ = kind.pair(num_layers=2, **options)
    x, hx = torch.randn(5, 3, 2, requires_grad=True), random_hx(module, 3, requires_grad=True)
    expected = gradients(module, x, hx)
    made = []

    def empty_output(like, width):
        steps, batch = like.shape[:2]
        made.append(far_apart(steps, batch, width))
        return made[-1]

    monkeypatch.setattr(passes, "empty_output", empty_output)
    found = gradients(module, x, hx)
    assert len(made) >= 2
    assert torch.equal(made[-1], found[1][0])
    for ours, theirs in zip(found, expected, strict=True):
        assert all(map(torch.equal, ours, theirs))


# --- What the cells keep is dense, so all of it is written. If it is the same at every step, the
# same few MiB may be mapped wherever it goes.

WINDOW = 2**26  # bytes


def repeating(count, width):
    """[count, width], float32, in which every number is also the one 64 MiB further on."""
    windows = -(-count * width * 4 // WINDOW)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    room = mmap.mmap(-1, windows * WINDOW)  # is unmapped when nothing refers to it
    begin = ctypes.addressof(ctypes.c_char.from_buffer(room))
    memory, map_fixed = os.memfd_create("window"), 0x10
    os.ftruncate(memory, WINDOW)
    for window in range(windows):
        place = begin + window * WINDOW
        flags = mmap.MAP_SHARED | map_fixed
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        assert libc.mmap(place, WINDOW, protection, flags, memory, 0) == place
    os.close(memory)
    return torch.frombuffer(room, dtype=torch.float32, count=count * width).view(count, width)


def test_what_is_kept_of_more_than_two_billion_gates(monkeypatch):
    """An input of ones and a state that is where it stays: all steps of all rows are one."""
    module = unrolled.GRU(1, 16)
    with torch.no_grad():
        module.get_parameter("weight_hh_l0").zero_()
        # The update gate is shut, so one step is enough.
        module.get_parameter("bias_ih_l0")[16:32] = -1e3
    one = module(torch.ones(1, 1, 1))[1].detach()
    steps, batch = 4097, 8192
    assert steps * batch * 4 * 16 > 2**31
    found = []
    for many in (False, True):
        if many:
            monkeypatch.setattr(
                layer.Scan,
                "empty_kept",
                lambda scan, _, count: [repeating(count, width) for width in scan.plan.kept],
            )
            monkeypatch.setattr(
                passes,
                "empty_output",
                lambda like, width: repeating(like.shape[0] * like.shape[1], width).view(
                    *like.shape[:2], width
                ),
            )
        shape = (steps, batch) if many else (1, 1)
        output, last = module(torch.ones(1, 1, 1).expand(*shape, 1), one.expand(1, shape[1], 16))
        d_output = torch.ones(1, 1, 16).expand(*shape, 16)
        gradient = torch.autograd.grad(output, list(module.parameters()), d_output)
        pairs = shape[0] * shape[1]
        found.append([output[-1, -1], last[0, -1], *[d / pairs for d in gradient]])
    for many, few in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(many, few, rtol=1e-3, atol=1e-6)

"""Numbers below the least normal one, which torch does not take for zero."""

from __future__ import annotations

import pytest
import torch

from support_native import assert_like_the_reference
from support_nn import Kind, every_kind, random_hx, tensors
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def subnormal(tensor):
    """About a thousandth of the least normal number, which still has 13 bits and more."""
    return (tensor * (torch.finfo(tensor.dtype).tiny / 1024)).detach()


@every_dtype
@every_kind
def test_input_and_states_are_read(kind: Kind, dtype):
    module, _ = kind.pair(dtype=dtype, num_layers=2)
    x = subnormal(torch.randn(5, 3, 2, dtype=dtype)).requires_grad_()
    hx = [subnormal(t).requires_grad_() for t in tensors(random_hx(module, 3, dtype=dtype))]
    assert_like_the_reference(module, x, tuple(hx) if len(hx) > 1 else hx[0])


@every_dtype
@every_kind
def test_a_state_is_handed_on_and_not_flushed(kind: Kind, dtype):
    """With neither input nor bias the first step of each cell is about linear in its state."""
    module, theirs = kind.pair(dtype=dtype, bias=False)
    hx = tuple(subnormal(t) for t in tensors(random_hx(module, 3, dtype=dtype)))
    hx = hx if len(hx) > 1 else hx[0]
    x = torch.zeros(2, 3, 2, dtype=dtype)
    with torch.inference_mode():
        found, expected = (tensors(m(x, hx)) for m in (module, theirs))
    unit = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # the least number there is
    for ours, torchs in zip(found, expected, strict=True):
        assert ours.count_nonzero() > 0
        torch.testing.assert_close(ours, torchs, rtol=1e-2, atol=8 * unit)

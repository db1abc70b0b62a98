"""The core's gradients against differences of its own results."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

import unrolled
from support_nn import Kind, every_kind, random_hx, tensors
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)


@pytest.mark.parametrize("every", [None, 2], ids=["kept", "recomputed"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=["dense", "ragged"])
@pytest.mark.parametrize(
    "options",
    [{"num_layers": 2}, {"num_layers": 2, "bidirectional": True}],
    ids=["stack", "bidirectional"],
)
@every_kind
def test_derivatives_by_input_states_and_weights(kind: Kind, options, lengths, every):
    module, _ = kind.pair(dtype=torch.float64, **options)
    module.recompute_every = every
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    hx = tensors(random_hx(module, 3, dtype=torch.float64, requires_grad=True))
    names, weights = zip(*module.named_parameters(), strict=True)

    def function(x, *rest):
        states, given = rest[: len(hx)], dict(zip(names, rest[len(hx) :], strict=True))
        state = states if len(states) > 1 else states[0]
        return tuple(tensors(functional_call(module, given, (x, state, lengths))))

    with unrolled.backend("native"):
        # Steps this small, for which double precision has the digits, hardly ever meet relu's kink.
        assert gradcheck(function, (x, *hx, *weights), eps=1e-8, fast_mode=True)

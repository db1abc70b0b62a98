"""torch's own checks of the two operators that torch.compile and torch.export see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support_nn import BATCH, HIDDEN, INPUTS, PROJECTED, STEPS, random_hx, random_input, tensors
from unrolled.scan import native, operator, reference

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

PASSES: dict[str, tuple[nn.RNNBase, dict[str, Any]]] = {
    "Elman": (nn.RNN(INPUTS, HIDDEN, batch_first=True), {}),
    "LSTM": (nn.LSTM(INPUTS, HIDDEN, 2, bias=False), {"given": True}),
    "projected": (nn.LSTM(INPUTS, HIDDEN, 2, proj_size=PROJECTED).double(), {"given": True}),
    "bidirectional, dropout": (nn.GRU(INPUTS, HIDDEN, 2, bidirectional=True, dropout=0.5), {}),
    "stack, dropout": (nn.GRU(INPUTS, HIDDEN, 3, dropout=0.5), {"given": True}),
    "recomputed": (nn.GRU(INPUTS, HIDDEN, 2, dropout=0.5), {"every": 2, "keep": False}),
    "nothing kept": (nn.LSTM(INPUTS, HIDDEN, 2, bidirectional=True), {"keep": False}),
}

every_pass = pytest.mark.parametrize("name", PASSES)


def arguments(name: str, *, requires_grad: bool) -> tuple[Any, ...]:
    """What ``unrolled::scan`` takes for one of the passes."""
    module, options = PASSES[name]
    kind: dict[str, Any] = {"dtype": module.weight_ih_l0.dtype, "requires_grad": requires_grad}
    x = random_input(module, dtype=kind["dtype"])
    x = x.transpose(0, 1) if module.batch_first else x
    states = tensors(random_hx(module, **kind)) if options.get("given") else []
    width = (module.proj_size or HIDDEN) * (2 if module.bidirectional else 1)
    like = torch.empty(STEPS, BATCH, width)
    between = range(module.num_layers - 1 if module.dropout else 0)
    return (
        x.requires_grad_(requires_grad),
        states,
        [weight.detach().requires_grad_(requires_grad) for weight in module.parameters()],
        [reference.draw_noise(like, module.dropout) for _ in between],
        module.mode,
        module.num_layers,
        module.bias,
        module.bidirectional,
        module.proj_size > 0,
        module.dropout,
        options.get("every", 0),
        options.get("keep", True),
    )


@every_pass
def test_forward(name: str) -> None:
    torch.library.opcheck(operator._scan, arguments(name, requires_grad=True))


@every_pass
def test_backward(name: str) -> None:
    given = arguments(name, requires_grad=False)
    *tensors_given, keep = given
    output, *rest = operator._scan(*given)
    states = 2 if given[4] == "LSTM" else 1
    gradients: list[Tensor] = [torch.randn_like(t) for t in (output, *rest[:states])]
    inputs, options = tensors_given[:4], tensors_given[4:]
    left = [*rest[states:], output] if keep else []
    wanted = [True] * (1 + len(inputs[1]) + len(inputs[2]))
    torch.library.opcheck(operator._scan_backward, (gradients, *inputs, left, *options, wanted))

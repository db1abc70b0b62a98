"""torch's own checks of the two operators that torch.compile and torch.export see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support_nn import BATCH, HIDDEN, INPUTS, PROJECTED, STEPS, random_hx, random_input, tensors
from unrolled.scan import draws, native, of_kernel, operator
from unrolled.scan.spec import read

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
    weights = [weight.detach().requires_grad_(requires_grad) for weight in module.parameters()]
    spec = of_kernel(
        module.mode,
        module.input_size,
        module.hidden_size,
        module.proj_size,
        module.bias,
        module.num_layers,
        module.bidirectional,
        recompute_every=options.get("every"),
    )
    return (
        [x.requires_grad_(requires_grad), *states, *weights],
        [draws.draw_noise(like, module.dropout) for _ in between],
        spec.text,
        options.get("keep", True),
    )


@every_pass
def test_forward(name: str) -> None:
    torch.library.opcheck(operator._scan, arguments(name, requires_grad=True))


@every_pass
def test_backward(name: str) -> None:
    inputs, drawn, spec, keep = arguments(name, requires_grad=False)
    output, *rest = operator._scan(inputs, drawn, spec, keep)
    states = len(read(spec).cell.states)
    gradients: list[Tensor] = [torch.randn_like(t) for t in (output, *rest[:states])]
    left = [*rest[states:], output] if keep else []
    wanted = [True] * len(inputs)
    torch.library.opcheck(operator._scan_backward, (gradients, inputs, drawn, left, spec, wanted))

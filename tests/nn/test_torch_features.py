"""Our modules under the rest of torch: dtypes, devices, modes, transforms and hooks."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from support_nn import (
    Kind,
    assert_close,
    assert_same_error,
    every_cell,
    every_kind,
    every_module,
    random_hx,
    random_input,
    tensors,
)


def input_weight(module: nn.Module) -> str:
    return "weight_ih" if isinstance(module, nn.RNNCellBase) else "weight_ih_l0"


@every_module
def test_bfloat16_is_close_to_torchs(kind: Kind) -> None:
    """Within a few roundings of 2⁻⁸: torch rounds at other places."""
    ours, theirs = kind.pair(dtype=torch.bfloat16)
    x, hx = random_input(ours, dtype=torch.bfloat16), random_hx(ours, dtype=torch.bfloat16)
    assert_close(ours(x, hx), theirs(x, hx), 0.03)


@every_module
def test_a_module_made_double(kind: Kind) -> None:
    ours, theirs = (module.double() for module in kind.pair())
    x = random_input(ours, dtype=torch.float64)
    assert_close(ours(x), theirs(x), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every_module
def test_autocast(kind: Kind, dtype: torch.dtype) -> None:
    """Torch's dtypes, the input's own notwithstanding, and its numbers but for its roundings."""
    ours, theirs = kind.pair()
    x = random_input(ours, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(ours(x), theirs(x), 0.03)


@every_module
def test_autocast_is_no_more_for_float64_than_in_torchs(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_error(lambda: ours(x), lambda: theirs(x))


@every_module
def test_meta_device(kind: Kind) -> None:
    """Shapes without numbers; torch's kernels know them."""
    ours, theirs = (module.to("meta") for module in kind.pair())
    x = random_input(ours, device="meta")
    found, expected = tensors(ours(x)), tensors(theirs(x))
    assert [(f.shape, f.dtype, f.device) for f in found] == [
        (e.shape, e.dtype, e.device) for e in expected
    ]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@every_module
def test_no_gradients_in(kind: Kind, mode: Any) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours)
    with mode():
        found, expected = ours(x), theirs(x)
        assert_close(found, expected)
    for ours_out, theirs_out in zip(tensors(found), tensors(expected), strict=True):
        assert ours_out.is_inference() == theirs_out.is_inference()
        assert not ours_out.requires_grad


@pytest.mark.parametrize("dropout", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bidirectional", [False, True])
@every_kind
def test_as_many_random_numbers_are_drawn(
    kind: Kind, dropout: float, *, bidirectional: bool
) -> None:
    """In float64: torch's LSTM in float32 is oneDNN's, which draws in an order of its own."""
    options = {"num_layers": 3, "bidirectional": bidirectional, "dtype": torch.float64}
    found = []
    for module in kind.pair(dropout=dropout, **options):
        torch.manual_seed(0)
        x = random_input(module, dtype=torch.float64)
        found.append([*tensors(module(x)), torch.rand(3)])
    assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["check_forward_args", "check_input", "permute_hidden"])
@every_kind
def test_a_subclass_with_a_check_of_its_own_is_asked(kind: Kind, name: str) -> None:
    """By torch's forward, which is what looks it up."""
    ours, theirs = kind.pair()
    x, hx = random_input(ours), random_hx(ours)

    def refuse(*_: Any) -> None:
        raise LookupError(name)

    for module in (ours, theirs):
        cls = type("Refusing", (type(module),), {name: refuse})
        module.__class__ = cls
        with pytest.raises(LookupError, match=name):
            module(x, hx)


@every_module
def test_functional_call_runs_on_the_given_weights(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x = random_input(ours)
    given = {name: torch.randn_like(weight) for name, weight in ours.named_parameters()}
    found = torch.func.functional_call(ours, given, (x,))
    assert_close(found, torch.func.functional_call(theirs, given, (x,)))
    assert_close(ours(x), theirs(x))


@every_module
def test_per_sample_gradients_by_vmap(kind: Kind) -> None:
    """torch's own kernels have no batching rule; ours is the equations, which need none."""
    ours, _ = kind.pair()
    weights: dict[str, torch.Tensor] = dict(ours.named_parameters())
    samples = torch.stack([random_input(ours) for _ in range(2)])

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return tensors(torch.func.functional_call(ours, weights, (x,)))[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, samples)
    for index, sample in enumerate(samples):
        expected = torch.func.grad(loss)(weights, sample)
        for name in weights:
            assert_close(found[name][index], expected[name])


@every_module
def test_a_weight_given_anew_is_the_one_that_runs(kind: Kind) -> None:
    ours, theirs = kind.pair()
    x, name = random_input(ours), input_weight(ours)
    weight = nn.Parameter(torch.randn_like(getattr(ours, name)))
    setattr(ours, name, weight)
    setattr(theirs, name, weight)
    assert_close(ours(x), theirs(x))


@every_module
def test_a_frozen_weight_has_no_gradient(kind: Kind) -> None:
    ours, _ = kind.pair()
    frozen = getattr(ours, input_weight(ours)).requires_grad_(False)
    tensors(ours(random_input(ours)))[0].sum().backward()
    assert frozen.grad is None
    others = [p for p in ours.parameters() if p is not frozen]
    assert all(parameter.grad is not None for parameter in others)


@every_module
def test_the_optimizer_holds_the_weights_that_run(kind: Kind) -> None:
    # In float64: Adam divides by the gradient's size, which makes much of a small one's rounding.
    ours, theirs = kind.pair(dtype=torch.float64)
    optimizers = [torch.optim.Adam(module.parameters(), lr=0.1) for module in (ours, theirs)]
    for _ in range(3):
        x = random_input(ours, dtype=torch.float64)
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            tensors(module(x))[0].square().sum().backward()
            optimizer.step()
    assert_close(list(ours.parameters()), list(theirs.parameters()), 1e-7)


@every_module
def test_hooks_see_what_they_see_in_torchs(kind: Kind) -> None:
    x = random_input(kind.pair()[0], requires_grad=True)

    def seen(module: nn.Module) -> list[Any]:
        log: list[Any] = []
        module.register_forward_pre_hook(lambda _, given: log.append(given))
        module.register_forward_hook(lambda _, given, output: log.append((given, output)))
        module.register_full_backward_hook(lambda _, into, out: log.append((into, out)))
        tensors(module(x))[0].square().sum().backward()
        return log

    ours, theirs = kind.pair()
    assert_close(seen(ours), seen(theirs))


# torch's own forward warns, which torch silences at import and pytest does not; ours doesn't.
tracing = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.trace.* is deprecated:DeprecationWarning",
    "ignore::torch.jit.TracerWarning:torch.nn.modules.rnn",
)


@tracing
@every_kind
def test_a_trace_holds_for_any_number_of_steps_and_rows(kind: Kind) -> None:
    ours, _ = kind.pair()
    traced = torch.jit.trace(ours, (random_input(ours),))
    other = torch.randn(7, 5, ours.input_size)
    assert_close(traced(other), ours(other))


@tracing
@every_cell
def test_a_trace_of_a_cell_holds_for_any_number_of_rows(kind: Kind) -> None:
    ours, _ = kind.pair()
    traced = torch.jit.trace(ours, (random_input(ours),))
    other = random_input(ours, batch=7)
    assert_close(traced(other), ours(other))


@every_module
def test_export(kind: Kind) -> None:
    ours, _ = kind.pair()
    x = random_input(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exported = torch.export.export(ours, (x,)).module()
    assert_close(exported(x), ours(x))

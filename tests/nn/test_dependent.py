"""Derivatives of programs in which what a module reads hangs on what else it reads, or was read.

Autograd follows what leads from one input of a pass to another. A pass that is differentiated by
itself may not follow it once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import unrolled
from support_nn import BATCH, HIDDEN, INPUTS, STEPS, Kind, every_kind, state_shapes, tensors

Program = Callable[[nn.RNNBase, Tensor], Tensor]


def as_hx(states: list[Tensor]) -> Any:
    return tuple(states) if len(states) > 1 else states[0]


def states_like(module: nn.RNNBase, source: Tensor) -> list[Tensor]:
    """States of the module's shapes, each computed from ``source``."""
    return [
        source.mean() + torch.zeros(shape, dtype=source.dtype) for shape in state_shapes(module)
    ]


def carried_state(module: nn.RNNBase, x: Tensor) -> Tensor:
    first, hx = module(x)
    second, _ = module(x.cos(), hx)
    return first.sum() + second.square().sum()


def state_from_the_input(module: nn.RNNBase, x: Tensor) -> Tensor:
    output, last = module(x, as_hx(states_like(module, x.sin())))
    return output.square().sum() + sum(s.sum() for s in tensors(last))


def one_tensor_as_every_state(module: nn.RNNBase, x: Tensor) -> Tensor:
    shapes = state_shapes(module)
    if len(set(shapes)) > 1:
        return state_from_the_input(module, x)
    state = x.mean() * torch.ones(shapes[0], dtype=x.dtype)
    output, _ = module(x, as_hx([state] * len(shapes)))
    return output.square().sum()


def applied_twice(module: nn.RNNBase, x: Tensor) -> Tensor:
    output, _ = module(x)
    again, _ = module(output[..., :INPUTS] * x)
    return again.square().sum()


def autoregressive(module: nn.RNNBase, x: Tensor) -> Tensor:
    step, hx, loss = x[:1], None, x.new_zeros(())
    for _ in range(3):
        output, hx = module(step, hx)
        step = output[..., :INPUTS].tanh()
        loss = loss + output.square().sum()
    return loss


def tied_weights(module: nn.RNNBase, x: Tensor) -> Tensor:
    """One layer's weights are another's, and all hang on the input."""
    weights = {
        name: w * x.mean() + module.get_parameter(name.replace("_l1", "_l0").replace("ih", "hh"))
        if name.startswith("weight_hh")
        else w * x.square().mean()
        for name, w in module.named_parameters()
    }
    output, _ = torch.func.functional_call(module, weights, (x,))
    return output.square().sum()


PROGRAMS: list[Program] = [
    carried_state,
    state_from_the_input,
    one_tensor_as_every_state,
    applied_twice,
    autoregressive,
    tied_weights,
]
every_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)


def pair_and_input(kind: Kind, **options: Any) -> tuple[nn.RNNBase, nn.RNNBase, Tensor]:
    torch.manual_seed(0)
    ours, theirs = kind.pair(dtype=torch.float64, **options)
    return ours, theirs, torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)


def derivatives(module: nn.RNNBase, x: Tensor, program: Program, order: int) -> list[Tensor]:
    """Of the program by the input and the weights, and of the squares of these, and so on."""
    sources, value, found = [x, *module.parameters()], program(module, x), []
    for remaining in reversed(range(order)):
        gradients = torch.autograd.grad(value, sources, create_graph=remaining > 0)
        found += [g.detach() for g in gradients]
        value = sum((g.square().sum() for g in gradients), start=x.new_zeros(()))
    return found


def assert_near(found: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@every_program
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "stack"]
)
@every_kind
def test_derivatives_to_the_second_order(
    kind: Kind, options: dict[str, Any], program: Program
) -> None:
    ours, theirs, x = pair_and_input(kind, **options)
    with unrolled.backend("native"):
        found = derivatives(ours, x, program, 2)
    assert_near(found, derivatives(theirs, x, program, 2))


@every_program
def test_derivatives_to_the_third_order(program: Program) -> None:
    ours, theirs, x = pair_and_input(Kind("GRU"))
    with unrolled.backend("native"):
        found = derivatives(ours, x, program, 3)
    assert_near(found, derivatives(theirs, x, program, 3))


@every_program
@every_kind
def test_many_gradients_at_once_leave_the_graph_to_its_owner(kind: Kind, program: Program) -> None:
    """What lies before the pass in the graph is the caller's, to be gone through again."""
    ours, theirs, x = pair_and_input(kind)
    results = []
    for module in (ours, theirs):
        value = program(module, x)
        rows = torch.autograd.grad(
            value, [x], torch.tensor([1.0, -2.0]).double(), is_grads_batched=True, retain_graph=True
        )
        results.append([*rows, *torch.autograd.grad(value, [x])])
    assert_near(*results)


def test_a_step_of_an_inner_optimisation_is_differentiated() -> None:
    """MAML: the loss after a gradient step, by the weights before it."""
    ours, theirs, x = pair_and_input(Kind("LSTM"))

    def outer(module: nn.RNNBase) -> list[Tensor]:
        weights: dict[str, Tensor] = dict(module.named_parameters())
        inner = torch.func.functional_call(module, weights, (x,))[0].square().sum()
        steps = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {k: w - 0.1 * g for (k, w), g in zip(weights.items(), steps, strict=True)}
        loss = torch.func.functional_call(module, moved, (x.flip(0),))[0].cos().sum()
        return list(torch.autograd.grad(loss, list(weights.values())))

    assert_near(outer(ours), outer(theirs))


@every_kind
def test_a_checkpoint_whose_rerun_reads_what_a_hook_computed(kind: Kind) -> None:
    """The hook came after the first run: the saved numbers are the rerun's, the graph is not."""

    def first(module: nn.RNNBase) -> list[Tensor]:
        torch.manual_seed(0)
        x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
        states = [
            torch.randn(shape, dtype=torch.float64, requires_grad=True)
            for shape in state_shapes(module)
        ]
        output, _ = checkpoint(module, x, as_hx(states), use_reentrant=False)
        module.register_forward_pre_hook(lambda _, given: (2 * given[0], doubled(given[1])))
        sources = [x, *states, *module.parameters()]
        return list(torch.autograd.grad(output.square().sum(), sources, create_graph=True))

    def doubled(hx: Any) -> Any:
        return as_hx([2 * state for state in tensors(hx)])

    assert_near(*map(first, kind.pair(dtype=torch.float64, num_layers=2)))


FLAGS = {"frozen meanwhile": (True, False), "wanted only then": (False, True)}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("which", ["x", "h", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
@every_kind
def test_the_graph_is_that_of_the_forward_pass(
    kind: Kind, which: str, flags: tuple[bool, bool]
) -> None:
    """What is differentiated again was decided then, whatever requires a gradient by now."""

    def second(module: nn.RNNBase) -> list[Tensor | None]:
        torch.manual_seed(0)
        states = [torch.randn(shape, dtype=torch.float64) for shape in state_shapes(module)]
        x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
        sources = {"x": x, "h": states[0], **dict(module.named_parameters())}
        for name, source in sources.items():
            source.requires_grad_(flags[0] or name != which)
        value = torch.stack([t.square().sum() for t in tensors(module(x, as_hx(states)))]).sum()
        sources[which].requires_grad_(flags[1])
        others = [source for name, source in sources.items() if name != which]
        first = torch.autograd.grad(value, others, create_graph=True)
        sources[which].requires_grad_()
        value = torch.stack([g.square().sum() for g in first]).sum()
        return list(torch.autograd.grad(value, list(sources.values()), allow_unused=True))

    with unrolled.backend("native"):
        found, expected = map(second, kind.pair(dtype=torch.float64))
    assert [g is None for g in found] == [g is None for g in expected]
    assert_near(*[[g for g in gs if g is not None] for gs in (found, expected)])


assert HIDDEN >= INPUTS  # the outputs are read as inputs

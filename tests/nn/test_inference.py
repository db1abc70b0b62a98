"""What torch.inference_mode made is read by training, as torch has it.

Autograd saves no inference tensor and follows no view of one; a copy of one it does save.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support_nn import (
    Kind,
    assert_close,
    assert_same_error,
    every_kind,
    every_module,
    random_hx,
    random_input,
    tensors,
    total,
)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("steps", "batch"), [(1, 3), (4, 1), (4, 3)])
@every_kind
def test_training_on_what_an_inference_made(
    kind: Kind, steps: int, batch: int, *, batch_first: bool
) -> None:
    """Autograd does not save it. Torch may have copied a batch-first input, which it does save."""
    ours, theirs = kind.pair(batch_first=batch_first)
    with torch.inference_mode():
        x = torch.randn(*((batch, steps) if batch_first else (steps, batch)), ours.input_size)

    def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
        loss = module(x)[0].square().sum()
        return list(torch.autograd.grad(loss, list(module.parameters())))

    if batch_first and steps > 1 and batch > 1:
        assert_close(gradients(ours), gradients(theirs))
    else:
        assert_same_error(lambda: gradients(ours), lambda: gradients(theirs))


@every_kind
def test_what_an_inference_made_is_read_by_nothing_under_hooks(kind: Kind) -> None:
    """The weights that it is multiplied by are frozen, and no gradient asks for it."""
    ours, theirs = kind.pair(dtype=torch.float64)  # in float32 torch's LSTM is oneDNN's
    with torch.inference_mode():
        x = random_input(ours, dtype=torch.float64)

    def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
        module.get_parameter("weight_ih_l0").requires_grad_(False)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t):
            loss = module(x)[0].square().sum()
        return list(torch.autograd.grad(loss, [w for w in module.parameters() if w.requires_grad]))

    assert_close(gradients(ours), gradients(theirs))


def gradients_or_words(module: nn.Module, x: Tensor, hx: Any) -> list[Tensor | None] | str:
    """The first and second derivatives by all that was given, or what is said instead."""
    given = [t for t in (x, *tensors(hx), *module.parameters()) if t.requires_grad]
    found: list[Tensor | None] = []
    try:
        of = [*tensors(module(x, hx))]
        for _ in range(2):
            if not given or not any(t.requires_grad for t in of):
                break
            loss = total(t.square().sum() for t in of)
            found += torch.autograd.grad(loss, given, create_graph=True, allow_unused=True)
            of = [t for t in found if t is not None]
    except RuntimeError as error:
        return str(error)
    return found


def assert_same(ours: list[Tensor | None] | str, theirs: list[Tensor | None] | str) -> None:
    if isinstance(ours, str) or isinstance(theirs, str):
        assert ours == theirs
        return
    for found, expected in zip(ours, theirs, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            assert_close(found, expected, 1e-10)


@every_module
def test_gradients_switched_on_within_an_inference(kind: Kind) -> None:
    """What is made there is followed by nothing, whatever the switch says."""
    ours, theirs = kind.pair()
    x = random_input(ours)
    with torch.inference_mode(), torch.enable_grad():
        found, expected = tensors(ours(x)), tensors(theirs(x))
    assert_close(found, expected)
    for of_ours, of_theirs in zip(found, expected, strict=True):
        assert of_ours.requires_grad == of_theirs.requires_grad
        assert of_ours.is_inference() == of_theirs.is_inference()


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@every_module
def test_weights_that_an_inference_made(kind: Kind, *, bias: bool, frozen: bool) -> None:
    """A model that was copied in inference: only its biases get gradients, if anything does."""
    for wanted in itertools.product([False, True], repeat=2):
        found = []
        for module in kind.pair(bias=bias, dtype=torch.float64):
            with torch.inference_mode():
                copied = copy.deepcopy(module).requires_grad_(not frozen)
            torch.manual_seed(0)
            x = random_input(module, dtype=torch.float64, requires_grad=wanted[0])
            hx = random_hx(module, dtype=torch.float64, requires_grad=wanted[1])
            found.append(gradients_or_words(copied, x, hx))
        assert_same(*found)


@pytest.mark.parametrize("recompute_every", [None, 1])
@pytest.mark.parametrize("frozen", ["", "weight_ih", "weight_hh"])
@pytest.mark.parametrize("form", ["plain", "wants a gradient"])
@every_kind
def test_a_state_that_an_inference_made(
    kind: Kind, form: str, frozen: str, recompute_every: int | None
) -> None:
    """It is read where nothing that it is multiplied by learns, however the steps are kept."""
    found = []
    for module in kind.pair(dtype=torch.float64):
        if recompute_every is not None:
            module.recompute_every = recompute_every
        for name, weight in module.named_parameters():
            weight.requires_grad_(not frozen or not name.startswith(frozen))
        torch.manual_seed(0)
        x = random_input(module, dtype=torch.float64)
        with torch.inference_mode():
            wants = form == "wants a gradient"
            hx = random_hx(module, dtype=torch.float64, requires_grad=wants)
        found.append(gradients_or_words(module, x, hx))
    assert_same(*found)

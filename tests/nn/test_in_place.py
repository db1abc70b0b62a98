"""What a module gave or was given is changed in place before the backward pass, as torch has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from support_nn import Kind, every_kind, random_hx, random_input, tensors
from unrolled.cells import Cell, linear, tanh

EDITS: dict[str, Callable[[Tensor], Any]] = {
    "multiplied": lambda y: y.mul_(0.5),
    "relu": torch.relu_,
    "dropout": lambda y: nn.functional.dropout(y, 1.0, inplace=True),
    "a part": lambda y: y[..., :1].zero_(),
    "the data": lambda y: y.data.mul_(0.5),
    "by NumPy": lambda y: y.detach().numpy().fill(0.25),
    "detached": lambda y: y.detach().mul_(2),
}
every_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch_first": {"batch_first": True},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
}
every_form = pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)


MODIFIED = (
    "one of the variables needed for gradient computation has been modified by an inplace "
    "operation: "
)


def outcome(run: Callable[..., list[Tensor]], *given: Any) -> list[Tensor] | str:
    """The gradients, or what is said instead of them, but for what differs by the version."""
    try:
        return run(*given)
    except RuntimeError as error:
        # Torch takes given states apart, and then speaks of the parts.
        return MODIFIED if "Output 0 of Unbind" in str(error) else str(error).split("[")[0]


def assert_same(found: list[Tensor] | str, expected: list[Tensor] | str) -> None:
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """In float64: torch's LSTM in float32 runs on oneDNN, which saves its output."""
    torch.manual_seed(0)


def gradients_after(
    module: nn.RNNBase, x: Tensor, hx: Any, edit: Callable[[list[Tensor]], Any]
) -> list[Tensor]:
    results = tensors(module(x, hx))
    edit(results)
    loss = sum((r.square().sum() for r in results), start=x.new_zeros(()))
    return list(torch.autograd.grad(loss, [x, *module.parameters()]))


@pytest.mark.parametrize("which", [0, -1], ids=["output", "last state"])
@every_edit
@every_form
@every_kind
def test_a_result(
    kind: Kind, options: dict[str, Any], edit: Callable[[Tensor], Any], which: int
) -> None:
    ours, theirs = kind.pair(dtype=torch.float64, **options)
    x = random_input(ours, dtype=torch.float64, requires_grad=True)
    hx = random_hx(ours, dtype=torch.float64)
    found = [
        outcome(gradients_after, m, x, hx, lambda results: edit(results[which]))
        for m in (ours, theirs)
    ]
    assert_same(*found)


@every_edit
@every_kind
def test_an_unbatched_output(kind: Kind, edit: Callable[[Tensor], Any]) -> None:
    ours, theirs = kind.pair(dtype=torch.float64)
    x = random_input(ours, batch=None, dtype=torch.float64, requires_grad=True)
    found = [
        outcome(gradients_after, m, x, None, lambda results: edit(results[0]))
        for m in (ours, theirs)
    ]
    assert_same(*found)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("batch_first", [False, True])
@every_kind
def test_an_output_may_be_detached_in_place(kind: Kind, batch_first: bool, backend: Any) -> None:
    """No result is a view of something that its user can't see."""
    ours, _ = kind.pair(batch_first=batch_first)
    with unrolled.backend(backend):
        results = tensors(ours(random_input(ours)))
    for result in results:
        assert not result._is_view()
        result.detach_()
        assert result.grad_fn is None


FROZEN = {"nothing": "", "the input's weights": "weight_ih", "the hidden weights": "weight_hh"}


@pytest.mark.parametrize("frozen", FROZEN.values(), ids=FROZEN)
@pytest.mark.parametrize("target", ["x", "h", "weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("steps", [1, 3])
@every_kind
def test_what_was_given(kind: Kind, steps: int, target: str, frozen: str) -> None:
    """Torch minds it if its backward pass reads it, and so do we."""
    pair = kind.pair(dtype=torch.float64)
    x = torch.randn(steps, 3, 2, dtype=torch.float64)
    hx = random_hx(pair[0], dtype=torch.float64, requires_grad=True)

    def gradients(module: nn.RNNBase) -> list[Tensor]:
        for name, weight in module.named_parameters():
            weight.requires_grad_(not frozen or not name.startswith(frozen))
        given = x.clone().requires_grad_()
        states = [s * 1 for s in tensors(hx)]
        results = tensors(module(given * 1, tuple(states) if len(states) > 1 else states[0]))
        read = {"x": given, "h": states[0]}.get(target)
        with torch.no_grad():
            (module.get_parameter(f"{target}_l0") if read is None else read).mul_(0.5)
        loss = sum((r.square().sum() for r in results), start=x.new_zeros(()))
        return list(
            torch.autograd.grad(
                loss, [given, *tensors(hx), *[w for w in module.parameters() if w.requires_grad]]
            )
        )

    assert_same(*[outcome(gradients, m) for m in pair])


GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "a constant": lambda t: t.detach().clone(),
    "a leaf": lambda t: t.detach().clone().requires_grad_(),
    "computed": lambda t: t * 1,
}


def with_other_data(tensor: Tensor) -> None:
    tensor.data = tensor.data * 0.5


REPLACED = {"other data": with_other_data, "detached": torch.Tensor.detach_}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("which", [0, 1, -1], ids=["input", "hidden", "last state"])
@every_kind
def test_what_was_given_is_replaced(
    kind: Kind,
    which: int,
    given: Callable[[Tensor], Tensor],
    replace: Callable[[Tensor], Any],
    order: int,
) -> None:
    """The pass was over what it was; that is what is differentiated."""
    pair = kind.pair(dtype=torch.float64)
    x = random_input(pair[0], dtype=torch.float64, requires_grad=True)
    hx = random_hx(pair[0], dtype=torch.float64, requires_grad=True)

    def gradients(module: nn.RNNBase) -> list[Tensor]:
        read = [given(t) for t in (x, *tensors(hx))]
        results = tensors(module(read[0], tuple(read[1:]) if len(read) > 2 else read[1]))
        sources = [*module.parameters(), *[t for t in read if t.requires_grad]]
        replace(read[which])
        found = [sum((r.square().sum() for r in results), start=x.new_zeros(()))]
        for _ in range(order):
            value = sum((f.square().sum() for f in found), start=x.new_zeros(()))
            found = list(torch.autograd.grad(value, sources, create_graph=order > 1))
        return found

    assert_same(*[outcome(gradients, m) for m in pair])


@pytest.mark.parametrize("recompute_every", [None, 2])
@pytest.mark.parametrize("frozen", [False, True], ids=["", "input_frozen"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0", "weight_hh_l1"])
@every_kind
def test_a_weight_has_other_data(
    kind: Kind, name: str, order: int, *, frozen: bool, recompute_every: int | None
) -> None:
    """As when an average of the weights is put in their place before the backward pass."""
    pair = kind.pair(num_layers=2, dtype=torch.float64)
    x = random_input(pair[0], dtype=torch.float64, requires_grad=not frozen)

    def gradients(module: nn.RNNBase) -> list[Tensor]:
        if module is pair[0]:
            module.recompute_every = recompute_every
        found = tensors(module(x))
        with_other_data(module.get_parameter(name))
        for _ in range(order):
            value = sum((f.square().sum() for f in found), start=x.new_zeros(()))
            weights = [*module.parameters()]
            found = list(torch.autograd.grad(value, weights, create_graph=order > 1))
        return found

    assert_same(*[outcome(gradients, m) for m in pair])


UNSEEN: dict[str, Callable[[Tensor], Any]] = {
    "data": lambda t: t.data.mul_(1.5),
    "NumPy": lambda t: t.detach().numpy().__imul__(1.5),
}


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("write", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("target", ["x", "h", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
@every_kind
def test_a_write_that_autograd_does_not_see(
    kind: Kind, target: str, write: Callable[[Tensor], Any], options: dict[str, Any]
) -> None:
    """What repeats the forward pass would be a derivative of another pass: it is refused."""
    module, _ = kind.pair(**options)
    x = random_input(module, requires_grad=True)
    hx = random_hx(module)
    results = tensors(module(x, hx))
    given = {"x": x, "h": tensors(hx)[0]}.get(target)
    write(module.get_parameter(target) if given is None else given)
    loss = results[0].square().sum()
    torch.autograd.grad(loss, [*module.parameters()], retain_graph=True)
    with pytest.raises(RuntimeError, match="that autograd does not see"):
        torch.autograd.grad(loss, [x], create_graph=True)


class Late(Cell):
    """Shows what it computes a step later."""

    def step(self, x: Any, h: Any, late: Any) -> Any:
        return late, tanh(linear(x, h))


@pytest.mark.parametrize("write", UNSEEN.values(), ids=UNSEEN)
def test_a_write_that_only_a_last_state_shows(write: Callable[[Tensor], Any]) -> None:
    module = unrolled.Recurrent(Late, 2, 3)
    x = torch.randn(4, 3, 2, requires_grad=True)
    _, (_, late) = module(x)
    write(x[-1])
    with pytest.raises(RuntimeError, match="that autograd does not see"):
        torch.autograd.grad(late.sum(), [x], create_graph=True)


@every_kind
def test_the_batch_sizes_are_the_callers(kind: Kind) -> None:
    """Changed between forward and backward pass they led past the end of what was kept."""
    module, _ = kind.pair()
    packed = pack_padded_sequence(torch.randn(4, 3, 2), torch.tensor([4, 2, 1]))
    weights = list(module.parameters())
    expected = torch.autograd.grad(module(packed)[0].data.sum(), weights)
    sizes = packed.batch_sizes.clone()
    output, _ = module(PackedSequence(packed.data, sizes))
    sizes.fill_(10**6)
    found = torch.autograd.grad(output.data.sum(), weights)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_relu_hides_no_nan(backend: Any) -> None:
    ours, theirs = Kind("RNN", {"nonlinearity": "relu"}).pair()
    x = random_input(ours)
    x[1, 0, 0] = torch.nan
    with unrolled.backend(backend):
        found = torch.autograd.grad(ours(x)[0].sum(), list(ours.parameters()))
    expected = torch.autograd.grad(theirs(x)[0].sum(), list(theirs.parameters()))
    for of_ours, of_theirs in zip(found, expected, strict=True):
        assert torch.equal(of_ours.isnan(), of_theirs.isnan())

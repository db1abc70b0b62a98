"""What a forward pass leaves for the backward one: who holds it, and what if it was changed."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

import unrolled
from support_native import assert_like_the_reference, gradients
from support_nn import Kind, every_kind, random_hx
from unrolled.scan import layer, native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

every_way_of_keeping = pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "dropout": 0.5},
        {"num_layers": 2, "dropout": 0.5, "bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
        {"num_layers": 2, "recompute_every": 3},
    ],
    ids=["plain", "stack", "bidirectional", "batch_first", "recomputed"],
)


def kind_and_options(kind: Kind, options):
    options = dict(options)
    every = options.pop("recompute_every", None)
    module, _ = kind.pair(**options)
    module.recompute_every = every
    return module


@pytest.fixture
def kept(monkeypatch):
    """Weak references to all that a layer has kept for its backward pass."""
    found: list[weakref.ref[torch.Tensor]] = []
    original = layer.Scan.empty_kept

    def empty_kept(*args):
        kept = original(*args)
        found.extend(weakref.ref(tensor) for tensor in kept if tensor is not None)
        return kept

    monkeypatch.setattr(layer.Scan, "empty_kept", empty_kept)
    return found


def alive(references):
    return sum(reference() is not None for reference in references)


@every_way_of_keeping
def test_it_is_freed_by_the_backward_pass_even_if_the_loss_is_kept(options, kept):
    """As who adds losses up for a log does."""
    module = unrolled.LSTM(2, 3, **options)
    loss = module(torch.randn(5, 4, 2))[0].sum()
    assert alive(kept) == len(kept)
    loss.backward()
    assert len(kept) > 0
    assert alive(kept) == 0


def test_a_checkpoint_keeps_none_of_it(kept):
    module, x = unrolled.LSTM(2, 3), torch.randn(5, 4, 2, requires_grad=True)
    output, _ = checkpoint(module, x, use_reentrant=False)
    assert alive(kept) == 0
    found = torch.autograd.grad(output.sum(), [x, *module.parameters()])
    expected = torch.autograd.grad(module(x)[0].sum(), [x, *module.parameters()])
    assert all(map(torch.equal, found, expected))


def transposed(tensor):
    """The same numbers, side by side along the first dimension."""
    return tensor.T.contiguous().T if tensor.dim() == 2 else tensor.clone()


@pytest.mark.parametrize(
    "hooks",
    [save_on_cpu, lambda: saved_tensors_hooks(lambda t: t, transposed)],
    ids=["save_on_cpu", "another_layout"],
)
@every_way_of_keeping
@every_kind
def test_hooks_on_saved_tensors(kind: Kind, options, hooks):
    module = kind_and_options(kind, options)
    x, hx = torch.randn(5, 4, 2, requires_grad=True), random_hx(module, 4, requires_grad=True)
    if module.batch_first:
        x = x.detach().transpose(0, 1).contiguous().requires_grad_()
    torch.manual_seed(0)
    expected = gradients(module, x, hx)[1]
    torch.manual_seed(0)
    with hooks():
        found = gradients(module, x, hx)[1]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("twice", [1, 2], ids=["once", "twice"])
@every_way_of_keeping
def test_a_graph_that_is_retained_can_be_gone_through_again(options, twice):
    module = unrolled.GRU(2, 3, **options)
    output, _ = module(torch.randn(5, 4, 2))
    found = [
        torch.autograd.grad(output.sum(), list(module.parameters()), retain_graph=True)
        for _ in range(1 + twice)
    ]
    assert all(map(torch.equal, found[0], found[-1]))


@pytest.mark.parametrize("convert", ["half", "double", "bfloat16"])
def test_a_module_converted_before_the_backward_pass(convert):
    """The pass was over what it was, and so is its derivative."""
    module, x = unrolled.LSTM(2, 3), torch.randn(4, 5, 2, requires_grad=True)
    loss = module(x)[0].sum()
    (expected,) = torch.autograd.grad(loss, [x], retain_graph=True)
    getattr(module, convert)()
    assert torch.equal(torch.autograd.grad(loss, [x], retain_graph=True)[0], expected)
    with pytest.raises(RuntimeError, match="another dtype or device than in the forward pass"):
        torch.autograd.grad(loss, [x], create_graph=True)


def test_an_input_replaced_by_one_in_another_layout_is_read_as_it_lies():
    """Every number of it is one and the same number in memory."""
    module, x = unrolled.GRU(2, 3), torch.ones(4, 5, 2, requires_grad=True)
    loss = module(x)[0].sum()
    expected = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
    x.data = torch.ones(1).expand(4, 5, 2)
    found = torch.autograd.grad(loss, list(module.parameters()))
    assert all(map(torch.equal, found, expected))


# --- Nothing to keep.


@pytest.mark.parametrize("every", [None, 1, 2])
@every_kind
def test_steps_that_no_row_has(kind: Kind, every):
    """torch takes a packed sequence with such steps at its end, too."""
    module, _ = kind.pair(num_layers=2)
    module.recompute_every = every
    data = torch.randn(5, 2, requires_grad=True)
    output, _ = module(PackedSequence(data, torch.tensor([3, 2, 0, 0])))
    expected, _ = module(PackedSequence(data, torch.tensor([3, 2])))
    assert torch.equal(output.data, expected.data)
    leaves = [data, *module.parameters()]
    found = torch.autograd.grad(output.data.sum(), leaves)
    assert all(map(torch.equal, found, torch.autograd.grad(expected.data.sum(), leaves)))


@pytest.mark.parametrize("every", [None, 2])
@every_kind
def test_an_input_of_no_numbers(kind: Kind, every):
    """The constructor refuses it; weights that have been replaced may ask for it."""
    module, _ = kind.pair()
    module.recompute_every = every
    module.input_size = 0
    module.weight_ih_l0 = torch.nn.Parameter(
        module.get_parameter("weight_ih_l0").detach()[:, :0].clone()
    )
    assert_like_the_reference(module, torch.empty(4, 3, 0), random_hx(module, requires_grad=True))

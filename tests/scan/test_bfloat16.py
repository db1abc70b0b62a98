"""Passes in bfloat16: what is rounded and what is not, who computes them, and in which dtypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support_described import OPTIONAL, double, named
from support_native import gradients
from support_nn import Kind, every_kind, random_hx, tensors, use_backend
from unrolled import cells
from unrolled.nn import Recurrent
from unrolled.scan import engine, narrow, native, plan
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Given, read

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

WAYS = [
    (isa, way)
    for number, isa in enumerate(native.isas())
    for way in native.core.products(number, "bfloat16")
]
"""An instruction set, and a way to multiply rounded numbers that this machine has with it."""


@pytest.fixture(params=WAYS, ids="-".join)
def way(request, monkeypatch):
    """Passes run on this instruction set, and multiply rounded numbers in this way."""
    isa, name = request.param
    use_backend(monkeypatch, native.isas()[0])
    monkeypatch.setattr(native, "isa", lambda: native.isas().index(isa))
    products = plan._products

    def of_kind(kind, isa):
        return products(kind, isa) if kind.numbers == "whole" else name

    monkeypatch.setattr(plan, "_products", of_kind)
    plan._plans.cache_clear()
    yield name
    plan._plans.cache_clear()


every_way = pytest.mark.usefixtures("way")


def are_the_same_but_for_roundings(found: Tensor, expected: Tensor) -> bool:
    """Whether no number is far off, and most are the same but for the order of sums.

    That order now and then leaves a number on another side of a tie. It is then rounded 2⁻⁸ of its
    size away, which some numbers see, and most hardly. Where one side does not round what the other
    does, most see it.
    """
    assert found.dtype == expected.dtype
    scale = float(expected.detach().abs().max()) + 1e-30 if expected.numel() else 1.0
    apart = (found - expected).detach().abs().double().flatten() / scale
    few = max(2, apart.numel() * 3 // 4)
    return bool((apart <= 2**-7).all() and (apart > 5e-5).sum() <= few)


def assert_in_one_of(draws: int, agree: Callable[[], bool]) -> None:
    """In a small network one number that was rounded to another side may move all others."""
    assert any(agree() for _ in range(draws))


def rounds(module: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, whose passes in float32 round as those in bfloat16 do, but for the results."""
    name = "spec" if isinstance(module, Recurrent) else "_spec"
    spec = getattr(module, name)
    monkeypatch.setattr(module, name, lambda: narrow.narrowed(spec()))
    return module


def assert_like_the_reference(module: Any, draw: Callable[[], tuple[Any, ...]]) -> None:
    """``draw`` gives what the module is called with."""

    def agree() -> bool:
        given = draw()
        with unrolled.backend("native"):
            found = gradients(module, *given)
        with unrolled.backend("reference"):
            expected = gradients(module, *given)
        pairs = zip(chain(*found), chain(*expected), strict=True)
        return all(are_the_same_but_for_roundings(*pair) for pair in pairs)

    assert_in_one_of(4, agree)


@every_way
@pytest.mark.parametrize("hidden", [1, 2, 7, 16, 33, 70])
@every_kind
def test_the_core_rounds_where_the_reference_does(kind: Kind, hidden, monkeypatch):
    projected = {"proj_size": hidden // 2} if "proj_size" in kind.options else {}
    module, _ = kind.pair(hidden_size=hidden, **projected)
    rounds(module, monkeypatch)
    assert_like_the_reference(module, lambda: (torch.randn(3, 5, 2, requires_grad=True),))


@every_way
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 12])
@every_kind
def test_ragged_rows_of_a_stack_in_two_directions(kind: Kind, rows, monkeypatch):
    module, _ = kind.pair(num_layers=2, bidirectional=True)
    rounds(module, monkeypatch)

    def draw() -> tuple[Any, ...]:
        x, lengths = torch.randn(4, rows, 2), torch.randint(0, 5, (rows,))
        return x.requires_grad_(), random_hx(module, rows), lengths

    assert_like_the_reference(module, draw)


ODD = [cells.CIFG, cells.PeepholeLSTM, cells.LayerNormLSTM, cells.GRUResetBefore, cells.IndRNN]


@every_way
@pytest.mark.parametrize("cell", [*ODD, *OPTIONAL], ids=named)
def test_cells_that_are_written_down(cell, monkeypatch):
    module = double(cell, hidden=18).float().eval()
    rounds(module, monkeypatch)
    assert_like_the_reference(module, lambda: (torch.randn(4, 5, 3, requires_grad=True),))


def by_hand(module: nn.LSTM, x: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM's pass with numbers of float64, and products of those rounded to bfloat16."""

    def r(numbers: Tensor) -> Tensor:
        return numbers.float().bfloat16().double()

    w = {name: weight.double() for name, weight in module.named_parameters()}
    h = c = torch.zeros(x.shape[1], module.hidden_size, dtype=torch.float64)
    outputs = []
    for step in x:
        sums = r(step) @ r(w["weight_ih_l0"]).T + r(h) @ r(w["weight_hh_l0"]).T
        i, f, g, o = (sums + w["bias_ih_l0"] + w["bias_hh_l0"]).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), c


@every_way
def test_only_what_is_multiplied_is_rounded(monkeypatch):
    """Neither a state nor a gate nor a bias: against the equations written out in float64."""
    module = rounds(unrolled.LSTM(5, 40), monkeypatch)

    def agree() -> bool:
        x = torch.randn(12, 3, 5)
        with torch.no_grad():
            output, (_, cell) = module(x)
            expected, expected_cell = by_hand(module, x)
        pairs = (output, expected), (cell[0], expected_cell)
        return all(are_the_same_but_for_roundings(ours, by.float()) for ours, by in pairs)

    assert_in_one_of(4, agree)


SPECIAL = [
    0.0,
    -0.0,
    1.0,
    1 + 2**-8,
    1 + 3 * 2**-8,
    3.4e38,
    -3.4e38,
    torch.inf,
    -torch.inf,
    torch.nan,
]


@every_way
@pytest.mark.parametrize("number", SPECIAL)
def test_a_number_is_rounded_as_torch_rounds_it(number, monkeypatch):
    """To even where two are equally near, to infinity past the largest; NaN stays NaN."""
    module = unrolled.RNN(1, 1, nonlinearity="relu", bias=False)
    nn.init.ones_(next(module.parameters()))
    x = torch.tensor([[[number]]])
    with torch.no_grad():
        found, _ = rounds(module, monkeypatch)(x)
    torch.testing.assert_close(
        found, torch.relu(x.bfloat16().float()), rtol=0, atol=0, equal_nan=True
    )


# --- the same bits ----------------------------------------------------------------------------


@every_way
@every_kind
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(kind: Kind, monkeypatch):
    module, _ = kind.pair(hidden_size=37)
    rounds(module, monkeypatch)
    x = torch.randn(9, 11, 2)
    with torch.inference_mode():
        together, _ = module(x)
        for row in range(11):
            assert torch.equal(module(x[:, row : row + 1])[0], together[:, row : row + 1])


@every_way
@every_kind
def test_threads_and_stretches_don_t_change_a_bit(kind: Kind, monkeypatch):
    """Not of a gradient either, whatever the parity of the rows."""
    projected = {"proj_size": 31} if "proj_size" in kind.options else {}
    module, _ = kind.pair(input_size=40, hidden_size=64, **projected)
    rounds(module, monkeypatch)
    x, lengths = torch.randn(33, 21, 40), torch.randint(0, 34, (21,))

    def run(threads: int, every: int | None) -> list[Tensor]:
        module.recompute_every = every
        torch.set_num_threads(threads)
        try:
            results, found = gradients(module, x, None, lengths)
        finally:
            torch.set_num_threads(1)
        return [*results, *found]

    first = run(1, None)
    for threads, every in ((3, None), (1, 5), (2, 8)):
        for ours, expected in zip(run(threads, every), first, strict=True):
            assert torch.equal(ours, expected)


# --- in torch's dtypes ------------------------------------------------------------------------


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("state", [None, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("is_packed", [False, True], ids=["dense", "packed"])
@every_kind
def test_autocast_gives_torchs_dtypes_and_about_its_numbers(kind: Kind, is_packed, given, state):
    """Now and then relu passes a gradient on one side, and on the other not."""

    def run(module: nn.Module, x: Tensor, hx: Any) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output, last = module(pack_padded_sequence(leaf, [4, 3, 3]) if is_packed else leaf, hx)
            output = output.data if is_packed else output
        results = [output, *tensors(last)]
        loss = sum(result.float().square().sum() for result in results)
        return [*results, *torch.autograd.grad(loss, [leaf, *module.parameters()])]

    def agree() -> bool:
        ours, theirs = kind.pair()
        x = torch.randn(4, 3, 2).to(given)
        hx = None if state is None else random_hx(ours, dtype=state)
        near = []
        for found, expected in zip(run(ours, x, hx), run(theirs, x, hx), strict=True):
            assert found.dtype == expected.dtype
            apart = torch.linalg.vector_norm((found - expected).float())
            near.append(bool(apart <= 0.05 * torch.linalg.vector_norm(expected.float())))
        return all(near)

    assert_in_one_of(3, agree)


@every_kind
def test_a_module_in_bfloat16_runs_on_the_core(kind: Kind):
    module, _ = kind.pair(dtype=torch.bfloat16)
    x = torch.randn(4, 3, 2, dtype=torch.bfloat16)
    assert unrolled.which_backend(module, x).startswith("native")
    with unrolled.backend("native"):
        results, found = gradients(module, x.requires_grad_())
    assert {tensor.dtype for tensor in (*results, *found)} == {torch.bfloat16}


def test_a_described_cell_in_bfloat16_runs_on_the_core():
    module = double(cells.CIFG).bfloat16()
    x = torch.randn(4, 3, 3, dtype=torch.bfloat16)
    assert unrolled.which_backend(module, x).startswith("native")


def test_autocast_to_float16_stays_torchs():
    module, x = unrolled.LSTM(2, 3), torch.randn(4, 3, 2)
    with torch.autocast("cpu", torch.float16):
        assert unrolled.which_backend(module, x).startswith("torch")


def test_torchs_kernels_are_had_where_they_are_asked_for():
    module, x = nn.LSTM(2, 3).bfloat16(), torch.randn(4, 3, 2, dtype=torch.bfloat16)
    ours = unrolled.LSTM(2, 3).bfloat16()
    ours.load_state_dict(module.state_dict())
    with unrolled.backend("torch"):
        assert torch.equal(ours(x)[0], module(x)[0])


# --- under torch's tools --------------------------------------------------------------------------


def test_it_is_differentiated_twice():
    module = unrolled.GRU(2, 5).bfloat16()
    x = torch.randn(4, 3, 2, dtype=torch.bfloat16, requires_grad=True)

    def second(backend: Any) -> Tensor:
        with unrolled.backend(backend):
            output, _ = module(x)
            (first,) = torch.autograd.grad(output.float().square().sum(), x, create_graph=True)
            (found,) = torch.autograd.grad(
                first.float().square().sum(), list(module.parameters())[1]
            )
        return found

    torch.testing.assert_close(second("native"), second("reference"), rtol=0.02, atol=0.02)


def test_a_gradient_of_each_sample():
    module = unrolled.LSTM(2, 5).bfloat16()
    weights = dict(module.named_parameters())
    samples = torch.randn(3, 4, 1, 2, dtype=torch.bfloat16)

    def loss(weights: Any, x: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))[0].float().square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, samples)
    for row, sample in enumerate(samples):
        for name, expected in torch.func.grad(loss)(weights, sample).items():
            torch.testing.assert_close(each[name][row], expected, rtol=0.02, atol=0.02)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_tangent_goes_forward():
    module = unrolled.LSTM(2, 5).bfloat16()
    x, v = torch.randn(2, 4, 1, 2, dtype=torch.bfloat16)
    found = torch.func.jvp(lambda x: module(x)[0], (x,), (v,))[1]
    plain = unrolled.LSTM(2, 5)
    plain.load_state_dict(module.state_dict())
    expected = torch.func.jvp(lambda x: plain(x)[0], (x.float(),), (v.float(),))[1]
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def is_refused(loss: Tensor) -> bool:
    """Whether autograd says that something was changed."""
    try:
        loss.backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    return False


@pytest.mark.parametrize("casts", [False, True], ids=["bfloat16", "autocast"])
@pytest.mark.parametrize("what", ["input", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "output"])
@every_kind
def test_a_change_in_place_is_minded_where_torch_minds_it(kind: Kind, what, casts):
    pair = kind.pair(dtype=torch.float32 if casts else torch.bfloat16)
    told = []
    for module in pair:
        x = torch.randn(4, 3, 2).to(next(module.parameters()).dtype)
        leaf = x.requires_grad_().view_as(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            output, _ = module(leaf)
        loss = output.float().square().sum()
        with torch.no_grad():
            {"input": leaf, "output": output, **dict(module.named_parameters())}[what].mul_(2)
        told.append(is_refused(loss))
    if str(kind) == "LSTM" and what in ("bias_ih_l0", "output"):
        assert not told[0]  # oneDNN's node minds them, and needs neither
    else:
        assert told[0] == told[1]


def test_a_pass_says_in_its_text_that_it_rounds():
    module = unrolled.LSTM(2, 3)
    spec = narrow.narrowed(module._spec())
    assert read(spec.text).numbers == "bfloat16"
    assert read(replace(spec, numbers="whole").text).numbers == "whole"


def test_what_is_given_is_not_rounded():
    """The caller's tensors stay as they are, and their dtype decides."""
    module, x = unrolled.LSTM(2, 3), torch.randn(4, 3, 2)
    given = Given(Sequences(x), 3, None, (), list(module.parameters()))
    before = [tensor.clone() for tensor in given.tensors()]
    with torch.autocast("cpu", torch.bfloat16):
        engine.run(module._spec(), given)
    assert all(torch.equal(a, b) for a, b in zip(given.tensors(), before, strict=True))

"""The compiled core: who runs when, and what it promises beyond the same numbers."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import unrolled
from support_native import assert_like_the_reference, run_apart
from support_nn import Kind, every_kind, random_hx, use_backend
from unrolled.scan import engine, layer, native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

SIZES = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 70]
every_core = pytest.mark.parametrize("core", native.isas())


@every_core
@every_kind
@pytest.mark.parametrize("hidden", SIZES)
def test_any_hidden_size_is_right(core, kind: Kind, hidden, monkeypatch):
    use_backend(monkeypatch, core)
    options = {"proj_size": hidden // 2} if "proj_size" in kind.options and hidden > 1 else {}
    if "proj_size" in kind.options and not options:
        options = {"proj_size": 0}
    module, _ = kind.pair(hidden_size=hidden, dtype=torch.float64, **options)
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    assert_like_the_reference(module, x)


@every_core
@every_kind
@pytest.mark.parametrize("batch", range(15))
def test_any_number_of_rows_is_right(core, kind: Kind, batch, monkeypatch):
    use_backend(monkeypatch, core)
    module, _ = kind.pair(dtype=torch.float64, bidirectional=True)
    x = torch.randn(3, batch, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.randint(0, 4, (batch,))
    assert_like_the_reference(module, x, random_hx(module, batch, dtype=x.dtype), lengths)


@every_core
@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_forward_pass_is_the_same_to_the_bit_for_a_row_alone(core, kind, dtype, monkeypatch):
    use_backend(monkeypatch, core)
    module, _ = kind.pair(hidden_size=37, dtype=dtype)
    x = torch.randn(9, 11, 2, dtype=dtype)
    with torch.inference_mode():
        together, _ = module(x)
        for row in range(11):
            alone, _ = module(x[:, row : row + 1])
            assert torch.equal(alone, together[:, row : row + 1])


@every_kind
def test_inference_and_training_give_the_same_bits(kind: Kind):
    module, _ = kind.pair(num_layers=2)
    x = torch.randn(5, 3, 2)
    with torch.inference_mode():
        without, _ = module(x)
    assert torch.equal(without, module(x)[0])


@every_kind
def test_a_row_with_batch_first_is_read_where_it_lies(kind: Kind, monkeypatch):
    """No copy: the addresses that the core gets are those of the caller's memory."""
    module, _ = kind.pair(batch_first=True)
    x = torch.randn(3, 5, 2)
    seen = []
    original = layer.Scan.forward

    def forward(self, layout, data, *args):
        seen.append(data)
        return original(self, layout, data, *args)

    monkeypatch.setattr(layer.Scan, "forward", forward)
    with torch.inference_mode():
        output, _ = module(x)
    assert seen == [(x.data_ptr(), x.numel(), 0, x.stride(1), x.stride(0))]
    assert output.stride() == (output.shape[-1], 3 * output.shape[-1], 1)  # torch's


@every_kind
def test_a_weight_changed_between_forward_and_backward_is_refused(kind: Kind):
    module, _ = kind.pair()
    output, _ = module(torch.randn(4, 3, 2))
    with torch.no_grad():
        module.get_parameter("weight_hh_l0").add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("sizes", [[3, 2, 2], [2, 3], [3, 2, -1], [5], [4, 1]])
def test_a_packed_sequence_that_contradicts_itself_is_refused(sizes):
    """Data of 5 rows, 3 of them in the state: nothing is read past the end."""
    module = unrolled.GRU(2, 3)
    packed = PackedSequence(torch.randn(5, 2), torch.tensor(sizes))
    with pytest.raises(RuntimeError):
        module(packed, torch.zeros(1, 3, 3))


WEIGHTS = {
    "LSTM": ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0"],
    "GRU": ["weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"],
    "RNN": ["weight_ih_l0_reverse", "weight_hh_l0_reverse"],
}


@pytest.mark.parametrize(
    ("kind", "name", "dim"),
    [
        (kind, name, dim)
        for kind, names in WEIGHTS.items()
        for name in names
        for dim in range(1 if name.startswith("bias") else 2)
    ],
)
def test_a_weight_replaced_by_a_smaller_one_is_refused_as_by_torch(kind, name, dim):
    """Nothing is read past its end; torch raises the same type."""
    options = {"proj_size": 4} if kind == "LSTM" else {}
    options |= {"num_layers": 2, "bidirectional": True}
    for home in (unrolled, torch.nn):
        module = getattr(home, kind)(3, 8, **options)
        weight = getattr(module, name)
        smaller = weight.detach().narrow(dim, 0, weight.shape[dim] - 1).clone()
        setattr(module, name, torch.nn.Parameter(smaller))
        with pytest.raises(RuntimeError):
            module(torch.randn(4, 2, 3))


def test_a_tensor_that_is_negated_when_read_is_read_so():
    module = unrolled.GRU(2, 3)
    x = torch.randn(4, 5, 2)
    negated = torch._neg_view(x)
    assert torch.allclose(module(negated)[0], module(-x)[0], atol=1e-6)


def test_nan_and_infinity_stay_in_their_row():
    module = unrolled.GRU(2, 9)
    x = torch.randn(4, 5, 2)
    clean, _ = module(x)
    x[1, 2, 0], x[1, 3, 0] = float("nan"), float("inf")
    found, _ = module(x)
    assert found[1:, 2].isnan().all()
    assert torch.equal(found[:, [0, 1, 4]], clean[:, [0, 1, 4]])


# --- who runs -------------------------------------------------------------------------------------


def test_on_a_cpu_the_core_runs_by_itself():
    assert unrolled.which_backend(unrolled.LSTM(2, 3), torch.randn(4, 2)).startswith("native (")


@pytest.mark.parametrize(
    ("module", "data", "words"),
    [
        (unrolled.GRU(2, 3).half(), torch.zeros(4, 2).half(), "reference: .*float16"),
        (unrolled.GRU(2, 3, device="meta"), torch.zeros(4, 2, device="meta"), "torch: on meta"),
        (unrolled.GRUCell(2, 3), torch.zeros(4, 2), "torch: torch does a single step well"),
    ],
    ids=["float16", "meta", "cell"],
)
def test_who_runs_instead_and_why(module, data, words):
    assert re.match(words, unrolled.which_backend(module, data))


@pytest.fixture
def from_outside(monkeypatch):
    """Sets UNROLLED_BACKEND as if the process had been started with it."""

    def force(name):
        monkeypatch.setenv("UNROLLED_BACKEND", name)
        engine.from_outside.cache_clear()

    yield force
    engine.from_outside.cache_clear()


def test_what_is_forced_from_outside_gives_way_to_the_block(from_outside):
    module, x = unrolled.RNN(2, 3), torch.randn(4, 2)
    from_outside("torch")
    assert unrolled.which_backend(module, x) == "torch: it is forced"
    with unrolled.backend("reference"):
        assert unrolled.which_backend(module, x) == "reference: it is forced"


def test_native_says_so_where_it_is_forced_and_cannot():
    module = unrolled.LSTM(2, 3).half()
    with (
        unrolled.backend("native"),
        pytest.raises(RuntimeError, match=r"forced, and can't run this: .*float16"),
    ):
        module(torch.zeros(4, 2).half())


def test_a_backend_that_is_none_is_refused(from_outside):
    with pytest.raises(ValueError, match="one of auto, native"), unrolled.backend("cuda"):  # type: ignore[arg-type]
        pass
    from_outside("fast")
    with pytest.raises(ValueError, match="UNROLLED_BACKEND: one of auto"):
        unrolled.LSTM(2, 3)(torch.zeros(4, 2))


def test_another_module_is_refused():
    with pytest.raises(TypeError, match="one of unrolled's"):
        unrolled.which_backend(torch.nn.LSTM(2, 3), torch.zeros(4, 2))


@pytest.mark.parametrize("name", native.isas())
def test_the_instruction_set_can_be_forced_from_outside(name):
    code = (
        "import torch, unrolled;"
        "print(unrolled.which_backend(unrolled.LSTM(2, 3), torch.zeros(4, 2)))"
    )
    assert run_apart(code, UNROLLED_ISA=name).startswith(f"native ({name})")


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("UNROLLED_ISA", "mmx")
    native.isa.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="UNROLLED_ISA=mmx: this machine and build have"):
            unrolled.LSTM(2, 3)(torch.zeros(4, 2))
    finally:
        native.isa.cache_clear()

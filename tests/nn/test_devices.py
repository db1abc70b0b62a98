"""Our modules beside torch's on the CPU, and on an accelerator where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled
from support_nn import (
    BATCH,
    STEPS,
    Kind,
    assert_close,
    assert_same_error,
    every_cell,
    every_kind,
    every_module,
    random_hx,
    random_input,
    run_dense,
    run_lengths,
    run_packed,
    tensors,
    total,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 4e-6}
FORMS = {"dense": run_dense, "lengths": run_lengths, "packed": run_packed}

every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def _exact() -> Any:
    """Without TF32, which rounds to 10 bits whatever the tolerance."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def given_to(module: Any) -> tuple[Tensor, Any]:
    options = {"dtype": next(module.parameters()).dtype, "requires_grad": True}
    device = next(module.parameters()).device
    return random_input(module, device=device, **options), random_hx(
        module, device=device, **options
    )


def with_derivatives(results: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """The results, and the derivatives of a number that is made of them."""
    loss = total((result * result.detach().cos()).sum() for result in results)
    return [*results, *torch.autograd.grad(loss, leaves)]


@every_device
@every_kind
@pytest.mark.parametrize("run", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        *itertools.product(["auto", "torch"], TOLERANCE),
        ("reference", torch.float64),  # an accelerator's tanh in float32 is its own
    ],
    ids=str,
)
def test_values_and_gradients_are_torchs(
    device: str, kind: Kind, run: Callable[..., Any], backend: Any, dtype: torch.dtype
) -> None:
    # cuDNN draws masks of its own, which only cuDNN repeats.
    dropout = 0.0 if device != "cpu" and backend == "reference" else 0.4
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": dropout}
    ours, theirs = kind.pair(device=device, dtype=dtype, **options)
    x, hx = given_to(theirs)
    lengths = torch.randint(1, STEPS + 1, (BATCH,))
    found: list[list[Tensor]] = []
    for module in (ours, theirs):
        torch.manual_seed(1)
        with unrolled.backend(backend if module is ours else "auto"):
            results = [r for r in tensors(run(module, x, hx, lengths)) if r.is_floating_point()]
        found.append(with_derivatives(results, [x, *tensors(hx), *module.parameters()]))
    assert_close(found[0], found[1], TOLERANCE[dtype])


def assert_same_outcome(
    ours: Callable[[], Any], theirs: Callable[[], Any], tolerance: float = 4e-6
) -> None:
    try:
        expected = theirs()
    except RuntimeError:
        assert_same_error(ours, theirs)
    else:
        assert_close(ours(), expected, tolerance)


@every_device
@every_kind
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_single_layer_trains_as_torchs(
    device: str, kind: Kind, backend: Any, batch_first: bool, training: bool
) -> None:
    """Whose output is what torch's kernel keeps for its backward pass; cuDNN refuses in eval."""
    ours, theirs = kind.pair(device=device, batch_first=batch_first)
    x, hx = given_to(theirs)

    def trained(module: Any) -> list[Tensor]:
        results = tensors(module.train(training)(x, hx))
        return with_derivatives(results, [x, *tensors(hx), *module.parameters()])

    with unrolled.backend(backend):
        assert_same_outcome(lambda: trained(ours), lambda: trained(theirs))


@every_kind
@pytest.mark.parametrize("run", FORMS.values(), ids=FORMS)
def test_torchs_default_device_is_none_of_its_business(kind: Kind, run: Callable[..., Any]) -> None:
    ours, _ = kind.pair(num_layers=2, bidirectional=True)
    x = random_input(ours)
    lengths = torch.randint(1, STEPS + 1, (BATCH,))
    expected = tensors(run(ours, x, None, lengths))
    with torch.device("meta"):
        assert_close(ours(x, lengths=lengths.tolist()), ours(x, lengths=lengths))
        assert_close(tensors(run(ours, x, None, lengths)), expected)


@every_device
@every_cell
def test_a_cells_step_is_torchs(device: str, kind: Kind) -> None:
    ours, theirs = kind.pair(device=device, dtype=torch.float64)
    x, hx = given_to(theirs)
    found: list[list[Tensor]] = []
    for module in (ours, theirs):
        results = tensors(module(x, hx))
        found.append(with_derivatives(results, [x, *tensors(hx), *module.parameters()]))
    assert_close(found[0], found[1], 1e-12)


@every_device
@every_kind
def test_an_output_may_be_changed_in_place_where_torchs_may(device: str, kind: Kind) -> None:
    """On a GPU it may not: cuDNN keeps it. In float64, since on the CPU oneDNN keeps its own."""
    ours, theirs = kind.pair(device=device, dtype=torch.float64)
    x, hx = given_to(theirs)

    def trained(module: Any) -> list[Tensor]:
        output = module(x, hx)[0]
        output *= 0.5
        return with_derivatives([output], [x, *module.parameters()])

    assert_same_outcome(lambda: trained(ours), lambda: trained(theirs), 1e-12)


@every_device
@every_kind
def test_second_derivatives_of_a_carried_state_are_torchs(device: str, kind: Kind) -> None:
    ours, theirs = kind.pair(device=device, dtype=torch.float64)
    x, hx = given_to(theirs)
    found: list[list[Tensor]] = []
    for module in (ours, theirs):
        with torch.backends.cudnn.flags(enabled=False):  # which has no second derivatives
            _, last = module(x, hx)
            output, _ = module(x, last)
            (first,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
            found.append(with_derivatives([first], [x, *module.parameters()]))
    assert_close(found[0], found[1], 1e-11)


@every_device
@every_module
def test_a_state_elsewhere_is_refused_in_torchs_words(device: str, kind: Kind) -> None:
    ours, theirs = kind.pair(device=device)
    x, _ = given_to(theirs)
    elsewhere = random_hx(theirs, device="meta" if device == "cpu" else "cpu")
    assert_same_error(lambda: ours(x, elsewhere), lambda: theirs(x, elsewhere))


@every_device
@every_kind
def test_there_and_back_it_computes_what_it_did(device: str, kind: Kind) -> None:
    ours, _ = kind.pair(dtype=torch.float64)
    x = random_input(ours, dtype=torch.float64)
    before = ours(x)
    there = ours.to(device)(x.to(device))
    assert_close([result.cpu() for result in tensors(there)], before, 1e-12)
    assert_close(ours.to("cpu")(x), before, tolerance=0.0)


@every_device
@every_kind
def test_a_converted_model_stays_where_it_was(device: str, kind: Kind) -> None:
    _, theirs = kind.pair(device=device)
    x, hx = given_to(theirs)
    model = nn.ModuleList([theirs])
    expected = theirs(x, hx)
    unrolled.convert(model)
    assert type(model[0]) is kind.ours
    assert {weight.device.type for weight in model.parameters()} == {device}
    assert_close(model[0](x, hx), expected)


@every_device
@every_kind
def test_what_is_recorded_is_what_the_cpu_records(device: str, kind: Kind) -> None:
    ours, _ = kind.pair(dtype=torch.float64, num_layers=2)
    x = random_input(ours, dtype=torch.float64)
    expected = unrolled.record(ours, x, gradients=True)
    found = unrolled.record(ours.to(device), x.to(device), gradients=True)
    for layer, of in itertools.product(range(2), ("value", "gradient", "carried")):
        read: Any = {"gate": "hidden", "layer": layer, "kind": of}
        assert_close(found.get(**read).cpu(), expected.get(**read), 1e-12)


@every_device
@every_kind
def test_transforms_go_by_the_equations(device: str, kind: Kind) -> None:
    ours, _ = kind.pair(device=device, dtype=torch.float64)
    xs = torch.stack([random_input(ours, device=device, dtype=torch.float64) for _ in range(3)])
    found = torch.func.vmap(lambda x: ours(x)[0])(xs)
    assert_close(found, torch.stack([ours(x)[0] for x in xs]), 1e-12)


@every_device
@every_kind
def test_a_diagnosis_is_the_cpus(device: str, kind: Kind) -> None:
    ours, _ = kind.pair(dtype=torch.float64)
    x = torch.randn(12, BATCH, ours.input_size, dtype=torch.float64)
    expected = unrolled.diagnose(ours.eval(), x)
    found = unrolled.diagnose(ours.to(device), x.to(device))
    assert_close(found.saliency_by_lag, expected.saliency_by_lag, 1e-11)
    assert found.decay.rate == pytest.approx(expected.decay.rate, abs=1e-9)


@pytest.mark.parametrize("device", DEVICES[1:] or ["meta"])
@every_kind
def test_the_core_says_that_it_computes_on_the_cpu(device: str, kind: Kind) -> None:
    ours, _ = kind.pair(device=device)
    x = random_input(ours, device=device)
    message = f"native backend is forced, and can't run this: on {device}"
    with unrolled.backend("native"), pytest.raises(RuntimeError, match=message):
        ours(x)

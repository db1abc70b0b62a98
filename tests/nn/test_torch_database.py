"""torch's own database of modules (it ships in the wheel), run against our six classes.

The tests are those of torch's ``test/test_modules.py`` that apply to a CPU, under its names. Every
test goes over all samples that the database lists for a class, those with a ``PackedSequence``
included, which torch's tests leave out unless they compare devices.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import (
    ErrorModuleInput,
    ModuleErrorEnum,
    ModuleInfo,
    ModuleInput,
    module_db,
)
from torch.testing._internal.common_utils import freeze_rng_state, gradcheck, gradgradcheck

import unrolled.nn
from support_nn import tensors, total

NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


def our_info(name: str) -> ModuleInfo:
    """The database's entry for torch's class of that name, with our class in its place."""
    (info,) = [info for info in module_db if info.module_cls is getattr(nn, name)]
    info = copy.copy(info)
    info.module_cls = getattr(unrolled.nn, name)
    return info


@dataclass(frozen=True)
class Case:
    """One of our classes in one dtype and one mode."""

    name: str
    dtype: torch.dtype
    training: bool = True

    @property
    def info(self) -> ModuleInfo:
        return our_info(self.name)

    def __str__(self) -> str:
        return f"{self.name}-{self.dtype}-{'train' if self.training else 'eval'}"

    def samples(self, *, requires_grad: bool = False) -> list[ModuleInput]:
        options = {"requires_grad": requires_grad, "training": self.training}
        return list(
            self.info.module_inputs_func(
                self.info, device="cpu", dtype=self.dtype, with_packed_sequence=True, **options
            )
        )

    def error_samples(self) -> list[ErrorModuleInput]:
        options = {"requires_grad": False, "training": self.training}
        return list(
            self.info.module_error_inputs_func(self.info, device="cpu", dtype=self.dtype, **options)
        )

    def build(self, sample: ModuleInput, **factory: Any) -> nn.Module:
        """Our module, as the sample wants it built."""
        wanted = sample.constructor_input
        module = self.info.module_cls(*wanted.args, **wanted.kwargs, **factory)
        return module.to(self.dtype).train(self.training)

    def build_torch(self, sample: ModuleInput, like: nn.Module) -> nn.Module:
        """torch's module with the weights of ours."""
        wanted = sample.constructor_input
        module = getattr(nn, self.name)(*wanted.args, **wanted.kwargs).to(self.dtype)
        module.load_state_dict(like.state_dict())
        return module.train(self.training)


DTYPES = (torch.float32, torch.float64)
every_case = pytest.mark.parametrize(
    "case",
    [Case(name, dtype, mode) for name in NAMES for dtype in DTYPES for mode in (True, False)],
    ids=str,
)
# Numerical derivatives mean nothing in float32.
every_float64_case = pytest.mark.parametrize(
    "case", [Case(name, torch.float64, mode) for name in NAMES for mode in (True, False)], ids=str
)


def call(module: nn.Module, sample: ModuleInput) -> Any:
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def floats(value: Any) -> list[Tensor]:
    return [tensor for tensor in tensors(value) if tensor.is_floating_point()]


def changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A forward argument with ``change`` applied to the numbers in it, in the order of floats."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, PackedSequence):
        return value._replace(data=change(value.data))
    return tuple(changed(item, change) for item in value)


def assert_equal(found: Any, expected: Any) -> None:
    """The same tensors, each within 1e-5 of its largest entry.

    The database draws its inputs from -9 to 9; test_parity.py has the tight bounds.
    """
    for ours, theirs in zip(tensors(found), tensors(expected), strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * scale)


def gradients(output: Any, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of the sum of all outputs, each weighted by its place."""
    weighted = [
        (o * torch.linspace(1, 2, o.numel(), dtype=o.dtype).view(o.shape)).sum()
        for o in floats(output)
    ]
    return torch.autograd.grad(total(weighted), leaves)


def test_database_lists_what_we_think() -> None:
    """Else an empty database would pass every test below.

    58 is the number of entries returned by the six classes' ``module_error_inputs_func`` for one
    dtype: 14 for each of RNN, LSTM and GRU, 6 for RNNCell and GRUCell, 4 for LSTMCell.
    """
    cases = [Case(name, torch.float32) for name in NAMES]
    assert [len(case.samples()) for case in cases] == [64, 32, 32, 3, 2, 2]
    assert sum(len(case.error_samples()) for case in cases) == 58


@every_case
def test_errors(case: Case) -> None:
    for sample in case.error_samples():
        wanted = sample.module_error_input
        if sample.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(sample.error_type, match=sample.error_regex):
                case.build(wanted)
        else:
            module = case.build(wanted)
            with pytest.raises(sample.error_type, match=sample.error_regex):
                call(module, wanted)


@every_case
def test_forward(case: Case) -> None:
    for sample in case.samples():
        module = case.build(sample)
        assert_equal(call(module, sample), call(case.build_torch(sample, module), sample))


@every_case
def test_forward_equals_reference_fn(case: Case) -> None:
    """Unbatched is a batch of one, says the database. It says nothing of a PackedSequence."""
    for sample in case.samples():
        if isinstance(sample.forward_input.args[0], PackedSequence):
            continue
        module, forward = case.build(sample), sample.forward_input
        expected = sample.reference_fn(module, *forward.args, **forward.kwargs)
        assert_equal(call(module, sample), expected)


def sample_gradients(module: nn.Module, arguments: Any, sample: ModuleInput) -> tuple[Tensor, ...]:
    output = module(*arguments, **sample.forward_input.kwargs)
    return gradients(output, [*floats(arguments), *module.parameters()])


def error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """The largest distance of a gradient from the exact one, by the latter's largest entry."""
    return max(
        ((a - b).abs().max() / b.abs().max().clamp(min=1.0)).item()
        for a, b in zip(found, exact, strict=True)
    )


@every_case
def test_gradients_equal_torchs(case: Case) -> None:
    """As near to torch's gradients in float64 as torch's own are, in the dtype of the case.

    With inputs from -9 to 9, a gradient can be the small rest of two large ones, or hang on
    1 - z of a gate that is nearly 1: torch's float32 gradients are then wrong by up to 3e-5. In
    1,000 seeds our error came to 0.7 of what is allowed here.
    """
    for sample in case.samples(requires_grad=True):
        module = case.build(sample)
        theirs = case.build_torch(sample, module)
        arguments = sample.forward_input.args
        doubled = tuple(
            changed(value, lambda t: t.detach().double().requires_grad_(t.requires_grad))
            for value in arguments
        )
        exact = sample_gradients(copy.deepcopy(theirs).double(), doubled, sample)
        torchs = error(sample_gradients(theirs, arguments, sample), exact)
        assert error(sample_gradients(module, arguments, sample), exact) <= 1e-5 + 4 * torchs


@every_case
def test_non_contiguous_tensors(case: Case) -> None:
    def spread(tensor: Tensor) -> Tensor:
        """The same values with a gap after each."""
        wide = tensor.detach().repeat_interleave(2, dim=-1)[..., ::2]
        assert not wide.is_contiguous()
        return wide.requires_grad_(tensor.requires_grad)

    for sample in case.samples(requires_grad=True):
        module = case.build(sample)
        arguments = sample.forward_input.args
        expected = call(module, sample)
        leaves = [*floats(arguments), *module.parameters()]
        expected_gradients = gradients(expected, leaves)
        for parameter in module.parameters():
            parameter.data = spread(parameter.data)
        scattered = changed(arguments, spread)
        found = module(*scattered)
        assert_equal(found, expected)
        leaves = [*floats(scattered), *module.parameters()]
        assert_equal(gradients(found, leaves), expected_gradients)


def check_derivatives(case: Case, check: Callable[..., bool]) -> None:
    """``check`` on the module as a function of its inputs and all of its weights."""
    for sample in case.samples(requires_grad=True):
        module, arguments = case.build(sample), sample.forward_input.args
        names = [name for name, _ in module.named_parameters()]
        inputs = floats(arguments)

        def function(
            *values: Tensor,
            module: nn.Module = module,
            names: list[str] = names,
            arguments: Any = arguments,
        ) -> tuple[Tensor, ...]:
            weights = dict(zip(names, values, strict=False))
            given = iter(values[len(names) :])
            with freeze_rng_state():
                replaced = changed(arguments, lambda _: next(given))
                return tuple(floats(torch.func.functional_call(module, weights, replaced)))

        assert check(function, (*module.parameters(), *inputs))


@every_float64_case
def test_grad(case: Case) -> None:
    check_derivatives(case, gradcheck)


@every_float64_case
def test_gradgrad(case: Case) -> None:
    check_derivatives(case, gradgradcheck)


@every_case
def test_pickle(case: Case) -> None:
    for sample in case.samples():
        module = case.build(sample)
        expected = call(module, sample)
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert type(loaded) is type(module)
        assert_equal(call(loaded, sample), expected)


@every_case
def test_save_load(case: Case) -> None:
    for sample in case.samples():
        module = case.build(sample)
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        loaded = case.build(sample)
        loaded.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert_equal(call(loaded, sample), call(module, sample))


@every_case
def test_repr(case: Case) -> None:
    for sample in case.samples():
        module = case.build(sample)
        assert repr(module) == str(module) == repr(case.build_torch(sample, module))


@every_case
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_factory_kwargs(case: Case, device: str) -> None:
    for sample in case.samples():
        module = case.build(sample, device=device, dtype=case.dtype)
        assert {parameter.device.type for parameter in module.parameters()} == {device}
        assert {parameter.dtype for parameter in module.parameters()} == {case.dtype}


@contextlib.contextmanager
def swapping_parameters(swap: bool) -> Iterator[None]:
    """Whether a conversion swaps the parameters for new ones or gives the old ones new data."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@every_case
@pytest.mark.parametrize("swap", [False, True], ids=["set_data", "swap_tensors"])
def test_to(case: Case, swap: bool) -> None:
    """Converted there and back, by either of torch's ways, it still runs on its own weights."""
    other = torch.float32 if case.dtype == torch.float64 else torch.float64
    for sample in case.samples():
        module = case.build(sample)
        theirs = case.build_torch(sample, module)
        for converted in (module, theirs):
            with swapping_parameters(swap):
                converted.to(other).to(case.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            with torch.no_grad():
                for parameter in converted.parameters():
                    parameter.mul_(0.5)
        assert_equal(call(module, sample), call(theirs, sample))


@every_case
def test_to_empty(case: Case) -> None:
    """A module born on the meta device runs once it has memory and weights."""
    for sample in case.samples():
        module = case.build(sample)
        born = case.build(sample, device="meta").to_empty(device="cpu")
        born.load_state_dict(module.state_dict())
        assert_equal(call(born, sample), call(module, sample))


@pytest.mark.parametrize("name", NAMES)
def test_if_train_and_eval_modes_differ(name: str) -> None:
    """A module that reads its mode fails without one, and the database says which do."""
    case = Case(name, torch.float32)
    for sample in case.samples():
        module = case.build(sample)
        del module.training
        if case.info.train_and_eval_differ:
            with pytest.raises(AttributeError, match="'training'"):
                call(module, sample)
        else:
            call(module, sample)

"""What the tests of ``unrolled.nn`` share: our modules beside torch's, with the same weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import unrolled.nn
from unrolled.scan import engine, native

# All different, so that no two dimensions can be mixed up unseen.
STEPS, BATCH, INPUTS, HIDDEN, PROJECTED = 4, 3, 2, 6, 5


@dataclass(frozen=True)
class Kind:
    """A recurrent module, ours and torch's, with the options that make it one of a kind."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> type[nn.RNN | nn.LSTM | nn.GRU]:
        return getattr(unrolled.nn, self.name)

    @property
    def theirs(self) -> type[nn.RNN | nn.LSTM | nn.GRU]:
        return getattr(nn, self.name)

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.options.values())])

    def pair(self, **options: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
        """Our module and torch's with the same weights."""
        options = {"input_size": INPUTS, "hidden_size": HIDDEN, **self.options, **options}
        with expected_warning(options):
            theirs = self.theirs(**options)
        with expected_warning(options):
            ours = self.ours(**options)
        ours.load_state_dict(theirs.state_dict())
        return ours, theirs


KINDS = [
    Kind("RNN", {"nonlinearity": "tanh"}),
    Kind("RNN", {"nonlinearity": "relu"}),
    Kind("LSTM"),
    Kind("LSTM", {"proj_size": PROJECTED}),
    Kind("GRU"),
]
CELLS = [
    Kind("RNNCell", {"nonlinearity": "tanh"}),
    Kind("RNNCell", {"nonlinearity": "relu"}),
    Kind("LSTMCell"),
    Kind("GRUCell"),
]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
every_cell = pytest.mark.parametrize("kind", CELLS, ids=str)
every_module = pytest.mark.parametrize("kind", KINDS + CELLS, ids=str)


CORES = [native.isas()[native.isa()]] if native.is_built() else []
BACKENDS = ["reference", *CORES]
"""The reference, and the compiled core: on this machine's best instruction set, or on the one that
``UNROLLED_ISA`` names (``make test-isas``)."""


def use_backend(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Forces one of :data:`BACKENDS` for the length of a test."""
    monkeypatch.setattr(engine, "from_outside", lambda: "native" if name in CORES else name)
    if name == "reference":
        return
    monkeypatch.setattr(native, "isa", lambda: native.isas().index(name))


def expected_warning(options: Mapping[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """The constructor's warning that dropout does nothing in a single layer, if it is due."""
    if options.get("dropout", 0) > 0 and options.get("num_layers", 1) == 1:
        return pytest.warns(UserWarning, match="dropout option adds dropout after all but last")
    return contextlib.nullcontext()


def state_shapes(module: nn.Module, batch: int | None = BATCH) -> list[tuple[int, ...]]:
    """The shapes of the module's states, hidden first; without a batch dimension for None."""
    assert isinstance(module, nn.RNNBase | nn.RNNCellBase)
    rows = () if batch is None else (batch,)
    widths = [getattr(module, "proj_size", 0) or module.hidden_size]
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        widths.append(module.hidden_size)
    if isinstance(module, nn.RNNCellBase):
        return [(*rows, width) for width in widths]
    depth = module.num_layers * (2 if module.bidirectional else 1)
    return [(depth, *rows, width) for width in widths]


def random_hx(module: nn.Module, batch: int | None = BATCH, **options: Any) -> Any:
    """A random state as the module takes it: a tensor, or a pair for an LSTM."""
    states = [torch.randn(shape, **options) for shape in state_shapes(module, batch)]
    return tuple(states) if len(states) > 1 else states[0]


def random_input(module: nn.Module, *, batch: int | None = BATCH, **options: Any) -> Tensor:
    """A random input as the module takes it: a batch of sequences, or of steps for a cell."""
    assert isinstance(module, nn.RNNBase | nn.RNNCellBase)
    shape = [] if batch is None else [batch]
    if not isinstance(module, nn.RNNCellBase):
        shape.insert(1 if module.batch_first else 0, STEPS)
    return torch.randn(*shape, module.input_size, **options)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples and lists, in order; a PackedSequence is a tuple too."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors(item)]
    return []


def total(terms: Iterable[Tensor]) -> Tensor:
    """Their sum, which is a tensor; ``sum`` adds them to the number 0."""
    return functools.reduce(torch.add, terms)


def grad_of(tensor: Tensor) -> Tensor:
    """The gradient that has arrived at a leaf."""
    assert tensor.grad is not None
    return tensor.grad


def run_dense(module: nn.RNNBase, input: Tensor, hx: Any, lengths: Tensor) -> Any:
    del lengths
    return module(input, hx)


def run_packed(module: nn.RNNBase, input: Tensor, hx: Any, lengths: Tensor) -> Any:
    """The module on a PackedSequence: unsorted, unless the lengths happen to be sorted."""
    is_sorted = bool((lengths.diff() <= 0).all())
    packed = pack_padded_sequence(input, lengths, module.batch_first, enforce_sorted=is_sorted)
    output, last = module(packed, hx)
    assert isinstance(output, PackedSequence)
    return output, last


def run_lengths(module: nn.RNNBase, input: Tensor, hx: Any, lengths: Tensor) -> Any:
    """Our ``lengths`` argument; for torch's module the three calls that it replaces."""
    if type(module).__module__.startswith("unrolled"):
        return module(input, hx, lengths)
    packed = pack_padded_sequence(input, lengths, module.batch_first, enforce_sorted=False)
    output, last = module(packed, hx)
    steps = input.shape[1 if module.batch_first else 0]
    output, _ = pad_packed_sequence(output, module.batch_first, total_length=steps)
    return output, last


def assert_close(found: Any, expected: Any, tolerance: float = 4e-6) -> None:
    """The same number of tensors, each of the same shape, dtype, device and values."""
    for ours, theirs in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def assert_same_error(ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Both raise, the same type in the same words."""
    with pytest.raises(Exception) as expected:  # noqa: PT011 - theirs says which
        theirs()
    with pytest.raises(expected.type) as raised:
        ours()
    assert raised.type is expected.type
    assert str(raised.value) == str(expected.value)

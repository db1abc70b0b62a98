"""Programs of our modules: the bytes say what is made, how it lies in memory, and what is done.

Each byte is a choice, so that every input is a program, and a mutation is another one. What a
program does wrong (lengths past the end, a state of another shape, memory changed between forward
and backward) may be refused or give other numbers; what is right may not raise, and gives the
reference's numbers. The core reads bare addresses: under the sanitizers (``make fuzz``) a read past
an end shows.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from unrolled.errors import InputError
from unrolled.scan import native

Value = TypeVar("Value")

SUFFIX = ".program"

REFUSALS = (InputError, RuntimeError, ValueError, TypeError, IndexError)
"""What a program that does something wrong may raise."""


def _random(seed: int) -> Callable[[], bytes]:
    return lambda: Random(seed).randbytes(64)


SEEDS: Mapping[str, Callable[[], bytes]] = {
    "nothing_chosen": lambda: b"",
    # A hook's float64 in the place of a saved float32, which was read past its end.
    "another_dtype_comes_back": lambda: bytes.fromhex(
        "c1bca085abe9066a604983ce8629ad4d57fce2f51780995d9ae3245fb82cfd9d1fc4b53884b4cec047b4ef9649"
    ),
    **{f"random_{seed}": _random(seed) for seed in range(24)},
}


@dataclass
class Choices:
    """The bytes, one for each choice; the first of the options when they are spent."""

    data: bytes
    spent: int = 0
    wrong: bool = False  # whether something was chosen that may be refused
    as_ever: bool = True  # whether the numbers have to be the reference's

    def of(self, *options: Value) -> Value:
        byte = self.data[self.spent] if self.spent < len(self.data) else 0
        self.spent += 1
        return options[byte % len(options)]

    def wrongly(self, right: Value, *wrong: Value) -> Value:
        """``right``, or, seldom and once in a program, one of the wrong ones."""
        is_wrong = self.of(*[False] * 39, True)
        if self.wrong or not is_wrong:
            return right
        self.wrong = True
        return self.of(*wrong)


def run(data: bytes) -> None:
    """Makes and runs the program that the bytes are.

    Raises:
        AssertionError: The numbers are not the reference's.
        Exception: Whatever a right program raised, or a wrong one beside :data:`REFUSALS`.
    """
    choices = Choices(data)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(choices.of(1, 2, 1, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dropout in one layer, and the like
            _program(choices)
    except REFUSALS:
        if not choices.wrong:
            raise
    finally:
        torch.set_num_threads(threads)


def _program(choices: Choices) -> None:
    module = _module(choices)
    arguments = _arguments(choices, module)
    weights = _weights(choices, module)
    expected = None
    if native.is_built() and not choices.wrong:
        with unrolled.backend("reference"), torch.no_grad():
            expected = functional_call(module, weights, arguments)
    with _mode(choices), _hooks(choices):
        results = functional_call(module, weights, arguments)
    if expected is not None and choices.as_ever:
        tolerance = 1e-9 if module.weight_hh_l0.dtype == torch.float64 else 1e-3
        for found, right in zip(_tensors(results), _tensors(expected), strict=True):
            # Of the greatest, since relu's states may grow without end and cancel out.
            most = float(right.abs().max()) if right.numel() else 0.0
            atol = tolerance * max(1.0, most)
            torch.testing.assert_close(found.detach(), right, rtol=tolerance, atol=atol)
    outputs = [result for result in _tensors(results) if result.requires_grad]
    if outputs:
        leaves = [*_tensors(arguments), *module.parameters(), *_tensors(list(weights.values()))]
        _backward(choices, outputs, [leaf for leaf in leaves if leaf.requires_grad], arguments)


# --- What is made.


def _module(choices: Choices) -> nn.RNNBase:
    kind = choices.of(unrolled.LSTM, unrolled.GRU, unrolled.RNN)
    hidden = choices.of(3, 1, 2, 5, 8, 16, 17, 33, 64)
    options: dict[str, Any] = {
        "num_layers": choices.of(1, 2, 1, 3),
        "bias": choices.of(True, True, False),
        "batch_first": choices.of(False, True),
        "dropout": choices.of(0.0, 0.0, 0.5),
        "bidirectional": choices.of(False, True),
        "dtype": choices.of(torch.float32, torch.float64),
        "recompute_every": choices.wrongly(choices.of(None, 1, 2, 3, 7, 1000), 0, -1, 2**62, 0.5),
    }
    if kind is unrolled.RNN:
        options["nonlinearity"] = choices.of("tanh", "relu")
    if kind is unrolled.LSTM and hidden > 1:
        options["proj_size"] = choices.of(0, 0, 1, hidden - 1)
    inputs = choices.of(2, 1, 3, 4, 7, 16, 33)
    module: nn.RNNBase = kind(choices.wrongly(inputs, 0, -1), hidden, **options)
    if choices.of(False, False, True):
        module.eval()
    elif options["dropout"]:
        choices.as_ever = False
    return module


def _arguments(choices: Choices, module: nn.RNNBase) -> tuple[Any, ...]:
    steps = choices.of(4, 1, 2, 3, 7, 20, 65)
    batch = choices.of(3, 1, 2, 5, 17, 0)
    shape = (batch, steps) if module.batch_first else (steps, batch)
    x = _tensor(choices, (*shape, module.input_size + choices.wrongly(0, 1, -1)), module)
    states = _states(choices, module, batch)
    how = choices.of("dense", "dense", "lengths", "packed")
    if how == "dense" or batch == 0:
        return x, states
    lengths = [choices.of(*range(1, steps + 1)) for _ in range(batch)]
    if how == "packed":
        return _packed(choices, x, lengths, batch_first=module.batch_first), states
    lengths = [choices.wrongly(choices.of(n, n, 0), steps + 1, -1, 2**62) for n in lengths]
    lengths += choices.wrongly([], [1], [2**31])
    return (
        x,
        states,
        choices.of(lengths, torch.tensor(lengths), torch.tensor(lengths)[:, None][:, 0]),
    )


def _packed(
    choices: Choices, x: Tensor, lengths: list[int], *, batch_first: bool
) -> PackedSequence:
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)
    sizes = choices.wrongly(
        packed.batch_sizes,
        packed.batch_sizes + 1,
        packed.batch_sizes.flip(0),
        -packed.batch_sizes,
        packed.batch_sizes[:-1],
        packed.batch_sizes * 2**40,
    )
    return packed._replace(batch_sizes=sizes)


def _states(choices: Choices, module: nn.RNNBase, batch: int) -> Any:
    if choices.of(False, True):
        return None
    depth = module.num_layers * (2 if module.bidirectional else 1)
    batch += choices.wrongly(0, 1, -batch)
    widths = [module.proj_size or module.hidden_size]
    widths += [module.hidden_size] * (module.mode == "LSTM")
    states = [_tensor(choices, (depth, batch, width), module) for width in widths]
    if len(states) == 1:
        return states[0]
    return (states[0], states[0]) if choices.wrongly(False, True) else tuple(states)


def _weights(choices: Choices, module: nn.RNNBase) -> dict[str, Tensor]:
    """In the place of some of its weights, others that may lie in memory in any way."""
    replaced = {}
    for name, weight in module.named_parameters():
        what = choices.of("own", "own", "own", "frozen", "view")
        if what == "frozen":
            weight.requires_grad_(False)
        if what == "view":
            shape = tuple(size + choices.wrongly(0, -1, 1) for size in weight.shape)
            # Small, so that no network is chaotic, of which every rounding makes another.
            replaced[name] = _tensor(choices, shape, module, 0.5 / max(1, *shape))
    return replaced


def _tensor(
    choices: Choices, shape: tuple[int, ...], module: nn.RNNBase, scale: float = 0.5
) -> Tensor:
    """Random numbers of this shape, in memory in any way, of which gradients may be wanted."""
    dtype: torch.dtype = module.weight_ih_l0.dtype  # type: ignore[assignment]
    other = torch.float32 if dtype == torch.float64 else torch.float64
    dtype = choices.wrongly(dtype, other, torch.int64, torch.float16)
    data = _laid_out(choices, shape, dtype, scale)
    if choices.of(False, True) and data.is_floating_point():
        data.requires_grad_()
    return data


def _laid_out(
    choices: Choices, shape: Sequence[int], dtype: torch.dtype, scale: float = 0.5
) -> Tensor:
    how = choices.of("dense", "dense", "transposed", "gaps", "expanded", "overlapping", "end")
    if how == "transposed":
        return _numbers(shape[::-1], dtype, scale).permute(*range(len(shape) - 1, -1, -1))
    if how == "gaps":
        return _numbers([2 * size for size in shape], dtype, scale)[
            (slice(1, None, 2),) * len(shape)
        ]
    if how == "expanded":
        return _numbers([1, *shape[1:]], dtype, scale).expand(*shape)
    if how == "overlapping":
        return _numbers([sum(shape) + 1], dtype, scale).as_strided(tuple(shape), (1,) * len(shape))
    if how == "end":  # nothing comes after it in memory
        count = int(torch.tensor(shape).prod())
        return _numbers([count + 3], dtype, scale)[3:].view(*shape)
    return _numbers(shape, dtype, scale)


def _numbers(shape: Sequence[int], dtype: torch.dtype, scale: float) -> Tensor:
    numbers = torch.randn([max(0, size) for size in shape], dtype=torch.float64)
    return (scale * numbers).to(dtype)


# --- What is done to it.


def _mode(choices: Choices) -> contextlib.AbstractContextManager[object]:
    return choices.of(
        contextlib.nullcontext(),
        contextlib.nullcontext(),
        torch.no_grad(),
        torch.inference_mode(),
        torch.enable_grad(),
    )


@contextlib.contextmanager
def _hooks(choices: Choices) -> Iterator[None]:
    """Seldom, what is saved for the backward pass comes back in other memory, or is another."""
    right: Callable[[Tensor], Tensor] = Tensor.clone
    back = choices.of(*[None] * 5, right, _with_gaps, _transposed)
    back = choices.wrongly(back, _of_another_dtype, _shorter)
    if back is None:
        yield
        return
    with saved_tensors_hooks(Tensor.detach, back):
        yield


def _with_gaps(saved: Tensor) -> Tensor:
    return saved.repeat_interleave(2, -1)[..., ::2] if saved.dim() else saved


def _transposed(saved: Tensor) -> Tensor:
    return saved.clone().transpose(0, -1).contiguous().transpose(0, -1) if saved.dim() else saved


def _of_another_dtype(saved: Tensor) -> Tensor:
    return saved.to(torch.float32 if saved.dtype == torch.float64 else torch.float64)


def _shorter(saved: Tensor) -> Tensor:
    return saved[:-1].clone() if saved.dim() else saved


def _backward(
    choices: Choices, outputs: list[Tensor], leaves: list[Tensor], arguments: tuple[Any, ...]
) -> None:
    _edit(choices, outputs, leaves, arguments)
    outputs = choices.of(outputs, outputs[:1], outputs[-1:])
    gradients = [_laid_out(choices, each.shape, each.dtype) for each in outputs]
    twice = choices.of(False, False, True)
    found = torch.autograd.grad(
        outputs, leaves, gradients, retain_graph=True, create_graph=twice, allow_unused=True
    )
    again = [each for each in found if each is not None and each.requires_grad]
    if again:
        torch.autograd.grad(
            [each.sum() for each in again], leaves, retain_graph=True, allow_unused=True
        )
    if choices.of(False, True):
        torch.autograd.grad(outputs, leaves, gradients, allow_unused=True)


def _edit(
    choices: Choices, outputs: list[Tensor], leaves: list[Tensor], arguments: tuple[Any, ...]
) -> None:
    """Seldom, something is changed in place between the forward and the backward pass."""
    integers = [each for each in _tensors(arguments) if not each.is_floating_point()]
    what = choices.wrongly(None, "output", "leaf", "data", "integers")
    with torch.no_grad():
        if what == "output":
            choices.of(*outputs).mul_(2)
        if what == "leaf":
            choices.of(*leaves).fill_(7)
        if what == "data":
            choices.of(*leaves).data.fill_(float("nan"))
        if what == "integers":
            for each in integers:
                each.fill_(choices.of(1000, 0, -1, 2**40))


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples and lists, in order; a PackedSequence is a tuple too."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return []

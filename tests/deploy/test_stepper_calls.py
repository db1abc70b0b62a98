"""The stepper's entry points called wrongly: each is refused, and writes nowhere else."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unrolled.cells.built_in import BUILT_IN, PROJECTED
from unrolled.deploy import stepping
from unrolled.deploy.numpy_stepper import NumpyStepper

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(stepping.compiled is None, reason="not built")

REFUSALS = (ValueError, TypeError, IndexError)
TANH = "RNN_TANH"
NUMBERS = {"StepperF32": "float32", "StepperF64": "float64", "StepperF32InF64": "float32"}
OUTSIDE = {"StepperF32": "float32", "StepperF64": "float64", "StepperF32InF64": "float64"}
B, IN, H, P, OUT = 2, 3, 4, 2, 2


def made(batch: int = B, inputs: int = IN, kind: str = "StepperF32") -> Any:
    return getattr(stepping.compiled, kind)(0, batch, inputs)


def in_numpy(batch: int = B, inputs: int = IN, kind: str = "StepperF32") -> Any:
    return NumpyStepper(np.dtype(NUMBERS[kind]), batch, inputs)


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def finished(stepper: Any, size: int = IN, kind: str = "StepperF32") -> Any:
    y = zeros(B, size, dtype=OUTSIDE[kind])
    stepper.finish(y, y.copy, y[0].copy)
    return stepper


def scalers(**changes: list[Any]) -> list[list[Any]]:
    """Of a stepper without layers, as ``scale`` takes them."""
    names = ("mean", "scale", "out_mean", "out_scale", "limit", "differs", "base")
    ones = {name: [1.0] * IN for name in names} | {"differs": [False] * IN, "base": [-1] * IN}
    return list((ones | changes).values())


WRONG: dict[str, Callable[[Any], Any]] = {
    "a layer after finish": lambda s: finished(s).add_linear(zeros(9, IN), None),
    "a norm after finish": lambda s: finished(s).add_layer_norm(None, None, 0.1),
    "an activation after finish": lambda s: finished(s).add_activation(0, 0.0),
    "a cell after finish": lambda s: finished(s).add_recurrent(
        TANH, zeros(H, IN), zeros(H, H), None, None, None
    ),
    "scalers after finish": lambda s: finished(s).scale(*scalers()),
    "finish twice": lambda s: finished(finished(s)),
    "a layer after the scalers": lambda s: (s.scale(*scalers()), s.add_linear(zeros(9, IN), None)),
    "scalers twice": lambda s: (s.scale(*scalers()), s.scale(*scalers())),
    "a step before finish": lambda s: s.step(zeros(B, IN), None),
    "steps before finish": lambda s: s.step_many(zeros(1, B, IN), zeros(1, B, IN)),
    "reset before finish": lambda s: s.reset(0),
    "rows before finish": lambda s: s.read_rows(
        zeros(B, IN, dtype="float64"), zeros(B, dtype="int64")
    ),
    "no such cell": lambda s: s.add_recurrent("lstm", zeros(H, IN), zeros(H, H), None, None, None),
    "no hidden numbers": lambda s: s.add_recurrent(
        "LSTM", zeros(4 * H, IN), zeros(4 * H, 0), None, None, zeros(0, H)
    ),
    "no hidden units": lambda s: s.add_recurrent(TANH, zeros(0, IN), zeros(0, 0), None, None, None),
    "rows that are no gates": lambda s: s.add_recurrent(
        "LSTM", zeros(4 * H + 1, IN), zeros(4 * H + 1, H), None, None, None
    ),
    "other inputs": lambda s: s.add_recurrent(
        TANH, zeros(H, IN + 1), zeros(H, H), None, None, None
    ),
    "a short bias": lambda s: s.add_recurrent(
        TANH, zeros(H, IN), zeros(H, H), zeros(H), zeros(1), None
    ),
    "one bias": lambda s: s.add_recurrent(TANH, zeros(H, IN), zeros(H, H), zeros(H), None, None),
    "a projected GRU": lambda s: s.add_recurrent(
        "GRU", zeros(3 * H, IN), zeros(3 * H, P), None, None, zeros(P, H)
    ),
    "a projection of another size": lambda s: s.add_recurrent(
        "LSTM", zeros(4 * H, IN), zeros(4 * H, P), None, None, zeros(P, H - 1)
    ),
    "float64 weights": lambda s: s.add_linear(zeros(OUT, IN, dtype="float64"), None),
    "weights of other inputs": lambda s: s.add_linear(zeros(OUT, IN - 1), None),
    "no outputs": lambda s: s.add_linear(zeros(0, IN), None),
    "a long bias": lambda s: s.add_linear(zeros(OUT, IN), zeros(OUT + 1)),
    "a short norm": lambda s: s.add_layer_norm(zeros(IN - 1), None, 0.1),
    "no such activation": lambda s: s.add_activation(9, 0.0),
    "an activation below zero": lambda s: s.add_activation(-1, 0.0),
    "a scaler too short": lambda s: s.scale(*scalers(scale=[1.0])),
    "a limit too short": lambda s: s.scale(*scalers(limit=[1.0])),
    "no such column": lambda s: s.scale(*scalers(base=[IN, 0, 0])),
    "a column below none": lambda s: s.scale(*scalers(base=[-2, 0, 0])),
    "a scale of zero": lambda s: s.scale(*scalers(scale=[1.0, 0.0, 1.0])),
    "a mean of NaN": lambda s: s.scale(*scalers(mean=[1.0, float("nan"), 1.0])),
    "a y of another size": lambda s: finished(s, IN + 1),
    "a state below zero": lambda s: finished(s).read(-1, zeros(B, IN)),
    "a state that is not there": lambda s: finished(s).write(0, zeros(B, IN)),
    "no such row": lambda s: finished(s).reset(B),
    "a row below zero": lambda s: finished(s).reset(-1),
    "steps below zero": lambda s: finished(s).write_rows(
        zeros(B, IN, dtype="float64"), np.full(B, -1)
    ),
    "steps beyond counting": lambda s: finished(s).write_rows(
        zeros(B, IN, dtype="float64"), np.full(B, 2**63 - 1)
    ),
    "a last row of another size": lambda s: finished(s).read_rows(
        zeros(B, IN - 1, dtype="float64"), zeros(B, dtype="int64")
    ),
    "fewer results than rows": lambda s: finished(s).step_many(zeros(2, B, IN), zeros(1, B, IN)),
    "rows of another size": lambda s: finished(s).step_many(zeros(2, B, IN + 1), zeros(2, B, IN)),
    "results of another type": lambda s: finished(s).step_many(
        zeros(2, B, IN), zeros(2, B, IN, dtype="float64")
    ),
    "results over the rows": lambda s: finished(s).step_many(*[zeros(2, B, IN)] * 2),
    "a row beyond its limit": lambda s: (
        s.scale(*scalers()), finished(s).step_many(np.full((1, B, IN), 2, "f4"), zeros(1, B, IN)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", [made, in_numpy], ids=["compiled", "numpy"])
@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_refused(call: str, make: Callable[[], Any]) -> None:
    with pytest.raises(REFUSALS):
        WRONG[call](make())


@pytest.mark.parametrize(
    "arguments",
    [(-1, 1, 1), (99, 1, 1), (0, 0, 1), (0, 1, 0), (0, -1, 1), (0, 2**62, 2**62), (0, 1, 2**63 - 1),
     (0, 2**63 - 1, 1), (0, 2**64, 1), (0, 2**31, 2**31), (0.5, 1, 1), (None, 1, 1)],
)  # fmt: skip
@pytest.mark.parametrize("kind", NUMBERS)
def test_wrong_sizes_are_refused(kind: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((*REFUSALS, MemoryError)):
        getattr(stepping.compiled, kind)(*arguments)


@pytest.mark.filterwarnings(
    "ignore"
)  # nanobind warns of an instance without memory, and refuses it
def test_a_stepper_is_made_once_and_not_copied() -> None:
    stepper, kind = finished(made()), stepping.compiled.StepperF32
    with pytest.raises(REFUSALS):
        kind.__new__(kind).step(zeros(B, IN), None)
    with pytest.raises(REFUSALS):
        stepper.__init__(0, 99, IN)
    with pytest.raises(REFUSALS):
        copy.copy(stepper).step(zeros(B, IN), None)
    with pytest.raises(REFUSALS):
        pickle.dumps(stepper)


def laid_out(values: Array, layout: str) -> Array:
    """The same numbers, in memory as it is seldom."""
    match layout:
        case "strided":
            wide = np.zeros((*values.shape, 2), values.dtype)
            wide[..., 0] = values
            return wide[..., 0]
        case "transposed":
            return np.asfortranarray(values)
        case "unaligned":
            held = np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype)
            held[:] = values.ravel()
            return held.reshape(values.shape)
        case "swapped":
            return values.astype(values.dtype.newbyteorder(">"))
    locked = values.copy()
    locked.flags.writeable = False
    return locked


LAYOUTS = ("strided", "transposed", "unaligned", "swapped", "locked")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", ["weights", "y", "out", "many", "state", "rows"])
def test_an_array_is_taken_as_it_is_or_refused_and_never_a_copy_of_it(
    place: str, layout: str
) -> None:
    """A result that goes to a converted copy is lost without a word."""
    weights = np.arange(1.0, 1 + H * IN, dtype="float32").reshape(H, IN)
    stepper = made()
    if place == "weights":
        if layout == "locked":
            stepper.add_linear(laid_out(weights, layout), None)  # only read
        else:
            with pytest.raises(REFUSALS):
                stepper.add_linear(laid_out(weights, layout), None)
        return
    stepper.add_recurrent(TANH, weights, zeros(H, H), None, None, None)
    if place == "y":
        y = laid_out(zeros(B, H), layout)
        with pytest.raises(REFUSALS):
            stepper.finish(y, y.copy, y[0].copy)
        return
    finished(stepper, H)
    x = np.ones((B, IN), "float32")
    calls: dict[str, Callable[[], Any]] = {
        "out": lambda: stepper.step(x, laid_out(zeros(B, H), layout)),
        "many": lambda: stepper.step_many(np.stack([x, x]), laid_out(zeros(2, B, H), layout)),
        "state": lambda: stepper.read(0, laid_out(zeros(B, H), layout)),
        "rows": lambda: stepper.read_rows(
            laid_out(zeros(B, IN, dtype="float64"), layout), zeros(B, dtype="int64")
        ),
    }
    if place == "out":
        assert calls[place]() is None
    else:
        with pytest.raises(REFUSALS):
            calls[place]()


class Caller:
    """Calls of a stepper with arguments that are nearly right, or not at all."""

    def __init__(self, seed: int, kind: str):
        self.random = Random(seed)
        self.kind = kind
        self.guarded: list[tuple[Array, Array]] = []

    def size(self) -> int:
        return self.random.choice((1, 1, 2, 2, 3, 4, 5, 8, 9, 12, 16, 0))

    def whole(self) -> Any:
        usual = self.random.choice((0, 1, 2, 3, 3, 1))
        strange = self.random.choice((-1, 9, 2**31, 2**62, 2**63, -(2**63), 0.5, None, "1"))
        return usual if self.random.random() < 0.8 else strange

    def array(self, *shape: int, dtype: str) -> Array:
        """Numbers within a larger piece of memory, of which what is around may not change."""
        shape = tuple(self.size() if self.random.random() < 0.1 else size for size in shape)
        dtype = self.random.choice((dtype,) * 9 + ("float64", "float32", "int64", "float16", ">f4"))
        count = int(np.prod(shape, dtype=np.int64))
        held = np.full(count + 64, 7, dtype)
        array = held[32 : 32 + count].reshape(shape)
        array[...] = 0.25
        self.guarded.append((held, array))
        return laid_out(array, self.random.choice(LAYOUTS)) if self.random.random() < 0.1 else array

    def insist_on_guards(self) -> None:
        for held, array in self.guarded:
            assert (held[:32] == 7).all()
            assert (held[32 + array.size :] == 7).all()

    def maybe(self, array: Array) -> Array | None:
        return array if self.random.random() < 0.7 else None

    def sequence(self, count: int) -> None:
        batch, width = self.random.choice((1, 2, 3, 7)), self.random.choice((1, 2, 3, 5, 17))
        inputs, isa = width, self.random.randrange(len(stepping.compiled.isas()))
        stepper = getattr(stepping.compiled, self.kind)(isa, batch, inputs)
        for call in range(count):
            if call < 4 or self.random.random() < 0.1:
                width = self.add(stepper, self.size(), width, inputs, NUMBERS[self.kind])
            else:
                calls = self.calls(stepper, batch, inputs, width)
                with contextlib.suppress(*REFUSALS):
                    self.random.choice(calls)()
            self.insist_on_guards()
            self.guarded = self.guarded[-40:]

    def calls(self, stepper: Any, batch: int, inputs: int, width: int) -> list[Callable[[], Any]]:
        """What may be done with a stepper whose outputs have this width."""
        number, outside, choose = NUMBERS[self.kind], OUTSIDE[self.kind], self.random.choice
        states, steps = stepper.widths() or [width], choose((0, 1, 2, 5))
        place = self.random.randrange(len(states))
        state = self.array(batch, states[place], dtype=number)
        last = self.array(batch, inputs, dtype="float64")
        counts = self.array(batch, dtype="int64")
        y = self.array(batch, width, dtype=outside)
        x = self.array(batch, inputs, dtype=choose(("float32", "float64")))
        xs = self.array(steps, batch, inputs, dtype=outside)
        ys = self.array(steps, batch, width, dtype=outside)
        return [
            lambda: stepper.read(choose((place, place, self.whole())), state),
            lambda: stepper.write(choose((place, place, self.whole())), state),
            lambda: stepper.read_rows(last, counts),
            lambda: stepper.write_rows(last, counts),
            lambda: stepper.reset(self.whole()),
            lambda: stepper.step(x, self.maybe(y)),
            lambda: stepper.step(x[0], self.maybe(y)),
            lambda: stepper.step(0.5, None),
            lambda: stepper.step_many(xs, ys),
            lambda: stepper.step_many(ys, ys),
            lambda: stepper.step_timed(xs, ys, self.array(steps, dtype="int64")),
            lambda: stepper.finish(y, y.copy, y[0].copy),
        ]

    def add(self, stepper: Any, hidden: int, width: int, inputs: int, number: str) -> int:
        """A layer more, or the scalers; the width of what comes out."""
        cell = self.random.choice(list(BUILT_IN))
        gates = len(BUILT_IN[cell].gates)
        state = self.size() if cell in PROJECTED and self.random.random() < 0.4 else hidden
        projection = self.array(state, hidden, dtype=number) if state != hidden else None
        biases = [self.array(gates * hidden, dtype=number) for _ in range(2)]
        of_cell: list[Any] = [
            self.array(gates * hidden, width, dtype=number),
            self.array(gates * hidden, state, dtype=number),
            *(biases if self.random.random() < 0.7 else [None, self.maybe(biases[0])]),
            projection,
        ]
        matrix, bias = self.array(hidden, width, dtype=number), self.array(hidden, dtype=number)
        norm = [self.maybe(self.array(width, dtype=number)) for _ in range(2)]
        sizes = [inputs, inputs, width, width, inputs]
        scales: list[list[Any]] = [[self.random.choice((1.0, 2.0))] * size for size in sizes]
        scales += [[self.random.random() < 0.5] * inputs]
        scales += [[self.random.choice((-1, 0, inputs - 1, inputs))] * width]
        choices: list[tuple[Callable[[], Any], int]] = [
            (lambda: stepper.add_recurrent(cell, *of_cell), state),
            (lambda: stepper.add_recurrent("", *of_cell), state),
            (lambda: stepper.add_linear(matrix, self.maybe(bias)), hidden),
            (lambda: stepper.add_layer_norm(*norm, self.random.choice((0.1, 0, -1))), width),
            (lambda: stepper.add_activation(self.random.randrange(9), 0.5), width),
            (lambda: stepper.add_activation(self.whole(), 0.5), width),
            (lambda: stepper.scale(*scales), width),
        ]
        call, after = self.random.choice(choices)
        try:
            call()
        except REFUSALS:
            return width
        return after


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("part", range(4))
def test_random_calls_neither_crash_nor_write_elsewhere(kind: str, part: int, seed: int) -> None:
    for again in range(100):
        Caller(seed * 1_000_000 + part * 1000 + again, kind).sequence(30)


def test_a_state_that_is_read_is_the_one_that_was_written() -> None:
    """What the random calls can't show: that nothing is refused which is right."""
    stepper = made()
    widths = (IN, H, OUT)
    for before, after in pairwise(widths):
        stepper.add_linear(zeros(after, before), None)
        stepper.add_recurrent(
            "LSTM", zeros(4 * after, after), zeros(4 * after, after), None, None, None
        )
    finished(stepper, OUT)
    for place, width in enumerate(stepper.widths()):
        state, read = np.full((B, width), place + 1, "float32"), zeros(B, width)
        stepper.write(place, state)
        stepper.read(place, read)
        np.testing.assert_array_equal(read, state)

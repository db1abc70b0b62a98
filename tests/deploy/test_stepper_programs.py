"""Programs of cells given to the stepper wrongly: each is refused, or runs within its memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support_mutated import mutated
from unrolled.cells import EALSTM, LSTM, GRUResetBefore, LayerNormLSTM
from unrolled.cells.options import described
from unrolled.cells.program_step import StepProgram, link_step
from unrolled.deploy import stepping
from unrolled.deploy.numpy_cells import DescribedLayer
from unrolled.deploy.numpy_stepper import NumpyStepper

Array = NDArray[Any]
Call = Callable[[Any], Any]

needs_the_core = pytest.mark.skipif(stepping.compiled is None, reason="not built")

REFUSALS = (ValueError, TypeError, IndexError, OverflowError, RuntimeError)
B, IN, H, S = 2, 3, 5, 4
UNITS = {"input": IN, "hidden": H, "static": S, "one": 1}


def program(cell: Any = EALSTM, **units: int) -> StepProgram:
    return link_step(described(cell), UNITS | units)


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def weights(of: StepProgram, dtype: str = "float32") -> list[Array]:
    return [
        zeros(rows, *([columns] if columns else []), dtype=dtype) for rows, columns in of.handed[3]
    ]


def made(kind: str = "StepperF32") -> Any:
    return getattr(stepping.compiled, kind)(0, B, IN)


def finished(stepper: Any) -> Any:
    y = zeros(B, H)
    stepper.finish(y, y.copy, y[0].copy)
    return stepper


def add(stepper: Any, of: StepProgram, **changes: Any) -> Any:
    given = {"handed": of.handed, "weights": weights(of), "resting": of.resting} | changes
    stepper.add_program(*given.values())
    return stepper


def with_inputs(count: int) -> Any:
    return stepping.compiled.StepperF32(0, B, count)


def in_numpy() -> Any:
    cell = described(EALSTM)
    held = dict(zip([w.name for w in cell.weights], weights(program()), strict=True))
    stepper = NumpyStepper(np.dtype("float32"), B, IN)
    stepper.add_described(DescribedLayer(cell, UNITS, held, B, np.dtype("float32")))
    return stepper


WRONG: dict[str, Call] = {
    "a weight too few": lambda p: add(made(), p, weights=weights(p)[1:]),
    "weights in float64": lambda p: add(made(), p, weights=weights(p, "float64")),
    "a weight of another shape": lambda p: add(
        made(), p, weights=[zeros(4 * H, IN + 1), *weights(p)[1:]]
    ),
    "a weight laid out otherwise": lambda p: add(
        made(), p, weights=[np.asfortranarray(w) for w in weights(p)]
    ),
    "a matrix that is a vector": lambda p: add(
        made(), p, weights=[w.reshape(-1) for w in weights(p)]
    ),
    "more at rest than constants": lambda p: add(made(), p, resting=[0.0, 0.0]),
    "another input": lambda p: add(with_inputs(IN + 1), p),
    "a part of a program": lambda p: add(made(), p, handed=p.handed[:-1]),
    "no program": lambda p: add(made(), p, handed=None),
    "a program after finish": lambda p: add(finished(add(made(), p)), p),
    "a constant before finish": lambda p: add(made(), p).write_constant(0, zeros(B, S)),
}
WRONG_CONSTANT: dict[str, Call] = {
    "one that is not there": lambda s: s.write_constant(1, zeros(B, S)),
    "one below zero": lambda s: s.write_constant(-1, zeros(B, S)),
    "one of another size": lambda s: s.write_constant(0, zeros(B, S + 1)),
    "one of fewer rows": lambda s: s.write_constant(0, zeros(B - 1, S)),
    "one in float64": lambda s: s.write_constant(0, zeros(B, S, dtype="float64")),
}


@needs_the_core
@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_refused(call: str) -> None:
    with pytest.raises(REFUSALS):
        WRONG[call](program())


@needs_the_core
@pytest.mark.parametrize(
    "make", [lambda: add(made(), program()), in_numpy], ids=["compiled", "numpy"]
)
@pytest.mark.parametrize("call", WRONG_CONSTANT)
def test_a_constant_that_does_not_fit_is_refused(call: str, make: Callable[[], Any]) -> None:
    stepper = finished(make())
    stepper.write_constant(0, zeros(B, S))
    with pytest.raises(REFUSALS):
        WRONG_CONSTANT[call](stepper)


@needs_the_core
def test_what_rests_stands_for_the_last_constants() -> None:
    """All of them, here, so that none is left to be written."""
    stepper = finished(add(made(), program(), resting=[0.5]))
    with pytest.raises(REFUSALS):
        stepper.write_constant(0, zeros(B, S))


def steps_within_its_memory(stepper: Any, width: int) -> None:
    held = np.full(3 * B * width + 64, 7, "float64")
    y = held[32:-32].reshape(3, B, width)
    stepper.finish(y[0], y[0].copy, y[0, 0].copy)
    stepper.step_many(zeros(3, B, IN, dtype="float64"), y)
    stepper.reset(1)
    assert (held[:32] == 7).all()
    assert (held[-32:] == 7).all()


@needs_the_core
@pytest.mark.parametrize("part", range(3))
def test_a_damaged_program_steps_or_is_refused(part: int, seed: int) -> None:
    """``make sanitize`` runs this with every address checked."""
    chance = Random(seed + part)
    ran = refused = 0
    for _ in range(500):
        of = program(chance.choice([LSTM, GRUResetBefore, LayerNormLSTM, EALSTM]))
        handed = mutated(of.handed, chance, chance.choice([0.002, 0.01, 0.05]))
        try:
            held = [zeros(r, *([c] if c else []), dtype="float64") for r, c in handed[3]]
            stepper = made("StepperF64")
            stepper.add_program(handed, held, of.resting)
        except (*REFUSALS, MemoryError):
            refused += 1
            continue
        steps_within_its_memory(stepper, stepper.widths()[0])
        ran += 1
    assert ran > 20
    assert refused > 20

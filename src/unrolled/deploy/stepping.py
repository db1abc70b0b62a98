"""What takes the steps: the compiled stepper, or where it was not built, the one in NumPy.

The only caller of ``unrolled._stepper``. Both have the methods of :class:`Stepper`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from unrolled.cells.layers import units_of
from unrolled.deploy.numpy_cells import DescribedLayer
from unrolled.deploy.numpy_stepper import NumpyStepper
from unrolled.deploy.plan import (
    ACTIVATIONS,
    Activation,
    Array,
    Described,
    LayerNorm,
    Linear,
    Plan,
    Recurrent,
)
from unrolled.instructions import chosen
from unrolled.resources import check_memory

compiled: Any
try:
    from unrolled import _stepper as compiled
except ImportError:  # built without a compiler
    compiled = None


class Stepper(Protocol):
    """B streams with their states: what :class:`~unrolled.deploy.stream.Stream` calls."""

    def step(self, x: Any, out: Any, /) -> Any:
        """Y of one step, or None where ``x`` or ``out`` is not what the stepper takes as it is."""

    def step_many(self, x: Array, y: Array, /) -> None:
        """``x`` [T, B, I] to ``y`` [T, B, O]."""

    def read(self, state: int, to: Array, /) -> None:
        """The state of that number into ``to`` [B, its width]."""

    def write(self, state: int, values: Array, /) -> None:
        """The reverse."""

    def write_constant(self, constant: int, values: Array, /) -> None:
        """What is the same at every step, of all rows [B, its width]; layer by layer."""

    def read_rows(self, last: Array, steps: Array, /) -> None:
        """Each row's last input [B, I], NaN if none, and the steps it has taken [B]."""

    def write_rows(self, last: Array, steps: Array, /) -> None:
        """The reverse."""

    def reset(self, row: int, /) -> None:
        """A stream's states as before its first row."""

    def widths(self) -> list[int]:
        """The width of each state, layer by layer; an LSTM's layer has hidden, then cell."""


class NotCompiledError(Exception):
    """The compiled stepper can't run a cell that is written down, and why."""


def backend() -> str:
    """What takes the steps of new streams: ``native (avx512)``, for example, or ``numpy``."""
    if compiled is None:
        return "numpy"
    isas = compiled.isas()
    return f"native ({isas[chosen(isas)]})"


def backend_of(stepper: Stepper) -> str:
    """What takes the steps of this one, likewise."""
    return "numpy" if isinstance(stepper, NumpyStepper) else backend()


def memory_of(plan: Plan, batch: int) -> int:
    """The bytes that a stepper takes at least, its weights aside."""
    floats = plan.input_size + plan.output_size + sum(layer.numbers for layer in plan.recurrent)
    rows = 16 * plan.input_size + 8  # the present row, the one before, and the steps
    return batch * (floats * plan.number.itemsize + rows)


def build(plan: Plan, batch: int) -> Stepper:
    """A stepper with the plan's weights, and all its memory taken.

    Raises:
        InputError: so large a batch has no place in memory.
        ValueError: the weights' shapes don't fit one another.
    """
    check_memory(memory_of(plan, batch), f"a stream of {batch} rows", "Take a smaller batch_size")
    if compiled is not None:
        try:
            return _filled(_compiled(plan, batch), plan, batch)
        except NotCompiledError:
            pass  # the module's pass runs such a cell by its equations, too
    return _filled(NumpyStepper(plan.number, batch, plan.input_size), plan, batch)


def _compiled(plan: Plan, batch: int) -> Any:
    kinds: dict[tuple[str, str], Any] = {
        ("float32", "float32"): compiled.StepperF32,
        ("float64", "float64"): compiled.StepperF64,
        ("float32", "float64"): compiled.StepperF32InF64,
    }
    kind = kinds[plan.number.name, plan.outside.name]
    return kind(chosen(compiled.isas()), batch, plan.input_size)


def _filled(stepper: Any, plan: Plan, batch: int) -> Stepper:
    """The stepper with the plan's layers and scalers."""

    def dense(values: Array | None) -> Array | None:
        return None if values is None else np.ascontiguousarray(values, plan.number)

    for layer in plan.layers:
        match layer:
            case Recurrent(cell, weights, int8=int8):
                for of_layer in weights:
                    stepper.add_recurrent(cell, *map(dense, of_layer), int8)
            case Described():
                _add_described(stepper, layer, batch, plan.number)
            case Linear(weight, bias):
                stepper.add_linear(dense(weight), dense(bias))
            case LayerNorm(_, weight, bias, epsilon):
                stepper.add_layer_norm(dense(weight), dense(bias), epsilon)
            case Activation(kind, parameter):
                stepper.add_activation(ACTIVATIONS.index(kind), parameter)
    if plan.scales is not None:
        s = plan.scales
        stepper.scale(
            *[v.tolist() for v in (*s.arrays().values(), s.limit)],
            list(s.differs),
            list(s.base),
        )
    y = np.empty((batch, plan.output_size), plan.outside)
    stepper.finish(y, y.copy, y[0].copy)
    made: Stepper = stepper
    return made


def _add_described(stepper: Any, layer: Described, batch: int, number: np.dtype[Any]) -> None:
    """The layers of a cell that is written down.

    Raises:
        NotCompiledError: the compiled stepper can't run it.
    """
    for depth, weights in enumerate(layer.weights):
        units = units_of(layer.cell, layer.units, depth)
        dense = {name: np.asarray(w, number, order="C") for name, w in weights.items()}
        if isinstance(stepper, NumpyStepper):
            stepper.add_described(DescribedLayer(layer.cell, units, dense, batch, number))
            continue
        from unrolled.cells.given import NotLinkedError  # not needed by a built-in cell, and slow
        from unrolled.cells.program_step import link_step

        try:
            program = link_step(layer.cell, units)
            given = [np.atleast_1d(dense[name]) for name in program.weights]
            stepper.add_program(program.handed, given, program.resting)
        except (NotLinkedError, ValueError) as reason:  # the core has limits of its own
            raise NotCompiledError(str(reason)) from reason

"""What a report shows: one row of one recurrent module, step by step, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.description import HIDDEN, INPUT
from unrolled.errors import InputError
from unrolled.inspect.diagnosis import Diagnosis
from unrolled.inspect.gates import recorded_constants
from unrolled.inspect.known import textbook, title_of
from unrolled.inspect.trace import Direction, Given, Key, Trace
from unrolled.summary import Summarised

Array = NDArray[np.float32]

MOST_STEPS = 1000
"""Of a longer row the last are shown: a screen has no more columns."""
MOST_SERIES = 8
"""Inputs beyond these are not drawn over the time axis."""


@dataclass(frozen=True, repr=False)
class Series(Summarised):
    """A line over the steps: its name, what it is, and its values [T], NaN where there is none."""

    name: str
    kind: Literal["input", "target", "prediction"]
    values: Array


@dataclass(frozen=True)
class Sizes:
    """The sizes of the module's tensors, with the letters of the shapes.

    Attributes:
        steps: T.
        batch: B.
        inputs: I.
        hidden: H.
        output: P, the numbers of the output state: H, or the size of the projection.
        layers: L.
        directions: D.
        batch_first: whether input and output are [B, T, ·].
    """

    steps: int
    batch: int
    inputs: int
    hidden: int
    output: int
    layers: int
    directions: int
    batch_first: bool


@dataclass(frozen=True, repr=False)
class Layer(Summarised):
    """One layer in one direction.

    Attributes:
        layer: from 0.
        direction: "forward" or "reverse".
        values: its gates and states, by name [T, H]; a projected hidden state [T, P].
        received: the states as each step received them, by name, shaped alike.
        time_constants: −1 / mean ln a of what each unit keeps of its state, over the whole trace,
            in steps [H]; None where the equations name no such share, as those of an RNN.
        textbook: torch's name of a cell that the textbooks draw; None of any other.
    """

    layer: int
    direction: Direction
    values: Mapping[str, Array]
    received: Mapping[str, Array]
    time_constants: Array | None
    textbook: str | None

    def before(self, state: str) -> str:
        """What a state before the step is called among the quantities; no line is called so."""
        return f"{state}[t−1]" if self.textbook is None else f"{state}_before"

    def quantities(self) -> dict[str, Array]:
        """All that a drawing of the cell shows, by the roles of :mod:`unrolled.inspect.drawing`.

        Beside the gates and states: the states before, see :meth:`before`. Of a textbook's cell
        also ``kept`` and ``written``, whose sum the new state is (f ⊙ c_{t−1} and i ⊙ g; of a GRU
        z ⊙ h_{t−1} and (1 − z) ⊙ n), and ``shown``, tanh(c_t), of which the output gate lets its
        share out.
        """
        found = dict(self.values)
        found |= {self.before(state): values for state, values in self.received.items()}
        if self.textbook is None:
            return found
        if "forget" in found:
            found["kept"] = found["forget"] * found["cell_before"]
            found["written"] = found["input"] * found["candidate"]
            found["shown"] = np.tanh(found["cell"])
        if "update" in found:
            found["kept"] = found["update"] * found["hidden_before"]
            found["written"] = (1 - found["update"]) * found["candidate"]
        return found


@dataclass(frozen=True)
class ShownState:
    """A state as pictures name it.

    Attributes:
        name: its name in the equations.
        symbol: what stands for it: of a textbook's cell h or c, else its name.
        letter: how many numbers it has, as a letter of :class:`Sizes`, or the number itself.
    """

    name: str
    symbol: str
    letter: str


@dataclass(frozen=True, repr=False)
class Recorded(Summarised):
    """A row of a trace.

    Attributes:
        name: the cell's; of ours torch's.
        cell: its equations.
        units: how many numbers each of its sizes has in the first layer.
        module: the module's path in the model.
        sizes: of its tensors.
        row: which row of the batch.
        first: the step, of the row's own, that is the first one shown.
        layers: layer by layer, the directions of one after the other.
        series: what is drawn over the steps.
    """

    name: str
    cell: Description
    units: Mapping[str, int]
    module: str
    sizes: Sizes
    row: int
    first: int
    layers: tuple[Layer, ...]
    series: tuple[Series, ...]

    @property
    def steps(self) -> int:
        """How many are shown."""
        return len(next(iter(self.layers[0].values.values())))

    @property
    def textbook(self) -> str | None:
        """Torch's name of a cell that the textbooks draw; None of any other."""
        return textbook(self.cell)

    @property
    def output(self) -> str:
        """The name of the state that is given out."""
        return self.cell.output.name

    @property
    def out(self) -> str:
        """The letter of its size."""
        return "H" if self.cell.output.size == HIDDEN else "P"

    @property
    def states(self) -> tuple[ShownState, ...]:
        """The states, the output first."""
        symbols = {"hidden": "h", "cell": "c"} if self.textbook else {}
        letters = {HIDDEN: "H", INPUT: "I", self.cell.output.size: self.out}
        return tuple(
            ShownState(
                state.name,
                symbols.get(state.name, state.name),
                letters.get(state.size) or str(self.units[state.size]),
            )
            for state in self.cell.states
        )


@dataclass(frozen=True, repr=False)
class Scene(Summarised):
    """All that a report shows; either part may be missing, but not both."""

    title: str
    note: str
    recorded: Recorded | None
    diagnosis: Diagnosis | None


def scene(
    subject: Trace | Diagnosis,
    *,
    diagnosis: Diagnosis | None = None,
    module: str | None = None,
    row: int = 0,
    target: Tensor | None = None,
    series: Sequence[Series] | None = None,
    title: str | None = None,
    note: str = "",
) -> Scene:
    """Puts together what a report shows; the arguments are those of :func:`unrolled.report`."""
    if isinstance(subject, Diagnosis):
        name = title or title_of(subject.cell)
        return Scene(name, note, None, subject)
    if not isinstance(subject, Trace):
        raise InputError(
            "a trace (unrolled.record) or a diagnosis (unrolled.diagnose) was expected, got "
            f"{type(subject).__name__}"
        )
    recorded = recorded_row(subject, module=module, row=row, target=target, series=series)
    return Scene(title or title_of(recorded.name), note, recorded, diagnosis)


def recorded_row(
    trace: Trace,
    *,
    module: str | None = None,
    row: int = 0,
    target: Tensor | None = None,
    series: Sequence[Series] | None = None,
) -> Recorded:
    """One row of a trace, as a report shows it.

    Args:
        trace: from :func:`unrolled.record`.
        module: whose; None where there is one only.
        row: of the batch.
        target: shaped as the model's output, which is then the prediction.
        series: what to draw over the steps, in place of what the module read and the output.

    Raises:
        InputError: there is no such row or module, or the trace does not say what it was given.
    """
    name = trace.named(module)
    mask = trace.masks[name]
    if name not in trace.given:
        raise InputError("the trace does not say what its modules were given: record it anew")
    if not 0 <= row < mask.shape[1]:
        raise InputError(f"row: 0 to {mask.shape[1] - 1} was expected, got {row}")
    there = mask[:, row].nonzero().flatten()
    if not len(there):
        raise InputError(f"row {row} has no steps: show another")
    shown = there[-MOST_STEPS:]
    given = trace.given[name]
    if series is None:
        series = _series(trace, given, row, target, shown)
    output = given.cell.output.name
    layers = tuple(
        _layer(trace, key, row, shown)
        for key in trace.values
        if (key.module, key.gate) == (name, output)
    )
    return Recorded(
        name=given.name,
        cell=given.cell,
        units=given.units,
        module=name,
        sizes=_sizes(trace, name, given),
        row=row,
        first=len(there) - len(shown),
        layers=layers,
        series=tuple(series),
    )


def _layer(trace: Trace, key: Key, row: int, shown: Tensor) -> Layer:
    where = (key.module, key.layer, key.direction)
    values = {k.gate: v for k, v in trace.values.items() if k[:3] == where}
    cell = trace.given[key.module].cell
    states = [state.name for state in cell.states]
    constants = recorded_constants(trace, *where)
    hidden = trace.given[key.module].units[HIDDEN]
    return Layer(
        layer=key.layer,
        direction=key.direction,
        values={gate: _array(value[shown, row]) for gate, value in values.items()},
        received={state: _array(trace.before(state, *where)[shown, row]) for state in states},
        # Units are those of the hidden size; a state of another has others.
        time_constants=None if constants is None or len(constants) != hidden else _array(constants),
        textbook=textbook(cell),
    )


def _sizes(trace: Trace, name: str, given: Given) -> Sizes:
    keys = [key for key in trace.values if key.module == name]
    steps, batch, inputs = given.input.shape
    return Sizes(
        steps=steps,
        batch=batch,
        inputs=inputs,
        hidden=given.units[HIDDEN],
        output=given.units[given.cell.output.size],
        layers=1 + max(key.layer for key in keys),
        directions=len({key.direction for key in keys}),
        batch_first=given.batch_first,
    )


def _series(
    trace: Trace, given: Given, row: int, target: Tensor | None, shown: Tensor
) -> list[Series]:
    """What the module read and, of a model around it, what came out at every step."""
    read = given.input[shown, row]
    inputs = read.shape[-1]
    found = [
        Series("x" if inputs == 1 else f"x[{column}]", "input", _array(read[:, column]))
        for column in range(min(inputs, MOST_SERIES))
    ]
    for kind, values in (("target", target), ("prediction", _first(trace.output))):
        if values is None:
            continue
        steps = _by_step(values, given, trace.masks[next(iter(trace.masks))].shape, row)
        if steps is None and kind == "target":
            raise InputError(
                "the target should have a value at every step, [T, B, O] or [B, T, O] as the "
                f"module has its input, got {list(values.shape)}"
            )
        if steps is None or (kind == "prediction" and not _is_read_out(trace, steps)):
            continue
        outputs = steps.shape[-1]
        found += [
            Series("y" if outputs == 1 else f"y[{c}]", kind, _array(steps[shown, c]))  # type: ignore[arg-type]
            for c in range(min(outputs, MOST_SERIES))
        ]
    return found


def _by_step(values: Tensor, given: Given, shape: torch.Size, row: int) -> Tensor | None:
    """One row's values at every step [T, O], or None where there are none."""
    steps, batch = shape
    expected = [batch, steps] if given.batch_first else [steps, batch]
    if list(values.shape[:2]) == expected and values.dim() in (2, 3):
        picked = values[row] if given.batch_first else values[:, row]
    elif batch == 1 and values.dim() in (1, 2) and len(values) == steps:
        picked = values
    else:
        return None
    return picked.reshape(steps, -1)


def _is_read_out(trace: Trace, steps: Tensor) -> bool:
    """An output is a prediction where it is not the module's own hidden state."""
    return "" not in trace.masks and steps.shape[-1] <= MOST_SERIES


def _first(output: Any) -> Tensor | None:
    while isinstance(output, tuple | list) and len(output):
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _array(values: Tensor) -> Array:
    found: Array = values.detach().cpu().to(torch.float32).numpy()
    return found

"""What a stream holds beside its model, by name: states, and what is the same at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.deploy.plan import Array, Described, Plan
from unrolled.deploy.rows import numbers
from unrolled.deploy.stepping import Stepper
from unrolled.errors import InputError, clip

MOST_STEPS = 2**53
"""Up to here float64 tells whole numbers apart; a row each microsecond takes 285 years."""


class States:
    """All that is carried from one row to the next, out of the stepper and into it.

    Args:
        plan: what the stepper runs.
        stepper: which has the states.
        batch: B.
    """

    def __init__(self, plan: Plan, stepper: Stepper, batch: int) -> None:
        self._plan, self._stepper, self._batch = plan, stepper, batch
        self._places: dict[str, list[int]] = {}
        count = 0
        for module in plan.recurrent:
            for _ in module.weights:
                for name in module.states:
                    self._places.setdefault(_within(module.name, name), []).append(count)
                    count += 1

    def read(self) -> dict[str, Array]:
        """Copies of all, as :attr:`unrolled.Stream.state` has them."""
        state: dict[str, Array] = {}
        widths = self._stepper.widths()
        for name, places in self._places.items():
            shape = (len(places), self._batch, widths[places[0]])
            state[name] = np.empty(shape, self._plan.number)
            for layer, place in zip(state[name], places, strict=True):
                self._stepper.read(place, layer)
        last, state["steps"] = self._rows()
        return state | ({"last": last} if self._plan.has_differences else {})

    def write(self, state: Mapping[str, Array]) -> None:
        """The state as it is, without asking whether a stream may go on from it."""
        for name, places in self._places.items():
            for layer, place in zip(state[name], places, strict=True):
                self._stepper.write(place, layer)
        self._stepper.write_rows(state.get("last", self._rows()[0]), state["steps"])

    def checked(self, state: Any) -> dict[str, Array]:
        """The state, if it is one that this stream may go on from.

        Raises:
            InputError: it is none.
        """
        now = self.read()
        if not isinstance(state, Mapping):
            raise InputError(
                f"a state should be a dict with {', '.join(now)}, got {type(state).__name__}. To "
                "begin anew, call reset()"
            )
        if now.keys() != state.keys():
            raise InputError(
                f"a state with {', '.join(now)} was expected, got "
                f"{clip(', '.join(map(str, state))) or 'none'}. "
                "To set a part, assign {**stream.state, name: value}"
            )
        given = {name: numbers(state[name], name) for name in now}
        found = _as(given, now)
        for name in now:
            self._insist_on(name, given[name])
        return found

    def _insist_on(self, name: str, values: Array) -> None:
        """That a stream may go on from these."""
        scales = self._plan.scales
        if name == "steps":
            fits = (values >= 0) & (values <= MOST_STEPS) & (values == np.floor(values))
            expected = "whole numbers from 0 to 2^53 were"
        elif scales is None:
            return
        elif name == "last":
            fits = np.isnan(values) | (np.abs(values) <= scales.limit)
            expected = "a row that was read, or NaN, was"
        else:
            fits = np.abs(values) <= np.finfo(self._plan.number).max
            expected = "finite numbers were"
        if not fits.all():
            raise InputError(f"{name} is {values[~fits][0]} in a place: {expected} expected")

    def _rows(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        last = np.empty((self._batch, self._plan.input_size))
        steps = np.empty(self._batch, np.int64)
        self._stepper.read_rows(last, steps)
        return last, steps


class Constants:
    """What the cells are given beside the rows, [B, ·] each: the same at every step.

    Args:
        plan: what the stepper runs.
        stepper: which is told of them.
        batch: B.

    Attributes:
        values: by name; zeros until they are written.
    """

    def __init__(self, plan: Plan, stepper: Stepper, batch: int) -> None:
        self._stepper = stepper
        self._places: dict[str, list[int]] = {}
        self.values: dict[str, Array] = {}
        for place, (name, width) in enumerate(_constants_of(plan)):
            self._places.setdefault(name, []).append(place)
            self.values[name] = np.zeros((batch, width), plan.number)

    def read(self) -> dict[str, Array]:
        """Copies of all."""
        return {name: values.copy() for name, values in self.values.items()}

    def write(self, values: Mapping[str, Array]) -> None:
        """All of them, checked."""
        self.values = {name: values[name].copy() for name in self.values}
        for name, places in self._places.items():
            for place in places:
                self._stepper.write_constant(place, self.values[name])

    def checked(self, given: Any) -> dict[str, Array]:
        """Those of all rows, if they are the model's.

        Raises:
            InputError: they are not.
        """
        return self._fitting(given, self.values)

    def of_rows(self, given: Any, rows: NDArray[np.int64]) -> dict[str, Array]:
        """Those of all rows, of which these have others from now on: each [rows, ·].

        Raises:
            InputError: they are not the model's.
        """
        found = self.read()
        now = {name: values[rows] for name, values in found.items()}
        for name, values in self._fitting(given, now).items():
            found[name][rows] = values
        return found

    def _fitting(self, given: Any, now: Mapping[str, Array]) -> dict[str, Array]:
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise InputError(f"constants should be a dict, got {type(given).__name__}")
        for name, values in now.items():
            if name not in given:
                raise InputError(
                    f"the model reads {name} {list(values.shape)}, the same at every step, and has "
                    f"none. Give it: constants={{{name!r}: ...}}"
                )
        known = ", ".join(now) or "none"
        for name in given:
            if name not in now:
                raise InputError(
                    f"the model has no constant {clip(name, 60)}: it has {known}. Leave it out"
                )
        found = {name: numbers(given[name], name) for name in now}
        for name, values in found.items():  # of one row, as a module takes it without a batch
            if len(now[name]) == 1 and values.shape == now[name].shape[1:]:
                found[name] = values[np.newaxis]
        return _as(found, now)


def _constants_of(plan: Plan) -> Iterator[tuple[str, int]]:
    """The name and width of each, layer by layer, as the steppers number them."""
    for module in plan.recurrent:
        if isinstance(module, Described):
            for _ in module.weights:
                for constant in module.cell.constants:
                    yield _within(module.name, constant.name), module.units[constant.size]


def _within(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def _as(given: Mapping[str, Array], now: Mapping[str, Array]) -> dict[str, Array]:
    """The numbers in the shapes and types that the stream has.

    Raises:
        InputError: one has another shape.
    """
    for name, before in now.items():
        if given[name].shape != before.shape:
            raise InputError(
                f"{name} should be {list(before.shape)}, got {list(given[name].shape)}"
            )
    with np.errstate(over="ignore"):  # a module's may be infinite
        return {
            name: np.ascontiguousarray(given[name], before.dtype) for name, before in now.items()
        }

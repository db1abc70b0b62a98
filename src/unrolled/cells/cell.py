"""The class that a user derives a cell from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, ClassVar

from unrolled.cells import finish, trace
from unrolled.cells.description import HIDDEN, Description
from unrolled.cells.equations import equations
from unrolled.cells.values import CellError, refuse

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Cell:
    """A recurrent cell, written as the equations of one step.

    A subclass has a method ``step(self, x, h, ...)``, whose arguments are the input and the states,
    of which the first is the output, and, behind ``*``, inputs that don't change over time. It
    returns the next states. It is run once, when the class is made, and what it does is the cell's
    :class:`~unrolled.cells.Description`::

        class Leaky(Cell):
            def step(self, x, h):
                rate = sigmoid(weight("time_constant"))
                return (1 - rate) * h + rate * tanh(linear(x, h))

    Attributes:
        sizes: the name of the size of a state or a constant, where it is not ``hidden``, or for a
            constant not its own name.

    Raises:
        CellError: when the class is made, the step says what a cell can't do; the message names
            the line and the repair.
    """

    sizes: ClassVar[Mapping[str, str]] = {}
    step: Callable[..., Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        # Ours are tested, and a millisecond each. What exec makes may say no module.
        is_ours = own.get("__module__", "").startswith(f"{__package__}.")
        if "step" in own and not is_ours:
            cell = object.__new__(cls)  # with the class's own values for its settings
            try:
                describe(cell)
            except NameError:
                pass  # of what the file defines further down; the first use will tell
            except AttributeError as error:
                if error.obj is not cell:  # a setting that has no value yet
                    raise

    @property
    def description(self) -> Description:
        """The cell as data, with its settings as they are now."""
        return describe(self)

    def __str__(self) -> str:
        """The equations, a line each."""
        return equations(self.description)


def describe(cell: Cell) -> Description:
    """Runs the cell's step once and says what it does.

    Raises:
        CellError: it does what a cell can't do.
    """
    if not hasattr(cell, "step"):
        raise CellError(f"{type(cell).__name__} has no step(self, x, h) to say what it does")
    steps: list[Any] = [
        inspect.unwrap(vars(cls)["step"]) for cls in type(cell).__mro__ if "step" in vars(cls)
    ]
    step, codes = steps[0], [step.__code__ for step in steps]
    code = codes[0]
    place = f"{code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno}"
    given = list(inspect.signature(step).parameters.values())[1:]
    for parameter in given:
        is_plain = parameter.kind in POSITIONAL or parameter.kind is Parameter.KEYWORD_ONLY
        if not is_plain or parameter.default is not Parameter.empty:
            refuse(
                f"step should take the input and the states by their names, and constants behind "
                f"*, got {parameter}",
                place,
            )
    first = [p.name for p in given if p.kind in POSITIONAL]
    constants = [p.name for p in given if p.kind is Parameter.KEYWORD_ONLY]
    if len(first) < 2:
        refuse("step should take the input and at least one state: step(self, x, h)", place)
    sizes = dict(cell.sizes)
    for name in sizes:
        if name not in [*first[1:], *constants]:
            refuse(f"sizes names {name}, which is no state or constant of the step", place)
    written = trace.Trace(
        first[0],
        {name: sizes.get(name, HIDDEN) for name in first[1:]},
        {name: sizes.get(name, name) for name in constants},
        place,
    )
    returned, variables = trace.run(written, cell.step, codes)
    return finish.describe(type(cell).__name__, written, returned, variables)


__all__ = ["Cell", "CellError", "describe"]

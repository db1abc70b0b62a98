"""What a step computes with: no numbers, but vectors that note what is done to them.

So a step is run once, and its equations are known.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from unrolled.cells.description import ONE
from unrolled.cells.operations import OPERATIONS, UNIT_BY_UNIT
from unrolled.errors import InputError

if TYPE_CHECKING:
    from unrolled.cells.trace import Trace

HERE = os.path.dirname(__file__)
FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""What a step can call, by name; :mod:`unrolled.cells.language` has them."""

ELSEWHERE = {
    "abs": "absolute",
    "div": "divide",
    "eq": "equal",
    "hardsigmoid": "hard_sigmoid",
    "hardtanh": "hard_tanh",
    "le": "less_equal",
    "lt": "less",
    "mul": "multiply",
    "neg": "negative",
    "sgn": "sign",
    "sub": "subtract",
    "true_divide": "divide",
}
"""Names that torch and NumPy have for ours."""


class CellError(InputError):
    """A cell's equations say something that can't be; the message names the line and the repair."""


class _MissingError(CellError, AttributeError):
    """So that ``hasattr`` and what asks by it get their answer."""


def refuse(message: str, place: str | None = None) -> NoReturn:
    """Raises what is wrong, with the user's line, by default the one that is running.

    Raises:
        CellError: always.
    """
    raise CellError(f"{place or place_of_caller()}: {message}")


def place_of_caller() -> str:
    """The nearest line on the stack that is not this package's: file, number and text."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        if frame.f_code.co_name == "step":
            break  # a cell of ours
        frame = frame.f_back
    if frame is None:
        return "a cell"
    return f"{os.path.basename(frame.f_code.co_filename)}, line {frame.f_lineno}"


class Node:
    """A vector of a row: an input, a state, a weight, or what a line computes of them."""

    __slots__ = ("name", "place", "size", "trace")

    def __init__(self, trace: Trace, name: str, size: str) -> None:
        self.trace, self.name, self.size = trace, name, size
        self.place = place_of_caller()

    @property
    def called(self) -> str:
        """What to call it in a message."""
        return self.name or f"this vector of {self.size}_size numbers"


class Value:
    """A node as a step has it in hand: what is done to it is written down."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __repr__(self) -> str:
        return f"<{self.node.called}>"

    def __add__(self, other: Any) -> Any:
        return line("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return line("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return line("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return line("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return line("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return line("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return line("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return line("divide", other, self)

    def __pow__(self, exponent: Any) -> Any:
        if not is_number(exponent):
            refuse(f"the exponent of a power should be a number, got {exponent!r}")
        return line("power", self, exponent)

    def __neg__(self) -> Any:
        return line("negative", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Any:
        return line("absolute", self)

    def __lt__(self, other: Any) -> Any:
        return line("less", self, other)

    def __le__(self, other: Any) -> Any:
        return line("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return line("less", other, self)

    def __ge__(self, other: Any) -> Any:
        return line("less_equal", other, self)

    def __eq__(self, other: object) -> Any:
        return line("equal", self, other)

    def __ne__(self, other: object) -> Any:
        return line("subtract", 1.0, line("equal", self, other))

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        refuse(
            f"{self.node.called} has no value while the step is read: Python can't decide by it "
            "(if, while, and, or, not, min, max). Write where(condition, a, b), minimum(a, b) or "
            "maximum(a, b)"
        )

    def __float__(self) -> float:
        refuse(
            f"{self.node.called} has no value while the step is read, and is no number for "
            "Python. Use the functions of unrolled.cells in place of those of math"
        )

    __int__ = __index__ = __float__

    def __len__(self) -> int:
        refuse(f"{self.node.called} is one vector. A step can't take it apart")

    def __iter__(self) -> NoReturn:
        refuse(f"{self.node.called} is one vector. A step can't take it apart")

    def __getitem__(self, index: Any) -> NoReturn:
        refuse(f"{self.node.called} is one vector. A step can't take it apart")

    def __matmul__(self, other: Any) -> NoReturn:
        refuse("a step has no @. Write linear(x, h) for a product with weights")

    __rmatmul__ = __matmul__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in FUNCTIONS:
            return lambda *others: FUNCTIONS[name](self, *others)
        raise _MissingError(
            f"{place_of_caller()}: a value of a step has no {name}. It knows "
            f"{', '.join(sorted(FUNCTIONS))}"
        )

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """So that ``torch.tanh`` in a step is ours, and what we don't know is refused."""
        return _as_ours("torch", function.__name__, args, kwargs)

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """The same for ``numpy.tanh``, and for NumPy's numbers beside an operator."""
        name = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
        return _as_ours("numpy", name, args, kwargs)


def _as_ours(package: str, name: str, args: Any, kwargs: Any) -> Any:
    """What another package's function comes to in a step."""
    here = ELSEWHERE.get(name, name)
    if kwargs or (here not in FUNCTIONS and here not in UNIT_BY_UNIT):
        refuse(
            f"a step can't say {package}.{name}{' with these arguments' if kwargs else ''}. It "
            f"knows {', '.join(sorted(FUNCTIONS))}"
        )
    return FUNCTIONS[here](*args) if here in FUNCTIONS else line(here, *args)


def is_number(value: Any) -> bool:
    """Whether Python can compute with it: a number, also one of NumPy's."""
    if isinstance(value, bool | int | float):
        return True
    if getattr(value, "requires_grad", False):
        refuse("a step can't hold a tensor that learns. Write weight() for one, in the step")
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def is_name(value: Any) -> bool:
    """Whether it may name a weight or a size."""
    return isinstance(value, str) and value.isidentifier()


def line(operation: str, *operands: Any) -> Any:
    """The value of a new line; of numbers alone a number."""
    for operand in operands:
        if not isinstance(operand, Value) and not is_number(operand):
            refuse(
                f"{operation} takes values of the step and numbers, got {type(operand).__name__}. "
                "Weights come from linear() and weight()"
            )
    taken = [o.node if isinstance(o, Value) else float(o) for o in operands]
    nodes = [node for node in taken if isinstance(node, Node)]
    if not nodes:
        return OPERATIONS[operation].on_numbers(*taken)
    trace = nodes[0].trace
    for node in nodes:
        if node.trace is not trace:
            refuse(f"{node.called} belongs to another step")
    return Value(trace.line(operation, taken, _common_size(operation, nodes)))


def _common_size(operation: str, nodes: list[Node]) -> str:
    if operation == "mean":
        return ONE
    wide = [node for node in nodes if node.size != ONE]
    for node in wide[1:]:
        if node.size != wide[0].size:
            refuse(
                f"{operation}: {wide[0].called} has {wide[0].size}_size numbers, and {node.called} "
                f"{node.size}_size. Bring one to the size of the other, by linear(..., size=...)"
            )
    return wide[0].size if wide else ONE

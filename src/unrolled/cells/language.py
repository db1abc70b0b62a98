"""The words in which a cell's step is written: Python's operators, and the functions here.

What a step computes with are not numbers but :class:`Value`: each stands for a vector of a row, and
notes what is done to it. So a step is run once, and its equations are known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from unrolled.cells.description import ONE, Form
from unrolled.cells.operations import OPERATIONS, UNIT_BY_UNIT
from unrolled.errors import InputError

if TYPE_CHECKING:
    from unrolled.cells.trace import Trace

HERE = Path(__file__).parent
PLAIN = Form()


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
    while frame is not None and Path(frame.f_code.co_filename).parent == HERE:
        if frame.f_code.co_name == "step":
            break  # a cell of ours
        frame = frame.f_back
    if frame is None:
        return "a cell"
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"


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
        return _line("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _line("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _line("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _line("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _line("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _line("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _line("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _line("divide", other, self)

    def __pow__(self, exponent: Any) -> Any:
        if not _is_number(exponent):
            refuse(f"the exponent of a power should be a number, got {exponent!r}")
        return _line("power", self, exponent)

    def __neg__(self) -> Any:
        return _line("negative", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Any:
        return _line("absolute", self)

    def __lt__(self, other: Any) -> Any:
        return _line("less", self, other)

    def __le__(self, other: Any) -> Any:
        return _line("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return _line("less", other, self)

    def __ge__(self, other: Any) -> Any:
        return _line("less_equal", other, self)

    def __eq__(self, other: object) -> Any:
        return _line("equal", self, other)

    def __ne__(self, other: object) -> Any:
        return _line("subtract", 1.0, _line("equal", self, other))

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
    return FUNCTIONS[here](*args) if here in FUNCTIONS else _line(here, *args)


def _is_number(value: Any) -> bool:
    """Whether Python can compute with it: a number, also one of NumPy's."""
    if isinstance(value, bool | int | float):
        return True
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _line(operation: str, *operands: Any) -> Any:
    """The value of a new line; of numbers alone a number."""
    for operand in operands:
        if not isinstance(operand, Value) and not _is_number(operand):
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


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(−x))."""
    return _line("sigmoid", x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return _line("tanh", x)


def relu(x: Any) -> Any:
    """X where it is above 0, else 0."""
    return _line("relu", x)


def exp(x: Any) -> Any:
    """E to the power of x."""
    return _line("exp", x)


def log(x: Any) -> Any:
    """The natural logarithm: −∞ of 0, NaN of less."""
    return _line("log", x)


def sqrt(x: Any) -> Any:
    """The square root: NaN of less than 0."""
    return _line("sqrt", x)


def absolute(x: Any) -> Any:
    """The distance from 0, which ``abs(x)`` is, too."""
    return _line("absolute", x)


def sign(x: Any) -> Any:
    """1 above 0, −1 below, and 0 at it."""
    return _line("sign", x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return _line("softplus", x)


def softsign(x: Any) -> Any:
    """X / (1 + |x|)."""
    return x / (1 + absolute(x))


def hard_sigmoid(x: Any) -> Any:
    """X / 6 + 1/2 within 0 and 1, as torch has it."""
    return minimum(maximum(x + 3, 0), 6) / 6


def hard_tanh(x: Any) -> Any:
    """X within −1 and 1."""
    return minimum(maximum(x, -1), 1)


def minimum(x: Any, y: Any) -> Any:
    """The lesser of both; at a tie each has half of the derivative, as torch has it."""
    return _line("minimum", x, y)


def maximum(x: Any, y: Any) -> Any:
    """The greater of both; at a tie each has half of the derivative, as torch has it."""
    return _line("maximum", x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, that is where it is not 0, and else ``y``."""
    return _line("where", condition, x, y)


def mean(x: Any) -> Any:
    """The mean over the units of a row: one number, which all of them share."""
    if isinstance(x, Value) and x.node.size == ONE:
        return x
    return _line("mean", x)


def variance(x: Any) -> Any:
    """The mean square distance of a row's units from their mean, as layer normalisation has it."""
    return mean((x - mean(x)) ** 2)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        sigmoid, tanh, relu, exp, log, sqrt, absolute, sign, softplus, softsign, hard_sigmoid,
        hard_tanh, minimum, maximum, where, mean, variance,
    )
}  # fmt: skip
"""What a step can call, by name."""

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


def linear(
    *values: Any,
    size: str = "hidden",
    bias: bool = True,
    name: str | None = None,
    form: Form = PLAIN,
) -> Any:
    """Weights times each of the values, added up, with a bias.

    The weights that multiply one thing stand in one matrix, in the order of the equations:
    ``weight_ih`` those of the input, ``weight_hh`` those of the first state, and ``weight_`` with
    its name those of anything else. So do the biases, beside the first of the values. Sums of
    ``linear`` are one sum: ``linear(x) + linear(h)`` has two biases, as torch's modules have.

    Args:
        values: what is multiplied: x, states, or what was computed in this step and has a name.
        size: the name of the size of the result.
        bias: whether a bias is added.
        name: what stands behind ``weight_`` and ``bias_``, where that is to be something else.
        form: how the matrix becomes what multiplies: in blocks, with signs, masked.
    """
    if not values or not all(isinstance(value, Value) for value in values):
        refuse(f"linear takes values of the step, got {', '.join(map(repr, values)) or 'nothing'}")
    if not _is_name(size) or size == ONE:
        refuse(f'size should be the name of a size, such as "hidden", got {size!r}')
    if name is not None and (len(values) > 1 or not _is_name(name)):
        refuse(f"name should be a name, beside one value to multiply, got {name!r}")
    if not isinstance(form, Form):
        refuse(f"form should be a Form, got {form!r}")
    if form != PLAIN and len(values) > 1:
        refuse("a form is that of one matrix. Give each value a linear of its own, and add them")
    nodes = [value.node for value in values]
    return Value(nodes[0].trace.sum(nodes, size, name, form, bias=bias))


def weight(name: str | None = None, *, size: str = "hidden", initial: float | None = None) -> Any:
    """A weight for each unit, which is learned; with ``size="one"`` one for all of them.

    Args:
        name: of the parameter; that of the variable to which it is assigned, if None.
        size: the name of the size of the vector.
        initial: its value at the start; None for torch's law, uniform within ±1/√H.
    """
    if name is not None and not _is_name(name):
        refuse(f"a weight's name should be one that Python can have for a variable, got {name!r}")
    if initial is not None and not _is_number(initial):
        refuse(f"initial should be a number or None, got {initial!r}")
    return Value(_tracing().weight(name, size, None if initial is None else float(initial)))


def noise(deviation: float, *, each: str = "step", size: str = "hidden") -> Any:
    """Normal random numbers of mean 0, in training; 0 outside of it.

    Args:
        deviation: the standard deviation.
        each: "step" for new ones at every step, "sequence" for the same ones through all steps.
        size: the name of the size of the vector.
    """
    if not _is_number(deviation) or not 0 <= float(deviation) < float("inf"):
        refuse(f"deviation should be a number of at least 0, got {deviation!r}")
    return Value(_tracing().draw(size, "normal", float(deviation), each, 0.0))


def mask(keep: float, *, each: str = "step", size: str = "hidden", resting: float = 1.0) -> Any:
    """In training 1 with the probability ``keep`` and else 0; ``resting`` outside of it.

    Args:
        keep: the probability of a 1.
        each: "step" for new ones at every step, "sequence" for the same ones through all steps.
        size: the name of the size of the vector.
        resting: what stands in its place outside of training.
    """
    if not _is_number(keep) or not 0 <= float(keep) <= 1:
        refuse(f"keep should be a probability, from 0 to 1, got {keep!r}")
    if not _is_number(resting):
        refuse(f"resting should be a number, got {resting!r}")
    return Value(_tracing().draw(size, "bernoulli", float(keep), each, float(resting)))


def _tracing() -> Trace:
    from unrolled.cells.trace import current  # it is built on this

    found = current()
    if found is None:
        refuse("weights and random numbers are made within a cell's step")
    return found

"""The words in which a cell's step is written, beside Python's operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unrolled.cells.description import ONE, Form
from unrolled.cells.values import FUNCTIONS, Value, is_name, is_number, line, refuse

if TYPE_CHECKING:
    from unrolled.cells.trace import Trace

PLAIN = Form()


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(−x))."""
    return line("sigmoid", x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return line("tanh", x)


def relu(x: Any) -> Any:
    """X where it is above 0, else 0."""
    return line("relu", x)


def exp(x: Any) -> Any:
    """E to the power of x."""
    return line("exp", x)


def log(x: Any) -> Any:
    """The natural logarithm: −∞ of 0, NaN of less."""
    return line("log", x)


def sqrt(x: Any) -> Any:
    """The square root: NaN of less than 0."""
    return line("sqrt", x)


def absolute(x: Any) -> Any:
    """The distance from 0, which ``abs(x)`` is, too."""
    return line("absolute", x)


def sign(x: Any) -> Any:
    """1 above 0, −1 below, and 0 at it."""
    return line("sign", x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return line("softplus", x)


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
    return line("minimum", x, y)


def maximum(x: Any, y: Any) -> Any:
    """The greater of both; at a tie each has half of the derivative, as torch has it."""
    return line("maximum", x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, that is where it is not 0, and else ``y``."""
    return line("where", condition, x, y)


def detach(x: Any) -> Any:
    """The value of x, through which no gradient goes, as torch's ``.detach()`` has it.

    It goes by x's name: what ``linear`` multiplies it by are rows of the matrix that multiplies x.
    """
    return line("detach", x)


def mean(x: Any) -> Any:
    """The mean over the units of a row: one number, which all of them share."""
    if isinstance(x, Value) and x.node.size == ONE:
        return x
    return line("mean", x)


def variance(x: Any) -> Any:
    """The mean square distance of a row's units from their mean, as layer normalisation has it."""
    return mean((x - mean(x)) ** 2)


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
    if not is_name(size) or size == ONE:
        refuse(f'size should be the name of a size, such as "hidden", got {size!r}')
    if name is not None and (len(values) > 1 or not is_name(name)):
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
    if name is not None and not is_name(name):
        refuse(f"a weight's name should be one that Python can have for a variable, got {name!r}")
    if initial is not None and not is_number(initial):
        refuse(f"initial should be a number or None, got {initial!r}")
    return Value(_tracing().weight(name, size, None if initial is None else float(initial)))


def noise(deviation: float, *, each: str = "step", size: str = "hidden") -> Any:
    """Normal random numbers of mean 0, in training; 0 outside of it.

    Args:
        deviation: the standard deviation.
        each: "step" for new ones at every step, "sequence" for the same ones through all steps.
        size: the name of the size of the vector.
    """
    if not is_number(deviation) or not 0 <= float(deviation) < float("inf"):
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
    if not is_number(keep) or not 0 <= float(keep) <= 1:
        refuse(f"keep should be a probability, from 0 to 1, got {keep!r}")
    if not is_number(resting):
        refuse(f"resting should be a number, got {resting!r}")
    return Value(_tracing().draw(size, "bernoulli", float(keep), each, float(resting)))


def _tracing() -> Trace:
    from unrolled.cells.trace import current  # it is built on this

    found = current()
    if found is None:
        refuse("weights and random numbers are made within a cell's step")
    return found


FUNCTIONS.update(
    (function.__name__, function)
    for function in (
        sigmoid, tanh, relu, exp, log, sqrt, absolute, sign, softplus, softsign, hard_sigmoid,
        hard_tanh, minimum, maximum, where, detach, mean, variance,
    )
)  # fmt: skip

"""Each operation of a cell's equations as the standard's operators."""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_graph import Graph

# Not ONNX's Sign, which is NaN of NaN in ONNX Runtime, where torch's is 0.
OPERATORS = {
    "negative": "Neg",
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "absolute": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softplus": "Softplus",
    "minimum": "Min",
    "maximum": "Max",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "equal": "Equal",
    "where": "Where",
    "detach": "Identity",
    "mean": "ReduceMean",
}
TRUTHS = ("less", "less_equal", "equal")
"""What gives true or false in ONNX, and numbers in the equations."""


def add_operation(graph: Graph, operation: str, read: Sequence[str], output: str) -> str:
    """What the operation makes of the operands; gives the name."""
    if operation == "sign":
        return _sign(graph, read[0], output)
    operator = OPERATORS[operation]
    if operation == "mean":
        return graph.node(operator, read, output, axes=[-1], keepdims=1)
    if operation in TRUTHS:
        truth = graph.node(operator, read, f"{output}.is_true")
        return graph.node("Cast", [truth], output, to=graph.kind)
    if operation == "where":
        truth = graph.node("Cast", read[:1], f"{output}.is_taken", to=need("onnx").TensorProto.BOOL)
        return graph.node(operator, [truth, *read[1:]], output)
    if operation == "softplus" and graph.double:
        return _softplus(graph, read[0], output)
    return graph.node(operator, read, output)


def _sign(graph: Graph, x: str, output: str) -> str:
    """(x > 0) − (x < 0)."""
    zero = number(graph, 0.0)
    above = add_operation(graph, "less", [zero, x], f"{output}.above")
    below = add_operation(graph, "less", [x, zero], f"{output}.below")
    return graph.node("Sub", [above, below], output)


def _softplus(graph: Graph, x: str, output: str) -> str:
    """Softplus in float64, which ONNX Runtime has in float32 alone: max(x, 0) + log1p(exp(−|x|)).

    log1p(u) is u·log(w) / (w − 1) with w = 1 + u, and u where w is 1: Kahan's, to the last digits.
    """
    zero, one = number(graph, 0.0), number(graph, 1.0)
    here = f"{output}.parts."
    size = graph.node("Abs", [x], f"{here}size")
    u = graph.node("Exp", [graph.node("Neg", [size], f"{here}exponent")], f"{here}u")
    w = graph.node("Add", [one, u], f"{here}w")
    above = graph.node("Sub", [w, one], f"{here}above")
    product = graph.node("Mul", [u, graph.node("Log", [w], f"{here}log")], f"{here}product")
    quotient = graph.node("Div", [product, above], f"{here}quotient")
    is_one = graph.node("Equal", [w, one], f"{here}is_one")
    log1p = graph.node("Where", [is_one, u, quotient], f"{here}log1p")
    return graph.node("Add", [graph.node("Max", [x, zero], f"{here}max"), log1p], output)


def number(graph: Graph, value: float) -> str:
    """A number as a constant [1], so that whatever is computed of it has a last axis."""
    return graph.constant(f"number.{value!r}", [value])

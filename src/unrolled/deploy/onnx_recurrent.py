"""An RNN, LSTM or GRU node of an ONNX graph, checked: what a module has to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.deploy.onnx_constants import Array, Constants
from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_gates import ACTIVATIONS, CASE_COUNTS, CELLS, ORDER, RESET
from unrolled.deploy.onnx_scope import Scope, Value, called
from unrolled.deploy.onnx_words import shown
from unrolled.errors import InputError

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
PRECISIONS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Layer:
    """One node, which becomes a module or a layer of one.

    Attributes:
        node: the node.
        scope: the graph that it stands in.
        x: what it reads.
        mode: the cell's name, as torch's modules have it.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        batch_first: whether it has layout 1.
        reset_first: whether it is a GRU whose reset gate stands before the product.
        w: weights of the input [D, G·H, I], the gates in ONNX's order.
        r: weights of the state [D, G·H, H].
        b: both biases [D, 2·G·H], or None.
        lengths: where its sequence_lens come from, or None.
        given: where the states before the first step come from that the graph gives, by name.
    """

    node: Any
    scope: Scope
    x: Value
    mode: str
    direction: str
    batch_first: bool
    reset_first: bool
    w: Array
    r: Array
    b: Array
    lengths: Value | None
    given: dict[str, Value]

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.r.shape[-1])

    @property
    def y(self) -> Value | None:
        """Its output of all steps, or None."""
        name = next(iter(self.node.output), "")
        return Value(self.scope, name) if name else None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What the layers of one module have in common."""
        return (
            *(self.scope, self.mode, self.direction, self.batch_first, self.hidden_size),
            *(self.reset_first, self.b is None, self.w.dtype, self.lengths, sorted(self.given)),
        )


def read_layer(scope: Scope, node: Any, constants: Constants) -> Layer:
    """Reads and checks a node.

    Raises:
        InputError: it is not what the standard and ONNX Runtime admit, or not what a module can be.
            The message names the node, not the file.
    """
    return _Reader(scope, node, constants).read()


class _Reader:
    """Reads one node; every method raises an InputError that names it."""

    def __init__(self, scope: Scope, node: Any, constants: Constants) -> None:
        self.scope, self.node, self.constants = scope, node, constants
        self.where = f"{called(node)}{scope.within}"
        names = [*node.input, *[""] * (8 - len(node.input))]
        self.x, self.w, self.r, self.b, self.lengths, *rest = map(scope.find, names)
        self.states, self.peepholes = (
            dict(zip(("initial_h", "initial_c"), rest, strict=False)),
            rest[2],
        )
        try:
            value_of = need("onnx.helper").get_attribute_value
            self.options = {each.name: value_of(each) for each in node.attribute}
        except Exception as error:  # onnx has none of its own for an attribute without a value
            raise self.refused("has an attribute without a value. Write the file again") from error

    def refused(self, why: str) -> InputError:
        return InputError(f"{self.where}: {why}")

    def read(self) -> Layer:
        direction = self.text("direction", "forward")
        if direction not in DIRECTIONS:
            raise self.refused(
                f"has the direction {shown(direction)}, and one of {', '.join(DIRECTIONS)} was "
                "expected. Correct the attribute"
            )
        directions = DIRECTIONS[direction]
        mode = self.mode(directions)
        self.refuse_options()
        layout = self.flag("layout")
        hidden = self.options.get("hidden_size")
        if hidden is None or hidden < 1:
            raise self.refused(
                f"has hidden_size={hidden}, and a number above 0 was expected, as ONNX Runtime "
                "asks for. Correct the attribute"
            )
        w, r, b = self.weights(directions, hidden)
        self.check_types(w)
        self.refuse_peepholes(directions, r)
        return Layer(
            node=self.node,
            scope=self.scope,
            x=self.input_for(w),
            mode=mode,
            direction=direction,
            batch_first=layout == 1,
            reset_first=RESET in CELLS[mode].attributes and self.flag(RESET) == 0,
            w=w,
            r=r,
            b=b,
            lengths=None if self.lengths is None else self.given_lengths(self.lengths),
            given=self.given_states(directions, hidden, r, layout),
        )

    def text(self, name: str, default: str) -> str:
        return self.decoded(self.options.get(name, default.encode()))

    def decoded(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise self.refused(
                f"has an attribute that is no UTF-8 text ({shown(value)}). Write the file again"
            ) from error

    def flag(self, name: str) -> int:
        value = self.options.get(name, 0)
        if value not in (0, 1):
            raise self.refused(
                f"has {name}={value}, and 0 or 1 was expected. Correct the attribute"
            )
        return int(value)

    def mode(self, directions: int) -> str:
        """The cell's name, by the operator and its activations."""
        operator = self.node.op_type
        found = [self.decoded(a) for a in self.options.get("activations", [])]
        found = found or [*ACTIVATIONS[operator]] * directions
        if operator not in CASE_COUNTS:
            found = [name.capitalize() for name in found]
        ours = {mode: cell for mode, cell in CELLS.items() if cell.operator == operator}
        for mode, cell in ours.items():
            if found == [*cell.activations] * directions:
                return mode
        known = " or ".join(", ".join(cell.activations) for cell in ours.values())
        if directions == 2:
            known += ", in both directions alike"
        raise self.refused(
            f"has the activations {shown(', '.join(found))[1:-1]}, and {known} was expected: "
            "torch.nn's modules and ours have no others. Train one with them"
        )

    def refuse_options(self) -> None:
        if "clip" in self.options:
            raise self.refused(
                f"has clip={self.options['clip']:g}, which bounds what goes into the activations; "
                "torch.nn's modules and ours do no such thing. Export it without"
            )
        if self.options.get("input_forget", 0):
            raise self.refused(
                f"has input_forget={self.options['input_forget']}, which couples the input gate to "
                "the forget gate; torch.nn's modules and ours do no such thing. Export it without"
            )

    def weights(self, directions: int, hidden: int) -> tuple[Array, Array, Array]:
        rows = len(ORDER[self.node.op_type]) * hidden
        w = self.weight("W", self.w, (directions, rows, None))
        r = self.weight("R", self.r, (directions, rows, hidden))
        b = None if self.b is None else self.weight("B", self.b, (directions, 2 * rows))
        for letter, other in (("R", r), ("B", b)):
            if other is not None and other.dtype != w.dtype:
                raise self.refused(
                    f"its weights W are {w.dtype} and {letter} {other.dtype}, and one type was "
                    "expected. Convert them"
                )
        return w, r, b

    def weight(self, letter: str, value: Value | None, shape: tuple[int | None, ...]) -> Array:
        if value is None:
            raise self.refused(f"has no weights {letter}. Write the file again")
        if why := self.constants.why_not(value):
            raise self.refused(
                f"its weights {letter} ({shown(value.name)}) are no constants: {why}. Make them "
                "initializers"
            )
        array = self.constants.get(value)
        if str(array.dtype) not in PRECISIONS:
            raise self.refused(
                f"its weights {letter} are {array.dtype}, and one of {', '.join(PRECISIONS)} was "
                "expected. Convert them"
            )
        if not _fits(array.shape, shape):
            raise self.refused(
                f"its weights {letter} have the shape {list(array.shape)}, and "
                f"{_wanted(shape)} was expected for its hidden_size and direction. Correct them"
            )
        return array

    def input_for(self, w: Array) -> Value:
        """X, whose sizes are checked, if the graph says any."""
        if self.x is None:
            raise self.refused("reads no input X. Write the file again")
        self.check_sizes(self.x, (None, None, w.shape[-1]))
        return self.x

    def check_sizes(self, value: Value, wanted: Sequence[int | None]) -> None:
        said = value.scope.types.get(value.name)
        if said is None or not said.HasField("shape"):
            return
        sizes = [s.dim_value if s.HasField("dim_value") else None for s in said.shape.dim]
        if not _fits(wanted, sizes):
            raise self.refused(
                f"the graph says that {shown(value.name)} has the shape {_wanted(sizes)}, and "
                f"{_wanted(wanted)} was expected beside its weights. Correct one of them"
            )

    def check_types(self, w: Array) -> None:
        """Of what goes in and out, where the graph says any."""
        floats = need("onnx.helper").np_dtype_to_tensor_dtype(w.dtype)
        outputs = [Value(self.scope, name) for name in self.node.output]
        self.check_type(need("onnx").TensorProto.INT32, self.lengths)
        for value in (self.x, *self.states.values(), *outputs):
            self.check_type(floats, value)

    def check_type(self, expected: int, value: Value | None) -> None:
        said = None if value is None else value.scope.types.get(value.name)
        if value is None or said is None or said.elem_type in (0, expected):
            return
        kinds = {number: name for name, number in need("onnx").TensorProto.DataType.items()}
        raise self.refused(
            f"{shown(value.name)} is {kinds.get(said.elem_type, said.elem_type)}, and "
            f"{kinds[expected]} was expected beside its weights. Convert it"
        )

    def refuse_peepholes(self, directions: int, r: Array) -> None:
        if self.peepholes is None:
            return
        values = self.constants.get(self.peepholes)
        if values is None or np.any(values):
            raise self.refused(
                "has peepholes (P), from the cell state to the gates, which torch.nn's LSTM and "
                "ours have not. Train one without"
            )
        self.weight("P", self.peepholes, (directions, 3 * r.shape[-1]))

    def given_lengths(self, lengths: Value) -> Value:
        if not self.constants.why_not(lengths):
            raise self.constant("sequence_lens")
        return lengths.origin()

    def given_states(
        self, directions: int, hidden: int, like: Array, layout: int
    ) -> dict[str, Value]:
        """Those that the graph gives; zeros that are spelled out are none."""
        given = {}
        shape = (None, directions, hidden) if layout else (directions, None, hidden)
        for name, value in self.states.items():
            if value is None:
                continue
            if self.constants.why_not(value):
                self.check_sizes(value, shape)
                given[name] = value
                continue
            array = self.constants.get(value)
            if array.dtype != like.dtype or not _fits(array.shape, shape):
                raise self.refused(
                    f"its {name} is {array.dtype} of the shape {list(array.shape)}, and "
                    f"{like.dtype} of {_wanted(shape)} was expected. Correct it"
                )
            if np.any(array):
                raise self.constant(name)
        return given

    def constant(self, what: str) -> InputError:
        return self.refused(
            f"its {what} is a constant of the graph, which a module does not hold. Make it an "
            "input of the graph, and give it to the module's call"
        )


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether two shapes can be the same, None standing for any size above 0."""
    return len(shape) == len(wanted) and all(
        (one is None or other is None or one == other) and one != 0
        for one, other in zip(shape, wanted, strict=True)
    )


def _wanted(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"

"""The stepper as a reader would write it, in NumPy.

The oracle of the tests, and the fallback where no compiler built the other one: right, and slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from unrolled.cells.built_in import BUILT_IN, PROJECTED
from unrolled.cells.description import HIDDEN, INPUT, ONE
from unrolled.deploy import eight_bits
from unrolled.deploy.numpy_cells import DescribedLayer, times
from unrolled.deploy.plan import ACTIVATIONS, Array
from unrolled.masked import is_masked_array

MOST_STEPS = 2**62
"""Of so many a stream counts its rows; so many are never taken."""


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


class _Layer(Protocol):
    @property
    def states(self) -> Sequence[Array]:
        """The states [B, ·], in place."""

    @property
    def constants(self) -> Sequence[Array]:
        """What is the same at every step [B, ·], in place."""

    def run(self, x: Array, rows: Array, /) -> Array:
        """One step of these rows."""


class _Plain:
    """A layer without a state."""

    states: tuple[Array, ...] = ()
    constants: tuple[Array, ...] = ()

    def __init__(self, function: Callable[[Array], Array]):
        self.function = function

    def run(self, x: Array, _: Array) -> Array:
        return self.function(x)


class NumpyStepper:
    """B streams with their states; the methods are those of ``unrolled._stepper``'s classes."""

    def __init__(self, number: np.dtype[Any], batch: int, inputs: int):
        if min(batch, inputs) < 1:
            raise ValueError("a batch and an input of at least 1 were expected")
        self.number, self.batch, self.inputs = number, batch, inputs
        self.size = inputs
        self.layers: list[_Layer] = []
        self.scales: tuple[Array, ...] | None = None
        self.last = np.full((batch, inputs), np.nan)
        self.steps = np.zeros(batch, np.int64)
        self.is_finished = False

    def add_recurrent(
        self,
        cell: str,
        ih: Array | None,
        hh: Array | None,
        bias_ih: Array | None,
        bias_hh: Array | None,
        hr: Array | None,
        int8: bool = False,
    ) -> None:
        """A layer of the cell of torch's ``mode``, with the weights of ``plan.Weights``.

        ``int8`` says whether products are in 8 bits.
        """
        if cell not in BUILT_IN:
            raise ValueError(f"there is no cell {cell}")
        weights = ih, hh, bias_ih, bias_hh, hr
        gates = len(BUILT_IN[cell].gates)
        if ih is None or hh is None or ih.ndim != 2 or hh.ndim != 2 or 0 in (ih.size, hh.size):
            raise ValueError("W_ih [G·H, I] and W_hh [G·H, P] were expected")
        hidden, state = len(ih) // gates, hh.shape[1]
        if hr is not None and cell not in PROJECTED:
            raise ValueError(f"W_hr was expected of {[*PROJECTED]} only")
        if (bias_ih is None) != (bias_hh is None):
            raise ValueError("two biases or none were expected")
        self._insist(ih, "W_ih", gates * hidden, self.size)
        self._insist(hh, "W_hh", gates * hidden, hidden if hr is None else state)
        self._insist(bias_ih, "b_ih", gates * hidden)
        self._insist(bias_hh, "b_hh", gates * hidden)
        self._insist(hr, "W_hr", state, hidden)
        named = zip(("ih", "hh", "bias_ih", "bias_hh", "hr"), weights, strict=True)
        values = {n if "bias" in n else f"weight_{n}": w for n, w in named if w is not None}
        units = {INPUT: self.size, HIDDEN: hidden, ONE: 1}
        described = BUILT_IN[cell].described(bias=bias_ih is not None, projected=hr is not None)
        units[described.output.size] = state
        product = eight_bits.product if int8 else times
        self.add_described(
            DescribedLayer(described, units, values, self.batch, self.number, product)
        )

    def add_described(self, layer: DescribedLayer) -> None:
        """A layer of a cell that is written down, for as many rows."""
        self._add(layer, layer.states[0].shape[1])

    def add_linear(self, weight: Array, bias: Array | None) -> None:
        """W·x + b."""
        self._insist(weight, "a weight", max(len(weight), 1), self.size)
        self._insist(bias, "a bias", len(weight))
        self._add(
            _Plain(lambda x: x @ weight.T if bias is None else x @ weight.T + bias), len(weight)
        )

    def add_layer_norm(self, weight: Array | None, bias: Array | None, epsilon: float) -> None:
        """Over all that comes out of the layer before."""
        self._insist(weight, "a weight", self.size)
        self._insist(bias, "a bias", self.size)

        def normed(x: Array) -> Array:
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            y = (x - mean) / np.sqrt(variance + self.number.type(epsilon))
            y = y if weight is None else y * weight
            shifted: Array = y if bias is None else y + bias
            return shifted

        self._add(_Plain(normed), self.size)

    def add_activation(self, kind: int, parameter: float) -> None:
        """That of the number in ``ACTIVATIONS``."""
        if kind not in range(len(ACTIVATIONS)):
            raise ValueError("no such activation")
        a = self.number.type(parameter)
        erf = np.vectorize(math.erf, otypes=[self.number])
        cubed = math.sqrt(2 / math.pi)
        functions: dict[str, Callable[[Array], Array]] = {
            "tanh": np.tanh,
            "sigmoid": _sigmoid,
            "relu": lambda x: np.where(x < 0, 0, x),
            "leaky_relu": lambda x: np.where(x > 0, x, x * a),
            "elu": lambda x: np.where(x > 0, x, a * np.expm1(x)),
            "silu": lambda x: x * _sigmoid(x),
            "softplus": lambda x: np.where(x * a > 20, x, np.log1p(np.exp(x * a)) / a),
            "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
            "gelu_tanh": lambda x: x * (1 + np.tanh(cubed * (x + 0.044715 * x**3))) / 2,
        }
        self._add(_Plain(functions[ACTIVATIONS[kind]]), self.size)

    def scale(self, *scales: list[Any]) -> None:
        """Four scalers and a limit, which inputs are changes, and the outputs' bases.

        The inputs' means and scales [I], the outputs' [O], the greatest magnitudes that may enter
        [I], whether each input is a change [I], and the input that each output is added to [O].
        """
        self._insist_open()
        sizes = [
            self.inputs,
            self.inputs,
            self.size,
            self.size,
            self.inputs,
            self.inputs,
            self.size,
        ]
        if [len(values) for values in scales] != sizes:
            raise ValueError("one number for each input and one for each output were expected")
        if not all(-1 <= column < self.inputs for column in scales[-1]):
            raise ValueError("no such column")
        if not np.isfinite(np.concatenate(scales[:5])).all() or 0 in scales[1]:
            raise ValueError("finite scalers with scales other than 0 were expected")
        self.scales = tuple(map(np.asarray, scales))

    def finish(self, y: Array, *_: Any) -> None:
        """To be called once all layers are there; ``y`` [B, O] says what comes out."""
        if self.is_finished:
            raise ValueError("this stepper is finished already")
        if y.shape != (self.batch, self.size):
            raise ValueError(f"an array {[self.batch, self.size]} was expected")
        self.outside, self.is_finished = y.dtype, True

    def step(self, x: Any, out: Any) -> Any:
        """Y of one step, or None where ``x`` or ``out`` is not what the stepper takes as it is."""
        self._insist_finished()
        # Whatever has to be made an array first may hold what is masked, or no number.
        if not isinstance(x, np.ndarray | float) or is_masked_array(x) or is_masked_array(out):
            return None
        x = np.asarray(x)
        if x.dtype.kind != "f":
            return None
        is_row = self.batch == 1 and (
            x.shape == (self.inputs,) or (x.ndim == 0 and self.inputs == 1)
        )
        if not is_row and x.shape != (self.batch, self.inputs):
            return None
        if not self._takes(x):
            return None
        shape = (self.size,) if is_row else (self.batch, self.size)
        if out is not None and not (
            isinstance(out, np.ndarray)
            and (out.shape, out.dtype) == (shape, self.outside)
            and out.flags.carray
        ):
            return None
        y = self._step(x.reshape(self.batch, self.inputs)).astype(self.outside).reshape(shape)
        if out is None:
            return y
        out[...] = y
        return out

    def step_many(self, x: Array, y: Array) -> None:
        """``x`` [T, B, I] to ``y`` [T, B, O]."""
        self._insist_finished()
        if (x.dtype, y.dtype) != (self.outside, self.outside):
            raise TypeError(f"x and y of {self.outside} were expected")
        if x.shape != (len(x), self.batch, self.inputs) or y.shape != (
            len(x),
            self.batch,
            self.size,
        ):
            raise ValueError("x [T, B, I] and y [T, B, O] were expected")
        if np.may_share_memory(x, y):
            raise ValueError("a y apart from x was expected")
        if not self._takes(x):
            raise ValueError("finite numbers within the limits were expected")
        for t in range(len(x)):
            y[t] = self._step(x[t])

    def _step(self, x: Array) -> Array:
        """``x`` [B, I] to the outputs [B, O]."""
        self.steps += 1
        if self.scales is None:
            return self._run(x.astype(self.number), np.arange(self.batch))
        mean, scale, output_mean, output_scale, _, differs, base = self.scales
        x = x.astype(np.float64)
        features = np.where(differs, x - self.last, x)
        self.last = x
        # With differences a stream's first row only tells where the next one starts from.
        rows = np.flatnonzero(~np.isnan(features).any(axis=-1))
        y = np.full((self.batch, self.size), np.nan)
        if len(rows):
            scaled = ((features[rows] - mean) / scale).astype(self.number)
            starts = np.where(base < 0, 0, x[rows][:, base])
            y[rows] = self._run(scaled, rows) * output_scale + output_mean + starts
        return y

    def _run(self, x: Array, rows: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in self.layers:
                x = layer.run(x, rows)
        return x

    def widths(self) -> list[int]:
        """The width of each state."""
        return [state.shape[1] for state in self._states()]

    def read(self, state: int, to: Array) -> None:
        """The state of that number into ``to`` [B, its width]."""
        to[...] = self._at(self._states(), state, to)

    def write(self, state: int, values: Array) -> None:
        """The reverse of :meth:`read`."""
        self._at(self._states(), state, values)[...] = values

    def write_constant(self, constant: int, values: Array) -> None:
        """A number that is the same at every step, of all rows [B, its width]."""
        constants = [constant for layer in self.layers for constant in layer.constants]
        self._at(constants, constant, values)[...] = values

    def read_rows(self, last: Array, steps: Array) -> None:
        """Each row's last input [B, I], NaN if none, and the steps it has taken [B]."""
        self._insist_rows(last, steps)
        last[...], steps[...] = self.last, self.steps

    def write_rows(self, last: Array, steps: Array) -> None:
        """The reverse of :meth:`read_rows`."""
        self._insist_rows(last, steps)
        if not ((steps >= 0) & (steps <= MOST_STEPS)).all():
            raise ValueError("steps from 0 to 2^62 were expected")
        self.last, self.steps = last.copy(), steps.copy()

    def reset(self, row: int) -> None:
        """A stream's states as before its first row."""
        self._insist_finished()
        if row not in range(self.batch):
            raise IndexError("no such row")
        for state in self._states():
            state[row] = 0
        self.last[row], self.steps[row] = np.nan, 0

    def _states(self) -> list[Array]:
        return [state for layer in self.layers for state in layer.states]

    def _at(self, arrays: list[Array], place: int, like: Array) -> Array:
        self._insist_finished()
        if place not in range(len(arrays)):
            raise ValueError("no such state or constant")
        found = arrays[place]
        if (like.shape, like.dtype) != (found.shape, found.dtype):
            raise ValueError(f"an array {list(found.shape)} of {found.dtype} was expected")
        return found

    def _takes(self, x: Array) -> bool:
        """Whether ``x`` [..., I] may enter."""
        return self.scales is None or bool((np.abs(x) <= self.scales[4]).all())

    def _add(self, layer: _Layer, size: int) -> None:
        self._insist_open()
        self.layers.append(layer)
        self.size = size

    def _insist_open(self) -> None:
        if self.is_finished or self.scales is not None:
            raise ValueError("layers before scale and finish were expected")

    def _insist_finished(self) -> None:
        if not self.is_finished:
            raise ValueError("a finished stepper was expected")

    def _insist_rows(self, last: Array, steps: Array) -> None:
        self._insist_finished()
        if (last.shape, steps.shape) != (self.last.shape, self.steps.shape):
            raise ValueError("a last row [B, I] and steps [B] were expected")
        if (last.dtype, steps.dtype) != (self.last.dtype, self.steps.dtype):
            raise TypeError("a last row of float64 and steps of int64 were expected")

    def _insist(self, weight: Array | None, name: str, *shape: int) -> None:
        if weight is not None and (weight.shape, weight.dtype) != (shape, self.number):
            raise ValueError(f"{name} {list(shape)} of {self.number} was expected")

"""The stepper as a reader would write it, in NumPy.

The oracle of the tests, and the fallback where no compiler built the other one: right, and slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.deploy.plan import ACTIVATIONS, CELLS, Array

States = tuple[Array, ...]


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def _rnn_tanh(x: Array, h: Array, _: Array | None) -> States:
    return (np.tanh(x + h),)


def _rnn_relu(x: Array, h: Array, _: Array | None) -> States:
    s = x + h
    return (np.where(s < 0, 0, s),)  # NaN stays NaN


def _lstm(x: Array, h: Array, c: Array | None) -> States:
    i, f, g, o = np.split(x + h, 4, axis=-1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def _gru(x: Array, h: Array, before: Array | None) -> States:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(x, 3, axis=-1), np.split(h, 3, axis=-1)
    r, z = _sigmoid(x_r + h_r), _sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return (n + z * (before - n),)


STEPS: dict[str, Callable[[Array, Array, Array | None], States]] = {
    "RNN_TANH": _rnn_tanh,
    "RNN_RELU": _rnn_relu,
    "LSTM": _lstm,
    "GRU": _gru,
}
"""From the input's and the hidden state's share of the gates [B, G·H], and the state [B, H] that a
gate keeps a part of (the LSTM's cell, the GRU's hidden state), to the next states."""


class _Recurrent:
    def __init__(self, cell: str, batch: int, weights: tuple[Array | None, ...]):
        self.cell = cell
        ih, hh, self.bias_ih, self.bias_hh, self.hr = weights
        assert ih is not None
        assert hh is not None
        self.ih, self.hh = ih, hh
        hidden = len(ih) // CELLS[cell]
        widths = [hh.shape[1], hidden] if cell == "LSTM" else [hidden]
        self.states = [np.zeros((batch, width), ih.dtype) for width in widths]

    def run(self, x: Array, rows: Array) -> Array:
        h = self.states[0][rows]
        before = self.states[-1][rows] if self.cell in ("LSTM", "GRU") else None
        of_x, of_h = x @ self.ih.T, h @ self.hh.T
        if self.bias_ih is not None and self.bias_hh is not None:
            of_x, of_h = of_x + self.bias_ih, of_h + self.bias_hh
        h, *more = STEPS[self.cell](of_x, of_h, before)
        if self.hr is not None:
            h = h @ self.hr.T
        for state, value in zip(self.states, (h, *more), strict=True):
            state[rows] = value
        return h


class _Plain:
    """A layer without a state."""

    states: tuple[Array, ...] = ()

    def __init__(self, function: Callable[[Array], Array]):
        self.function = function

    def run(self, x: Array, _: Array) -> Array:
        return self.function(x)


class NumpyStepper:
    """B streams with their states; the methods are those of ``unrolled._stepper``'s classes."""

    def __init__(self, number: np.dtype[Any], batch: int, inputs: int):
        self.number, self.batch, self.inputs = number, batch, inputs
        self.size = inputs
        self.layers: list[_Recurrent | _Plain] = []
        self.scales: tuple[Array, ...] | None = None
        self.last = np.full((batch, inputs), np.nan)
        self.steps = np.zeros(batch, np.int64)

    def add_recurrent(self, cell: int, *weights: Array | None) -> None:
        """A layer of the cell of that number in ``CELLS``, with the weights of ``plan.Weights``."""
        ih, hh = weights[:2]
        self._insist(ih, "W_ih")
        if hh is None or ih is None or hh.ndim != 2 or len(hh) != len(ih):
            raise ValueError("W_hh [G·H, P] with as many rows as W_ih was expected")
        layer = _Recurrent(list(CELLS)[cell], self.batch, weights)
        self.size = layer.states[0].shape[1]
        self.layers.append(layer)

    def add_linear(self, weight: Array, bias: Array | None) -> None:
        """W·x + b."""
        self._insist(weight, "a weight")
        self.size = len(weight)
        self.layers.append(_Plain(lambda x: x @ weight.T if bias is None else x @ weight.T + bias))

    def add_layer_norm(self, weight: Array | None, bias: Array | None, epsilon: float) -> None:
        """Over all that comes out of the layer before."""

        def normed(x: Array) -> Array:
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            y = (x - mean) / np.sqrt(variance + self.number.type(epsilon))
            y = y if weight is None else y * weight
            shifted: Array = y if bias is None else y + bias
            return shifted

        self.layers.append(_Plain(normed))

    def add_activation(self, kind: int, parameter: float) -> None:
        """That of the number in ``ACTIVATIONS``."""
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
        self.layers.append(_Plain(functions[ACTIVATIONS[kind]]))

    def scale(self, *scales: list[Any]) -> None:
        """Four scalers [I] and [O], which inputs are changes, and the outputs' bases."""
        self.scales = tuple(map(np.asarray, scales))

    def finish(self, y: Array, *_: Any) -> None:
        """To be called once all layers are there; ``y`` [B, O] says what comes out."""
        self.outside = y.dtype
        if y.shape != (self.batch, self.size):
            raise ValueError(f"an array {[self.batch, self.size]} was expected")

    def step(self, x: Any, out: Any) -> Any:
        """Y of one step, or None where ``x`` or ``out`` is not what the stepper takes as it is."""
        x = np.asarray(x)
        if x.dtype.kind != "f":
            return None
        is_row = self.batch == 1 and (
            x.shape == (self.inputs,) or (x.ndim == 0 and self.inputs == 1)
        )
        if not is_row and x.shape != (self.batch, self.inputs):
            return None
        if self.scales is not None and not np.isfinite(x).all():
            return None
        shape = (self.size,) if is_row else (self.batch, self.size)
        if out is not None and (
            not isinstance(out, np.ndarray) or (out.shape, out.dtype) != (shape, self.outside)
        ):
            return None
        y = self._step(x.reshape(self.batch, self.inputs)).astype(self.outside).reshape(shape)
        if out is None:
            return y
        out[...] = y
        return out

    def step_many(self, x: Array, y: Array) -> None:
        """``x`` [T, B, I] to ``y`` [T, B, O]."""
        for t in range(len(x)):
            y[t] = self._step(x[t])

    def _step(self, x: Array) -> Array:
        """``x`` [B, I] to the outputs [B, O]."""
        self.steps += 1
        if self.scales is None:
            return self._run(x.astype(self.number), np.arange(self.batch))
        mean, scale, output_mean, output_scale, differs, base = self.scales
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
        to[...] = self._states()[state]

    def write(self, state: int, values: Array) -> None:
        """The reverse of :meth:`read`."""
        self._states()[state][...] = values

    def read_rows(self, last: Array, steps: Array) -> None:
        """Each row's last input [B, I], NaN if none, and the steps it has taken [B]."""
        last[...], steps[...] = self.last, self.steps

    def write_rows(self, last: Array, steps: Array) -> None:
        """The reverse of :meth:`read_rows`."""
        self.last, self.steps = last.copy(), steps.copy()

    def reset(self, row: int) -> None:
        """A stream's states as before its first row."""
        for state in self._states():
            state[row] = 0
        self.last[row], self.steps[row] = np.nan, 0

    def _states(self) -> list[Array]:
        return [state for layer in self.layers for state in layer.states]

    def _insist(self, weight: Array | None, name: str) -> None:
        if weight is None or weight.ndim != 2 or weight.shape[1] != self.size:
            raise ValueError(f"{name} [·, {self.size}] was expected")

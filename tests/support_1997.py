"""The network of 1997 written out by its paper's appendix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unrolled.reproduce.architecture import Architecture

Array = NDArray[np.float64]


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


class Paper:
    """Hochreiter & Schmidhuber 1997, appendix A.1, for one network, step by step.

    Gradients are taken forward in time (equations 27 to 32): only those of a cell's state go on.
    """

    def __init__(self, architecture: Architecture, weights: Array) -> None:
        a = self.architecture = architecture
        biased = [label for label, count in a.biases.items() if count]
        self.is_biased = np.repeat([label in biased for label in a.units], [*a.units.values()])
        self.block = np.arange(a.cells) // a.size
        self.load(weights)

    def load(self, weights: Array) -> None:
        """Takes new weights, also within a sequence."""
        a = self.architecture
        reads, units = sum(a.reads.values()), sum(a.units.values())
        matrix, rest = np.split(weights, [units * reads])
        self.w = np.column_stack([matrix.reshape(units, reads), np.zeros(units)])
        biases, out = np.split(rest, [self.is_biased.sum()])
        self.w[self.is_biased, -1] = biases
        self.v = out.reshape(a.outputs, -1)

    def gradient(self, inputs: Array, targets: Array, asked: Array) -> tuple[Array, Array]:
        """The gradient of all weights over a sequence, and the outputs at all steps."""
        self.begin()
        found = [self.step(*each) for each in zip(inputs, targets, asked, strict=True)]
        gradients, given = zip(*found, strict=True)
        return np.sum(gradients, axis=0), np.array(given)

    def begin(self) -> None:
        """A sequence."""
        a = self.architecture
        self.hidden, self.state = np.zeros(a.cells), np.zeros(a.cells)
        self.gate_in, self.gate_out = np.zeros(a.blocks), np.zeros(a.blocks)
        self.by_in, self.by_cell = (np.zeros((a.cells, self.w.shape[1])) for _ in range(2))  # ∂s/∂w

    def step(self, x: Array, target: Array, is_asked: float) -> tuple[Array, Array]:
        """The gradient of all weights in the lanes' order, and the outputs."""
        a, N, block = self.architecture, self.architecture.cells, self.block
        read = np.concatenate([x, self.hidden, self.gate_in, self.gate_out, [1.0]])
        net_in, net_cell, net_out = np.split(self.w @ read, [a.blocks, a.blocks + N])
        gate_in, gate_out = logistic(net_in), logistic(net_out)
        g = 4 * logistic(net_cell) - 2
        d_g = 4 * logistic(net_cell) * (1 - logistic(net_cell))
        d_in = gate_in * (1 - gate_in)
        self.by_in += (g * d_in[block])[:, None] * read
        self.by_cell += (gate_in[block] * d_g)[:, None] * read
        self.state = self.state + gate_in[block] * g
        h = 2 * logistic(self.state) - 1
        d_h = 2 * logistic(self.state) * (1 - logistic(self.state))
        self.hidden, self.gate_in, self.gate_out = gate_out[block] * h, gate_in, gate_out
        seen = np.concatenate([self.hidden, [1.0] * a.output_bias, x if a.shortcut else []])
        y = logistic(self.v @ seen)
        delta = is_asked * (y - target) * y * (1 - y)
        error = self.v[:, :N].T @ delta
        d_out = gate_out * (1 - gate_out) * np.bincount(block, error * h)
        d_state = (error * gate_out[block] * d_h)[:, None]
        of_gates = [(d_state * self.by_in)[block == b].sum(0) for b in range(a.blocks)]
        d_w = np.vstack([of_gates, d_state * self.by_cell, d_out[:, None] * read])
        parts = d_w[:, :-1].ravel(), d_w[self.is_biased, -1], np.outer(delta, seen).ravel()
        return np.concatenate(parts), y

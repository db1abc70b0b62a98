"""The grid: what shapes the tables have a row for."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """One case: a module with I inputs and H hidden units on B sequences of T steps.

    ``steps`` is 0 for a cell, which takes one step. The lengths are uniform from ``least`` to 1
    of the steps; below 1 the batch is ragged.
    """

    module: str
    inputs: int
    hidden: int
    batch: int
    steps: int = 0
    least: float = 1.0
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"I{self.inputs}", f"H{self.hidden}", f"B{self.batch}"]
        parts += [f"T{self.steps}"] if self.steps else []
        parts += ["ragged"] if self.least < 1 else []
        parts += [WORDS[name].format(value) for name, value in self.options.items()]
        return " ".join(parts)

    def lengths(self) -> Tensor:
        """Lengths [B] in no order, the longest of all the steps."""
        lengths = torch.linspace(self.least, 1, self.batch).mul(self.steps).ceil().long()
        return lengths[torch.randperm(self.batch)]

    def operations(self) -> float:
        """Floating-point operations of the products in a forward pass."""
        gates = {"R": 1, "L": 4, "G": 3}[self.module[0]]
        directions = 2 if self.options.get("bidirectional") else 1
        state = self.options.get("proj_size", self.hidden)
        inputs = [self.inputs, *[directions * state] * (self.options.get("num_layers", 1) - 1)]
        of_a_step = sum(gates * self.hidden * (read + state) for read in inputs)
        of_a_step += len(inputs) * self.options.get("proj_size", 0) * self.hidden
        share = (self.least + 1) / 2
        return 2.0 * directions * of_a_step * share * self.batch * max(self.steps, 1)


WORDS = {
    "num_layers": "L{}",
    "proj_size": "P{}",
    "bidirectional": "bidirectional",
    "dropout": "dropout {}",
}

# More come here.
SEQUENCES, CELLS = ("LSTM", "GRU", "RNN"), ("LSTMCell", "GRUCell", "RNNCell")
DENSE = [  # I, H, B, T
    (1, 32, 1, 1),
    (1, 32, 1, 100),
    (1, 32, 32, 10),
    (1, 32, 32, 100),
    (32, 128, 1, 100),
    (32, 128, 32, 100),
    (64, 64, 256, 50),
    (64, 256, 64, 100),
    (64, 512, 16, 50),
    (128, 512, 64, 50),
]
RAGGED = [(12, 64, 32, 29), (32, 128, 64, 200)]
STACK = {"num_layers": 2, "dropout": 0.2, "bidirectional": True}
LARGE = (32, 128, 32, 100)
SHAPES = [
    *(Shape(name, *sizes) for name in SEQUENCES for sizes in DENSE),
    *(Shape(name, *sizes, least=0.25) for name in SEQUENCES for sizes in RAGGED),
    *(Shape(name, *LARGE, options=STACK) for name in SEQUENCES),
    *(Shape(name, *LARGE, dtype=torch.float64) for name in SEQUENCES),
    Shape("LSTM", *LARGE, options={"proj_size": 64}),
    *(Shape(name, 1, 32, 1) for name in CELLS),
]


def chosen(only: str, among: list[Shape] = SHAPES) -> list[Shape]:
    """The shapes whose row contains ``only``; where there is none the script ends."""
    found = [shape for shape in among if only in f"{shape.module} {shape} {shape.dtype}"]
    return found or sys.exit(f"no shape contains {only!r}")

"""The LSTM with peepholes and its eight variants: Greff et al. 2017, arXiv 1503.04069.

"LSTM: a search space odyssey", IEEE Transactions on Neural Networks and Learning Systems 28(10).
The vanilla LSTM, V, is that of section II; each variant of section III changes one thing of it.
The paper's names are z for the candidate, i, f and o for the gates, c for the cell and y for the
hidden state; p are peepholes, a number for each unit, and ⊙ multiplies unit by unit.
"""

from __future__ import annotations

from typing import Any, Final

from unrolled.cells.cell import Cell
from unrolled.cells.language import linear, sigmoid, tanh, weight

OPEN: Final = None
"""In place of a gate that a variant does not have."""


def gated(gate: Any, value: Any) -> Any:
    """What a gate lets through: all, where there is none."""
    return value if gate is OPEN else gate * value


def gate_with_peephole(peephole: str, cell: Any, *read: Any) -> Any:
    """A gate by what it reads, and by the cell, each unit its own."""
    return sigmoid(linear(*read) + weight(peephole) * cell)


class VanillaLSTM(Cell):
    """V: the LSTM with peepholes, of which the others are variants.

    Greff et al. 2017, section II: z_t = tanh(W_z·x_t + R_z·y_{t−1} + b_z);
    i_t = σ(W_i·x_t + R_i·y_{t−1} + p_i ⊙ c_{t−1} + b_i), and f_t likewise;
    c_t = z_t ⊙ i_t + c_{t−1} ⊙ f_t; o_t = σ(W_o·x_t + R_o·y_{t−1} + p_o ⊙ c_t + b_o);
    y_t = tanh(c_t) ⊙ o_t. These are the equations of ``PeepholeLSTM``, which has the same weights.
    """

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        """The next states."""
        input = self.input_gate(x, hidden, cell)
        forget = self.forget_gate(x, hidden, cell, input)
        candidate = self.squashed_input(linear(x, hidden))
        cell = gated(forget, cell) + gated(input, candidate)
        output = self.output_gate(x, hidden, cell)
        return gated(output, self.squashed_cell(cell)), cell

    def input_gate(self, x: Any, hidden: Any, cell: Any) -> Any:
        """How much comes in: i_t."""
        return self.gate("peephole_input", cell, x, hidden)

    def forget_gate(self, x: Any, hidden: Any, cell: Any, input: Any) -> Any:  # noqa: ARG002 - for CIFG
        """How much stays: f_t. A variant makes it of the input gate."""
        return self.gate("peephole_forget", cell, x, hidden)

    def output_gate(self, x: Any, hidden: Any, cell: Any) -> Any:
        """How much goes out: o_t."""
        return self.gate("peephole_output", cell, x, hidden)

    def gate(self, peephole: str, cell: Any, *read: Any) -> Any:
        """A gate by what it reads, and its peephole."""
        return gate_with_peephole(peephole, cell, *read)

    def squashed_input(self, candidate: Any) -> Any:
        """The input activation function, g."""
        return tanh(candidate)

    def squashed_cell(self, cell: Any) -> Any:
        """The output activation function, h."""
        return tanh(cell)


class NIG(VanillaLSTM):
    """No input gate: i_t = 1 in :class:`VanillaLSTM` (Greff et al. 2017, section III)."""

    def input_gate(self, *_: Any) -> Any:
        """None."""
        return OPEN


class NFG(VanillaLSTM):
    """No forget gate: f_t = 1 in :class:`VanillaLSTM` (Greff et al. 2017, section III).

    ``LSTM1997`` has no peepholes besides, and other activation functions.
    """

    def forget_gate(self, *_: Any) -> Any:
        """None."""
        return OPEN


class NOG(VanillaLSTM):
    """No output gate: o_t = 1 in :class:`VanillaLSTM` (Greff et al. 2017, section III)."""

    def output_gate(self, *_: Any) -> Any:
        """None."""
        return OPEN


class NIAF(VanillaLSTM):
    """No input activation function: g(x) = x in :class:`VanillaLSTM`.

    Greff et al. 2017, section III.
    """

    def squashed_input(self, candidate: Any) -> Any:
        """As it is."""
        return candidate


class NOAF(VanillaLSTM):
    """No output activation function: h(x) = x in :class:`VanillaLSTM`.

    Greff et al. 2017, section III.
    """

    def squashed_cell(self, cell: Any) -> Any:
        """As it is."""
        return cell


class PeepholeCIFG(VanillaLSTM):
    """Coupled input and forget gates, the paper's CIFG: f_t = 1 − i_t in :class:`VanillaLSTM`.

    Greff et al. 2017, section III. The cell :class:`~unrolled.cells.CIFG` is the same without
    peepholes.
    """

    def forget_gate(self, x: Any, hidden: Any, cell: Any, input: Any) -> Any:  # noqa: ARG002 - as in V
        """What the input gate leaves."""
        return 1 - input


class NP(VanillaLSTM):
    """No peepholes: p_i = p_f = p_o = 0 in :class:`VanillaLSTM` (Greff et al. 2017, section III).

    ``LSTM``, which is torch's, is the same with two biases for one.
    """

    def gate(self, peephole: str, cell: Any, *read: Any) -> Any:  # noqa: ARG002 - as in V
        """A gate by what it reads."""
        return sigmoid(linear(*read))


class FGR(Cell):
    """Full gate recurrence: each gate in :class:`VanillaLSTM` sees all gates of the step before.

    Greff et al. 2017, section III: to the sum of the input gate are added
    R_ii·i_{t−1} + R_fi·f_{t−1} + R_oi·o_{t−1}, and the others' likewise. The gates are states;
    before the first step they are 0 unless they are given.
    """

    def step(self, x: Any, hidden: Any, cell: Any, input: Any, forget: Any, output: Any) -> Any:
        """The next states."""
        read = x, hidden, input, forget, output
        input = gate_with_peephole("peephole_input", cell, *read)
        forget = gate_with_peephole("peephole_forget", cell, *read)
        candidate = tanh(linear(x, hidden))
        cell = forget * cell + input * candidate
        output = gate_with_peephole("peephole_output", cell, *read)
        return output * tanh(cell), cell, input, forget, output

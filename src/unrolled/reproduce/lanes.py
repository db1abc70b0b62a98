"""Several networks of 1997, each learning by itself, in one pass of one module.

A network of four memory cells is far too small to keep a processor busy. Trials with other initial
weights and other sequences are independent of each other: so they run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.nn import Recurrent
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.wiring import copies, wire


@dataclass(frozen=True)
class Asked:
    """What a sequence of each network is to give.

    Attributes:
        targets: [T, K, O], or with ``ends`` [1, K, O].
        mask: [T, K], 1 where something is asked and else 0, or with ``ends`` [1, K].
        ends: [K], the step at which each network is asked; None where it is at many.
    """

    targets: Tensor
    mask: Tensor
    ends: Tensor | None = None


class Lanes:
    """K networks of one kind: a pass over a sequence each, and the update that follows.

    The error is E = ½ Σ (target − output)² over all outputs and steps of a sequence, and an update
    is −rate · ∂E/∂w after each sequence.

    Attributes:
        architecture: the networks'.
        weights: theirs [K, W], those of the outputs last; :meth:`load` makes changes known.
    """

    reads_input = True
    """Whether the module multiplies the input."""

    def __init__(self, architecture: Architecture, weights: Tensor) -> None:
        self.architecture, self.weights = architecture, weights
        self.lanes = len(weights)
        sizes = self._input_size(), self.lanes * architecture.cells
        self.module = Recurrent(architecture.cell, *sizes, dtype=weights.dtype)
        self._learned = self._parameters()
        self._inside = weights.new_zeros(sum(p.numel() for p in self._learned))
        begin = 0
        for parameter in self._learned:
            view = self._inside[begin : begin + parameter.numel()]
            parameter.data = view.view_as(parameter)
            begin += parameter.numel()
        wiring = wire(architecture, self.lanes, reads_input=self.reads_input)
        self._places, self._own = map(torch.from_numpy, (wiring.inside, wiring.own))
        self._networks = torch.arange(self.lanes)
        self.load()

    def _input_size(self) -> int:
        return self.lanes * self.architecture.inputs

    def _parameters(self) -> list[torch.nn.Parameter]:
        """Those that are learned."""
        return list(self.module.parameters())

    def load(self) -> None:
        """Puts the weights into the module."""
        self._inside[self._places] = self.weights.view(-1)[self._own]

    @property
    def readout(self) -> Tensor:
        """The outputs' weights [K, O, ·]: of the cells, of the inputs if they are read, the bias."""
        architecture = self.architecture
        shape = self.lanes, architecture.outputs, architecture.output_reads
        return self.weights[:, architecture.hidden_weights :].view(shape)

    # --- what a sequence comes to ---------------------------------------------------------------

    def outputs(self, inputs: Tensor, asked: Asked) -> Tensor:
        """What the networks give where they are asked, [T, K, O] or [1, K, O].

        Args:
            inputs: [T, K, I].
            asked: where.
        """
        with torch.no_grad():
            return self._read_out(self._states(self._pass(self._read(inputs)), asked), inputs)

    def learn(self, inputs: Tensor, asked: Asked, rate: float) -> Tensor:
        """One update of every network after a sequence each; returns its outputs before that."""
        read = self._read(inputs)
        hidden = self._pass(read)
        with torch.no_grad():
            states = self._states(hidden.detach(), asked)
            outputs = self._read_out(states, inputs)
            error = (outputs - asked.targets) * asked.mask[..., None]
            d_net = error * outputs * (1 - outputs)
            d_states = torch.einsum("sko,kon->skn", d_net, self.readout[..., : states.shape[-1]])
            d_hidden = self._back(d_states, hidden, asked)
        hidden.backward(d_hidden)
        with torch.no_grad():
            self._update(read, inputs, states, d_net, rate)
        return outputs

    def _pass(self, read: Tensor) -> Tensor:
        """The cells' outputs [T, 1, K·N]."""
        output: Tensor = self.module(read)[0]
        return output

    def _read(self, inputs: Tensor) -> Tensor:
        """What the module reads, [T, 1, K·I]."""
        return inputs.flatten(1)[:, None]

    def _states(self, hidden: Tensor, asked: Asked) -> Tensor:
        """The cells' outputs where the networks are asked, [T, K, N] or [1, K, N]."""
        each = hidden.view(-1, self.lanes, self.architecture.cells)
        return each if asked.ends is None else each[asked.ends, self._networks][None]

    def _back(self, d_states: Tensor, hidden: Tensor, asked: Asked) -> Tensor:
        """The gradient of the cells' outputs at all steps, as they are."""
        if asked.ends is None:
            return d_states.reshape(hidden.shape)
        found = torch.zeros_like(hidden)
        found.view(-1, *d_states.shape[1:])[asked.ends, self._networks] = d_states[0]
        return found

    def _read_out(self, states: Tensor, inputs: Tensor) -> Tensor:
        """What the outputs give, [S, K, O]."""
        cells = states.shape[-1]
        net = torch.einsum("skn,kon->sko", states, self.readout[..., :cells])
        if self.architecture.shortcut:
            net += self._shortcut(inputs)
        if "outputs" in self.architecture.biased:
            net += self.readout[..., -1]
        return net.sigmoid_()

    def _shortcut(self, inputs: Tensor) -> Tensor:
        """What the outputs read of the inputs, [T, K, O]."""
        return torch.einsum("ski,koi->sko", inputs, self.readout[..., self._of_inputs])

    @property
    def _of_inputs(self) -> slice:
        cells = self.architecture.cells
        return slice(cells, cells + self.architecture.inputs)

    # --- the update -----------------------------------------------------------------------------

    def _update(
        self, read: Tensor, inputs: Tensor, states: Tensor, d_net: Tensor, rate: float
    ) -> None:
        cells = states.shape[-1]
        self.readout[..., :cells] -= rate * torch.einsum("sko,skn->kon", d_net, states)
        if self.architecture.shortcut:
            self._update_shortcut(inputs, d_net, rate)
        if "outputs" in self.architecture.biased:
            self.readout[..., -1] -= rate * d_net.sum(0)
        gradients = torch.cat([p.grad.view(-1) for p in self._learned if p.grad is not None])
        weights = self.weights.view(-1)
        weights.index_add_(0, self._own, gradients[self._places], alpha=-rate)
        for parameter in self._learned:
            parameter.grad = None
        self._update_input(read, inputs, rate)
        self.load()

    def _update_input(self, read: Tensor, inputs: Tensor, rate: float) -> None:
        """What the input is multiplied by, where it is not in the module."""

    def _update_shortcut(self, inputs: Tensor, d_net: Tensor, rate: float) -> None:
        gradient = torch.einsum("sko,ski->koi", d_net, inputs)
        self.readout[..., self._of_inputs] -= rate * gradient


class SymbolLanes(Lanes):
    """The same for networks that read one symbol of many at a step: its weights are looked up.

    ``inputs`` are then the symbols [T, K], whole numbers from 0 to I − 1.
    """

    reads_input = False

    def __init__(self, architecture: Architecture, weights: Tensor) -> None:
        super().__init__(architecture, weights)
        lanes, width = self.lanes, architecture.weights
        row = sum(architecture.reads.values())
        units = sum(architecture.units.values())
        first = torch.arange(lanes)[:, None] * width
        self._tables = first + torch.arange(units) * row
        """Where the weights of symbol 0 stand among all, [K, U]."""
        reads = torch.arange(architecture.outputs) * architecture.output_reads
        self._direct = first + architecture.hidden_weights + architecture.cells + reads
        """Where those of the outputs do, [K, O]."""
        self._copies = torch.from_numpy(copies(architecture, lanes))

    def _input_size(self) -> int:
        return len(self.architecture.units) * self.lanes * self.architecture.cells

    def _parameters(self) -> list[torch.nn.Parameter]:
        # The module is given the sums over the input, and takes them as they are.
        matrix = self.module.get_parameter("weight_ih_l0")
        torch.nn.init.eye_(matrix).requires_grad_(False)
        return [p for p in self.module.parameters() if p is not matrix]

    def _read(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            sums = self.weights.view(-1)[self._tables + inputs[..., None]].flatten(1)
            read = sums[:, self._copies][:, None]
        return read.requires_grad_()

    def _update_input(self, read: Tensor, inputs: Tensor, rate: float) -> None:
        assert read.grad is not None
        gradient = read.grad.new_zeros(len(read), self._tables.numel())
        gradient.index_add_(1, self._copies, read.grad[:, 0])
        self._add(self._tables, inputs, gradient, rate)

    def _shortcut(self, inputs: Tensor) -> Tensor:
        return self.weights.view(-1)[self._direct + inputs[..., None]]

    def _update_shortcut(self, inputs: Tensor, d_net: Tensor, rate: float) -> None:
        self._add(self._direct, inputs, d_net, rate)

    def _add(self, first: Tensor, symbols: Tensor, gradient: Tensor, rate: float) -> None:
        """Takes the gradient [T, K, ·] from the weights of the symbols."""
        places = (first + symbols[..., None]).flatten()
        self.weights.view(-1).index_add_(0, places, gradient.flatten(), alpha=-rate)

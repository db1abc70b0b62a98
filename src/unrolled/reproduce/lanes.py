"""Several networks of 1997, each learning by itself, in one pass of the core.

A network of four memory cells is far too small to keep a processor busy. Trials with other initial
weights and other sequences are independent of each other: so they run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unrolled.errors import InputError
from unrolled.nn import Recurrent
from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.wiring import copies, wire
from unrolled.scan import Given, Sequences
from unrolled.scan.native import is_built
from unrolled.scan.passes import Pass, Stage
from unrolled.scan.plan import plans
from unrolled.scan.spec import Drawn


@dataclass(frozen=True)
class Asked:
    """What the sequences of each network are to give.

    Attributes:
        targets: [K, S, O], S = T·B, a step after the other; with ``ends`` S = B.
        mask: [K, S, 1], 1 where something is asked and else 0; None where all count.
        ends: [B, K], the step at which each network is asked; None where it is at many.
    """

    targets: Tensor
    mask: Tensor | None = None
    ends: Tensor | None = None


class Lanes:
    """K networks of one kind: a pass over a sequence each, and the update that follows.

    The error is E = ½ Σ (target − output)² over all outputs and steps of a sequence, and an update
    is −rate · ∂E/∂w after each sequence. The core's passes are called without autograd: with it an
    update of such small networks takes twice as long.

    Attributes:
        architecture: the networks'.
        weights: theirs [K, W], those of the outputs last; :meth:`load` makes changes known.
        present: [K], which networks have their memory cells yet: without them a network is its
            outputs alone, and nothing else learns. None where all have them.

    Raises:
        InputError: the package was built without a compiler.
    """

    reads_input: ClassVar[bool] = True
    """Whether the core multiplies the input."""

    together: ClassVar[int] = 10
    """So many networks at once; with more, each costs more."""

    @staticmethod
    def seconds(steps: int, networks: int) -> float:
        """How long an update after a sequence of so many steps takes, roughly."""
        return 3e-4 + steps * 2.7e-7 * networks

    def __init__(self, architecture: Architecture, weights: Tensor) -> None:
        if not is_built():
            raise InputError(
                "this runs on the compiled core, and the package was built without a compiler. "
                "Install a C++ compiler, and the package anew"
            )
        self.architecture, self.weights = architecture, weights
        self.present: Tensor | None = None
        self.lanes, dtype = len(weights), weights.dtype
        self._networks = torch.arange(self.lanes)
        after = weights[:, architecture.hidden_weights :]
        self._readout = after.view(self.lanes, architecture.outputs, -1)
        module = Recurrent(
            architecture.cell, self._input_size(), self.lanes * architecture.cells, dtype=dtype
        )
        self._spec = module.spec()
        planned = plans(self._spec, dtype)
        assert not isinstance(planned, str)
        self._plans = planned
        self._flat = [parameter.detach() for parameter in module.parameters()]
        learned = self._flat[0 if self.reads_input else 1 :]
        self._wanted = [not self.reads_input, self.reads_input, *[True] * (len(self._flat) - 1)]
        counts = [weight.numel() for weight in learned]
        self._inside = weights.new_zeros(sum(counts))
        views = zip(torch.split(self._inside, counts), learned, strict=True)
        self._flat[len(self._flat) - len(learned) :] = [
            view.view_as(weight) for view, weight in views
        ]
        wiring = wire(architecture, self.lanes, reads_input=self.reads_input)
        self._places, self._own = map(torch.from_numpy, (wiring.inside, wiring.own))
        self.load()

    def _input_size(self) -> int:
        return self.lanes * self.architecture.inputs

    def load(self) -> None:
        """Puts the weights into the core's matrices."""
        values = self.weights.view(-1).index_select(0, self._own)
        self._inside.index_copy_(0, self._places, values)

    def module(self) -> Recurrent:
        """The hidden layers as a module that reads all their inputs side by side, K·I and K·N."""
        sizes = self.lanes * self.architecture.inputs, self.lanes * self.architecture.cells
        found = Recurrent(self.architecture.cell, *sizes, dtype=self.weights.dtype)
        lanes = self if self.reads_input else Lanes(self.architecture, self.weights)
        for parameter, weight in zip(found.parameters(), lanes._flat, strict=True):
            parameter.data.copy_(weight)
        return found

    # --- what a sequence comes to ---------------------------------------------------------------

    @torch.no_grad()
    def outputs(self, inputs: Tensor, ends: Tensor | None = None) -> Tensor:
        """What the networks give at the steps ``ends`` [B, K], or at all, [K, S, O].

        Args:
            inputs: B sequences for each network, [T, B, K, I].
            ends: see :class:`Asked`.
        """
        hidden, _ = self._pass(self._read(inputs)).forward()
        return self._read_out(self._states(hidden, ends), inputs)

    @torch.no_grad()
    def learn(self, inputs: Tensor, asked: Asked, rate: float) -> Tensor:
        """One update of every network after its sequences; returns its outputs before that.

        Args:
            inputs: [T, B, K, I]; in 1997 an update came after each sequence, B = 1.
            asked: what is to be learned.
            rate: α.
        """
        recurrent, stages = self._pass(self._read(inputs)), list[Stage]()
        hidden, last = recurrent.forward(stages)
        states = self._states(hidden, asked.ends)
        outputs = self._read_out(states, inputs)
        d_net = (outputs - asked.targets) * outputs * (1 - outputs)
        if asked.mask is not None:
            d_net *= asked.mask
        d_states = self._if_present(d_net @ self._readout[..., : self.architecture.cells])
        found = recurrent.backward(
            stages, [self._back(d_states, hidden, asked), *[None] * len(last)], self._wanted
        )
        self._update(inputs, states, d_net, found, rate)
        return outputs

    def _pass(self, read: Tensor) -> Pass:
        given = Given(Sequences(read), read.shape[1], None, [], self._flat)
        return Pass(self._spec, self._plans, given, Drawn())

    def _read(self, inputs: Tensor) -> Tensor:
        """What the core reads, [T, B, ·]."""
        return inputs.flatten(2)

    def _states(self, hidden: Tensor, ends: Tensor | None) -> Tensor:
        """What the outputs read beside the inputs: the cells [K, S, N], and the 1 of the bias."""
        each = self._of_networks(hidden)
        if ends is None:
            states = each.permute(2, 0, 1, 3).flatten(1, 2)
        else:
            rows = torch.arange(len(ends))[:, None]
            states = each[ends, rows, self._networks].transpose(0, 1)
        states = self._if_present(states)
        if not self.architecture.output_bias:
            return states
        return torch.cat([states, states.new_ones(*states.shape[:2], 1)], dim=2)

    def _if_present(self, of_cells: Tensor) -> Tensor:
        """What concerns the cells [K, ·, N], and 0 for the networks that lack them."""
        return of_cells if self.present is None else of_cells * self.present[:, None, None]

    def _of_networks(self, hidden: Tensor) -> Tensor:
        """[T, B, K, N]."""
        return hidden.view(*hidden.shape[:2], self.lanes, -1)

    def _back(self, d_states: Tensor, hidden: Tensor, asked: Asked) -> Tensor:
        """The gradient of the cells' outputs at all steps, as they lie."""
        found = torch.zeros_like(hidden)
        each = self._of_networks(found)
        if asked.ends is None:
            each.copy_(d_states.view(self.lanes, *hidden.shape[:2], -1).permute(1, 2, 0, 3))
        else:
            rows = torch.arange(len(asked.ends))[:, None]
            each[asked.ends, rows, self._networks] = d_states.transpose(0, 1)
        return found

    def _read_out(self, states: Tensor, inputs: Tensor) -> Tensor:
        """What the outputs give, [K, ·, O]."""
        net = states @ self._readout[..., : states.shape[2]].mT
        if self.architecture.shortcut:
            net += self._shortcut(inputs)
        return net.sigmoid_()

    @property
    def _direct(self) -> Tensor:
        """The outputs' weights of the inputs, [K, O, I]."""
        return self._readout[..., self.architecture.cells + self.architecture.output_bias :]

    def _shortcut(self, inputs: Tensor) -> Tensor:
        """What the outputs read of the inputs, [K, S, O]."""
        return inputs.permute(2, 0, 1, 3).flatten(1, 2) @ self._direct.mT

    # --- the update -----------------------------------------------------------------------------

    def _update(
        self,
        inputs: Tensor,
        states: Tensor,
        d_net: Tensor,
        found: Sequence[Tensor | None],
        rate: float,
    ) -> None:
        self._readout[..., : states.shape[2]].baddbmm_(d_net.mT, states, alpha=-rate)
        if self.architecture.shortcut:
            self._update_shortcut(inputs, d_net, rate)
        d_read, *d_flat = found
        gradients = [d.view(-1) for d in d_flat if d is not None]
        if gradients:
            taken = torch.cat(gradients).index_select(0, self._places)
            self.weights.view(-1).index_add_(0, self._own, taken, alpha=-rate)
        if d_read is not None:
            self._update_input(inputs, d_read.flatten(0, 1), rate)
        self.load()

    def _update_shortcut(self, inputs: Tensor, d_net: Tensor, rate: float) -> None:
        self._direct.baddbmm_(d_net.mT, inputs.permute(2, 0, 1, 3).flatten(1, 2), alpha=-rate)

    def _update_input(self, inputs: Tensor, d_read: Tensor, rate: float) -> None:
        """What the input is multiplied by where the core does not do it; ``d_read`` [S, ·]."""


class SymbolLanes(Lanes):
    """The same for networks that read one symbol of many at a step: its weights are looked up.

    ``inputs`` are then the symbols [T, B, K], whole numbers from 0 to I − 1.
    """

    reads_input = False

    def __init__(self, architecture: Architecture, weights: Tensor) -> None:
        super().__init__(architecture, weights)
        # The core is given the sums over the input, and takes them as they are.
        torch.nn.init.eye_(self._flat[0])
        row, units = sum(architecture.reads.values()), sum(architecture.units.values())
        first = torch.arange(self.lanes)[:, None] * architecture.weights
        self._tables = first + torch.arange(units) * row
        """Where the hidden layer's weights of symbol 0 stand among all, [K, U]."""
        outputs = torch.arange(architecture.outputs) * architecture.output_reads
        before = architecture.hidden_weights + architecture.cells + architecture.output_bias
        self._outputs = first + before + outputs
        """Where the outputs' do, [K, O]."""
        self._copies = torch.from_numpy(copies(architecture, self.lanes))

    def _input_size(self) -> int:
        return len(self.architecture.units) * self.lanes * self.architecture.cells

    def _read(self, inputs: Tensor) -> Tensor:
        sums = self._looked_up(self._tables, inputs)
        return sums.index_select(1, self._copies).view(*inputs.shape[:2], -1)

    def _update_input(self, inputs: Tensor, d_read: Tensor, rate: float) -> None:
        gradient = d_read.new_zeros(len(d_read), self._tables.numel())
        gradient.index_add_(1, self._copies, d_read)
        self._take(self._tables, inputs, gradient, rate)

    def _shortcut(self, inputs: Tensor) -> Tensor:
        return self._looked_up(self._outputs, inputs).view(-1, *self._outputs.shape).transpose(0, 1)

    def _update_shortcut(self, inputs: Tensor, d_net: Tensor, rate: float) -> None:
        self._take(self._outputs, inputs, d_net.transpose(0, 1), rate)

    def _looked_up(self, first: Tensor, symbols: Tensor) -> Tensor:
        """The weights of the symbols, [S, K·U]."""
        return self.weights.view(-1)[self._of(first, symbols)].flatten(1)

    def _take(self, first: Tensor, symbols: Tensor, gradient: Tensor, rate: float) -> None:
        """Takes the gradient [S, ·] from the weights of the symbols."""
        places = self._of(first, symbols).flatten()
        self.weights.view(-1).index_add_(0, places, gradient.flatten(), alpha=-rate)

    @staticmethod
    def _of(first: Tensor, symbols: Tensor) -> Tensor:
        """Where the weights of the symbols stand, [S, K, U]."""
        return first + symbols.flatten(0, 1)[..., None]

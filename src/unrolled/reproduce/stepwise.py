"""Several small networks, each learning by itself after every step, in one step of all.

The core's passes are over whole sequences, and an update comes after them. Here it comes after each
step, so that the gradient is taken forward in time: each cell has traces, the derivatives of its
state by the weights that it hangs on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from unrolled.reproduce.architecture import CANDIDATE, Architecture
from unrolled.reproduce.wiring import bias_place, place

Floats = NDArray[np.floating]
Whole = NDArray[np.int64]

INPUT, FORGET, OUTPUT = "input", "forget", "output"
"""What our cells call the gates."""

TILE = 32
"""Arrays have room for a multiple of so many networks.

Then no network is in the rest of a vector, which may be rounded in another way.
"""


@dataclass(frozen=True)
class Lines:
    """Views of the hidden layer's rows [R, ..., width] by what they belong to.

    Attributes:
        cells: [size, blocks, ..., width].
        input: those of the gates [blocks, ..., width],
        forget: None where there are no such gates,
        output: and of these.
    """

    cells: Floats
    input: Floats
    forget: Floats | None
    output: Floats


def lines(architecture: Architecture, rows: Floats) -> Lines:
    """The views."""
    a = architecture
    cells, gates = rows[: a.cells], rows[a.cells :].reshape(-1, a.blocks, *rows.shape[1:])
    return Lines(
        cells.reshape(a.size, a.blocks, *rows.shape[1:]),
        gates[0],
        gates[1] if FORGET in a.units else None,
        gates[-1],
    )


@dataclass(frozen=True)
class Columns:
    """What is read in a step: the gates if they are, the inputs, the cells' outputs and a 1.

    Attributes:
        count: how many numbers these are.
        gates: of the step before; none with the cells of 2000,
        inputs: and where these are,
        cells: and the cells' outputs.
        seen: what the network's outputs read of all this,
        seen_cells: and where the cells' outputs are in it.
    """

    count: int
    gates: slice
    inputs: slice
    cells: slice
    seen: slice
    seen_cells: slice

    @classmethod
    def of(cls, architecture: Architecture) -> Columns:
        """An architecture's."""
        a = architecture
        gates = sum(count for name, count in a.reads.items() if name in a.units)
        cells = gates + a.inputs
        bias = cells + a.cells
        begin = gates if a.shortcut else cells
        return cls(
            count=bias + 1,
            gates=slice(gates),
            inputs=slice(gates, cells),
            cells=slice(cells, bias),
            seen=slice(begin, bias + a.output_bias),
            seen_cells=slice(cells - begin, bias - begin),
        )


class Stepwise:
    """K networks of one kind, a step and an update at a time.

    Gers, Schmidhuber & Cummins 2000, "Learning to forget: continual prediction with LSTM", Neural
    Computation 12(10), sections 2 and 3. With the gates i, f and o, which the cells of a block
    share, and with g(x) = 4σ(x) − 2 and h(x) = 2σ(x) − 1, the state and the output of a cell are

        s = f s' + i g(net),  y = o h(s),

    s' being the state before; without forget gates f = 1. The nets of cells and gates read the
    inputs, the cells' outputs of the step before and, but for those of the cells, the 1 of a bias.
    Those of Hochreiter & Schmidhuber 1997 also read the gates of the step before. The network's
    outputs are σ of nets that read the cells' outputs and, if the architecture has it so, a 1 and
    the inputs.

    The error of a step is E = ½ Σ (target − output)². Its gradient is truncated as in 1997: through
    time it goes by the cells' states alone. So a trace, ∂s/∂w, is f times that of the step before,
    and on top i g'(net) r for the weights of a cell, g(net) i' r for those of its input gate, and
    s' f' r for those of its forget gate, r being what is read (equations 3.9 to 3.12).

    σ(x) is computed as ½ + ½ tanh(x/2). Arrays have the networks last: so no sum is over numbers
    that lie side by side, whose order would hang on how many networks there are.

    Attributes:
        architecture: the networks'; its cell is one of those of 2000 or that of 1997.
        lanes: K.
        width: of all arrays; at least K, and a multiple of :data:`TILE`.
        inputs: what is read at the next step, [I, width], to be written.
        given: the outputs at the last step, [O, width].
        trained: whether there are traces.
    """

    def __init__(self, architecture: Architecture, numbers: Floats, *, trained: bool) -> None:
        """See :meth:`numbers`; of networks at the beginning of a stream the weights are enough."""
        a = self.architecture = architecture
        self.lanes, self.trained = len(numbers), trained
        self.width = -(-self.lanes // TILE) * TILE
        columns = self._columns = Columns.of(a)
        rows = sum(a.units.values())
        self._dtype: DTypeLike = numbers.dtype
        self._hidden = self._room(rows, columns.count)
        self._outputs = self._room(a.outputs, columns.seen.stop - columns.seen.start)
        self._read, self._after = self._room(columns.count), self._room(columns.count)
        self._after[-1] = 1.0
        self._seen = self._after[columns.seen]
        self._cell, self._before, self._squashed = (self._room(a.size, a.blocks) for _ in range(3))
        self._rows, self._slopes = self._room(rows), self._room(rows)
        self._active, self._slope = lines(a, self._rows), lines(a, self._slopes)
        self.inputs, self.given = self._after[columns.inputs], self._room(a.outputs)
        self._states = self._after[columns.cells].reshape(self._cell.shape)
        self._gates = self._after[columns.gates]
        self._squash()
        self._own = _places(a)
        if trained:
            self._prepare()
        self._set(numbers)

    def _room(self, *shape: int) -> Floats:
        return np.zeros((*shape, self.width), self._dtype)

    def _squash(self) -> None:
        """What makes activations of tanh(net/2), and slopes of 1 − tanh²(net/2), row by row."""
        is_cell = np.arange(len(self._rows))[:, None] < self.architecture.cells
        self._factor = np.where(is_cell, 2.0, 0.5).astype(self._dtype)
        self._offset = np.where(is_cell, 0.0, 0.5).astype(self._dtype)
        self._steep = np.where(is_cell, 1.0, 0.25).astype(self._dtype)

    # --- a step -----------------------------------------------------------------------------------

    def step(self) -> None:
        """Reads :attr:`inputs`, and says what comes of it in :attr:`given`."""
        # The cells' outputs here are still those of the step before.
        self._read[...] = self._after
        rows, active = self._rows, self._active
        np.einsum("rcw,cw->rw", self._hidden, self._read, out=rows)
        _half_tanh(rows)
        if self.trained:
            np.multiply(rows, rows, out=self._slopes)
            self._before[...] = self._cell
        rows *= self._factor
        rows += self._offset
        if active.forget is not None:
            self._cell *= active.forget
        np.multiply(active.input, active.cells, out=self._squashed)
        self._cell += self._squashed
        self._squashed[...] = self._cell
        _half_tanh(self._squashed)
        np.multiply(active.output, self._squashed, out=self._states)
        self._gates[...] = rows[len(rows) - len(self._gates) :]
        np.einsum("ocw,cw->ow", self._outputs, self._seen, out=self.given)
        _half_tanh(self.given)
        self.given *= 0.5
        self.given += 0.5

    def reset(self, keep: NDArray[np.bool_]) -> None:
        """Sets states, cells' outputs and traces to 0 where ``keep`` [width] is false."""
        self._cell *= keep
        self._states *= keep
        self._gates *= keep
        if self.trained:
            self._keep *= keep  # of the traces, at the next step

    # --- an update --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """The traces, and what an update adds to what."""
        a = self.architecture
        traced = 2 if self._active.forget is None else 3
        self._trace = self._room(traced, a.size, a.blocks, self._columns.count)
        self._local = self._room(traced, a.size, a.blocks)
        self._decay, self._keep = self._room(a.blocks), self._room() + 1
        self._delta = self._room(a.outputs)
        self._by_state, self._by_gate = self._room(a.size, a.blocks), self._room(a.blocks)
        weights = lines(a, self._hidden)
        gates = self._hidden[a.cells : -a.blocks].reshape(-1, a.blocks, *self._hidden.shape[1:])
        of_cells = self._trace[0, :, :, :-1]  # they have no bias
        sums = [
            (self._trace, self._local[..., None, :], self._read),
            (self._outputs, self._delta[:, None], self._seen),
            (weights.cells[:, :, :-1], of_cells, self._by_state[:, :, None]),
            *((gates, self._trace[1:, n], self._by_state[n][:, None]) for n in range(a.size)),
            (weights.output, self._by_gate[:, None], self._read),
        ]
        # With torch a product is added as it is made, which halves the way through the memory.
        self._sums = [tuple(map(torch.from_numpy, one)) for one in sums]
        self._faded = torch.from_numpy(self._trace), torch.from_numpy(self._decay[:, None])

    def learn(self, targets: Floats, rate: Floats) -> None:
        """Updates all weights by −rate · ∂E/∂w after a step.

        Args:
            targets: [O, width].
            rate: α of each network, [width].
        """
        given, delta = self.given, self._delta
        np.subtract(targets, given, out=delta)
        delta *= given
        delta *= 1 - given
        delta *= rate
        error = np.einsum("ocw,ow->cw", self._outputs[:, self._columns.seen_cells], delta)
        self._blame(error.reshape(self._cell.shape))
        self._go_on()
        trace, decay = self._faded
        trace.mul_(decay)
        for into, one, other in self._sums:
            into.addcmul_(one, other)

    def _go_on(self) -> None:
        """How the traces fade, and what comes on top but for what is read."""
        active, slope, local = self._active, self._slope, self._local
        np.multiply(active.input, slope.cells, out=local[0])
        np.multiply(active.cells, slope.input, out=local[1])
        if active.forget is None or slope.forget is None:
            self._decay[...] = self._keep
        else:
            np.multiply(self._before, slope.forget, out=local[2])
            np.multiply(active.forget, self._keep, out=self._decay)
        self._keep[...] = 1

    def _blame(self, error: Floats) -> None:
        """By the gradient of the cells' outputs, that of the states and the output gates' nets."""
        np.subtract(1, self._slopes, out=self._slopes)
        self._slopes *= self._steep
        squashed, by_state = self._squashed, self._by_state
        np.einsum("sbw,sbw->bw", error, squashed, out=self._by_gate)
        self._by_gate *= self._slope.output
        np.multiply(squashed, squashed, out=by_state)
        np.subtract(1, by_state, out=by_state)
        by_state *= 0.5
        by_state *= error
        by_state *= self._active.output

    # --- the numbers of each network --------------------------------------------------------------

    def numbers(self) -> Floats:
        """All that changes, a line for each network [K, ·].

        First the W weights in the architecture's order, then the cells' outputs and states, the
        gates if they are read, and the traces.
        """
        lanes, count = self.lanes, self.architecture.weights
        weights = np.empty((lanes, count + 1), self._dtype)
        for own, part in zip(self._own, (self._hidden, self._outputs), strict=True):
            weights[:, own] = part[..., :lanes].transpose(2, 0, 1)
        if self.trained:
            self._trace *= self._keep
            self._keep[...] = 1
        state = [part[..., :lanes].reshape(-1, lanes).T for part in self._parts()]
        return np.concatenate([weights[:, :count], *state], axis=1)

    def _set(self, numbers: Floats) -> None:
        lanes, begin = self.lanes, self.architecture.weights
        weights = np.pad(numbers[:, :begin], ((0, 0), (0, 1)))
        for own, part in zip(self._own, (self._hidden, self._outputs), strict=True):
            part[..., :lanes] = weights[:, own].transpose(1, 2, 0)
        if numbers.shape[1] == begin:
            return
        for part in self._parts():
            count = part[..., 0].size
            state = numbers[:, begin : begin + count].T
            part[..., :lanes] = state.reshape(*part.shape[:-1], lanes)
            begin += count

    def _parts(self) -> list[Floats]:
        traces = [self._trace] if self.trained else []
        return [self._states, self._cell, self._gates, *traces]


def _half_tanh(x: Floats) -> None:
    """tanh(x/2), in place."""
    x *= 0.5
    np.tanh(x, out=x)


def _places(architecture: Architecture) -> tuple[Whole, Whole]:
    """Where among a network's weights those of each row are, for all :class:`Columns`.

    Of the rows of :class:`Lines` [R, ·], and of the outputs [O, ·]; W for the biases that cells
    lack. A cell's number in its block comes before its block's.
    """
    a = architecture
    cells = np.arange(a.cells).reshape(a.blocks, a.size).T.ravel()
    gates = [gate for gate in (INPUT, FORGET, OUTPUT) if gate in a.units]
    hidden, outputs = a.description.states[0].name, []
    found = []
    for label in (CANDIDATE, *gates):
        read = {name: place(a, label, name) for name in a.reads}
        biases = bias_place(a, label)
        for unit in cells if label == CANDIDATE else range(a.blocks):
            first = {name: begin + unit * row for name, (begin, row) in read.items()}
            from_gates = [first[gate] + np.arange(a.blocks) for gate in gates if gate in a.reads]
            from_inputs = first[a.description.input.name] + np.arange(a.inputs)
            bias = biases + unit if a.biases[label] else a.weights
            found.append([*np.ravel(from_gates), *from_inputs, *(first[hidden] + cells), bias])
    for output in range(a.outputs):
        first_cell = a.hidden_weights + output * a.output_reads
        bias = first_cell + a.cells
        from_inputs = bias + a.output_bias + np.arange(a.inputs * a.shortcut)
        outputs.append([*from_inputs, *(first_cell + cells), *[bias] * a.output_bias])
    return np.array(found, dtype=np.int64), np.array(outputs)

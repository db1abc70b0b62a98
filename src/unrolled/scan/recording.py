"""What the cells did at every step of a pass: on the compiled core, its backward pass's own cache.

A :class:`Recorder` in force (:func:`recording`) is handed every pass instead of an engine. Numbers
are laid out as the pass's input is, [T, B, ·] or ragged [N, ·], with a column for each unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unrolled.cells.description import HIDDEN, INPUT, ONE
from unrolled.scan import autograd, described, passes, reference
from unrolled.scan.native import Carried
from unrolled.scan.passes import Stage
from unrolled.scan.records import LayerRecord, PassRecord
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights
from unrolled.scan.watching import Watch

Pieces = Sequence[Mapping[str, Tensor]]
"""The weights of each layer and direction, by name."""
WatchedLayer = Callable[
    [described.Layer, Sequences, State | None, int, Watch | None], tuple[Tensor, State]
]
"""Runs a layer as :data:`unrolled.scan.described.RunLayer` does, and shows it to a watch."""


class Recorder:
    """Runs passes and keeps what they did; with ``gradients``, so that a loss can be asked of."""

    def __init__(self, *, gradients: bool) -> None:
        self.gradients = gradients
        self.passes: list[PassRecord] = []
        self._finish: list[_Run] = []

    def run(
        self,
        name: str,
        spec: Spec,
        sequences: Sequences,
        initial: State | None,
        flat: list[Tensor],
    ) -> tuple[Tensor, State]:
        """The whole pass; see :func:`unrolled.scan.engine.run`. What is not native is reference."""
        if spec.recompute_every is not None:
            spec = replace(spec, recompute_every=None)
        initial = spec.zeros(sequences, flat) if initial is None else initial
        sequences = self._differentiable(sequences)
        run = (_NativeRun if name == "native" else _ReferenceRun)(
            spec, sequences, initial, flat, gradients=self.gradients
        )
        (ih, hh, *_), cell = spec.weights(flat)[0], spec.description()
        sizes = {INPUT: ih.shape[1], HIDDEN: ih.shape[0] // len(spec.cell.gates)}
        sizes |= {cell.output.size: hh.shape[1], ONE: 1}
        record = PassRecord(
            *(spec.cell.name, cell, sizes, spec.directions, sequences, initial, {}),
            *(run.layers(), run.sources() or [sequences.data]),
        )
        return self._recorded(run, record)

    def run_cell(self, cell: Cell, input: Tensor, state: State, weights: Weights) -> State:
        """One step of a cell module, as a pass of one step; its state is also what it gives out."""
        flat = [w for w in weights if w is not None]
        spec = Spec(cell, bias=weights.bias_ih is not None)
        initial = tuple([s.unsqueeze(0) for s in state])
        _, last = self.run("reference", spec, Sequences(input.unsqueeze(0)), initial, flat)
        return tuple([s.squeeze(0) for s in last])

    def run_described(
        self,
        run_layer: WatchedLayer,
        spec: described.Pass,
        sequences: Sequences,
        rows: int,
        initial: State | None,
        constants: Sequence[Tensor],
        weights: Pieces,
        dropout: float,
    ) -> tuple[Tensor, State]:
        """The pass of a described cell; see :func:`unrolled.scan.described.run`."""
        sequences = self._differentiable(sequences)
        run = _DescribedRun(spec, sequences, gradients=self.gradients)
        run.run(run_layer, rows, initial, constants, weights, dropout)
        named = dict(zip([c.name for c in spec.cell.constants], constants, strict=True))
        began = [torch.stack(of_all) for of_all in zip(*run.initial, strict=True)]
        record = PassRecord(
            *(spec.cell.name, spec.cell, dict(spec.units), spec.directions, sequences),
            *(tuple(began), named, run.layers(), run.sources() or [sequences.data]),
        )
        return self._recorded(run, record)

    def _differentiable(self, sequences: Sequences) -> Sequences:
        """The same input, as one that a loss can be differentiated by."""
        if not self.gradients or sequences.data.requires_grad:
            return sequences
        return sequences.with_data(sequences.data.detach().requires_grad_())

    def _recorded(self, run: _Run, record: PassRecord) -> tuple[Tensor, State]:
        self.passes.append(record)
        self._finish.append(run)
        return run.output, run.last

    def differentiate(self, loss: Tensor) -> None:
        """Fills in what this loss, a number, says of the states of all passes."""
        sources = [source for record in self.passes for source in record.sources]
        found = torch.autograd.grad(loss, sources, allow_unused=True)
        for record, run in zip(self.passes, self._finish, strict=True):
            mine, found = found[: len(record.sources)], found[len(record.sources) :]
            run.differentiate(record.layers, mine)


_recorder: ContextVar[Recorder | None] = ContextVar("unrolled_recorder", default=None)


def active() -> Recorder | None:
    """The recorder in force."""
    return _recorder.get()


@contextmanager
def recording(*, gradients: bool) -> Iterator[Recorder]:
    """Within the block every pass is recorded."""
    recorder = Recorder(gradients=gradients)
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


class _Run:
    """A pass that keeps what it did."""

    output: Tensor
    last: State

    def sources(self) -> list[Tensor]:
        """What the loss has to be differentiated by, if it is of this run's own making."""
        return []

    def layers(self) -> list[LayerRecord]:
        """What each layer and direction did."""
        raise NotImplementedError

    def differentiate(self, layers: list[LayerRecord], found: tuple[Tensor | None, ...]) -> None:
        """Has the layers' records say what the loss does, of its gradients by the sources."""
        raise NotImplementedError


class _KnownRun(_Run):
    """A pass of a cell that has kernels."""

    weights: list[Weights]

    def carried(self, found: tuple[Tensor | None, ...]) -> dict[int, Carried]:
        """What the loss says of the states, from its gradients by the sources."""
        raise NotImplementedError

    def differentiate(self, layers: list[LayerRecord], found: tuple[Tensor | None, ...]) -> None:
        """See :class:`_Run`."""
        carried = self.carried(found)
        for index, (layer, w) in enumerate(zip(layers, self.weights, strict=True)):
            _set_gradients(layer, carried.get(index), w)


class _NativeRun(_KnownRun):
    def __init__(
        self,
        spec: Spec,
        sequences: Sequences,
        initial: State,
        flat: list[Tensor],
        *,
        gradients: bool,
    ) -> None:
        self.spec, self.weights = spec, spec.weights([w.detach() for w in flat])
        self.shape = sequences.data.shape[:-1]
        self.stages: list[Stage] = []
        self.found: dict[int, Carried] | None = {} if gradients else None
        tensors = [sequences.data, *initial, *flat]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            self.output, self.last = autograd.differentiable(
                spec, sequences.batch_sizes, len(initial), tensors, self.stages, self.found
            )
        else:
            self.output, self.last = passes.forward(spec, sequences, initial, flat, self.stages)

    def layers(self) -> list[LayerRecord]:
        spec, records = self.spec, []
        for stage in self.stages:
            for direction, left in enumerate(stage.left):
                output = stage.output
                if left.run is None or output is None:
                    raise RuntimeError("a recorded pass is not run in stretches")
                for kept, own in zip(left.run.kept, left.run.outputs, strict=True):
                    hidden = output.chunk(spec.directions, -1)[direction] if own is None else own
                    values = {}
                    if kept.gates is not None:
                        parts = kept.gates.view(*self.shape, 4, -1).unbind(-2)
                        values = dict(zip(spec.cell.gates, parts, strict=False))
                    if kept.cells is not None:
                        values["cell"] = kept.cells.view(*self.shape, -1)
                    values["hidden"] = hidden.view(*self.shape, -1)
                    records.append(LayerRecord(values))
        return records

    def carried(self, found: tuple[Tensor | None, ...]) -> dict[int, Carried]:  # noqa: ARG002
        by_index = self.found or {}
        return {
            index: Carried(
                carried.hidden.view(*self.shape, -1),
                None if carried.cell is None else carried.cell.view(*self.shape, -1),
                carried.total.view(*self.shape, -1),
            )
            for index, carried in by_index.items()
        }


class _ReferenceRun(_KnownRun):
    """Watches each step; with gradients, hands its states on as tensors of their own."""

    def __init__(
        self,
        spec: Spec,
        sequences: Sequences,
        initial: State,
        flat: list[Tensor],
        *,
        gradients: bool,
    ) -> None:
        self.spec, self.gradients = spec, gradients
        self.weights = spec.weights([w.detach() for w in flat])
        self.is_dense = sequences.batch_sizes is None
        self.steps: list[list[_WatchedStep]] = [
            [] for _ in range(spec.num_layers * spec.directions)
        ]
        watches = [self._watch(steps) for steps in self.steps]
        self.output, self.last = reference.run(spec, sequences, initial, flat, None, watches)

    def _watch(self, steps: list[_WatchedStep]) -> reference.Watch:
        def watch(state: State, gates: tuple[Tensor, ...]) -> tuple[State, Tensor]:
            on, out = state, state[0]
            if self.gradients:
                on, out = tuple(s.view_as(s) for s in state), out.view_as(out)
            steps.append(_WatchedStep(gates, on, out))
            return on, out

        return watch

    def layers(self) -> list[LayerRecord]:
        cell, records = self.spec.cell, []
        for index, steps in enumerate(self.steps):
            names = cell.gates if cell.gates != ("hidden",) else ()
            values = {
                name: self._in_order([step.gates[i].detach() for step in steps], index)
                for i, name in enumerate(names)
            }
            for i, name in reversed(list(enumerate(cell.states))):
                values[name] = self._in_order([step.on[i].detach() for step in steps], index)
            records.append(LayerRecord(values))
        return records

    def sources(self) -> list[Tensor]:
        if not self.gradients:
            return []
        return [t for steps in self.steps for step in steps for t in (*step.on, step.out)]

    def carried(self, found: tuple[Tensor | None, ...]) -> dict[int, Carried]:
        states = len(self.spec.cell.states)
        given = iter(zip(self.sources(), found, strict=True))
        result = {}
        for index, steps in enumerate(self.steps):
            columns: list[list[Tensor]] = [[] for _ in range(states + 1)]
            for _ in steps:
                for column in columns:
                    source, gradient = next(given)
                    column.append(torch.zeros_like(source) if gradient is None else gradient)
            on, out = columns[:states], columns[states]
            hidden = self._in_order(on[0], index)
            cell = self._in_order(on[1], index) if states > 1 else None
            result[index] = Carried(hidden, cell, hidden + self._in_order(out, index))
        return result

    def _in_order(self, steps: list[Tensor], index: int) -> Tensor:
        """The steps of a layer and direction [T, B, ·] or [N, ·], from those of the scan."""
        if self.spec.bidirectional and index % 2 == 1:
            steps = steps[::-1]
        return torch.stack(steps) if self.is_dense else torch.cat(steps)


@dataclass
class _WatchedStep:
    gates: tuple[Tensor, ...]
    on: State
    out: Tensor


def _set_gradients(layer: LayerRecord, carried: Carried | None, w: Weights) -> None:
    """``carried`` is None where the loss does not hang on the pass."""
    hidden = layer.values["hidden"]
    cell = layer.values.get("cell")
    if carried is None:
        none = None if cell is None else torch.zeros_like(cell)
        carried = Carried(torch.zeros_like(hidden), none, torch.zeros_like(hidden))
    layer.total["hidden"], layer.carried["hidden"] = carried.total, carried.hidden
    if cell is not None and carried.cell is not None:
        # h = o ⊙ tanh(c), which the projection, if there is one, takes to the hidden state.
        by_raw = carried.total if w.hr is None else carried.total @ w.hr
        shown = by_raw * layer.values["output"] * (1 - torch.tanh(cell).square())
        layer.total["cell"], layer.carried["cell"] = carried.cell + shown, carried.cell


class _DescribedRun(_Run):
    """A pass of a described cell, each of whose layers is watched."""

    def __init__(self, spec: described.Pass, sequences: Sequences, *, gradients: bool) -> None:
        self.spec, self.sequences, self.gradients = spec, sequences, gradients
        self.watches: list[Watch] = []

    def run(
        self,
        run_layer: WatchedLayer,
        rows: int,
        initial: State | None,
        constants: Sequence[Tensor],
        weights: Pieces,
        dropout: float,
    ) -> None:
        """Runs it by whoever runs a layer."""

        def watched(
            layer: described.Layer, sequences: Sequences, state: State | None, rows: int
        ) -> tuple[Tensor, State]:
            new, units = sequences.data.new_zeros, layer.kind.units
            zeros = [new(rows, units[s.size]) for s in layer.kind.cell.states]
            before = tuple(zeros) if state is None else state
            watch = Watch(layer, sequences, before, gradients=self.gradients)
            self.watches.append(watch)
            found = run_layer(layer, sequences, state, rows, watch)
            watch.finish()
            return found

        output, self.last = described.run(
            self.spec, self.sequences, rows, initial, constants, weights, watched, dropout
        )
        # The backward pass reads what the layers gave out, and the caller may change the output.
        self.output = output.clone()

    @property
    def initial(self) -> list[State]:
        """The states that each layer and direction began with."""
        return [watch.initial for watch in self.watches]

    def layers(self) -> list[LayerRecord]:
        return [
            LayerRecord({name: self._laid(value) for name, value in watch.values.items()})
            for watch in self.watches
        ]

    def sources(self) -> list[Tensor]:
        return [source for watch in self.watches for source in watch.sources()]

    def differentiate(self, layers: list[LayerRecord], found: tuple[Tensor | None, ...]) -> None:
        given = iter(found)
        names = [state.name for state in self.spec.cell.states]
        for watch, layer in zip(self.watches, layers, strict=True):
            watch.see_gradients([next(given) for _ in watch.sources()])
            for name, carried, total in zip(names, watch.carried[:-1], watch.totals(), strict=True):
                layer.carried[name], layer.total[name] = self._laid(carried), self._laid(total)

    def _laid(self, value: Tensor) -> Tensor:
        """As the input lies."""
        return value.reshape(*self.sequences.data.shape[:-1], value.shape[-1])

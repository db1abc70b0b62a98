"""What the cells did at every step of a pass: on the compiled core, its backward pass's own cache.

A :class:`Recorder` in force (:func:`recording`) is handed every pass instead of an engine. Numbers
are laid out as the pass's input is, [T, B, ·] or ragged [N, ·], with a column for each unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from unrolled.scan import autograd, passes, reference
from unrolled.scan.native import Carried
from unrolled.scan.passes import Stage
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights


@dataclass
class LayerRecord:
    """One layer in one direction: its gates, activated, and its states after every step, by name.

    Once the loss is known: ``total`` is its gradient by each state, and ``carried`` by each state
    as it is handed on to the next step alone. They differ by what the step itself gives out: the
    output and, of the cell state, what the hidden state of the same step shows of it.
    """

    values: dict[str, Tensor]
    total: dict[str, Tensor] = field(default_factory=dict)
    carried: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class PassRecord:
    """A pass as it ran; ``layers`` are L·D records in the order of the ``initial`` states."""

    spec: Spec
    sequences: Sequences
    initial: State
    weights: list[Weights]
    layers: list[LayerRecord]
    sources: list[Tensor]
    """What the loss has to be differentiated by, so that the gradients are known."""


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
        wanting = [t for t in (sequences.data, *initial, *flat) if t.requires_grad]
        if self.gradients and not wanting:
            # Nothing upstream wants a gradient, so that nothing is cut off here.
            sequences = sequences.with_data(sequences.data.detach().requires_grad_())
            wanting = [sequences.data]
        run = (_NativeRun if name == "native" else _ReferenceRun)(
            spec, sequences, initial, flat, gradients=self.gradients
        )
        sources = run.sources() or wanting[:1]
        weights = spec.weights([w.detach() for w in flat])
        record = PassRecord(spec, sequences, initial, weights, run.layers(), sources)
        self.passes.append(record)
        self._finish.append(run)
        return run.output, run.last

    def run_cell(self, cell: Cell, input: Tensor, state: State, weights: Weights) -> State:
        """One step of a cell module, as a pass of one step; its state is also what it gives out."""
        flat = [w for w in weights if w is not None]
        spec = Spec(cell, bias=weights.bias_ih is not None)
        initial = tuple([s.unsqueeze(0) for s in state])
        _, last = self.run("reference", spec, Sequences(input.unsqueeze(0)), initial, flat)
        return tuple([s.squeeze(0) for s in last])

    def differentiate(self, loss: Tensor) -> None:
        """Fills in what this loss, a number, says of the states of all passes."""
        sources = [source for record in self.passes for source in record.sources]
        found = torch.autograd.grad(loss, sources, allow_unused=True)
        for record, run in zip(self.passes, self._finish, strict=True):
            mine, found = found[: len(record.sources)], found[len(record.sources) :]
            carried = run.carried(mine)
            for index, (layer, w) in enumerate(zip(record.layers, record.weights, strict=True)):
                _set_gradients(layer, carried.get(index), w)


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

    def carried(self, found: tuple[Tensor | None, ...]) -> dict[int, Carried]:
        """What the loss says of the states, from its gradients by the sources."""
        raise NotImplementedError


class _NativeRun(_Run):
    def __init__(
        self,
        spec: Spec,
        sequences: Sequences,
        initial: State,
        flat: list[Tensor],
        *,
        gradients: bool,
    ) -> None:
        self.spec = spec
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


class _ReferenceRun(_Run):
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

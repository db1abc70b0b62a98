"""What the cells did at every step of a pass: on the compiled core, its backward pass's own cache.

A :class:`Recorder` in force (:func:`recording`) is handed every pass instead of an engine. Numbers
are laid out as the pass's input is, [T, B, ·] or ragged [N, ·], with a column for each unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import torch
from torch import Tensor

from unrolled.scan import autograd, draws, reference
from unrolled.scan.autograd import Call
from unrolled.scan.passes import Pass, Stage
from unrolled.scan.plan import Plan, plans
from unrolled.scan.records import LayerRecord, PassRecord
from unrolled.scan.reference import Layer
from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Drawn, Given, Spec, State, of_layers, zeros
from unrolled.scan.watching import Watch


class Recorder:
    """Runs passes and keeps what they did; with ``gradients``, so that a loss can be asked of."""

    def __init__(self, *, gradients: bool) -> None:
        self.gradients = gradients
        self.passes: list[PassRecord] = []
        self._finish: list[_Run] = []

    def run(self, name: str, spec: Spec, given: Given) -> tuple[Tensor, State]:
        """The whole pass; see :func:`unrolled.scan.engine.run`. What is not native is reference."""
        if spec.recompute_every is not None:
            spec = replace(spec, recompute_every=None)
        given = replace(
            given,
            sequences=self._differentiable(given.sequences),
            initial=zeros(spec, given) if given.initial is None else given.initial,
        )
        dtype = given.sequences.data.dtype
        planned = plans(spec, dtype, watched=True) if name == "native" else ""
        run: _Run
        if isinstance(planned, str):
            run = _ReferenceRun(spec, given, gradients=self.gradients)
        else:
            run = _NativeRun(spec, planned, given, gradients=self.gradients)
        named = [constant.name for constant in spec.cell.constants]
        assert given.initial is not None
        record = PassRecord(
            spec.kernel or spec.cell.name,
            spec.cell,
            dict(spec.units),
            spec.directions,
            given.sequences,
            given.initial,
            dict(zip(named, given.constants, strict=True)),
            [_laid(watch, given.sequences) for watch in run.watches],
            run.sources() or [given.sequences.data],
        )
        self.passes.append(record)
        self._finish.append(run)
        return run.output, run.last

    def run_cell(self, spec: Spec, input: Tensor, state: State, weights: Sequence[Tensor]) -> State:
        """One step of a cell module, as a pass of one step; its state is also what it gives out."""
        initial = tuple([s.unsqueeze(0) for s in state])
        sequences = Sequences(input.unsqueeze(0))
        _, last = self.run(
            "reference", spec, Given(sequences, input.shape[0], initial, (), weights)
        )
        return tuple([s.squeeze(0) for s in last])

    def _differentiable(self, sequences: Sequences) -> Sequences:
        """The same input, as one that a loss can be differentiated by."""
        if not self.gradients or sequences.data.requires_grad:
            return sequences
        return sequences.with_data(sequences.data.detach().requires_grad_())

    def differentiate(self, loss: Tensor) -> None:
        """Fills in what this loss, a number, says of the states of all passes."""
        sources = [source for record in self.passes for source in record.sources]
        found = torch.autograd.grad(loss, sources, allow_unused=True)
        for record, run in zip(self.passes, self._finish, strict=True):
            mine, found = found[: len(record.sources)], found[len(record.sources) :]
            run.see_gradients(mine)
            for watch, layer in zip(run.watches, record.layers, strict=True):
                _lay_gradients(watch, layer, record.sequences)


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
    """A pass that keeps what it did, by a watch of each layer and direction."""

    output: Tensor
    last: State
    watches: list[Watch]

    def sources(self) -> list[Tensor]:
        """What the loss has to be differentiated by, if it is of this run's own making."""
        return []

    def see_gradients(self, found: tuple[Tensor | None, ...]) -> None:
        """Tells the watches what the loss says by the sources."""
        raise NotImplementedError


class _ReferenceRun(_Run):
    """Watches each step; with gradients, hands its states on as tensors of their own."""

    def __init__(self, spec: Spec, given: Given, *, gradients: bool) -> None:
        self.watches = []

        def watch(layer: Layer) -> reference.See:
            self.watches.append(Watch(layer, gradients=gradients))
            return self.watches[-1].see_step

        self.output, self.last = reference.run(spec, given, None, watch)
        for of_layer in self.watches:
            of_layer.finish()

    def sources(self) -> list[Tensor]:
        return [source for watch in self.watches for source in watch.sources()]

    def see_gradients(self, found: tuple[Tensor | None, ...]) -> None:
        given = iter(found)
        for watch in self.watches:
            watch.see_gradients([next(given) for _ in watch.sources()])


class _NativeRun(_Run):
    """Reads what the pass leaves for its backward pass."""

    def __init__(
        self, spec: Spec, planned: tuple[Plan, ...], given: Given, *, gradients: bool
    ) -> None:
        drawn, tensors = draws.draw(spec, given), given.tensors()
        self.carried: dict[int, list[Tensor]] | None = {} if gradients else None
        call = Call(spec, planned, given.sequences.batch_sizes, given.rows, carried=self.carried)
        stages: list[Stage] = []
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            self.output, self.last = autograd.differentiable(call, tensors, drawn, stages)
        else:
            output, self.last = Pass(spec, planned, given, drawn).forward(stages)
            self.output = output.clone()  # what was recorded is not the caller's
        self.watches = [
            _watch(spec, given, drawn, stages, plan, index) for index, plan in enumerate(planned)
        ]

    # The core's backward pass has written what there is to know.
    def see_gradients(self, found: tuple[Tensor | None, ...]) -> None:  # noqa: ARG002
        for index, watch in enumerate(self.watches):
            watch.see_carried((self.carried or {}).get(index))


def _watch(
    spec: Spec, given: Given, drawn: Drawn, stages: list[Stage], plan: Plan, index: int
) -> Watch:
    """What a layer and direction did, from what the pass left."""
    number, direction = divmod(index, spec.directions)
    stage, place = (stages[number], 0) if spec.bidirectional else (stages[0], number)
    run = stage.left[direction].run
    assert run is not None  # a recorded pass is not run in stretches
    own, above = run.outputs[place], stage.output
    if own is None:
        assert above is not None
        own = above.chunk(spec.directions, -1)[direction].flatten(0, -2)
    read = stage.data
    below = run.outputs[place - 1] if place else None
    if below is not None:
        noise = stage.noises[place - 1]
        dropped = below if noise is None else below * noise
        read = dropped.view(*read.shape[:-1], below.shape[-1])
    names = [weight.name for weight in spec.cell.weights]
    layer = Layer(
        plan.kind,
        given.sequences.with_data(read),
        reference.initial_states(given, plan.kind, index),
        dict(zip(names, of_layers(spec, given.flat)[index], strict=True)),
        dict(zip([c.name for c in spec.cell.constants], given.constants, strict=True)),
        drawn.of_cells[index] if drawn.of_cells else {},
    )
    watch = Watch(layer, gradients=False)
    watch.see_kept(plan, run.kept[place], own)
    return watch


def _laid(watch: Watch, sequences: Sequences) -> LayerRecord:
    """What a layer did, as the input lies."""
    return LayerRecord({n: _as_input(value, sequences) for n, value in watch.values.items()})


def _lay_gradients(watch: Watch, layer: LayerRecord, sequences: Sequences) -> None:
    names = [state.name for state in watch.layer.kind.cell.states]
    for name, carried, total in zip(names, watch.carried[:-1], watch.totals(), strict=True):
        layer.carried[name] = _as_input(carried, sequences)
        layer.total[name] = _as_input(total, sequences)


def _as_input(value: Tensor, sequences: Sequences) -> Tensor:
    return value.reshape(*sequences.data.shape[:-1], value.shape[-1])

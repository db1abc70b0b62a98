"""Watching a training: gradients by layer and by lag, gates and states, and explosions by name.

What is watched is only looked at: a training that is watched ends with the weights, to the last
bit, of one that is not.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from unrolled.cells.ranges import saturating
from unrolled.errors import DivergedError
from unrolled.inspect.gates import pinned
from unrolled.inspect.lags import MeanByLag, joint_norms
from unrolled.inspect.record import record
from unrolled.inspect.trace import Trace
from unrolled.learn.loop import Update
from unrolled.model import Network

EXPLODES = 100.0
"""So many times the median of the norms before is an explosion."""
LEAST_NORMS, MOST_NORMS = 20, 200
"""The median is that of the last 200 updates, and from 20 on it is one."""
PROBED = 32
"""Windows in the batch that gates and lags are measured on."""

RECURRENT_WEIGHT = re.compile(r"\w+_l(\d+)(_reverse)?")
READABLE = {"readout": "read-out"}


@dataclass(frozen=True)
class GateStatistics:
    """Over all units, steps and windows: the mean, and the share of the time that it is pinned."""

    mean: float
    saturated: float


@dataclass(frozen=True)
class StateStatistics:
    """Over all units, steps and windows: the mean and the standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Snapshot:
    """One update in full.

    Attributes:
        update: counted from 1 through the whole training.
        epoch: the epoch, from 1.
        step: the update within the epoch, from 1.
        loss: of the update's batch.
        gradient_norm: of all weights, before it is clipped.
        layer_norms: the same of each layer's weights.
        weight_norms: the same of each weight.
        gradient_by_lag: mean ‖∂L_T/∂s_{T−k}‖ for k = 0, 1, …, of the loss at the end of the probed
            windows by the joint state k steps before, as :func:`unrolled.diagnose` has it.
        gates: by layer and gate: what the cell's equations squash, by a sigmoid or tanh, and give a
            name; of an RNN with tanh ``hidden``, which is all the gate it has.
        states: by layer and state: ``hidden`` and ``cell``, or as the equations call them.
        kind: "snapshot".
    """

    update: int
    epoch: int
    step: int
    loss: float
    gradient_norm: float
    layer_norms: dict[str, float]
    weight_norms: dict[str, float]
    gradient_by_lag: list[float]
    gates: dict[str, dict[str, GateStatistics]]
    states: dict[str, dict[str, StateStatistics]]
    kind: Literal["snapshot"] = "snapshot"


@dataclass(frozen=True)
class Explosion:
    """An update whose gradient is not finite, or far above what it was.

    Attributes:
        update: as in :class:`Snapshot`, and so ``epoch``, ``step``, ``loss``, ``gradient_norm``.
        epoch: the epoch.
        step: the update within the epoch.
        loss: of the update's batch.
        gradient_norm: of all weights, before it is clipped.
        median: of the norms before; None while there are fewer than 20.
        layer: where the largest share of the squared norm is. Of what is not finite the layer
            nearest to the loss, which the backward pass meets first.
        weight: the same within the layer.
        share: of the layer, from 0 to 1; None where the gradient holds infinity or NaN.
        kind: "explosion".
    """

    update: int
    epoch: int
    step: int
    loss: float
    gradient_norm: float
    median: float | None
    layer: str
    weight: str
    share: float | None
    kind: Literal["explosion"] = "explosion"

    def __str__(self) -> str:
        times = ""
        if self.median and math.isfinite(self.gradient_norm):
            times = f", {self.gradient_norm / self.median:,.0f} times the median"
        return (
            f"the gradient exploded in epoch {self.epoch}, step {self.step} (update {self.update}):"
            f" norm {self.gradient_norm:.3g}{times}; "
            f"{_where(self.layer, self.weight, self.share)}"
        )


Record = Snapshot | Explosion


@dataclass(frozen=True)
class Probe:
    """The training windows that gates and lags are measured on, the same all along.

    ``inputs`` [B, T, I] and the ``goals`` [B, O] at the windows' ends, scaled, NaN where unknown;
    ``lengths`` [B] where the windows differ in them.
    """

    inputs: Tensor
    goals: Tensor
    lengths: Tensor | None = None


@contextmanager
def watching(
    network: Network, probe: Probe | None, every: int, on_record: Callable[[Record], None]
) -> Iterator[Callable[[Update], None]]:
    """Yields what :func:`~unrolled.learn.loop.fit` calls, and says where a training diverged.

    Args:
        network: what is trained.
        probe: None watches nothing.
        every: a snapshot is taken of the first update, and of each that is a multiple of this.
        on_record: given each record as it is made.

    Raises:
        DivergedError: the block's own, with the last update and its layer added.
    """
    if probe is None:
        yield lambda _: None
        return
    watcher = Watcher(network, probe, every, on_record)
    try:
        yield watcher.see
    except DivergedError as error:
        raise DivergedError(f"{error}. {watcher.last_words()}") from error


class Watcher:
    """Looks at the gradients of every update, and at gates and lags in every ``every``-th."""

    def __init__(
        self,
        network: Network,
        probe: Probe,
        every: int,
        on_record: Callable[[Record], None],
    ) -> None:
        self.network, self.probe, self.every = network, probe, every
        self.on_record = on_record
        self.updates = 0
        self._last: tuple[Update, dict[str, float]] | None = None
        self._explosion: Explosion | None = None
        self._before: deque[float] = deque(maxlen=MOST_NORMS)

    def see(self, update: Update) -> None:
        """One update, between its backward pass and the clipping."""
        self.updates += 1
        norms = self._norms()
        self._last, self._explosion = (update, norms), None
        norm = _together(norms)
        usual = median(self._before) if len(self._before) >= LEAST_NORMS else None
        if not math.isfinite(norm) or (usual and norm > EXPLODES * usual):
            self._explosion = self._exploded(update, norm, usual)
            self.on_record(self._explosion)
        if math.isfinite(norm):
            self._before.append(norm)
        if self.updates == 1 or self.updates % self.every == 0:
            self.on_record(self._snapshot(update, norms))

    def last_words(self) -> str:
        """Of a training that stopped: the last gradient, and the layer with most of it."""
        if self._explosion is not None:
            return f"Watched: {self._explosion}"
        if self._last is None:
            return "Watched: there was no update before"
        update, norms = self._last
        return (
            f"Watched: the last gradient was that of epoch {update.epoch}, step {update.step} "
            f"(update {self.updates}): norm {_together(norms):.3g}; {_where(*_largest(norms))}"
        )

    def _norms(self, dtype: torch.dtype | None = None) -> dict[str, float]:
        """Of each weight's gradient; by default reckoned as it is when it is clipped."""
        gradients = {
            name: torch.linalg.vector_norm(weight.grad, dtype=dtype)
            for name, weight in self.network.named_parameters()
            if weight.grad is not None
        }
        if not gradients:
            return {}
        return dict(zip(gradients, torch.stack([*gradients.values()]).tolist(), strict=True))

    def _exploded(self, update: Update, norm: float, usual: float | None) -> Explosion:
        # In double precision what is finite in single precision has a finite norm.
        layer, weight, share = _largest(self._norms(torch.float64))
        return Explosion(
            self.updates, update.epoch, update.step, update.loss, norm, usual, layer, weight, share
        )

    def _snapshot(self, update: Update, norms: dict[str, float]) -> Snapshot:
        trace = self._trace()
        gates, states = _statistics(trace)
        return Snapshot(
            update=self.updates,
            epoch=update.epoch,
            step=update.step,
            loss=update.loss,
            gradient_norm=_together(norms),
            layer_norms=_by_layer(norms),
            weight_norms=norms,
            gradient_by_lag=_gradient_by_lag(trace, self.network.config.num_layers),
            gates=gates,
            states=states,
        )

    def _trace(self) -> Trace:
        """One pass over the probed windows, in the network's mode and with its loss at the ends."""
        known = self.probe.goals.isfinite()
        goals = self.probe.goals[known]

        def loss(output: Tensor) -> Tensor:
            return (output[known] - goals).square().mean()

        with torch.random.fork_rng(devices=[]):  # dropout draws
            return record(
                _AtTheEnd(self.network), self.probe.inputs, lengths=self.probe.lengths, loss=loss
            )


class _AtTheEnd(torch.nn.Module):
    """The network as it reads out each window's last state."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.network.final(input, lengths)


def layer_of(weight: str) -> str:
    """A weight's layer as one would call it: "recurrent layer 0, reverse", "read-out"."""
    module, _, name = weight.rpartition(".")
    if found := RECURRENT_WEIGHT.fullmatch(name):
        return layer_name(int(found[1]), reverse=bool(found[2]))
    return READABLE.get(module, module or name)


def layer_name(layer: int, *, reverse: bool) -> str:
    """Of a recurrent layer in one direction."""
    return f"recurrent layer {layer}" + (", reverse" if reverse else "")


def _together(norms: dict[str, float]) -> float:
    return math.hypot(*norms.values())


def _by_layer(norms: dict[str, float]) -> dict[str, float]:
    layers: dict[str, dict[str, float]] = {}
    for name, norm in norms.items():
        layers.setdefault(layer_of(name), {})[name] = norm
    return {layer: _together(weights) for layer, weights in layers.items()}


def _largest(norms: dict[str, float]) -> tuple[str, str, float | None]:
    """The layer with most of the gradient, its weight that has most, and the layer's share."""
    broken = [name for name, norm in norms.items() if not math.isfinite(norm)]
    if broken:
        return layer_of(broken[-1]), broken[-1], None
    layers, whole = _by_layer(norms), _together(norms)
    layer = max(layers, key=lambda name: layers[name])
    weight = max((n for n in norms if layer_of(n) == layer), key=lambda name: norms[name])
    return layer, weight, (layers[layer] / whole) ** 2 if whole else 0.0


def _where(layer: str, weight: str, share: float | None) -> str:
    of_it = "not finite" if share is None else f"{share:.0%} of its square"
    return f"{of_it} in {layer} ({weight})"


def _gradient_by_lag(trace: Trace, layers: int) -> list[float]:
    """NaN where a step's gradient is not finite: a mean over the others would hide it."""
    (module,) = trace.modules
    mask, norms = trace.masks[module], joint_norms(trace, module, layers)
    if not norms[mask].isfinite().all():
        return [math.nan] * len(mask)
    mean = MeanByLag(len(mask))
    mean.add(norms, mask.sum(0))
    found: list[float] = mean.result().tolist()
    return found


def _statistics(
    trace: Trace,
) -> tuple[dict[str, dict[str, GateStatistics]], dict[str, dict[str, StateStatistics]]]:
    gates: dict[str, dict[str, GateStatistics]] = {}
    states: dict[str, dict[str, StateStatistics]] = {}
    for key, value in trace.values.items():
        layer = layer_name(key.layer, reverse=key.direction == "reverse")
        met = value[trace.masks[key.module]]
        mean = float(met.mean())
        cell = trace.given[key.module].cell
        if (within := saturating(cell).get(key.gate)) is not None:
            gates.setdefault(layer, {})[key.gate] = GateStatistics(mean, pinned(within, met).share)
        if any(state.name == key.gate for state in cell.states):
            deviation = float(met.std(correction=0))
            states.setdefault(layer, {})[key.gate] = StateStatistics(mean, deviation)
    return gates, states

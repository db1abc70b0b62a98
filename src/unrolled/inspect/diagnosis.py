"""What was found out about a model's memory, and how it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from unrolled.cells import Description
from unrolled.inspect.counting import Counter
from unrolled.inspect.gates import Memory, Saturation
from unrolled.inspect.lags import Decay, Verdict
from unrolled.inspect.letter import letter
from unrolled.summary import Summarised


@dataclass(frozen=True, repr=False)
class Lyapunov(Summarised):
    """The Lyapunov spectrum along the data: of what a step does, also where its cell detaches.

    Attributes:
        exponents: of the joint state of all layers, the largest first, in nats a step; the mean
            over the rows that were looked at. A stack's Jacobian is block triangular, so that its
            spectrum is the union of its layers'.
        by_layer: the same for each layer.
        transient: so many first steps are not counted.
    """

    exponents: Tensor
    by_layer: tuple[Tensor, ...]
    transient: int

    @property
    def largest(self) -> float:
        """λ₁: below 0 differences die out, above 0 they grow (chaos)."""
        return float(self.exponents[0])

    @property
    def gradient_factor(self) -> float:
        """Exp λ₁: by so much a step a gradient grows or shrinks in the long run."""
        return math.exp(self.largest)


@dataclass(frozen=True, repr=False)
class Diagnosis(Summarised):
    """How far a recurrent module remembers; see :func:`unrolled.diagnose`.

    Attributes:
        module: its path in the model.
        cell: what it is called: of ours torch's name of its mode.
        description: its equations.
        steps: T, of the inputs.
        gradient_by_lag: g(k) for k = 0, 1, …: the mean norm of ∂L_T/∂s_{T−k}, over rows and end
            steps T (far back, those that reach so far, chained to the mean of all); s is the joint
            state of all layers (all states of the cell, for an LSTM hidden and cell together), and
            the derivative is by the state as the steps after it receive it (Pascanu, Mikolov &
            Bengio 2013, arXiv 1211.5063). In two directions, that of the forward one.
        decay: the exponential fitted to it.
        horizon: the largest lag at which g(k)/g(0) exceeds ``horizon_share``; T − 1 at most, which
            then only says that the window is shorter than the memory.
        horizon_share: 1% unless told otherwise.
        verdict: "vanishing", "steady" or "exploding", by g at the largest lag.
        thresholds: below the first share of g(0) there it vanishes, above the second it explodes.
        lyapunov: the Lyapunov spectrum; None where a module reads in two directions or there are
            too few steps.
        memories: the states of which a step keeps a share, with their time constants; see
            :func:`unrolled.inspect.gates.memories`. Empty for an RNN.
        saliency_by_lag: ‖∂y_T/∂x_{T−k}‖ (Frobenius), the mean over rows, for the last step's
            output y; None where the input is no floating-point tensor.
        saturation: by layer and gate; see :class:`Saturation`.
        dead_units: by layer, the units whose output never moves.
        counters: where the module reads symbols one-hot, the units that count them; see
            :func:`unrolled.inspect.counting.counting`.
    """

    module: str
    cell: str
    description: Description
    steps: int
    gradient_by_lag: Tensor
    decay: Decay
    horizon: int
    horizon_share: float
    verdict: Verdict
    thresholds: tuple[float, float]
    lyapunov: Lyapunov | None
    memories: tuple[Memory, ...]
    saliency_by_lag: Tensor | None
    saturation: Mapping[tuple[int, str], Saturation]
    dead_units: Mapping[int, list[int]]
    counters: tuple[Counter, ...]

    @property
    def time_constants(self) -> Mapping[str, Tensor]:
        """Those of the first state that has any: "bias", "mean" and "trajectory", [L, H] each."""
        return next((m.time_constants for m in self.memories if m.time_constants), {})

    def __str__(self) -> str:
        return str(letter(self))

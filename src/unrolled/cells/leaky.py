"""Networks in continuous time."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Any

from unrolled.cells.cell import Cell
from unrolled.cells.description import Form
from unrolled.cells.language import exp, linear, minimum, noise, relu, tanh, weight


@dataclass(frozen=True)
class LeakyRNN(Cell):
    """A network of rates: Song, Yang & Wang 2016, PLoS Comput. Biol. 12(2), equations 7 and 8.

    potential_t = (1 − α)·potential_{t−1} + α·(W_in·x_t + W_rec·rate_{t−1} + b) + sqrt(2ασ²)·ξ_t,
    and rate = relu(potential). α = step / τ, at most 1, with a time constant τ for each unit, which
    is learned as its logarithm.

    Attributes:
        step_size: the time from one step to the next, in the unit of the time constants.
        time_constant: τ at the start.
        noise: σ; in training only.
        excitatory: the share of the units that excite, the others inhibit (Dale's law); None for
            weights of any sign.
    """

    step_size: float = 1.0
    time_constant: float = 5.0
    noise: float = 0.0
    excitatory: float | None = None

    def step(self, x: Any, rate: Any, potential: Any) -> Any:
        """The next states."""
        log_time_constant = weight(initial=log(self.time_constant))
        share = minimum(self.step_size / exp(log_time_constant), 1.0)
        driven = linear(x) + linear(rate, bias=False, form=Form(excitatory=self.excitatory))
        potential = (1 - share) * potential + share * driven
        if self.noise > 0:
            drawn = noise(sqrt(2.0) * self.noise)
            potential = potential + share**0.5 * drawn
        return relu(potential), potential


@dataclass(frozen=True)
class AntisymmetricRNN(Cell):
    """A stable ordinary differential equation in small steps: Chang et al. 2019, equation 12.

    arXiv 1902.09689: h_t = h_{t−1} + ε·tanh((W − Wᵀ − γI)·h_{t−1} + V·x_t + b).

    Attributes:
        step_size: ε.
        diffusion: γ.
    """

    step_size: float = 0.1
    diffusion: float = 0.01

    def step(self, x: Any, hidden: Any) -> Any:
        """The next state."""
        turned = linear(hidden, bias=False, form=Form(antisymmetric=True))
        change = linear(x) + turned - self.diffusion * hidden
        return hidden + self.step_size * tanh(change)

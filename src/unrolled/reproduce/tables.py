"""The tables of 1997: their rows are tried as they were then, and by today's networks."""

from __future__ import annotations

import json
from dataclasses import dataclass

from unrolled.reproduce.results import Json

FAITHFUL, MODERN = "faithful", "modern"
"""The columns."""

OF_1997 = "LSTM of 1997"
"""The network of the faithful one."""


@dataclass(frozen=True)
class Result:
    """A trial.

    Attributes:
        row: the row of the table.
        column: "faithful" or "modern".
        network: its name.
        seed: of everything that was drawn.
        solved: whether the criterion was met.
        sequences: how many it had learned from by then.
        wrong: so many new sequences were wrong at the end,
        tested: of so many.
        error: the mean error of those, in the column's own measure.
        weights: how many the network has.
        horizon: after so many steps the gradient has fallen to a hundredth; see ``diagnose``.
        steps: the largest lag at which it was measured.
        gradient: g(k) at the lags of :func:`lags_of`, as a JSON list.
        seconds: how long it took, testing included.
        version: of the package.
        processor: what it ran on.
    """

    row: str
    column: str
    network: str
    seed: int
    solved: bool
    sequences: int
    wrong: int
    tested: int
    error: float
    weights: int
    horizon: int
    steps: int
    gradient: Json
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> tuple[str | int, ...]:
        """Which one it is."""
        return self.row, self.column, self.network, self.seed

    def __str__(self) -> str:
        """What came of it, in a line."""
        ending = "solved" if self.solved else "not solved"
        return (
            f"{self.row} {self.network}, seed {self.seed}: {ending} after {self.sequences:,} "
            "sequences"
        )

    def gradient_by_lag(self) -> list[float]:
        """g(k) at the lags of :func:`lags_of`."""
        found: list[float] = json.loads(self.gradient)
        return found

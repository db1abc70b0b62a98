"""How long training goes on where nobody says: by updates in small data, by epochs in large."""

from __future__ import annotations

import math
from typing import Literal

AUTO: Literal["auto"] = "auto"
Limit = int | Literal["auto"]
"""A number of epochs, or ``auto``: see :func:`resolve`."""

EPOCHS, UPDATES = 100, 2000
"""At most so many epochs, and not fewer than hold so many updates."""
PATIENCE, PATIENT_UPDATES = 15, 500
"""Training stops after so many epochs without progress, and not before so many updates."""


def resolve(
    epochs: Limit, patience: Limit | None, sequences: int, batch_size: int
) -> tuple[int, int | None]:
    """Both in epochs, with ``auto`` replaced by what these data need.

    A network learns by updates, and an epoch of 200 sequences in batches of 32 has seven. Counted
    in epochs alone, what suits thousands of sequences ends training on 200 before it has begun.

    Args:
        epochs: at most so many; ``auto`` for 100, or as many as hold 2,000 updates if that is more.
        patience: stop after so many without a better validation error; ``auto`` for 15, or as many
            as hold 500 updates if that is more; None for never.
        sequences: how many are trained on.
        batch_size: how many of them an update takes.
    """
    updates = max(1, math.ceil(sequences / batch_size))
    return (
        max(EPOCHS, math.ceil(UPDATES / updates)) if epochs == "auto" else epochs,
        max(PATIENCE, math.ceil(PATIENT_UPDATES / updates)) if patience == "auto" else patience,
    )

"""Which instruction set runs, of those that a compiled extension was built for; imports nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence


def chosen(names: Sequence[str]) -> int:
    """The place in ``names``, the best last, of ``UNROLLED_ISA``, or of the best.

    Raises:
        RuntimeError: ``UNROLLED_ISA`` names one that this machine or build does not have.
    """
    wanted = os.environ.get("UNROLLED_ISA")
    if not wanted:
        return len(names) - 1
    if wanted not in names:
        raise RuntimeError(
            f"UNROLLED_ISA={wanted}: this machine and build have {', '.join(names)}. "
            "Name one of these, or unset it"
        )
    return list(names).index(wanted)

"""What the paper leaves open, and what was chosen here, as the page says it."""

from __future__ import annotations

from unrolled.reproduce.faithful import PATIENCE
from unrolled.reproduce.online import BLOCK

CHOICES = [
    "The weights are updated after each sequence, not after each step.",
    f"Whether a trial is over is asked after every {BLOCK} sequences, not after each one.",
    f"A trial fails after {PATIENCE} times the published number of sequences.",
    "Subnormal numbers count as zero.",
]
"""A Markdown text for each."""

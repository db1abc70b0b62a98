"""Random programs do with our modules what they do with torch's. ``make programs`` runs more."""

from __future__ import annotations

import pytest

from programs.draw import FEATURES, draw
from programs.findings import Finding, Tally, try_all

CHUNKS, SIZE = 16, 250


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_program_does_with_ours_what_it_does_with_torchs(chunk: int) -> None:
    """Values, gradients, second ones, which there are, and exceptions with their words."""
    tally = Tally()
    found = list(try_all(range(chunk * SIZE, (chunk + 1) * SIZE), tally))
    assert not found, told(found)
    assert tally.raised.total() < 0.25 * SIZE, "too many programs are none: torch refuses them"


def test_every_feature_occurs() -> None:
    seen: set[str] = set()
    for seed in range(CHUNKS * SIZE):
        seen |= draw(seed).features
    assert seen >= FEATURES


def told(found: list[Finding]) -> str:
    first = min(found, key=lambda finding: len(finding.program.source))
    seeds = [finding.seed for finding in found]
    return (
        f"{len(found)} programs differ, of the seeds {seeds}. The shortest: "
        f"{first.difference}\n\n{first.program.script(first.difference.where)}"
    )

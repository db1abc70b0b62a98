"""The share of ``make fuzz`` that every run of the tests does.

That is each target's seeds, and some mutations of them, the same every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from fuzz import harness

MUTATIONS = 300

TARGETS = {name: harness.target(name) for name in harness.names()}
every_target = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def child_of() -> Iterator[Callable[[str], harness.Child]]:
    """The child of a target, one at a time, since each has torch in its memory."""
    running: dict[str, harness.Child] = {}

    def child(name: str) -> harness.Child:
        if name not in running:
            while running:
                running.popitem()[1].close()
            running[name] = harness.Child(TARGETS[name])
        return running[name]

    yield child
    while running:
        running.popitem()[1].close()


def complaint(finding: harness.Finding, name: str) -> str:
    path = harness.save(finding, TARGETS[name], Path("build/fuzz"))
    return f"{finding.signature}: make fuzz FUZZ_AGAIN={path}\n\n{finding.words}"


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, target in TARGETS.items() for case in target.seeds]
)
def test_every_seed_is_read_or_refused(
    name: str, case: str, child_of: Callable[[str], harness.Child]
) -> None:
    finding = child_of(name).run(TARGETS[name].built[case])
    assert finding is None, complaint(finding, name)


@every_target
def test_some_mutations_are_read_or_refused(
    name: str, child_of: Callable[[str], harness.Child]
) -> None:
    runner = child_of(name)
    for data in itertools.islice(harness.mutations(TARGETS[name], Random(name)), MUTATIONS):
        finding = runner.run(data)
        assert finding is None, complaint(finding, name)

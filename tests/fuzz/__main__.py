"""``make fuzz``: every target for a while, or one input again."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path
from random import Random, SystemRandom

from fuzz import harness

FOLDER = Path("build/fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, unless some are named")
    parser.add_argument("--but", action="append", default=[], metavar="TARGET", help="not this one")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--count", type=int, help="so many inputs for each target, however long")
    parser.add_argument("--seed", type=int, help="of the mutations; a new one unless it is named")
    parser.add_argument("--again", type=Path, metavar="FILE", help=f"an input from {FOLDER}")
    given = parser.parse_args()
    if given.again:
        return again(given.again)
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    left = [name for name in given.targets or harness.names() if name not in given.but]
    seconds = given.seconds if given.count is None else math.inf
    return min(1, sum(fuzz(name, seconds, given.count, seed) for name in left))


def fuzz(name: str, seconds: float, count: int | None, seed: int) -> int:
    """How many findings there were: each seed, then mutations until time or count is used up."""
    of = harness.target(name)
    limit = f"{seconds:.0f} s" if count is None else f"{count} inputs"
    print(f"{name}: {len(of.built)} seeds, {limit}, --seed {seed}", flush=True)
    inputs = harness.seeds_and_mutations(of, Random(f"{name} {seed}"))
    inputs = itertools.islice(inputs, count)
    with harness.Child(of) as runner:
        found = harness.hunt(inputs, runner, seconds)
    for finding in found.findings.values():
        path = harness.save(finding, of, FOLDER)
        print(f"  {finding.kind}: {finding.signature}\n    make fuzz FUZZ_AGAIN={path}", flush=True)
    print(f"  {found.runs} inputs, {len(found.findings)} findings", flush=True)
    return len(found.findings)


def again(path: Path) -> int:
    """Whether an input that was found still does it: 1 if so."""
    of = harness.target(path.absolute().parent.name)
    with harness.Child(of) as runner:
        finding = runner.run(path.read_bytes())
    if finding is None:
        print(f"{path}: read or refused, as it should be")
        return 0
    print(f"{finding.signature}\n\n{finding.words}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Runs many random programs on torch's modules and on ours, and says where they differ.

    python tests/programs/run.py --count 1000000 --from 0 --jobs 2
    python tests/programs/run.py --show 1234        the program of a seed, as a script

The programs run in worker processes. One that crashes or hangs is a finding too, and the others go
on. The exit code is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import unrolled.nn
from programs.compare import Difference
from programs.draw import FEATURES, draw
from programs.findings import Finding, Tally, try_all
from programs.interpret import run
from programs.pool import PATIENCE, Pool
from programs.program import Program
from programs.shrink import shrink


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="how many programs")
    parser.add_argument("--from", type=int, default=0, dest="begin", help="the first one's seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--show", type=int, help="print the program of this seed and stop")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shrink-crash", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return 0
    if options.shrink_crash is not None:
        shrink_crash(options.shrink_crash)
        return 0
    if options.show is not None:
        print(draw(options.show).script())
        return 0
    pool = Pool(options.begin, options.count, [sys.executable, __file__])
    pool.run(options.jobs)
    report(pool.tally, pool.findings)
    return 1 if pool.tally.differences else 0


# --- A worker: takes ranges of seeds as lines, and answers in lines of JSON.


def work() -> None:
    torch.set_num_threads(1)
    gc.set_threshold(
        20_000
    )  # a program makes few cycles, and Python looks for them in a tenth of it
    known: Counter[str] = Counter()
    for line in sys.stdin:
        begin, end = map(int, line.split())
        tally = Tally()
        for finding in try_all(_announced(begin, end), tally, known):
            say(finding=finding.as_json())
        say(tally=tally.as_json())


def _announced(begin: int, end: int) -> Iterator[int]:
    for seed in range(begin, end):
        say(seed=seed)
        yield seed


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


# --- A crash made small: in a process of its own, since it forks, which threads do not survive.


def shrink_crash(seed: int) -> None:
    """Prints the finding, or null if torch's modules crash as well."""
    torch.set_num_threads(1)
    begun, program = time.monotonic(), draw(seed)
    if _dies(program, torch.nn):
        print("null")
        return
    program = shrink(program, lambda p: time.monotonic() - begun < PATIENCE and crashes(p))
    print(json.dumps(Finding(seed, "", Difference("", 0, "", ""), program).as_json()))


def crashes(program: Program) -> bool:
    """Whether it takes a process down with ours, and with torch's not; tried in children."""
    return _dies(program, unrolled.nn) and not _dies(program, torch.nn)


def _dies(program: Program, package: Any) -> bool:
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            run(program, package)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM


def report(tally: Tally, findings: list[Finding]) -> None:
    print(
        f"{tally.programs:,} programs, {tally.seconds / max(tally.programs, 1) * 1e3:.1f} ms each"
    )
    print("\nFeatures, by how many programs ran them:")
    for feature, count in sorted(tally.features.items()):
        print(f"  {count:9,}  {feature}")
    for feature in sorted(FEATURES - set(tally.features)):
        print(f"  {0:9,}  {feature}")
    share = tally.raised.total() / max(tally.programs, 1)
    print(f"\nTorch raised in {share:.1%} of them:")
    for message, count in tally.raised.most_common(25):
        print(f"  {count:9,}  {message}")
    print(f"\n{tally.differences.total():,} differences:")
    for signature, count in tally.differences.most_common():
        print(f"  {count:9,}  {signature[:200]}")
    groups = defaultdict(list)
    for finding in findings:
        groups[finding.group].append(finding)
    for group, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        smallest = min(found, key=lambda finding: len(finding.program.source))
        print(f"\n{'=' * 100}\n{group}: {len(found)} made small, e.g. of seed {smallest.seed}")
        print(f"{smallest.difference.where}: {smallest.difference.detail}\n")
        print(smallest.program.script(smallest.difference.where))


if __name__ == "__main__":
    sys.exit(main())

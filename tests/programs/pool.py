"""Worker processes that try programs; one that crashes or hangs is a finding, and others go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Any

from programs.compare import Difference
from programs.draw import draw
from programs.findings import IN_A_GROUP, Finding, Tally

CHUNK = 100
PATIENCE = 120.0
"""Seconds without a word after which a worker's program counts as hanging."""


class Pool:
    """Seeds to be tried, and what has been found so far."""

    def __init__(self, begin: int, count: int, command: list[str]) -> None:
        """``command`` with ``--worker`` takes ranges as lines, and answers in lines of JSON."""
        self.command = command
        starts = range(begin, begin + count, CHUNK)
        self.todo = deque((start, min(start + CHUNK, begin + count)) for start in starts)
        self.count, self.tally, self.found = count, Tally(), dict[int, Finding]()
        self.begun = time.monotonic()

    @property
    def findings(self) -> list[Finding]:
        """Of each seed the last one told of, which is the smallest."""
        return list(self.found.values())

    def run(self, jobs: int) -> None:
        threads = [threading.Thread(target=self._work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        told = self.begun
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._tell()

    def _work(self) -> None:
        """Worker after worker, each until there is no more to do or it dies."""
        while self.todo:
            command = [*self.command, "--worker"]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as process:
                Worker(process, self).serve()

    def note(self, seed: int, how: str, *, hangs: bool) -> None:
        """A program that took its process down, or a smaller one that was tried in its place."""
        if seed in self.found:
            self.tally.programs += 1
            self.tally.differences[self.found[seed].signature] += 1
            return
        signature = f"hang of {PATIENCE:.0f} s" if hangs else f"crash ({how})"
        program = draw(seed)
        self.tally.programs += 1
        if not hangs and self.tally.differences[signature] < IN_A_GROUP:
            command = [*self.command, "--shrink-crash", str(seed)]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
            if (found := json.loads(told.stdout)) is None:
                self.tally.raised["torch crashed"] += 1
                return
            program = Finding.from_json(found).program
        self.tally.differences[signature] += 1
        where = Difference(signature, 0, "", how)
        self.found[seed] = Finding(seed, signature, where, program)

    def _tell(self) -> None:
        rate = self.tally.programs / (time.monotonic() - self.begun)
        print(
            f"{self.tally.programs:,} of {self.count:,} programs, {rate:.0f} a second, "
            f"{self.tally.differences.total()} differ",
            file=sys.stderr,
            flush=True,
        )


class Worker:
    """A process that tries range after range, as seen from here."""

    def __init__(self, process: subprocess.Popen[str], pool: Pool) -> None:
        self.process, self.pool = process, pool

    def serve(self) -> None:
        while self.pool.todo:
            begin, end = self.pool.todo.popleft()
            seed = self._try(begin, end)
            if seed is None:
                continue
            self.process.wait()
            code = self.process.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self.pool.note(seed, how, hangs=how == "SIGKILL")
            self.pool.tally.programs += seed - begin  # of whose features nothing is known
            if seed + 1 < end:
                self.pool.todo.appendleft((seed + 1, end))
            return
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _try(self, begin: int, end: int) -> int | None:
        """Runs a range; the seed with which it died, or None."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(begin, end, file=self.process.stdin, flush=True)
        seed = begin
        while True:
            timer = threading.Timer(PATIENCE, self.process.kill)
            timer.start()
            line = self.process.stdout.readline()
            timer.cancel()
            if not line:
                return seed
            message = json.loads(line)
            if "seed" in message:
                seed = message["seed"]
            elif "finding" in message:
                finding = Finding.from_json(message["finding"])
                self.pool.found[finding.seed] = finding
            else:
                self.pool.tally.add(Tally.from_json(message["tally"]))
                return None

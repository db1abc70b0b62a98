"""A small fuzzer for whatever reads what others wrote.

A target (``target_*.py``) has valid inputs and a function that reads one. The harness changes the
inputs, has them read in a process of their own with little memory and little time, and reports what
no reader should do: a crash, a hang, gigabytes, an exception that is not the reader's own.

Why our own, and not atheris or hypothesis: atheris finds its way by the coverage of Python code, or
of extensions that Clang built for it, and what reads here is protobuf, polars, pyarrow and pydantic
as their wheels come. It fuzzes in its own process, so that the first crash, hang or gigabyte is the
last, and it brings no limits that a test could run under. hypothesis, in which the property tests
are written, draws values by their structure, and has no process to lose either. What is left to
write is here and in ``mutate.py`` and ``child.py``: a loop, a child, a dozen ways to break a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import math
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random

from fuzz import child
from fuzz.mutate import Mutator

SECONDS = 10.0
"""How long a target may take for one input. Far longer and it hangs: three times as long, and once
more, before it is believed, since the machine may be busy."""

MEBIBYTES = 1024
"""How much memory a target may take beyond what it has taken once it has read its first seed."""

RECYCLED = 2000
"""After so many inputs a child is replaced by a new one."""

FEW_THREADS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "2"),
    "MALLOC_ARENA_MAX": "2",  # each arena takes 64 MiB of addresses
}


@dataclass(frozen=True)
class Target:
    """What is fuzzed: ``run`` reads the bytes; ``seeds`` are inputs worth changing, by name.

    ``mutations`` makes inputs from them that know what the bytes say; None for any bytes.
    """

    name: str
    module: str
    seeds: Mapping[str, Callable[[], bytes]]
    suffix: str
    dictionary: Sequence[bytes]
    mutations: Callable[[Random], Iterator[bytes]] | None = None

    @cached_property
    def built(self) -> dict[str, bytes]:
        """The seeds' bytes, made once."""
        return {name: build() for name, build in self.seeds.items()}

    @classmethod
    def of(cls, module: str) -> Target:
        """The target that stands in this module.

        Raises:
            AttributeError: The module lacks ``SEEDS``, ``SUFFIX`` or ``run``.
        """
        found = importlib.import_module(module)
        assert callable(found.run)
        name = module.rpartition(".")[2].removeprefix("target_")
        dictionary, own = getattr(found, "DICTIONARY", ()), getattr(found, "mutations", None)
        return cls(name, module, found.SEEDS, found.SUFFIX, dictionary, own)


def names() -> list[str]:
    """Every target of this folder."""
    files = Path(__file__).parent.glob("target_*.py")
    return sorted(file.stem.removeprefix("target_") for file in files)


def target(name: str) -> Target:
    return Target.of(f"fuzz.target_{name}")


@dataclass(frozen=True)
class Finding:
    """What a reader should not have done. Two of one ``signature`` are taken for the same."""

    kind: str  # "crash", "hang", "memory" or "exception"
    signature: str
    words: str  # a traceback, or what the child said last
    data: bytes = field(default=b"", repr=False)


class Child:
    """A process that runs a target, started when it is first needed and again after it died."""

    def __init__(self, of: Target, seconds: float = SECONDS, mebibytes: int = MEBIBYTES) -> None:
        self._target, self._seconds, self._mebibytes = of, seconds, mebibytes
        self._process: multiprocessing.context.SpawnProcess | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._words = Path(self._folder.name) / "words"
        self._ran = 0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, data: bytes) -> Finding | None:
        """What the target did that it should not have done; None if it read or refused the input.

        A crash, a hang and a lack of memory are believed when they come again in a new process.
        """
        found = self._run_once(data, self._seconds)
        if found is None or found.kind == "exception":
            return found
        again = self._run_once(data, 3 * self._seconds)
        if again is None and found.kind != "hang":
            words = f"Not by this input alone, but after {self._ran} others.\n{found.words}"
            return Finding(found.kind, found.signature, words, data)
        return again

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """Ends the process; the next input gets a new one."""
        if self._process is None:
            return
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()
        self._process = None

    def start(self) -> None:
        """Starts the process, if none is running.

        Raises:
            RuntimeError: The target can't be imported or dies of its first seed, and why.
        """
        if self._process is not None:
            return
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._words.write_bytes(b"")
        first = next(iter(self._target.built.values()), b"")
        args = (theirs, self._target.module, str(self._words), self._mebibytes, first)
        self._process = spawn.Process(target=child.serve, args=args, daemon=True)
        with few_threads():
            self._process.start()
        theirs.close()
        self._ran = 0
        try:
            self._connection.recv()
        except EOFError:
            words = self._words.read_text(errors="replace")
            self.stop()
            raise RuntimeError(f"{self._target.module} does not start:\n{words}") from None

    def _run_once(self, data: bytes, seconds: float) -> Finding | None:
        if self._ran >= RECYCLED:
            self.stop()
        self.start()
        self._ran += 1
        try:
            self._connection.send_bytes(data)
            if not self._connection.poll(seconds):
                return self._hang(data)
            answer: child.Answer = self._connection.recv()
        except (EOFError, OSError):
            return self._crash(data)
        if answer.worn:
            self.stop()
        if answer.raised is None:
            return None
        kind, place, words = answer.raised
        if kind == "MemoryError":
            self.stop()  # what is left of it is not to be relied on
            return Finding("memory", f"memory in {place}", words, data)
        return Finding("exception", f"{kind} in {place}", words, data)

    def _crash(self, data: bytes) -> Finding:
        assert self._process is not None
        self._process.join()
        words = self._words.read_text(errors="replace")
        code = self._process.exitcode or 0
        self.stop()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if summary := re.search(r"SUMMARY: (\w+: \S+).*? in (\S+)", words):
            how = " in ".join(summary.groups())  # a sanitizer's
        elif error := re.search(r"runtime error: .*", words):
            how = error.group()
        # An allocation that fails where there is no Python ends the process.
        starved = re.search(r"memory allocation of|bad_alloc|out-of-memory|out of memory", words)
        return Finding("memory" if starved else "crash", f"{how} in {stack_of(words)}", words, data)

    def _hang(self, data: bytes) -> Finding:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, child.TELL)
        time.sleep(0.5)
        words = self._words.read_text(errors="replace")
        self.stop()
        return Finding("hang", f"hang in {stack_of(words)}", words, data)


@contextlib.contextmanager
def few_threads() -> Iterator[None]:
    """What is started in here has few threads, which take addresses and the other tests' cores."""
    before = dict(os.environ)
    os.environ.update(FEW_THREADS)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def stack_of(words: str) -> str:
    """The innermost function within the package, or of all, in faulthandler's words."""
    frames = re.findall(r'File "(.+)", line \d+ in (\S+)', words)
    named = [f"{child.trim(path)}:{function}" for path, function in frames]
    ours = [name for name in named if name.startswith("unrolled/")]
    return (ours or named or ["?"])[0]


def mutations(of: Target, random: Random) -> Iterator[bytes]:
    """Endless: the same for the same ``random``."""
    if of.mutations is not None:
        yield from of.mutations(random)
    mutate = Mutator(list(of.built.values()), of.dictionary, random)
    while True:
        yield mutate()


def seeds_and_mutations(of: Target, random: Random) -> Iterator[bytes]:
    yield from of.built.values()
    yield from mutations(of, random)


@dataclass
class Hunt:
    """How often a target ran, and what was found, one of each signature."""

    runs: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


def hunt(inputs: Iterable[bytes], runner: Child, seconds: float = math.inf) -> Hunt:
    """Runs a target on the inputs, as many as there are or as the time allows."""
    result = Hunt()
    runner.start()
    end = time.monotonic() + seconds
    for data in inputs:
        if time.monotonic() > end:
            break
        result.runs += 1
        found = runner.run(data)
        if found and found.signature not in result.findings:
            result.findings[found.signature] = minimised(found, runner)
    return result


def minimised(finding: Finding, runner: Child, seconds: float = 20) -> Finding:
    """The same finding by an input that has lost all that it can lose within this time."""
    if finding.kind == "hang":
        return finding  # each try would take its whole time
    end = time.monotonic() + seconds
    best, piece = finding, max(1, len(finding.data) // 2)
    while time.monotonic() < end:
        at = 0
        while at < len(best.data) and time.monotonic() < end:
            found = runner.run(best.data[:at] + best.data[at + piece :])
            if found and found.signature == finding.signature:
                best = found
            else:
                at += piece
        if piece == 1:
            break
        piece //= 2
    return best


def save(finding: Finding, of: Target, folder: Path) -> Path:
    """Writes the input that did it, and beside it what was said; gives the input's path."""
    place = folder / of.name
    place.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(finding.data).hexdigest()[:12]
    path = place / f"{finding.kind}-{digest}{of.suffix}"
    path.write_bytes(finding.data)
    path.with_suffix(path.suffix + ".txt").write_text(f"{finding.signature}\n\n{finding.words}\n")
    return path

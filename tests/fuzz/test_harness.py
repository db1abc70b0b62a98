"""The fuzzing harness finds what it is there to find, on a target that has every fault."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fuzz import __main__ as command
from fuzz import harness
from fuzz.mutate import MUTATIONS, Mutation, Mutator

TOY = "fuzz.support_toy"


@pytest.fixture(scope="module")
def child() -> Iterator[harness.Child]:
    with harness.Child(harness.Target.of(TOY), seconds=0.6) as runner:
        yield runner


@pytest.mark.parametrize(
    ("data", "kind", "signature"),
    [
        (b"a CRASH here", "crash", "SIGSEGV in ctypes/__init__.py:string_at"),
        (b"ABORT", "crash", "SIGABRT in fuzz/support_toy.py"),
        (b"EXIT", "crash", "exit code 3 in ?"),
        (b"HANG", "hang", "hang in fuzz/support_toy.py"),
        (b"SPIN", "hang", "hang in fuzz/support_toy.py"),
        (b"GIGABYTES", "memory", "memory in fuzz/support_toy.py"),
        (b"RAISE", "exception", "ValueError in fuzz/support_toy.py"),
        (b"PANIC", "exception", "PanicError in fuzz/support_toy.py"),
        (b"LEAVE", "exception", "SystemExit in fuzz/support_toy.py"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_every_fault_is_found(child: harness.Child, data: bytes, kind: str, signature: str) -> None:
    found = child.run(data)
    assert found is not None
    assert found.kind == kind
    assert found.signature.startswith(signature)
    assert found.data == data
    assert child.run(b"a plain line") is None  # and the hunt goes on


def test_an_input_that_is_only_slow_is_no_hang(child: harness.Child) -> None:
    assert child.run(b"SLOW") is None


def test_memory_that_others_left_behind_is_not_blamed_on_the_next(child: harness.Child) -> None:
    assert [child.run(b"LEAK") for _ in range(10)] == [None] * 10


def test_a_hunt_finds_one_of_each_place_and_makes_it_small(child: harness.Child) -> None:
    inputs = [b"x" * 50 + word + b"y" * 50 for word in (b"RAISE", b"OTHER", b"CRASH", b"RAISE")]
    found = harness.hunt(inputs, child)
    assert found.runs == 4
    assert sorted(finding.data for finding in found.findings.values()) == [
        b"CRASH",
        b"OTHER",
        b"RAISE",
    ]


def test_mutations_reach_what_the_dictionary_names(child: harness.Child) -> None:
    toy = harness.Target.of(TOY)
    found = harness.hunt(itertools.islice(harness.mutations(toy, Random(0)), 300), child)
    kinds = {finding.kind for finding in found.findings.values()}
    assert kinds == {"crash", "exception"}


def test_a_target_that_cannot_be_imported_says_why() -> None:
    missing = harness.Target("missing", "fuzz.no_such_target", {}, "", ())
    with harness.Child(missing) as runner, pytest.raises(RuntimeError) as raised:
        runner.run(b"")
    assert "No module named 'fuzz.no_such_target'" in str(raised.value)


def test_what_is_found_can_be_run_again(
    child: harness.Child,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = harness.Target.of(TOY)
    monkeypatch.setattr(harness, "target", {"support_toy": toy}.__getitem__)
    found = child.run(b"RAISE")
    assert found is not None
    path = harness.save(found, toy, tmp_path)
    assert path.read_bytes() == b"RAISE"
    assert path.suffix == ".toy"
    assert "ValueError" in path.with_suffix(".toy.txt").read_text()
    assert command.again(path) == 1
    assert "ValueError: invalid literal" in capsys.readouterr().out
    path.write_bytes(b"mended")
    assert command.again(path) == 0


def test_the_same_seed_gives_the_same_mutations() -> None:
    toy = harness.Target.of(TOY)
    one, same, other = (
        list(itertools.islice(harness.mutations(toy, Random(seed)), 50)) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@pytest.mark.parametrize(
    "data", [b"", b"\x00", b'{"size": 12}' * 20], ids=["empty", "byte", "text"]
)
def test_every_mutation_takes_whatever_there_is(mutation: Mutation, data: bytes) -> None:
    changed = [mutation(data, Random(seed), [b"token"]) for seed in range(50)]
    assert (
        any(each != data for each in changed) or len(data) < 2
    )  # of one byte there is nothing to move


def test_mutations_do_not_grow_without_end() -> None:
    mutate = Mutator([b"[" * 100], [b"0" * 1000], Random(0))
    assert max(len(mutate()) for _ in range(2000)) < 2**17

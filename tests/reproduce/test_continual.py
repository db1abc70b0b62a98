"""Trials on streams without end, against one that is written out for one network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.reproduce import continual, following, side_by_side, streams
from unrolled.reproduce.continual import LANES, SEEDS, Continual
from unrolled.reproduce.continual_kinds import KINDS, Kind, Limits
from unrolled.reproduce.continual_trials import ContinualTrials, Ending, Outcome
from unrolled.reproduce.memory import Memory
from unrolled.reproduce.online import START, TEST, TRAIN
from unrolled.reproduce.parts import Job
from unrolled.reproduce.results import lags_of, read, writing
from unrolled.reproduce.stepwise import Stepwise
from unrolled.tasks.reber import END, LEGAL, MOVES

SHORT = Limits(longest=60, streams=40, symbols=2000, worth=10, tests=3, good=6)

RESET = "LSTM with external reset"


@pytest.fixture(autouse=True)
def _easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A margin within which a network stays for several strings soon; and short whiles."""
    monkeypatch.setattr(streams, "MARGIN", 0.8)
    monkeypatch.setattr(following, "ROUND", 32)


each_kind = pytest.mark.parametrize("name", KINDS)


class Plain:
    """A network that reads one stream, with the grammar, the margin and the resets as they are."""

    def __init__(self, kind: Kind, numbers: Any, bits: Iterator[int], *, trained: bool) -> None:
        self.kind, self.bits, self.state = kind, bits, 0
        self.networks = Stepwise(kind.architecture, numbers[None], trained=trained)

    def follow(self, limits: Limits, rate: float | None = None) -> tuple[int, int]:
        """A stream to its end: so many symbols were right, so many were read."""
        right, count, self.state = 0, 0, 0
        self.networks.reset(np.zeros(self.networks.width, dtype=bool))
        while right == count < limits.longest:
            symbol, self.state = MOVES[0 if self.state == END else self.state, next(self.bits)]
            self.networks.inputs[:, 0] = np.eye(7)[symbol]
            self.networks.step()
            legal = LEGAL[self.state]
            count += 1
            right += bool((abs(self.networks.given[:, 0] - legal) < streams.MARGIN).all())
            if rate is not None:
                targets = np.zeros_like(self.networks.given)
                targets[:, 0] = legal
                self.networks.learn(targets, np.full(self.networks.width, rate, dtype=np.float32))
                rate = float(np.float32(rate) * np.float32(self.kind.decay))
            if self.kind.resets and self.state == END:
                self.networks.reset(np.zeros(self.networks.width, dtype=bool))
        return right, count


def bits(rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from np.unpackbits(np.frombuffer(rng.bytes(following.ROUND // 8), np.uint8)).tolist()


def plain_trial(kind: Kind, limits: Limits, seed: int) -> Outcome:
    """What is left of a while when a test comes is thrown away."""
    architecture = kind.architecture
    weights = kind.start.draw(architecture, np.random.default_rng([seed, START]))
    rng, number, symbols, tests = np.random.default_rng([seed, TRAIN]), 0, 0, 0
    network = Plain(kind, weights.astype(np.float32), bits(rng), trained=True)
    while True:
        right, count = network.follow(limits, limits.rate)
        number, symbols = number + 1, symbols + count
        is_over = number >= limits.streams or symbols >= limits.symbols
        if right < limits.worth and not is_over:
            continue
        network.bits = bits(rng)
        learned = network.networks.numbers()[0, : architecture.weights]
        rngs = [np.random.default_rng([seed, TEST, tests, n]) for n in range(limits.tests)]
        tests += 1
        lengths = [Plain(kind, learned, bits(r), trained=False).follow(limits)[0] for r in rngs]
        if min(lengths) == limits.longest or is_over:
            length = float(np.mean(lengths))
            ending: Ending = "good" if length > limits.good else "rest"
            if min(lengths) == limits.longest:
                ending = "perfect"
            return Outcome(seed, ending, number, symbols, tests, length, learned)


def run(name: str, limits: Limits, seeds: list[int]) -> dict[int, Outcome]:
    trials, found = ContinualTrials(KINDS[name], limits, seeds), list[Outcome]()
    while trials.seeds:
        found += trials.advance()
    return {outcome.seed: outcome for outcome in found}


def told(outcome: Outcome) -> list[Any]:
    """All of it, to be compared."""
    return [*vars(outcome).values()][:-1] + outcome.weights.tolist()


@each_kind
def test_a_trial_is_as_it_is_written_out(name: str) -> None:
    together = run(name, SHORT, [0, 1, 2, 3, 4])
    for seed in (0, 1, 4):
        assert told(together[seed]) == told(plain_trial(KINDS[name], SHORT, seed))


def test_trials_end_in_each_way() -> None:
    found = run("LSTM", SHORT, [*range(8)]).values()
    assert {outcome.ending for outcome in found} == {"perfect", "good", "rest"}
    assert any(outcome.tests > 1 for outcome in found)
    for outcome in found:
        assert (outcome.ending == "perfect") == (outcome.length == SHORT.longest)
        assert (outcome.ending == "rest") == (outcome.length <= SHORT.good)


def test_a_trial_ends_when_its_symbols_are_spent() -> None:
    for outcome in run("LSTM", replace(SHORT, symbols=150), [0, 1]).values():
        assert outcome.streams < SHORT.streams
        assert 150 <= outcome.symbols < 150 + SHORT.longest


@each_kind
def test_a_trial_does_not_depend_on_those_beside_it(name: str) -> None:
    several, alone = run(name, SHORT, [*range(6)]), run(name, SHORT, [4])
    assert told(several[4]) == told(alone[4])


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_trials_go_on_from_their_state_bit_for_bit(rounds: int) -> None:
    through = ContinualTrials(KINDS[RESET], SHORT, [0, 1])
    for _ in range(rounds):
        through.advance()
    again = ContinualTrials(KINDS[RESET], SHORT, [0, 1])
    again.restore(json.loads(json.dumps(through.state())))
    while through.seeds:
        assert [*map(told, again.advance())] == [*map(told, through.advance())]
    assert again.state() == through.state()


# --- the part -------------------------------------------------------------------------------------


class Killed(BaseException):
    """In place of a signal that no process survives."""


class Told:
    """What a job tells; the process is killed at a share of it, if one is given."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.records: list[Continual] = []
        self.shares, self.killed_at = 0, killed_at

    def __call__(self, said: Continual | float) -> None:
        if isinstance(said, Continual):
            self.records.append(replace(said, seconds=0.0))
            return
        self.shares += 1
        if self.shares == self.killed_at:
            raise Killed


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """One whose trials end soon, and are saved after each round."""
    monkeypatch.setattr(continual, "LIMITS", SHORT)
    monkeypatch.setattr(side_by_side, "SAVED_EVERY", 0.0)
    return Job(
        continual.PART, "a name", tuple(("LSTM with forget gates", seed) for seed in range(3)), 1.0
    )


@pytest.mark.parametrize("killed_at", [1, 4, 7])
def test_a_job_that_is_cut_off_comes_to_the_same(
    job: Job, killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continual, "measured", lambda *_: Memory(3, 99, "[1.0]"))
    whole, first, second = Told(), Told(killed_at), Told()
    continual.run(job, tmp_path / "whole.json", whole)
    with pytest.raises(Killed):
        continual.run(job, tmp_path / "saved.json", first)
    continual.run(job, tmp_path / "saved.json", second)
    assert first.records + second.records == whole.records
    assert second.shares == whole.shares - killed_at
    assert not (tmp_path / "saved.json").exists()


def test_a_trial_is_told_by_its_record(job: Job, tmp_path: Path) -> None:
    told = Told()
    continual.run(job, tmp_path / "saved.json", told)
    found = told.records[0]
    assert found.trial in job.trials
    assert found.weights == 424
    assert len(json.loads(found.gradient)) == len(lags_of(found.steps))
    with writing(tmp_path / "continual.csv", continual.RECORD) as results:
        results.add(found)
    assert read(tmp_path / "continual.csv", continual.RECORD) == [found]


def test_jobs_are_all_trials_that_are_not_done() -> None:
    every = continual.jobs(())
    trials = [trial for job in every for trial in job.trials]
    assert len(set(trials)) == len(trials) == len(KINDS) * len(SEEDS)
    left = continual.jobs({trials[0], trials[1]})
    assert [job.name for job in left] == [job.name for job in every]
    assert len(left[0].trials) == LANES - 2

"""Initial values and memory: how far a network can look before it has learned, and after.

The initial values are those of Tallec & Ollivier 2018, "Can recurrent neural networks warp time?",
arXiv 1804.11188 (chrono), Jozefowicz et al. 2015 (unit forget bias), Saxe et al. 2014 (orthogonal)
and Le et al. 2015, arXiv 1504.00941 (identity). The tasks are those of Arjovsky et al. 2016,
arXiv 1511.06464, sections 4.1 and 4.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from unrolled.cells import GRU, LSTM, RNN, Cell
from unrolled.learn.runtime import reproducible
from unrolled.model import Network, NetworkConfig
from unrolled.nn.init import RecurrentModule, identity_, orthogonal_, unit_forget_bias_
from unrolled.reproduce.course import NEVER, followed, looked_at
from unrolled.reproduce.machine import origin, without_subnormals
from unrolled.reproduce.memory import measured
from unrolled.reproduce.modern import Begin, Training, as_shipped, chrono
from unrolled.reproduce.parts import Emit, Job, Trial
from unrolled.reproduce.results import Json
from unrolled.tasks import Adding, Copying, Task

PART = "initial"

CLEARLY = 0.5
"""A loss that is below so much of chance's beats it clearly."""


TASKS: dict[str, Callable[[int], Task]] = {"copying": Copying, "adding": Adding}

UPDATES = {100: 4000, 500: 2500, 1000: 2000, 2000: 1500, 5000: 800}
"""For each length the updates: what takes longer gets fewer."""

SEEDS = range(3)

TRAINING = Training(hidden_size=32, batch_size=8, checked=128, tested=512)


@dataclass(frozen=True)
class Start:
    """A cell with its initial values.

    Attributes:
        cell: the cell.
        begin: sets the values.
        rate: Adam's. A matrix without gates explodes with that of the others.
    """

    cell: Cell
    begin: Begin
    rate: float = 0.01


def identity(module: RecurrentModule, _: int) -> None:
    """A recurrent matrix that keeps all, and biases of 0."""
    identity_(module)
    for name, parameter in module.named_parameters():
        if name.startswith("bias"):
            torch.nn.init.zeros_(parameter)


NETWORKS: dict[str, Start] = {
    "LSTM, as shipped": Start(LSTM(), as_shipped),
    "LSTM, unit forget bias": Start(LSTM(), lambda module, _: unit_forget_bias_(module)),
    "LSTM, chrono": Start(LSTM(), chrono),
    "GRU, as shipped": Start(GRU(), as_shipped),
    "GRU, unit forget bias": Start(GRU(), lambda module, _: unit_forget_bias_(module)),
    "GRU, chrono": Start(GRU(), chrono),
    "RNN (tanh), orthogonal": Start(RNN(), lambda module, _: orthogonal_(module), 1e-3),
    "RNN (relu), identity": Start(RNN(nonlinearity="relu"), identity, 3e-4),
}


@dataclass(frozen=True)
class Outcome:
    """What a trial came to. A loss that is not finite says that the network diverged.

    Attributes:
        task: one of :data:`TASKS`.
        length: of the task, T.
        network: one of :data:`NETWORKS`.
        seed: of weights and sequences.
        sequences: how many it has learned from.
        loss: on new sequences at the end,
        score: and the task's own score.
        tested: of so many sequences.
        chance: the loss of a guess.
        beaten: the sequences after which a check was below :data:`CLEARLY` of chance's loss,
        solved: and after which one solved the task; -1 if none did.
        weights: how many the network has.
        steps: the largest lag at which the gradient was measured.
        horizon_before: the lag at which it falls to a hundredth, before training,
        horizon_after: and after. -1 of a network that diverged.
        gradient_before: g(k) at the lags of :func:`unrolled.reproduce.results.lags_of`, as JSON,
        gradient_after: and after training. An empty list of a network that diverged.
        seconds: how long the trial took.
        version: of the package.
        processor: what it ran on.
    """

    task: str
    length: int
    network: str
    seed: int
    sequences: int
    loss: float
    score: float
    tested: int
    chance: float
    beaten: int
    solved: int
    weights: int
    steps: int
    horizon_before: int
    horizon_after: int
    gradient_before: Json
    gradient_after: Json
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> Trial:
        """Which one it is."""
        return self.task, self.length, self.network, self.seed

    def __str__(self) -> str:
        """What came of it, in a line."""
        trial = f"{self.task} {self.length}, {self.network}, seed {self.seed}"
        return f"{trial}: loss {self.loss:g} of {self.chance:g}"

    @property
    def share(self) -> float:
        """The loss at the end as a share of chance's."""
        return self.loss / self.chance


RECORD = Outcome


def jobs(done: Container[Trial]) -> list[Job]:
    """What is left to do, the longest first: a job for each trial."""
    found = [
        Job(PART, f"{task} {length}, {network}, seed {seed}", (trial,), _seconds(length))
        for trial in _trials()
        if trial not in done
        for task, length, network, seed in (trial,)
    ]
    return sorted(found, key=lambda job: -job.seconds)


def _trials() -> Iterator[tuple[str, int, str, int]]:
    for task in TASKS:
        for length in UPDATES:
            for network in NETWORKS:
                for seed in SEEDS:
                    yield task, length, network, seed


def _seconds(length: int) -> float:
    """Of a trial: its updates with their checks, and the two measurements of the gradient."""
    return UPDATES[length] * (1.8e-3 + length * 7.2e-6) + 2 * length * 5e-4


def run(job: Job, saved: Path, emit: Emit) -> None:  # noqa: ARG001 - as in Part
    """Runs the trials of a job; each is short enough to be begun anew."""
    for task, length, network, seed in job.trials:
        with without_subnormals():
            emit(
                outcome(
                    str(task),
                    int(length),
                    str(network),
                    int(seed),
                    replace(TRAINING, updates=UPDATES[int(length)]),
                    emit,
                )
            )


def outcome(
    task: str,
    length: int,
    network: str,
    seed: int,
    training: Training,
    on_check: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """One trial, until the updates are spent or the network diverges.

    Args:
        task: one of :data:`TASKS`.
        length: of the task.
        network: one of :data:`NETWORKS`, which says the rate.
        seed: of weights and sequences.
        training: all else.
        on_check: called with the share of the updates that are done, at each check.
    """
    started = time.perf_counter()
    problem, start = TASKS[task](length), NETWORKS[network]
    inputs, training = looked_at(problem, seed), replace(training, rate=start.rate)
    with reproducible(seed, threads=1):
        model = _built(start, problem, inputs.shape[1], training)
        before = measured(model, inputs)
        course = followed(model, problem, training, seed, on_check)
    after = course.memory
    beaten = course.first(lambda check: check.loss < CLEARLY * problem.chance.loss)
    solved = course.first(lambda check: check.score >= problem.solved)
    return Outcome(
        task=task,
        length=length,
        network=network,
        seed=seed,
        sequences=course.updates * training.batch_size,
        loss=float(f"{course.loss:.4g}"),
        score=float(f"{course.score:.4g}"),
        tested=training.tested,
        chance=float(f"{problem.chance.loss:.4g}"),
        beaten=beaten if beaten == NEVER else beaten * training.batch_size,
        solved=solved if solved == NEVER else solved * training.batch_size,
        weights=model.count_weights(),
        steps=before.steps,
        horizon_before=before.horizon,
        horizon_after=after.horizon,
        gradient_before=before.gradient,
        gradient_after=after.gradient,
        **origin(time.perf_counter() - started),
    )


def _built(start: Start, task: Task, steps: int, training: Training) -> Network:
    model = Network(
        NetworkConfig(
            cell=start.cell,
            input_size=task.inputs,
            hidden_size=training.hidden_size,
            output_size=task.outputs,
        )
    )
    start.begin(model.recurrent, steps)
    return model

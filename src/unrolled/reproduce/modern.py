"""The same tasks for today's networks, as they are shipped: Adam, minibatches, clipping."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from unrolled.learn.runtime import reproducible
from unrolled.model import Network, NetworkConfig
from unrolled.model.choice import CellName
from unrolled.nn.init import RecurrentModule, chrono_
from unrolled.reproduce.memory import ROWS, Memory, measured
from unrolled.reproduce.symbols import Embedded, SymbolLag
from unrolled.tasks import Batch, Task

Begin = Callable[[RecurrentModule, int], None]
"""Sets initial values, for sequences of so many steps."""


def as_shipped(module: RecurrentModule, steps: int) -> None:
    """Leaves the initial values that torch has, too."""


def chrono(module: RecurrentModule, steps: int) -> None:
    """Gates that begin with memories up to the length of a sequence."""
    chrono_(module, max(2, steps))


NETWORKS: dict[str, tuple[CellName, Begin]] = {
    "LSTM": ("lstm", as_shipped),
    "GRU": ("gru", as_shipped),
    "Elman RNN": ("rnn", as_shipped),
    "LSTM, chrono": ("lstm", chrono),
}
"""By their names: the cell, and its initial values. The last one is not as it is shipped."""

TRAIN, CHECK, TEST = range(3)
"""The streams of random numbers that a seed gives."""


@dataclass(frozen=True)
class Training:
    """How today's networks are trained.

    Attributes:
        updates: after so many a trial has failed.
        hidden_size: H.
        batch_size: how many new sequences an update has.
        rate: Adam's.
        clip: the largest norm of the gradient.
        every: after so many updates the network is tried on new sequences,
        checked: on so many. Once it solves these, the trial is over.
        tested: on so many others it is tested then.
    """

    updates: int = 5000
    hidden_size: int = 32
    batch_size: int = 32
    rate: float = 0.01
    clip: float = 1.0
    every: int = 50
    checked: int = 256
    tested: int = 2560


@dataclass(frozen=True)
class Trained:
    """What a trial came to; see :class:`unrolled.reproduce.results.Result`."""

    solved: bool
    sequences: int
    wrong: int
    tested: int
    error: float
    weights: int
    memory: Memory
    seconds: float


def train(
    task: Task,
    network: str,
    seed: int,
    steps: int,
    training: Training,
    on_check: Callable[[int], None] = lambda _: None,
) -> Trained:
    """One trial: trains until the task is solved, or the updates are spent.

    Args:
        task: what is learned; solved is what it says itself.
        network: one of :data:`NETWORKS`.
        seed: of weights and sequences.
        steps: how long the sequences are, roughly.
        training: how.
        on_check: called with the number of sequences at each check.
    """
    started = time.perf_counter()
    train_rng, check_rng, test_rng = (
        np.random.default_rng([seed, stream]) for stream in (TRAIN, CHECK, TEST)
    )
    cell, begin = NETWORKS[network]
    with reproducible(seed, threads=1):
        model, recurrent = _built(task, cell, training.hidden_size)
        begin(recurrent, steps)
        solved, done = False, 0
        for check in fit(model, task, training, train_rng, check_rng):
            solved, done = check.score >= task.solved, check.updates
            on_check(done * training.batch_size)
            if solved:
                break
        score, error = tried(model, task, training.tested, test_rng)
        memory = _memory(model, task, test_rng)
    return Trained(
        solved=solved,
        sequences=done * training.batch_size,
        wrong=round((1 - score) * training.tested),
        tested=training.tested,
        error=error,
        weights=sum(parameter.numel() for parameter in model.parameters()),
        memory=memory,
        seconds=time.perf_counter() - started,
    )


def _built(task: Task, cell: CellName, units: int) -> tuple[torch.nn.Module, RecurrentModule]:
    """A network for a task, and its recurrent module; symbols are read by an embedding."""
    reads_symbols = isinstance(task, SymbolLag)
    network = Network(
        NetworkConfig(
            cell=cell,
            input_size=units if reads_symbols else task.inputs,
            hidden_size=units,
            output_size=task.outputs,
        )
    )
    return (Embedded(task.inputs, network) if reads_symbols else network), network.recurrent


@dataclass(frozen=True)
class Check:
    """What a network was worth on new sequences, in the task's own score and loss.

    Attributes:
        updates: after so many.
        score: the mean score.
        loss: the mean loss.
    """

    updates: int
    score: float
    loss: float


def fit(
    model: torch.nn.Module,
    task: Task,
    training: Training,
    train_rng: np.random.Generator,
    check_rng: np.random.Generator,
    held_out: Task | None = None,
) -> Iterator[Check]:
    """Trains a network until the updates are spent, or nobody asks for the next check.

    Args:
        model: is trained in place. At a check it is in eval mode.
        task: what is learned.
        training: how.
        train_rng: the sequences that are learned from are drawn from it,
        check_rng: and those of the checks from this one.
        held_out: what the checks draw from; None for the task itself, which has always new ones.
    """
    checked_by = held_out or task
    adam = torch.optim.Adam(model.parameters(), lr=training.rate)
    done = 0
    while done < training.updates:
        model.train()
        for _ in range(training.every):
            update(model, adam, task, task.batch(training.batch_size, train_rng), training.clip)
        done += training.every
        yield Check(done, *tried(model.eval(), checked_by, training.checked, check_rng))


def update(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, task: Task, batch: Batch, clip: float
) -> None:
    """Learns from one minibatch, by a gradient that is clipped to this norm."""
    prediction, _ = model(batch.inputs, lengths=batch.lengths)
    loss = task.loss(prediction, batch)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


class Collected(Task):
    """A task that has so many sequences and no more."""

    @abstractmethod
    def everything(self) -> Batch:
        """Each of them once."""


CHUNK = 256


def tried(
    model: torch.nn.Module, task: Task, count: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The mean score and loss on so many new sequences; on all that a :class:`Collected` has."""
    scores, losses = [], []
    with torch.no_grad():
        for batch in _batches(task, count, rng):
            prediction, _ = model(batch.inputs, lengths=batch.lengths)
            scores.append(task.score(prediction, batch))
            losses.append(task.loss(prediction, batch).item())
    return float(np.mean(scores)), float(np.mean(losses))


def _batches(task: Task, count: int, rng: np.random.Generator) -> Iterator[Batch]:
    if isinstance(task, Collected):
        yield task.everything()
    else:
        for _ in range(0, count, CHUNK):
            yield task.batch(min(CHUNK, count), rng)


def _memory(model: torch.nn.Module, task: Task, rng: np.random.Generator) -> Memory:
    batch = task.batch(ROWS, rng)
    return measured(model, batch.inputs[:, : int(batch.lengths.min())])

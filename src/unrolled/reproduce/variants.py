"""The LSTM and its eight variants, side by side.

Greff et al. 2017, "LSTM: a search space odyssey", IEEE Transactions on Neural Networks and Learning
Systems 28(10), arXiv 1503.04069, on tasks that ask for memory: adding; the timing of spikes of
Gers, Schraudolph & Schmidhuber 2002, JMLR 3, which is about what peepholes are for; and on speech,
JapaneseVowels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from unrolled.cells import FGR, NFG, NIAF, NIG, NOAF, NOG, NP, Cell, PeepholeCIFG, VanillaLSTM
from unrolled.cells.roles import memories
from unrolled.learn.runtime import reproducible
from unrolled.model import Network, NetworkConfig
from unrolled.nn.init import chrono_
from unrolled.reproduce.course import followed
from unrolled.reproduce.machine import without_subnormals
from unrolled.reproduce.memory import columns
from unrolled.reproduce.modern import Training
from unrolled.reproduce.parts import Emit, Job, Trial
from unrolled.reproduce.results import Json
from unrolled.reproduce.vowels import LONGEST, JapaneseVowels
from unrolled.tasks import Adding, SpikeDelays, Task

PART = "variants"

VANILLA = "V"
"""What the others are variants of."""

VARIANTS: dict[str, type[Cell]] = {
    VANILLA: VanillaLSTM,
    "NIG": NIG,
    "NFG": NFG,
    "NOG": NOG,
    "NIAF": NIAF,
    "NOAF": NOAF,
    "CIFG": PeepholeCIFG,
    "NP": NP,
    "FGR": FGR,
}
"""By the paper's names."""

SEEDS = range(5)


@dataclass(frozen=True)
class Setting:
    """A task, and how all variants are trained on it.

    Attributes:
        task: the task.
        steps: over which something has to be remembered.
        training: how; all updates are made, whether the task is solved or not.
        seconds: how long a trial takes, roughly.
        held_out: what the variants are tested on; None for new sequences of the task.
    """

    task: Task
    steps: int
    training: Training
    seconds: float
    held_out: Task | None = None


SETTINGS: dict[str, Setting] = {
    "adding": Setting(
        Adding(100),
        100,
        Training(updates=4000, hidden_size=16, batch_size=16, tested=2560),
        14.0,
    ),
    "spike delays": Setting(
        SpikeDelays(),
        11,
        Training(updates=4000, hidden_size=2, batch_size=16, tested=2560),
        12.0,
    ),
    "JapaneseVowels": Setting(
        JapaneseVowels("TRAIN"),
        LONGEST,
        Training(updates=1000, hidden_size=16, batch_size=16, rate=0.003, tested=370),
        4.0,
        JapaneseVowels("TEST"),
    ),
}
"""By the tasks' names. With two units no unit is left to count for the gates: they have to see."""


@dataclass(frozen=True)
class Outcome:
    """What a trial came to. A loss that is not finite says that the network diverged.

    Attributes:
        task: one of :data:`SETTINGS`.
        variant: one of :data:`VARIANTS`.
        seed: of weights and sequences.
        updates: how many were made.
        loss: on new sequences at the end,
        score: and the task's own score.
        tested: of so many sequences.
        chance: the loss of a guess.
        solved: the updates after which a check solved the task; -1 if none did.
        weights: how many the network has.
        horizon: the lag at which the gradient falls to a hundredth at the end, -1 of a
            network that diverged.
        steps: the largest lag at which it was measured.
        gradient: g(k) at the lags of :func:`unrolled.reproduce.results.lags_of`, as JSON.
        seconds: how long the trial took.
        version: of the package.
        processor: what it ran on.
    """

    task: str
    variant: str
    seed: int
    updates: int
    loss: float
    score: float
    tested: int
    chance: float
    solved: int
    weights: int
    horizon: int
    steps: int
    gradient: Json
    seconds: float
    version: str
    processor: str

    @property
    def trial(self) -> Trial:
        """Which one it is."""
        return self.task, self.variant, self.seed

    def __str__(self) -> str:
        """What came of it, in a line."""
        trial = f"{self.task}, {self.variant}, seed {self.seed}"
        return f"{trial}: loss {self.loss:g} of {self.chance:g}"


RECORD = Outcome


def jobs(done: Container[Trial]) -> list[Job]:
    """What is left to do, the longest first: a job for each trial."""
    found = [
        Job(PART, f"{task}, {variant}, seed {seed}", ((task, variant, seed),), setting.seconds)
        for task, setting in SETTINGS.items()
        for variant in VARIANTS
        for seed in SEEDS
        if (task, variant, seed) not in done
    ]
    return sorted(found, key=lambda job: -job.seconds)


def run(job: Job, saved: Path, emit: Emit) -> None:  # noqa: ARG001 - as in Part
    """Runs the trials of a job; each is short enough to be begun anew."""
    for task, variant, seed in job.trials:
        with without_subnormals():
            emit(outcome(str(task), str(variant), int(seed), SETTINGS[str(task)], emit))


def outcome(
    task: str,
    variant: str,
    seed: int,
    setting: Setting,
    on_check: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """One trial, until the updates are spent or the network diverges.

    Args:
        task: the name of the task.
        variant: one of :data:`VARIANTS`.
        seed: of weights and sequences.
        setting: the task, and how it is learned.
        on_check: called with the share of the updates that are done, at each check.
    """
    started = time.perf_counter()
    problem, training = setting.task, setting.training
    with reproducible(seed, threads=1):
        model = _built(VARIANTS[variant], setting)
        course = followed(model, problem, training, seed, on_check, setting.held_out)
    return Outcome(
        task=task,
        variant=variant,
        seed=seed,
        updates=course.updates,
        loss=float(f"{course.loss:.4g}"),
        score=float(f"{course.score:.4g}"),
        tested=training.tested,
        chance=float(f"{problem.chance.loss:.4g}"),
        solved=course.first(lambda check: check.score >= problem.solved),
        **columns(model.count_weights(), course.memory, time.perf_counter() - started),
    )


def _built(variant: type[Cell], setting: Setting) -> Network:
    """The network, with chrono biases where there is a forget gate that could have them."""
    model = Network(
        NetworkConfig(
            cell=variant,
            input_size=setting.task.inputs,
            hidden_size=setting.training.hidden_size,
            output_size=setting.task.outputs,
        )
    )
    if memories(variant().description):
        chrono_(model.recurrent, setting.steps)
    return model

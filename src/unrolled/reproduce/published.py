"""The rows of the tables: what was published, and how it is tried here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from unrolled.reproduce import faithful
from unrolled.reproduce.modern import Training
from unrolled.reproduce.online import Recipe
from unrolled.reproduce.symbols import SymbolLag
from unrolled.tasks import (
    Adding,
    EmbeddedReber,
    Multiplication,
    Task,
    TemporalOrder,
    TwoSequence,
    TwoSequenceTargets,
)
from unrolled.tasks.lag import NoiseFreeLag, NoisyLag

LONG = Training(updates=1000)
"""For a thousand steps."""

SHORT = Training()


@dataclass(frozen=True)
class Row:
    """A line of the paper's tables.

    Attributes:
        key: its name in the results and on the command line.
        experiment: the paper's number.
        setting: in words.
        sequences: after how many the LSTM of 1997 had solved it, on average.
        solved: in so many percent of the trials.
        trials: how many these were; at least ten are run here.
        steps: of a sequence, roughly.
        recipe: the paper's trial.
        task: what today's networks learn; None where it is another row's.
        training: how they do.
    """

    key: str
    experiment: str
    setting: str
    sequences: int
    solved: int
    trials: int
    steps: int
    recipe: Callable[[], Recipe]
    task: Callable[[], Task] | None
    training: Training = SHORT

    @property
    def seeds(self) -> range:
        """Those of the trials as in 1997."""
        return range(max(10, self.trials))


def _reber(blocks: int, size: int, rate: float, sequences: int, solved: int) -> Row:
    return Row(
        f"1-{blocks}x{size}-{rate}",
        "1",
        f"embedded Reber grammar, {blocks} blocks of {size}, rate {rate}",
        sequences,
        solved,
        30,
        25,
        partial(faithful.embedded_reber, blocks, size, rate, sequences),
        EmbeddedReber if (blocks, size, rate) == (4, 1, 0.1) else None,
    )


def _row(
    key: str,
    setting: str,
    sequences: int,
    steps: int,
    recipe: Callable[[], Recipe],
    task: Callable[[], Task] | None,
    trials: int = 10,
) -> Row:
    """A row of an experiment of which every trial was solved; ``key`` begins with its number."""
    training = LONG if steps > 200 else SHORT
    experiment = key.partition("-")[0]
    return Row(key, experiment, setting, sequences, 100, trials, steps, recipe, task, training)


def _very_long(length: int, distractors: int, sequences: int) -> Row:
    return _row(
        f"2c-{length}-{distractors}",
        f"very long lag, q = {length:,}, p = {distractors:,}",
        sequences,
        length,
        partial(faithful.very_long_lag, length, distractors, sequences),
        partial(SymbolLag, length, distractors),
        trials=20,
    )


def _two_sequence(length: int, relevant: int, sequences: int) -> Row:
    return _row(
        f"3a-{length}-{relevant}",
        f"two sequences, T = {length:,}, N = {relevant}",
        sequences,
        length,
        partial(faithful.two_sequence, length, relevant, sequences),
        partial(TwoSequence, length, relevant),
    )


def _targets(relevant: int, sequences: int) -> Row:
    return _row(
        f"3c-{relevant}",
        f"two sequences, noisy targets, T = 100, N = {relevant}",
        sequences,
        100,
        partial(faithful.two_sequence_targets, 100, relevant, sequences),
        partial(TwoSequenceTargets, 100, relevant),
    )


def _adding(length: int, sequences: int) -> Row:
    return _row(
        f"4-{length}",
        f"adding, T = {length:,}",
        sequences,
        length,
        partial(faithful.adding, length, sequences),
        partial(Adding, length, form="hochreiter"),
    )


def _multiplication(wrong: int, sequences: int) -> Row:
    return _row(
        f"5-{wrong}",
        f"multiplication, T = 100, until fewer than {wrong} of 2,000 are wrong",
        sequences,
        100,
        partial(faithful.multiplication, wrong, sequences),
        partial(Multiplication, 100) if wrong == 13 else None,
    )


ROWS = [
    _reber(4, 1, 0.1, 39_740, 100),
    _reber(3, 2, 0.1, 21_730, 100),
    _reber(3, 2, 0.2, 14_060, 97),
    _reber(4, 1, 0.5, 9_500, 97),
    _reber(3, 2, 0.5, 8_440, 100),
    _row(
        "2a", "noise-free sequences, p = 100", 5_040, 100,
        partial(faithful.noise_free_lag, 100, 5_040), partial(NoiseFreeLag, 100), trials=18,
    ),
    _row(
        "2b", "no local regularities, p = 100", 5_680, 100,
        partial(faithful.noisy_lag, 100, 5_680), partial(NoisyLag, 100), trials=18,
    ),
    _very_long(50, 50, 30_000),
    _very_long(100, 100, 31_000),
    _very_long(200, 200, 33_000),
    _very_long(500, 500, 38_000),
    _very_long(1000, 1000, 49_000),
    _very_long(1000, 500, 49_000),
    _very_long(1000, 200, 75_000),
    _very_long(1000, 100, 135_000),
    _very_long(1000, 50, 203_000),
    _two_sequence(100, 3, 39_850),
    _two_sequence(100, 1, 64_330),
    _two_sequence(1000, 3, 452_460),
    _targets(3, 269_650),
    _targets(1, 565_640),
    _adding(100, 74_000),
    _adding(500, 209_000),
    _adding(1000, 853_000),
    _multiplication(140, 482_000),
    _multiplication(13, 1_273_000),
    _row(
        "6a", "temporal order, 4 classes", 31_390, 100,
        partial(faithful.temporal_order, 2, 31_390), TemporalOrder, trials=20,
    ),
    _row(
        "6b", "temporal order, 8 classes", 571_100, 100,
        partial(faithful.temporal_order, 3, 571_100), partial(TemporalOrder, relevant=3),
    ),
]  # fmt: skip
"""All rows, in the order of the paper."""

QUICK = ("2a", "2b", "3a-100-3", "6a")
"""The rows of ``--quick``: each a different kind of task, and short."""

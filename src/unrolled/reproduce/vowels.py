"""JapaneseVowels: utterances of nine speakers, who are to be told from each other.

Kudo, Toyama & Shimbo 1999, "Multidimensional curve classification using passing-through regions",
Pattern Recognition Letters 20. The data comes from the package ``aeon``, which brings it along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unrolled.errors import InputError
from unrolled.reproduce.modern import Collected
from unrolled.tasks.base import Batch, Chance, Kind, at_the_end

Split = Literal["TRAIN", "TEST"]

CHANNELS, SPEAKERS, LONGEST = 12, 9, 29


@dataclass(frozen=True)
class JapaneseVowels(Collected):
    """Tells at the end of an utterance who has spoken it.

    An utterance is a pair of vowels, in 7 to 29 steps of 12 coefficients of a linear prediction.
    There are 270 to learn from, 30 of each speaker, and 370 to test. The coefficients are scaled to
    mean 0 and variance 1 over those to learn from. ``batch`` draws with replacement.
    Chance: all nine are equally probable.

    Attributes:
        split: which of the utterances.
    """

    split: Split = "TRAIN"

    kind: ClassVar[Kind] = "classification"
    measure: ClassVar[str] = "utterances whose speaker is told"

    @property
    def summary(self) -> str:
        """What is asked, in a line."""
        return "who of nine speakers has said a pair of vowels"

    @property
    def inputs(self) -> int:
        """The coefficients of a step."""
        return CHANNELS

    @property
    def outputs(self) -> int:
        """One for each speaker."""
        return SPEAKERS

    @property
    def chance(self) -> Chance:
        """A guess among nine."""
        return Chance(loss=math.log(SPEAKERS), score=1 / SPEAKERS)

    @property
    def solved(self) -> float:
        """Nearly what the best published classifiers reach."""
        return 0.97

    def everything(self) -> Batch:
        """Each utterance once."""
        return self._of(np.arange(len(_scaled(self.split)[0])))

    def _draw(self, n: int, rng: np.random.Generator) -> Batch:
        return self._of(rng.integers(0, len(_scaled(self.split)[0]), n))

    def _of(self, which: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Batch:
        utterances, speakers = _scaled(self.split)
        inputs = pad_sequence([utterances[i] for i in which], batch_first=True)
        lengths = torch.tensor([len(utterances[i]) for i in which])
        mask = torch.from_numpy(at_the_end(lengths.numpy(), inputs.shape[1]))
        return Batch(inputs, speakers[which][:, None] * mask, lengths, mask)

    def _worth(self, given: Tensor, asked: Tensor) -> Tensor:
        return given.argmax(dim=1) == asked


@cache
def _scaled(split: Split) -> tuple[list[Tensor], Tensor]:
    """The utterances, each [T, 12], and their speakers, 0 to 8."""
    utterances, speakers = read(folder() / f"JapaneseVowels_{split}.ts")
    learned = utterances if split == "TRAIN" else read(folder() / "JapaneseVowels_TRAIN.ts")[0]
    steps = np.concatenate(learned)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    scaled = [((u - mean) / deviation).astype(np.float32) for u in utterances]
    return [torch.from_numpy(u) for u in scaled], torch.tensor(speakers)


def folder() -> Path:
    """Where ``aeon`` has the files.

    Raises:
        InputError: it is not installed.
    """
    found = find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "JapaneseVowels is read from the package aeon, which is not installed. Install it with "
            "`pip install --no-deps aeon`: nothing else of it is used"
        )
    return Path(found.submodule_search_locations[0]) / "datasets/data/JapaneseVowels"


def read(path: Path) -> tuple[list[np.ndarray[tuple[int, int], np.dtype[np.float64]]], list[int]]:
    """The utterances of a ``.ts`` file, each [T, 12], and their speakers, 0 to 8.

    A line has the channels, then the speaker from 1 to 9, between colons; a channel's values stand
    between commas.

    Raises:
        InputError: there is no such file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise InputError(
            f"{path}: JapaneseVowels was expected here, got: {e.strerror}. Install another version "
            "of aeon"
        ) from e
    begin = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    rows = [line.split(":") for line in lines[begin:] if line.strip()]
    utterances = [
        np.array([channel.split(",") for channel in channels], dtype=np.float64).T
        for *channels, _ in rows
    ]
    return utterances, [int(speaker) - 1 for *_, speaker in rows]

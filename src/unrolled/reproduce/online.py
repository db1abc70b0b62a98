"""Trials as in 1997: online updates, until a rule says that the task is solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.lanes import Asked, Lanes
from unrolled.reproduce.problems import Draw, Together, together
from unrolled.reproduce.rules import Limits, Measure, Standstill, squared_error
from unrolled.reproduce.wiring import bias_place

Array = NDArray[np.float64]

BLOCK = 50
"""After so many sequences it is asked whether a trial is over, and how many are drawn at once."""

CHUNK = 512
"""How many sequences a test runs at once, before it asks whether to go on."""

START, TRAIN, TEST = range(3)
"""The streams of random numbers that a seed gives."""


@dataclass(frozen=True)
class Start:
    """The weights at the beginning.

    Attributes:
        reach: all are uniform within ± so much, but for these:
        biases: by the name of the gate its bias in each block.
    """

    reach: float
    biases: Mapping[str, Sequence[float]]

    def draw(self, architecture: Architecture, rng: np.random.Generator) -> Array:
        """A network's weights [W]."""
        weights = rng.uniform(-self.reach, self.reach, architecture.weights)
        for label, values in self.biases.items():
            begin = bias_place(architecture, label)
            weights[begin : begin + len(values)] = values
        return weights


@dataclass(frozen=True)
class Rule:
    """When a trial is solved.

    Attributes:
        recent: what the errors of the ``last`` training sequences have to keep to; None for any.
        last: how many that are.
        test: what those of a test have to keep to; None where there is no test.
        tests: how many sequences a test has.
        every: it is taken after every so many sequences, if ``recent`` is kept.
        fresh: whether each test has new sequences.
    """

    recent: Limits | None = None
    last: int = 2000
    test: Limits | None = None
    tests: int = 256
    every: int = BLOCK
    fresh: bool = False


@dataclass(frozen=True)
class Recipe:
    """All that makes a trial.

    Attributes:
        architecture: the network's.
        start: its weights at the beginning.
        rate: the learning rate.
        source: of a trial's seed, what it learns from and what it is tested by.
        measure: how wrong one is.
        rule: when it is solved.
        budget: after so many sequences it has failed.
        tested: on so many new sequences a network is tested when its trial is over, as in 1997.
        kind: how the networks run and learn: after each sequence or after each symbol.
        joins: when a network gets its memory cells, by its squared errors; until then only its
            outputs learn. None where it has them from the beginning.
    """

    architecture: Architecture
    start: Start
    rate: float
    source: Callable[[int], tuple[Draw, Draw]]
    measure: Measure
    rule: Rule
    budget: int
    tested: int = 2560
    kind: type[Lanes] = Lanes
    joins: Standstill | None = None

    def lanes(self, weights: Tensor) -> Lanes:
        """Networks with these weights [K, W]."""
        return self.kind(self.architecture, weights)


@dataclass(frozen=True)
class Outcome:
    """A trial that is over.

    Attributes:
        seed: its own.
        solved: whether the rule was kept.
        sequences: after how many.
        weights: those that it ended with, [W].
        has_cells: whether it has got its memory cells.
    """

    seed: int
    solved: bool
    sequences: int
    weights: Tensor
    has_cells: bool


class Trials:
    """Trials of one recipe, side by side."""

    def __init__(self, recipe: Recipe, seeds: Sequence[int]) -> None:
        self.recipe, self.seeds = recipe, list(seeds)
        self.sequences = 0
        starts = [
            recipe.start.draw(recipe.architecture, np.random.default_rng([seed, START]))
            for seed in seeds
        ]
        self._sources = [recipe.source(seed) for seed in seeds]
        self._train = [np.random.default_rng([seed, TRAIN]) for seed in seeds]
        self._test = [np.random.default_rng([seed, TEST]) for seed in seeds]
        self.lanes = recipe.lanes(torch.from_numpy(np.array(starts, dtype=np.float32)))
        self._errors = np.empty((0, len(starts)))
        self._squared = np.empty((0, len(starts)))
        if recipe.joins is not None:
            self.lanes.present = torch.full((len(starts),), False)

    def state(self) -> dict[str, Any]:
        """All that changes: from it :meth:`restore` goes on with the same numbers."""
        return {
            "seeds": self.seeds,
            "sequences": self.sequences,
            "train": [rng.bit_generator.state for rng in self._train],
            "test": [rng.bit_generator.state for rng in self._test],
            "weights": self.lanes.weights.tolist(),
            "errors": self._errors.tolist(),
            "squared": self._squared.tolist(),
            "present": None if self.lanes.present is None else self.lanes.present.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`state` gave, of the same trials or of those of them that were left."""
        self.keep(state["seeds"])
        self.sequences = state["sequences"]
        for rngs, states in ((self._train, state["train"]), (self._test, state["test"])):
            for rng, its in zip(rngs, states, strict=True):
                rng.bit_generator.state = its
        weights = self.lanes.weights
        weights.copy_(torch.tensor(state["weights"]).view_as(weights))  # copy_ would spread fewer
        self.lanes.load()
        for name in ("errors", "squared"):
            setattr(self, f"_{name}", np.array(state[name]).reshape(-1, len(self.seeds)))
        present = state["present"]
        self.lanes.present = None if present is None else torch.tensor(present)

    def advance(self) -> list[Outcome]:
        """Learns a block of sequences; returns the trials that are over with it."""
        rule = self.recipe.rule
        drawn = zip(self._sources, self._train, strict=True)
        errors = self._learn(together([draw(BLOCK, rng) for (draw, _), rng in drawn]))
        self.sequences += BLOCK
        self._errors = np.concatenate([self._errors, errors])[-rule.last :]
        present = self.lanes.present
        solved = np.full(len(self.seeds), True) if present is None else present.numpy().copy()
        if rule.recent is not None:
            solved &= len(self._errors) >= rule.last
            solved &= rule.recent.are_kept(self._errors)
        if rule.test is not None:
            solved &= self.sequences % rule.every == 0
            if solved.any():
                solved[solved] = self._keeps_to(rule.test, np.flatnonzero(solved))
        return self._take_out(solved)

    def _learn(self, block: Together) -> Array:
        """The errors [n, K] of each sequence before its update."""
        lanes, rate, outputs = self.lanes, self.recipe.rate, []
        ends = block.lengths - 1 if block.mask is None else None
        for number, targets in enumerate(block.targets):
            asked = Asked(
                targets,
                None if block.mask is None else block.mask[number],
                None if ends is None else ends[number, None],
            )
            outputs.append(lanes.learn(block.inputs[number, :, None], asked, rate))
        given = torch.stack(outputs)
        if self.recipe.joins is not None:
            self._join(self.recipe.joins, squared_error(given, block.targets, block.mask))
        return _numbers(self.recipe.measure(given, block.truth, block.mask))

    def _join(self, joins: Standstill, squared: Tensor) -> None:
        """Gives their memory cells to the networks whose error no longer decreases."""
        self._squared = np.concatenate([self._squared, _numbers(squared)])[-2 * joins.last :]
        assert self.lanes.present is not None
        self.lanes.present |= torch.from_numpy(joins.is_reached(self._squared))

    def _keeps_to(self, limits: Limits, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether these trials pass the test."""
        errors = test(
            self.recipe,
            self.lanes.weights[torch.from_numpy(which)],
            [self._sources[k][1] for k in which],
            [self._test[k] if self.recipe.rule.fresh else self._own_test(k) for k in which],
            self.recipe.rule.tests,
            limits,
            has_cells=True,  # no other is asked whether it is solved
        )
        return limits.are_kept(errors)

    def _own_test(self, k: int) -> np.random.Generator:
        """Gives the same sequences each time."""
        return np.random.default_rng([self.seeds[k], TEST])

    def _take_out(self, solved: NDArray[np.bool_]) -> list[Outcome]:
        is_over = solved | (self.sequences >= self.recipe.budget)
        if not is_over.any():
            return []
        weights, present = self.lanes.weights, self.lanes.present
        over = [
            Outcome(
                seed=self.seeds[k],
                solved=bool(solved[k]),
                sequences=self.sequences,
                weights=weights[k].clone(),
                has_cells=present is None or bool(present[k]),
            )
            for k in np.flatnonzero(is_over)
        ]
        self.keep([self.seeds[k] for k in np.flatnonzero(~is_over)])
        return over

    def keep(self, seeds: Sequence[int]) -> None:
        """Goes on with the trials of these seeds alone."""
        which = [self.seeds.index(seed) for seed in seeds]
        self.seeds = [self.seeds[k] for k in which]
        self._sources = [self._sources[k] for k in which]
        self._train = [self._train[k] for k in which]
        self._test = [self._test[k] for k in which]
        self._errors, self._squared = self._errors[:, which], self._squared[:, which]
        weights, present = self.lanes.weights, self.lanes.present
        if which:
            self.lanes = self.recipe.lanes(weights[which].clone())
            self.lanes.present = None if present is None else present[which]


def test(
    recipe: Recipe,
    weights: Tensor,
    draws: Sequence[Draw],
    rngs: Sequence[np.random.Generator],
    count: int,
    limits: Limits | None,
    *,
    has_cells: bool,
) -> Array:
    """The errors [n, K] of networks on new sequences; fewer than ``count`` where all have failed.

    Args:
        recipe: what they were trained by.
        weights: theirs [K, W].
        draws: for each network its sequences,
        rngs: and where they come from.
        count: how many sequences.
        limits: those that can't be kept any more end the test; None for the whole of it.
        has_cells: whether the networks have got their memory cells.
    """
    lanes, found = recipe.lanes(weights), np.empty((0, len(weights)))
    if not has_cells:
        lanes.present = torch.full((len(weights),), False)
    while len(found) < count:
        chunk, drawn = min(CHUNK, count - len(found)), zip(draws, rngs, strict=True)
        block = together([draw(chunk, rng) for draw, rng in drawn])
        inputs = block.inputs.transpose(0, 1)
        if block.mask is None:
            outputs = lanes.outputs(inputs, block.lengths - 1).transpose(0, 1)[:, :, None]
        else:
            steps = inputs.shape[0]
            outputs = (
                lanes.outputs(inputs)
                .view(lanes.lanes, steps, -1, recipe.architecture.outputs)
                .permute(2, 0, 1, 3)
            )
        errors = _numbers(recipe.measure(outputs, block.truth, block.mask))
        found = np.concatenate([found, errors])
        if limits is not None and (limits.count(found) > limits.wrong).all():
            break
    return found


def _numbers(errors: Tensor) -> Array:
    return errors.double().numpy()

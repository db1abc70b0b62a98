"""What a training takes at least, counted before anything is taken.

A count is of what stands in memory at one moment for sure, no more: what it refuses can't be done.
"""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.model import NetworkConfig
from unrolled.resources import check_memory
from unrolled.tasks import Task

SINGLE, DOUBLE = 4, 8
"""Bytes of a number."""
COPIES = 5
"""Of each weight: itself, its gradient, Adam's two means, and the best so far."""


def check_training(
    config: NetworkConfig, windows: Sequence[int], window: int, batch: int, at_once: int
) -> None:
    """That a training from a table fits the memory.

    Args:
        config: the network.
        windows: how many there are in the training, the validation and the test part.
        window: W, the steps of each.
        batch: how many there are in an update, at most.
        at_once: how many go through the network together outside training, at most.

    Raises:
        InputError: it does not fit; names the flags.
    """
    flags = "--hidden-size, --size or --num-layers"
    flags = flags if config.sizes else "--hidden-size or --num-layers"
    check_weights(config, flags)
    batch = min(batch, windows[0])
    check_memory(
        _of_updates(config, window, batch, min(at_once, max(windows))),
        f"updates of {batch:,} windows of {window:,} rows",
        f"Lower --batch-size, --window, {flags}",
    )


def check_fit(
    config: NetworkConfig, parts: Sequence[int], steps: int, batch: int, at_once: int
) -> None:
    """That a training on arrays fits the memory.

    Args:
        config: the network.
        parts: how many sequences train, and how many stop the training.
        steps: T, of the longest.
        batch: how many there are in an update, at most.
        at_once: how many go through the network together outside training, at most.

    Raises:
        InputError: it does not fit; names the parameters.
    """
    names = "hidden_size, sizes or num_layers" if config.sizes else "hidden_size or num_layers"
    check_weights(config, names)
    batch = min(batch, parts[0])
    check_memory(
        _of_updates(config, steps, batch, min(at_once, max(parts))),
        f"updates of {batch:,} sequences of {steps:,} steps",
        f"Lower batch_size, {names}",
    )


def _of_updates(config: NetworkConfig, steps: int, batch: int, scored: int) -> int:
    """Bytes for the weights, and for a batch in training or what is scored at once."""
    update = batch * config.numbers_per_step(keeps=True)
    scoring = scored * config.numbers_per_step(keeps=False)
    return SINGLE * (COPIES * config.count_weights() + steps * max(update, scoring))


def check_ridge(inputs: int, windows: int, window: int) -> None:
    """That ridge regression, a baseline, fits: on flat windows, which it copies.

    Raises:
        InputError: it does not.
    """
    check_memory(
        2 * DOUBLE * windows * window * inputs,
        f"ridge regression, a baseline, on {windows:,} windows of {window:,} rows",
        "Lower --window",
    )


def check_weights(config: NetworkConfig, flags: str) -> None:
    """That a network's weights fit, with what training keeps of each.

    Raises:
        InputError: they don't.
    """
    count = config.count_weights()
    check_memory(
        SINGLE * COPIES * count, f"a network of {count:,} weights, to train it,", f"Lower {flags}"
    )


def check_comparison(task: Task, config: NetworkConfig, batch: int, tested: int) -> None:
    """That a training on a memory task fits the memory.

    Args:
        task: what is learnt.
        config: the network.
        batch: the sequences in an update.
        tested: the sequences that score.

    Raises:
        InputError: it does not fit; names the flags.
    """
    check_weights(config, "--hidden-size" + _or_length(task))
    length = getattr(task, "length", 1)
    read = SINGLE * task.inputs
    for sequences, flag, keeps in ((batch, "--batch-size", True), (tested, "--test-size", False)):
        numbers = SINGLE * config.numbers_per_step(keeps=keeps)
        check_memory(
            sequences * length * max(read, numbers),
            f"{sequences:,} sequences of {length:,} steps",
            f"Lower {flag}, --hidden-size{_or_length(task)}",
        )


def _or_length(task: Task) -> str:
    return " or --length" if hasattr(task, "length") else ""

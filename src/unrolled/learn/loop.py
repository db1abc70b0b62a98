"""The training loop: epochs of losses, early stopping, clipping, and a stop with the cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.errors import DivergedError

LARGEST_RATE = 1e30
"""Adam's step, up to ten times the rate, has to be a number in single precision."""


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast.

    ``clip`` bounds the gradient's norm over all weights (Pascanu et al. 2013, arXiv 1211.5063);
    None leaves it free. After ``patience`` epochs without a better validation error training
    stops, and after half of them the learning rate is halved; None trains through. ``names`` are
    what the user knows the rate and the bound by.
    """

    epochs: int
    learning_rate: float
    clip: float | None = 1.0
    patience: int | None = None
    names: tuple[str, str] = ("--learning-rate", "--clip")


@dataclass(frozen=True)
class Update:
    """Which one, as the messages count: epoch and step within it from 1; the loss there."""

    epoch: int
    step: int
    loss: float


@dataclass
class History:
    """What happened: the mean training loss and the validation error of each epoch."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    best_epoch: int = -1
    interrupted: bool = False

    def keep_whole_epochs(self) -> None:
        """Forgets what was noted of an epoch that was broken off."""
        for course in (self.train, self.gradient_norm):
            del course[len(self.validation) :]


def fit(
    network: torch.nn.Module,
    losses: Callable[[], Iterable[Tensor]],
    validate: Callable[[], float],
    settings: FitSettings,
    on_epoch: Callable[[History], None] = lambda _: None,
    on_gradients: Callable[[Update], None] = lambda _: None,
) -> History:
    """Trains ``network`` with Adam, and leaves it with the weights of its best validation.

    Args:
        network: what is trained, in place.
        losses: gives the losses of one epoch, each computed when it is asked for: the weights
            move between two of them.
        validate: the validation error with the weights of the moment.
        settings: see :class:`FitSettings`.
        on_epoch: called after every epoch, for a progress bar.
        on_gradients: called in every update when the weights have their gradients, not yet
            clipped; it may look, and has to leave weights, gradients and random numbers alone.

    Returns:
        The history. Ctrl-C (KeyboardInterrupt) ends training early with the best weights so far,
        and it says so.

    Raises:
        DivergedError: a loss or a gradient is not finite.
        KeyboardInterrupt: there are no weights of a whole epoch yet.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    halve = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=(settings.patience or 0) // 2
    )
    history = History()
    best = _copied(network)
    try:
        for epoch in range(settings.epochs):
            _run_epoch(network, optimizer, losses(), settings, history, on_gradients)
            network.eval()
            with torch.no_grad():
                error = validate()
            if not math.isfinite(error):
                raise DivergedError(
                    f"the validation error became {error} after epoch {epoch + 1}: "
                    f"{_cause(network, history.gradient_norm[-1], settings)}"
                )
            if epoch == 0 or error < history.validation[history.best_epoch]:
                # A signal may come at any call: none stands between what belongs together.
                weights = _copied(network)
                history.validation.append(error)
                best, history.best_epoch = weights, epoch
            else:
                history.validation.append(error)
            on_epoch(history)
            if settings.patience is not None:
                halve.step(error)
                if epoch - history.best_epoch >= settings.patience:
                    break
    except KeyboardInterrupt:
        if history.best_epoch < 0:
            raise
        history.interrupted = True
        history.keep_whole_epochs()
    network.load_state_dict(best)
    network.eval()
    return history


def _copied(network: torch.nn.Module) -> dict[str, Tensor]:
    """The weights of the moment."""
    return {name: weight.detach().clone() for name, weight in network.state_dict().items()}


def _run_epoch(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    settings: FitSettings,
    history: History,
    on_gradients: Callable[[Update], None],
) -> None:
    """One epoch of updates; appends the mean loss and the largest gradient norm."""
    network.train()
    weights = list(network.parameters())
    total, largest, step = 0.0, 0.0, 0
    for step, loss in enumerate(losses, start=1):
        value = loss.item()
        update = Update(len(history.train) + 1, step, value)
        where = f"in epoch {update.epoch}, step {update.step}"
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss became {value} {where}: {_cause(network, largest, settings)}"
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        on_gradients(update)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip or math.inf).item()
        if not math.isfinite(norm):
            raise DivergedError(
                f"the gradient became {norm} {where}: {_cause(network, largest, settings)}"
            )
        optimizer.step()
        total, largest = total + value, max(largest, norm)
    history.train.append(total / max(step, 1))
    history.gradient_norm.append(largest)


def _cause(network: torch.nn.Module, largest: float, settings: FitSettings) -> str:
    """The first weight or gradient that is not finite, and the repair."""
    repair = "Try a smaller {}, or a smaller {}".format(*settings.names)
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            return f"weight {name} is not finite (largest gradient norm {largest:.3g}). {repair}"
    for name, weight in network.named_parameters():
        if weight.grad is not None and not weight.grad.isfinite().all():
            return f"the gradient of {name} is not finite, the weights are. {repair}"
    return f"the network's output overflowed, its weights are finite. {repair}"

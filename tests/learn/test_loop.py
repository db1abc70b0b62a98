"""The training loop, on networks so small that every number can be followed."""

import math

import pytest
import torch
from torch import nn

from support_nn import grad_of
from unrolled.errors import DivergedError
from unrolled.learn.loop import FitSettings, fit
from unrolled.learn.runtime import reproducible


class Number(nn.Module):
    """A single weight."""

    def __init__(self, value=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))


def towards(network, goal=1.0, steps=1):
    """Losses that pull the weight to ``goal``."""

    def losses():
        for _ in range(steps):
            yield (network.weight - goal).square().sum()

    return losses


def errors(values):
    """A validation that goes through these values, one for each epoch."""
    remaining = iter(values)
    return lambda: next(remaining)


def test_the_weights_of_the_best_epoch_are_kept():
    network, met = Number(), []
    history = fit(
        network,
        towards(network),
        errors([5.0, 3.0, 1.0, 2.0, 4.0]),
        FitSettings(5, 0.1),
        on_epoch=lambda _: met.append(network.weight.item()),
    )
    assert history.best_epoch == 2
    assert network.weight.item() == met[2]
    assert met[4] != met[2]
    assert history.validation == [5.0, 3.0, 1.0, 2.0, 4.0]


def test_of_two_epochs_that_are_equally_good_the_earlier_is_kept():
    network = Number()
    assert fit(network, towards(network), errors([1.0] * 4), FitSettings(4, 0.1)).best_epoch == 0


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_so_many_epochs_without_progress(patience):
    network = Number()
    values = [4.0, 2.0, *[3.0] * 20]
    history = fit(
        network, towards(network), errors(values), FitSettings(22, 0.1, patience=patience)
    )
    assert len(history.validation) == 2 + patience
    assert history.best_epoch == 1


def test_without_patience_training_goes_through():
    network = Number()
    values = [1.0, *[2.0] * 29]
    history = fit(network, towards(network), errors(values), FitSettings(30, 0.1))
    assert len(history.validation) == 30


def test_the_network_is_left_ready_to_predict():
    network = Number()
    fit(network, towards(network), errors([1.0]), FitSettings(1, 0.1))
    assert not network.training


def test_training_and_validation_each_meet_the_network_in_their_own_mode():
    network, modes = Number(), []

    def losses():
        modes.append(network.training)
        yield network.weight.sum()

    def validate():
        modes.append(network.training)
        assert not torch.is_grad_enabled()
        return 1.0

    fit(network, losses, validate, FitSettings(2, 0.1))
    assert modes == [True, False, True, False]


@pytest.mark.parametrize("clip", [0.01, 1.0, None])
def test_clip_bounds_the_gradient_of_every_update(monkeypatch, clip):
    network, norms = nn.Linear(5, 3), []
    step = torch.optim.Adam.step

    def noted(self, *args, **kwargs):
        grads = [grad_of(weight).flatten() for weight in network.parameters()]
        norms.append(torch.cat(grads).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    x = torch.randn(8, 5)
    losses = [lambda: network(x).square().sum() * 1e4] * 4
    history = fit(
        network, lambda: (loss() for loss in losses), errors([1.0]), FitSettings(1, 0.01, clip)
    )
    assert history.gradient_norm[0] > 100.0  # the history has the norm before
    if clip is None:
        assert max(norms) == pytest.approx(history.gradient_norm[0])
    else:
        assert norms == pytest.approx([clip] * 4, rel=1e-3)


def test_a_small_gradient_is_not_made_larger(monkeypatch):
    network, norms = Number(), []
    step = torch.optim.Adam.step

    def noted(self, *args, **kwargs):
        norms.append(grad_of(network.weight).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    fit(network, lambda: [network.weight.sum() * 1e-3], errors([1.0]), FitSettings(1, 0.01, 1.0))
    assert norms == pytest.approx([1e-3])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_the_place_and_the_cause(value):
    network = Number()
    epoch = iter(range(10))

    def losses():
        broken = next(epoch) == 1
        for step in range(3):
            yield network.weight.sum() + (value if broken and step == 2 else 0.0)

    with pytest.raises(DivergedError) as caught:
        fit(network, losses, errors([1.0] * 9), FitSettings(9, 0.1))
    message = str(caught.value)
    assert message.startswith(f"the loss became {value} in epoch 2, step 3: ")
    assert "its weights are finite" in message
    assert "--learning-rate" in message


def test_a_gradient_that_is_not_finite_names_its_weight():
    network = Number()

    def losses():
        # The slope of the square root at 0 is infinite, its value is not.
        yield (network.weight - network.weight.detach()).sqrt().sum()

    with pytest.raises(DivergedError) as caught:
        fit(network, losses, errors([1.0]), FitSettings(1, 0.1))
    message = str(caught.value)
    assert message.startswith("the gradient became inf in epoch 1, step 1: ")
    assert "the gradient of weight is not finite, the weights are" in message


def test_a_weight_that_is_not_finite_is_named():
    network = Number()
    with pytest.raises(DivergedError, match="weight weight is not finite"):
        fit(network, towards(network, steps=3), errors([1.0]), FitSettings(1, math.inf))


def test_a_validation_that_is_not_finite_names_epoch_and_cause():
    network = Number()
    with pytest.raises(DivergedError, match=r"validation error became nan after epoch 2: .* Try"):
        fit(network, towards(network), errors([1.0, math.nan]), FitSettings(5, 0.1))


def test_an_interrupt_leaves_the_best_weights_so_far():
    network, met, epoch = Number(), [], iter(range(10))

    def losses():
        interrupted = next(epoch) == 3
        yield from towards(network)()
        if interrupted:
            raise KeyboardInterrupt

    history = fit(
        network,
        losses,
        errors([3.0, 1.0, 2.0]),
        FitSettings(10, 0.1),
        on_epoch=lambda _: met.append(network.weight.item()),
    )
    assert history.interrupted
    assert len(history.validation) == 3
    assert network.weight.item() == met[1]
    assert not network.training


def test_an_interrupt_before_any_whole_epoch_goes_on_to_the_caller():
    network = Number()

    def loss():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network, lambda: (loss() for _ in range(1)), errors([]), FitSettings(10, 0.1))


def test_an_epoch_without_a_loss_is_no_error():
    network = Number()
    history = fit(network, list, errors([1.0]), FitSettings(1, 0.1))
    assert history.train == [0.0]


@pytest.mark.parametrize("raises", [False, True])
def test_the_callers_random_numbers_and_threads_are_restored(raises):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()

    def block():
        with reproducible(3, threads=threads + 1):
            torch.rand(7)
            assert torch.get_num_threads() == threads + 1
            if raises:
                raise KeyboardInterrupt

    if raises:
        with pytest.raises(KeyboardInterrupt):
            block()
    else:
        block()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_seed_gives_the_same_numbers_whatever_was_drawn_before():
    drawn = []
    for before in (1, 100):
        torch.rand(before)
        with reproducible(3) as generator:
            drawn.append((torch.rand(5), torch.rand(5, generator=generator)))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


def test_another_seed_gives_other_numbers():
    with reproducible(3):
        one = torch.rand(5)
    with reproducible(4):
        assert not torch.equal(torch.rand(5), one)

"""Updates after each step, against the paper's equations and torch's derivatives of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.reproduce.architecture import Architecture
from unrolled.reproduce.continual_kinds import KINDS
from unrolled.reproduce.lanes import Asked, Lanes
from unrolled.reproduce.stepwise import Floats, Stepwise

Array = NDArray[np.float64]

EACH = {
    "standard": KINDS["LSTM"].architecture,
    "forgetting": KINDS["LSTM with forget gates"].architecture,
}
RATE = 0.5

each_network = pytest.mark.parametrize("architecture", EACH.values(), ids=EACH.keys())


class Paper:
    """Sections 2 and 3 of the paper for one network, with what is truncated written as detach."""

    def __init__(self, architecture: Architecture, weights: Tensor) -> None:
        a = self.architecture = architecture
        self.weights = weights
        self.hidden, self.cell = torch.zeros(2, a.cells, dtype=torch.float64)

    def step(self, x: Tensor) -> Tensor:
        """The outputs after an input."""
        a, names = self.architecture, list(self.architecture.units)
        matrix, biases, outputs = self.weights.split(
            [20 * 15 if "forget" in names else 16 * 15, sum(a.biases.values()), 7 * 16]
        )
        rows = matrix.view(-1, 15) @ torch.cat([x, self.hidden.detach()])
        nets = dict(zip(names, rows.split([*a.units.values()]), strict=True))
        offsets = dict(zip(names, biases.split([*a.biases.values()]), strict=True))
        gates = {
            name: (nets[name] + offsets[name]).sigmoid().repeat_interleave(a.size)
            for name in names
            if name != "candidate"
        }
        taken_in = gates["input"] * (4 * nets["candidate"].sigmoid() - 2)
        self.cell = gates.get("forget", 1.0) * self.cell + taken_in
        self.hidden = gates["output"] * (2 * self.cell.sigmoid() - 1)
        read = torch.cat([self.hidden, x.new_ones(1), x])
        return (outputs.view(7, 16) @ read).sigmoid()


def drawn(architecture: Architecture, networks: int, steps: int) -> tuple[Array, Tensor, Tensor]:
    """Large weights [K, W], for which nothing is nearly linear; inputs and targets [T, K, 7]."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1, 1, (networks, architecture.weights))
    inputs = np.eye(7)[rng.integers(0, 7, (steps, networks))]
    targets = rng.integers(0, 2, (steps, networks, 7)).astype(float)
    return weights, torch.from_numpy(inputs), torch.from_numpy(targets)


def wide(networks: Stepwise, values: Tensor) -> Array:
    """[K, 7] as [7, width]."""
    found = np.zeros((7, networks.width))
    found[:, : len(values)] = values.T
    return found


def advanced(networks: Stepwise, x: Tensor, target: Tensor, rate: float = RATE) -> Floats:
    """A step and an update; the outputs [K, 7] before the update."""
    networks.inputs[...] = wide(networks, x)
    networks.step()
    networks.learn(wide(networks, target), np.full(networks.width, rate))
    return networks.given[:, : len(x)].T.copy()


def summed(
    architecture: Architecture, weights: Array, inputs: Tensor, targets: Tensor
) -> tuple[Array, Array]:
    """The gradient [K, W] over all steps, with weights that stay, and the outputs [T, K, 7].

    The rate is so high that adding an update to the weights rounds none of it away.
    """
    gradient, outputs = np.zeros_like(weights), []
    networks, rate = Stepwise(architecture, weights, trained=True), 2.0**40
    for x, target in zip(inputs, targets, strict=True):
        outputs.append(advanced(networks, x, target, rate))
        numbers = networks.numbers()
        gradient -= (numbers[:, : weights.shape[1]] - weights) / rate
        numbers[:, : weights.shape[1]] = weights
        networks = Stepwise(architecture, numbers, trained=True)
    return gradient, np.array(outputs)


def by_autograd(paper: Paper, inputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
    outputs = torch.stack([paper.step(x) for x in inputs])
    (gradient,) = torch.autograd.grad(((targets - outputs) ** 2).sum() / 2, paper.weights)
    return gradient.numpy(), outputs.detach().numpy()


@pytest.mark.parametrize(("kind", "count"), [("standard", 360), ("forgetting", 424)])
def test_there_are_as_many_weights_as_in_the_paper(kind: str, count: int) -> None:
    assert EACH[kind].weights == count


@each_network
def test_the_gradient_over_a_sequence_is_autograds(architecture: Architecture) -> None:
    weights, inputs, targets = drawn(architecture, networks=3, steps=40)
    gradient, outputs = summed(architecture, weights, inputs, targets)
    for k in range(3):
        paper = Paper(architecture, torch.from_numpy(weights[k]).requires_grad_())
        expected, given = by_autograd(paper, inputs[:, k], targets[:, k])
        assert np.count_nonzero(expected) == architecture.weights
        assert np.allclose(outputs[:, k], given, rtol=1e-12)
        # Terms of about 1 cancel in some of the sums.
        assert np.allclose(gradient[k], expected, rtol=1e-10, atol=1e-14)


@each_network
def test_the_gradient_over_a_sequence_is_that_of_the_core(architecture: Architecture) -> None:
    weights, inputs, targets = drawn(architecture, networks=3, steps=40)
    gradient, _ = summed(architecture, weights, inputs, targets)
    lanes = Lanes(architecture, torch.from_numpy(weights.copy()))
    lanes.learn(inputs[:, None], Asked(targets.transpose(0, 1)), rate=1.0)
    assert np.allclose(weights - lanes.weights.numpy(), gradient, rtol=1e-9, atol=1e-13)


@each_network
def test_learning_online_is_the_papers(architecture: Architecture) -> None:
    """The derivatives of the state are carried on as they are, while the weights change."""
    weights, inputs, targets = drawn(architecture, networks=1, steps=200)
    weights *= 0.2
    networks = Stepwise(architecture, weights, trained=True)
    paper = Paper(architecture, torch.from_numpy(weights[0]).requires_grad_())
    carried = torch.zeros(architecture.cells, architecture.weights, dtype=torch.float64)
    for x, target in zip(inputs, targets, strict=True):
        given = advanced(networks, x, target)
        before = paper.cell.detach().requires_grad_()
        paper.cell = before
        outputs = paper.step(x[0])
        assert np.allclose(given[0], outputs.detach(), rtol=1e-9)
        error = ((target[0] - outputs) ** 2).sum() / 2
        at_once, by_before = torch.autograd.grad(error, [paper.weights, before], retain_graph=True)
        rows = [torch.autograd.grad(s, [paper.weights, before], retain_graph=True)
                for s in paper.cell]  # fmt: skip
        gradient = at_once + by_before @ carried
        carried = torch.stack([own + by @ carried for own, by in rows])
        paper.weights = (paper.weights - RATE * gradient).detach().requires_grad_()
    learned = networks.numbers()[0, : architecture.weights]
    assert np.allclose(learned, paper.weights.detach(), rtol=1e-9, atol=1e-11)


@each_network
def test_after_a_reset_it_is_as_at_the_beginning(architecture: Architecture) -> None:
    weights, inputs, targets = drawn(architecture, networks=2, steps=6)
    networks = Stepwise(architecture, weights, trained=True)
    for x, target in zip(inputs[:5], targets[:5], strict=True):
        advanced(networks, x, target)
    numbers = networks.numbers()
    anew = Stepwise(architecture, numbers[1:, : architecture.weights], trained=True)
    going_on = Stepwise(architecture, numbers[:1], trained=True)
    networks.reset(np.arange(networks.width) != 1)
    x, target = inputs[5], targets[5]
    advanced(networks, x, target)
    advanced(anew, x[1:], target[1:])
    advanced(going_on, x[:1], target[:1])
    assert np.array_equal(networks.numbers(), np.vstack([going_on.numbers(), anew.numbers()]))


@each_network
@pytest.mark.parametrize("beside", [0, 1, 30, 99])
def test_a_network_does_not_depend_on_those_beside_it(
    architecture: Architecture, beside: int
) -> None:
    weights, inputs, targets = drawn(architecture, networks=100, steps=50)
    single = weights.astype(np.float32)
    alone = Stepwise(architecture, single[:1], trained=True)
    order = np.roll(np.arange(beside + 1), beside)  # it is the last of them
    among = Stepwise(architecture, single[order], trained=True)
    for x, target in zip(inputs, targets, strict=True):
        advanced(alone, x[:1], target[:1])
        advanced(among, x[order], target[order])
    place = int(np.flatnonzero(order == 0)[0])
    assert np.array_equal(among.numbers()[place], alone.numbers()[0])


@each_network
def test_without_traces_the_outputs_are_the_same(architecture: Architecture) -> None:
    weights, inputs, targets = drawn(architecture, networks=2, steps=8)
    trained = Stepwise(architecture, weights, trained=True)
    tested = Stepwise(architecture, weights, trained=False)
    for x, target in zip(inputs, targets, strict=True):
        advanced(trained, x, target, rate=0.0)
        tested.inputs[...] = wide(tested, x)
        tested.step()
        assert np.array_equal(tested.given[:, :2], trained.given[:, :2])

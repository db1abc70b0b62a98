"""Networks of 1997 side by side that learn after each symbol of a sequence."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unrolled.reproduce.lanes import Asked, Lanes
from unrolled.reproduce.stepwise import TILE, Floats, Stepwise


class SteppedLanes(Lanes):
    """An update comes after each step that asks something, and not after the sequence.

    A sequence begins with states and traces of 0.
    """

    together = TILE

    @staticmethod
    def seconds(steps: int, networks: int) -> float:  # noqa: ARG004 - as many as there is room for
        """How long the updates of a sequence of so many steps take, roughly."""
        return steps * 2.5e-4

    @torch.no_grad()
    def learn(self, inputs: Tensor, asked: Asked, rate: float) -> Tensor:
        """An update of every network after each step; returns its outputs before each of them.

        Args:
            inputs: [T, 1, K, I], a sequence for each network.
            asked: what is to be learned, at many steps.
            rate: α.
        """
        steps = len(inputs)
        mask = torch.ones(self.lanes, steps, 1) if asked.mask is None else asked.mask
        last = int(mask.any(dim=0).nonzero()[-1, 0]) + 1
        networks = Stepwise(self.architecture, self.weights.numpy(), trained=True)
        read, targets, rates, outputs = (
            _wide(values, networks)
            for values in (
                inputs[:, 0].permute(0, 2, 1),
                asked.targets.permute(1, 2, 0),
                rate * mask[..., 0].T,
                torch.zeros(steps, self.architecture.outputs, 0),
            )
        )
        with np.errstate(all="ignore"):  # what has diverged is wrong
            for t in range(last):
                networks.inputs[...] = read[t]
                networks.step()
                outputs[t] = networks.given
                networks.learn(targets[t], rates[t])
        self.weights.copy_(torch.from_numpy(networks.numbers()[:, : self.architecture.weights]))
        self.load()
        return torch.from_numpy(outputs[..., : self.lanes]).permute(2, 0, 1)


def _wide(values: Tensor, networks: Stepwise) -> Floats:
    """[..., K] with zeros behind, as wide as the networks' arrays."""
    found = np.zeros((*values.shape[:-1], networks.width), networks.given.dtype)
    found[..., : values.shape[-1]] = values
    return found

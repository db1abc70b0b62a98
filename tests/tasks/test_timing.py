"""Spike delays, read step by step."""

import numpy as np
import pytest

from unrolled.errors import InputError
from unrolled.tasks import SpikeDelays


@pytest.mark.parametrize("task", [SpikeDelays(5, latest=2, spikes=4), SpikeDelays(30, spikes=1)])
def test_the_delay_is_asked_at_the_spike(task):
    batch, seen = task.batch(2000, 0), []
    for row, steps in enumerate(batch.lengths.tolist()):
        assert batch.mask[row].tolist() == [t < steps for t in range(batch.mask.shape[1])]
        since, spikes = 0, 0
        for step in range(steps):
            since += 1
            value, target = batch.inputs[row, step, 0].item(), batch.target[row, step, 0].item()
            assert value in (0, 1)
            assert target == (since - task.length if value else 0)
            if value:
                seen.append(int(target))
                since, spikes = 0, spikes + 1
        assert (since, spikes) == (0, task.spikes)
    values = task.latest + 1
    shares = np.bincount(seen, minlength=values) / len(seen)
    assert shares.shape == (values,)
    assert np.abs(shares - 1 / values).max() < 5 * np.sqrt(1 / values / len(seen))


def test_a_train_is_right_if_every_output_is():
    task = SpikeDelays(4, spikes=3)
    batch = task.batch(4, 0)
    off = 0.48 * batch.mask.unsqueeze(2)
    assert task.score(batch.target + off, batch) == 1.0
    off[1, 2] = -0.5
    assert task.score(batch.target + off, batch) == 0.75


@pytest.mark.parametrize("name", ["latest", "spikes"])
def test_none_is_refused(name):
    with pytest.raises(InputError, match=f"{name}: at least 1 was expected, got 0"):
        SpikeDelays(10, **{name: 0})

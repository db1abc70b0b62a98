"""The delay line and cos from sin."""

import math

import numpy as np
import pytest
import torch

from unrolled.tasks import DelayLine, SinCos


def test_delay_line():
    batch = DelayLine(6).batch(30, 0)
    for read, asked, mask in zip(batch.inputs, batch.target, batch.mask, strict=True):
        assert mask.tolist() == [False] * 6 + [True] * 6
        assert [asked[t].item() for t in range(6, 12)] == [read[t - 6].item() for t in range(6, 12)]
    assert batch.inputs.abs().max() <= 0.5
    assert batch.inputs.double().var().item() == pytest.approx(1 / 12, rel=0.2)


def test_sin_cos():
    batch = SinCos(15).batch(30, 0)
    for read, asked, mask in zip(batch.inputs, batch.target, batch.mask, strict=True):
        assert mask.tolist() == [False] + [True] * 14
        for before, step in zip(range(14), range(1, 15), strict=True):
            one, two = read[before].item(), read[step].item()
            # sin(a + d) = sin a cos d + cos a sin d, so that two sines give the cosine
            cosine = (two * math.cos(math.pi / 10) - one) / math.sin(math.pi / 10)
            assert asked[step].item() == pytest.approx(cosine, abs=1e-5)
    assert np.ptp(batch.inputs[:, 0].numpy()) > 1.5


@pytest.mark.parametrize("task", [DelayLine(5), SinCos(9)])
def test_the_score_is_the_share_of_the_variance(task):
    batch = task.batch(50, 1)
    asked = batch.target[batch.mask].double()
    noise = 0.1 * torch.randn(batch.target.shape)
    error = (noise[batch.mask]).double().square().mean()
    expected = 1 - error / asked.var(correction=0)
    assert task.score(batch.target + noise, batch) == pytest.approx(expected.item(), abs=1e-5)
    assert task.score(batch.target, batch) == 1.0

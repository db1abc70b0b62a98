"""The variants of the LSTM that the literature compares: gradients, and which is whose variant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support_nn import BACKENDS, use_backend
from unrolled import cells
from unrolled.cells.options import described
from unrolled.nn import Recurrent

T, B, INPUTS, H = 4, 2, 2, 3

ODYSSEY = (
    cells.VanillaLSTM,
    cells.NIG,
    cells.NFG,
    cells.NOG,
    cells.NIAF,
    cells.NOAF,
    cells.PeepholeCIFG,
    cells.NP,
    cells.FGR,
)


def made(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(params=BACKENDS, autouse=True)
def _backend(request, monkeypatch):
    use_backend(monkeypatch, request.param)


@pytest.mark.parametrize("cell", ODYSSEY, ids=lambda cell: cell.__name__)
def test_first_and_second_derivatives_are_right(cell):
    module = Recurrent(cell, INPUTS, H, dtype=torch.float64)
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x, *given):
        states, parameters = given[: -len(names)], given[-len(names) :]
        known = dict(zip(names, parameters, strict=True))
        output, last = torch.func.functional_call(module, known, (x, states))
        return output, *last

    given = [made(T, B, INPUTS), *[made(1, B, H) for _ in module.cell.states]]
    given += [weight.detach().requires_grad_() for weight in weights]
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


def test_the_vanilla_lstm_is_the_one_with_peepholes():
    vanilla, peepholes = described(cells.VanillaLSTM), described(cells.PeepholeLSTM)
    assert replace(vanilla, name=peepholes.name) == peepholes


SAME = {
    "NP is torch's with one bias": (cells.NP, cells.LSTM, ()),
    "PeepholeCIFG without peepholes is CIFG": (cells.PeepholeCIFG, cells.CIFG, ("peephole",)),
    "NP is V without peepholes": (cells.VanillaLSTM, cells.NP, ("peephole",)),
    "FGR without recurrence is V": (
        cells.FGR,
        cells.VanillaLSTM,
        ("weight_input", "weight_forget", "weight_output"),
    ),
}


@pytest.mark.parametrize(("one", "other", "without"), SAME.values(), ids=SAME)
def test_a_variant_is_the_other_without_what_tells_them_apart(one, other, without):
    variant, plain = (Recurrent(cell, INPUTS, H, dtype=torch.float64) for cell in (one, other))
    here, there = dict(variant.named_parameters()), dict(plain.named_parameters())
    with torch.no_grad():
        for name, weight in here.items():
            if name.startswith(without) and name not in there:
                weight.zero_()
        for name, weight in there.items():
            weight.copy_(here[name]) if name in here else weight.zero_()
    x = made(T, B, INPUTS)
    torch.testing.assert_close(variant(x)[0], plain(x)[0])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_the_paper(weights, x, errors):
    """The weights' gradients as appendix A.1 of the paper of 1997 has them, forward in time.

    Of one row: ``weights`` [3, H, I + 3H + 1] of the input gates, the candidates and the output
    gates, by the input, the hidden state, the gates and a bias; ``errors`` [T, H] are those at the
    outputs of the memory cells.
    """
    of_input, of_candidate, of_output = weights
    hidden = input = output = cell = np.zeros(H)  # noqa: A001 - its name
    by_input, by_candidate = np.zeros_like(of_input), np.zeros_like(of_candidate)
    total = np.zeros_like(weights)
    for now, error in zip(x, errors, strict=True):
        read = np.concatenate([now, hidden, input, output, [1.0]])
        input, output = sigmoid(of_input @ read), sigmoid(of_output @ read)  # noqa: A001 - its name
        squashed = sigmoid(of_candidate @ read)
        cell = cell + input * (4 * squashed - 2)
        shown = 2 * sigmoid(cell) - 1
        hidden = output * shown
        # What the state s says of the weights adds up, and nothing comes back to what is read.
        by_input = by_input + np.outer((4 * squashed - 2) * input * (1 - input), read)
        by_candidate = by_candidate + np.outer(input * 4 * squashed * (1 - squashed), read)
        of_state = error * output * 2 * sigmoid(cell) * (1 - sigmoid(cell))
        total[0] += of_state[:, None] * by_input
        total[1] += of_state[:, None] * by_candidate
        total[2] += np.outer(error * shown * output * (1 - output), read)
    return total


NAMES = ("weight_ih_l0", "weight_hh_l0", "weight_input_l0", "weight_output_l0", "bias_ih_l0")


def test_the_truncated_gradient_is_the_papers():
    module = Recurrent(cells.TruncatedLSTM1997, INPUTS, H, dtype=torch.float64)
    x, errors = made(30, INPUTS), torch.randn(30, H, dtype=torch.float64)
    (module(x)[0] * errors).sum().backward()
    parameters = [module.get_parameter(name) for name in NAMES]

    def stacked(tensors):
        columns = [tensor.reshape(3, H, -1) for tensor in tensors]
        return torch.cat(columns, -1).detach().numpy()

    expected = by_the_paper(stacked(parameters), x.detach().numpy(), errors.numpy())
    found = stacked([parameter.grad for parameter in parameters])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_layer_of_1997_is_fully_connected():
    module = Recurrent(cells.TruncatedLSTM1997, INPUTS, H)
    assert sum(weight.numel() for weight in module.parameters()) == 3 * H * (INPUTS + 3 * H + 1)

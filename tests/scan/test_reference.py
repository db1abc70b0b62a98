"""The recurrent pass: the textbook's equations by hand, derivatives, and torch's own numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import exp, tanh
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from unrolled import scan
from unrolled.cells.built_in import BUILT_IN
from unrolled.scan import Given, Sequences, Spec, State, draws, kernels, of_kernel, reference
from unrolled.scan.spec import Drawn, of_layers

STEPS, BATCH, INPUTS, HIDDEN = 4, 3, 2, 4
OPTIONS: dict[str, Any] = {"dtype": torch.float64, "requires_grad": True}

every_mode = pytest.mark.parametrize("mode", BUILT_IN)


class Weights(NamedTuple):
    """Those of a layer, by torch's names; what it lacks is None."""

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    hr: Tensor | None = None

    def listed(self) -> list[Tensor]:
        return [weight for weight in self if weight is not None]


def random_weights(mode: str, inputs: int, hidden: int, projected: int = 0) -> Weights:
    rows, width = len(BUILT_IN[mode].gates) * hidden, projected or hidden
    return Weights(
        ih=torch.randn(rows, inputs, **OPTIONS),
        hh=torch.randn(rows, width, **OPTIONS),
        bias_ih=torch.randn(rows, **OPTIONS),
        bias_hh=torch.randn(rows, **OPTIONS),
        hr=torch.randn(projected, hidden, **OPTIONS) if projected else None,
    )


def random_state(mode: str, *shape: int) -> State:
    return tuple(torch.randn(shape, **OPTIONS) for _ in BUILT_IN[mode].states)


# --- One step in plain Python: loops over numbers, written from the equations of the papers in
# torch's notation, and sharing nothing with the descriptions but the order of the gates' rows.


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def gate(w: Weights, row: int, x: list[float], h: list[float]) -> tuple[float, float]:
    """Row ``row`` of W_ih·x + b_ih, and of W_hh·h + b_hh."""
    assert w.bias_ih is not None
    assert w.bias_hh is not None
    from_x = sum(a * b for a, b in zip(w.ih[row].tolist(), x, strict=True)) + w.bias_ih[row].item()
    from_h = sum(a * b for a, b in zip(w.hh[row].tolist(), h, strict=True)) + w.bias_hh[row].item()
    return from_x, from_h


def hand_rnn_tanh(w: Weights, x: list[float], h: list[float]) -> list[list[float]]:
    return [[tanh(sum(gate(w, unit, x, h))) for unit in range(len(h))]]


def hand_rnn_relu(w: Weights, x: list[float], h: list[float]) -> list[list[float]]:
    return [[max(0.0, sum(gate(w, unit, x, h))) for unit in range(len(h))]]


def hand_lstm(w: Weights, x: list[float], h: list[float], c: list[float]) -> list[list[float]]:
    size, next_h, next_c = len(c), [], []
    for unit in range(size):
        i = sigmoid(sum(gate(w, 0 * size + unit, x, h)))
        f = sigmoid(sum(gate(w, 1 * size + unit, x, h)))
        g = tanh(sum(gate(w, 2 * size + unit, x, h)))
        o = sigmoid(sum(gate(w, 3 * size + unit, x, h)))
        next_c.append(f * c[unit] + i * g)
        next_h.append(o * tanh(next_c[unit]))
    if w.hr is not None:
        next_h = [sum(a * b for a, b in zip(r, next_h, strict=True)) for r in w.hr.tolist()]
    return [next_h, next_c]


def hand_gru(w: Weights, x: list[float], h: list[float]) -> list[list[float]]:
    size, next_h = len(h), []
    for unit in range(size):
        r = sigmoid(sum(gate(w, 0 * size + unit, x, h)))
        z = sigmoid(sum(gate(w, 1 * size + unit, x, h)))
        from_x, from_h = gate(w, 2 * size + unit, x, h)
        n = tanh(from_x + r * from_h)
        next_h.append((1 - z) * n + z * h[unit])
    return [next_h]


BY_HAND: dict[str, Callable[..., list[list[float]]]] = {
    "RNN_TANH": hand_rnn_tanh,
    "RNN_RELU": hand_rnn_relu,
    "LSTM": hand_lstm,
    "GRU": hand_gru,
}


@every_mode
def test_one_step_is_the_textbooks(mode: str) -> None:
    w, x, state = random_weights(mode, 2, 3), torch.randn(1, 2, **OPTIONS), random_state(mode, 1, 3)
    found = reference.run_cell(of_kernel(mode, 2, 3), x, state, w.listed())
    by_hand = BY_HAND[mode](w, x[0].tolist(), *(s[0].tolist() for s in state))
    for tensor, numbers in zip(found, by_hand, strict=True):
        assert tensor[0].tolist() == pytest.approx(numbers, rel=1e-13, abs=1e-13)


def test_one_projected_step_is_the_textbooks() -> None:
    w, x = random_weights("LSTM", 2, 3, projected=2), torch.randn(1, 2, **OPTIONS)
    h, c = torch.randn(1, 2, **OPTIONS), torch.randn(1, 3, **OPTIONS)
    found = reference.run_cell(of_kernel("LSTM", 2, 3, proj_size=2), x, (h, c), w.listed())
    by_hand = hand_lstm(w, x[0].tolist(), h[0].tolist(), c[0].tolist())
    for tensor, numbers in zip(found, by_hand, strict=True):
        assert tensor[0].tolist() == pytest.approx(numbers, rel=1e-13, abs=1e-13)


def test_every_cell_has_an_equation_by_hand() -> None:
    assert BUILT_IN.keys() == BY_HAND.keys()


# --- Derivatives.


@pytest.mark.parametrize(
    "check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"]
)
@every_mode
def test_derivatives_of_one_step(mode: str, check) -> None:
    size, w = len(BUILT_IN[mode].states), random_weights(mode, INPUTS, HIDDEN)
    spec = of_kernel(mode, INPUTS, HIDDEN)

    def step(x: Tensor, *rest: Tensor) -> State:
        return reference.run_cell(spec, x, rest[:size], rest[size:])

    given = torch.randn(2, INPUTS, **OPTIONS), *random_state(mode, 2, HIDDEN), *w.listed()
    assert check(step, given)


# --- Every engine gives what torch's own kernels give. A new one is a new row here.

ENGINES = {"reference": reference, "chosen": scan}

# How many of the 3 rows are active at each step.
LAYOUTS = {
    "dense": None,
    "ragged": [3, 3, 2, 1],
    "one_row_of_length_0": [2, 2, 1],
    "all_rows_of_length_0": [0],
}
SPECS = [
    of_kernel(mode, INPUTS, HIDDEN, proj_size, bias, layers, bidirectional)
    for mode, layers, bias, bidirectional in itertools.product(
        BUILT_IN, (1, 2), (True, False), (False, True)
    )
    for proj_size in ([0, HIDDEN - 1] if mode == "LSTM" else [0])
]


def spec_name(spec: Spec) -> str:
    options = ("is_biased", "bidirectional", "is_projected")
    chosen = [name for name in options if getattr(spec, name)]
    return "-".join([str(spec.kernel), str(spec.num_layers), *chosen])


def random_pass(spec: Spec, batch_sizes: list[int] | None) -> Given:
    """Something that a pass may be given."""
    if batch_sizes is None:
        sequences = Sequences(torch.randn(STEPS, BATCH, INPUTS, **OPTIONS))
    else:
        sizes = torch.tensor(batch_sizes, dtype=torch.int64)
        sequences = Sequences(torch.randn(sum(batch_sizes), INPUTS, **OPTIONS), sizes)
    assert spec.kernel is not None
    projected = HIDDEN - 1 if spec.is_projected else 0
    flat: list[Tensor] = []
    for kind in spec.kinds:
        w = random_weights(spec.kernel, kind.units["input"], HIDDEN, projected)
        w = w if spec.is_biased else w._replace(bias_ih=None, bias_hh=None)
        flat += w.listed()
    widths, depth = spec.kinds[0].widths, len(spec.kinds)
    initial = tuple(torch.randn(depth, BATCH, width, **OPTIONS) for width in widths)
    return Given(sequences, BATCH, initial, (), flat)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spec", SPECS, ids=spec_name)
@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
def test_every_engine_gives_torchs_numbers(engine: ModuleType, spec: Spec, layout: str) -> None:
    given = random_pass(spec, LAYOUTS[layout])
    leaves, results = given.tensors(), []
    noise: list[Tensor] = []
    for run in (kernels.run, engine.run):
        output, last = run(spec, given)
        noise = noise or [torch.randn_like(tensor) for tensor in (output, *last)]
        loss = sum((t * n).sum() for t, n in zip((output, *last), noise, strict=True))
        gradients = torch.autograd.grad(loss, leaves)
        results.append((output, *last, *gradients))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.parametrize("spec", SPECS, ids=spec_name)
def test_rows_without_a_step_keep_their_states(engine: ModuleType, spec: Spec) -> None:
    given = random_pass(spec, [0])
    output, last = engine.run(spec, given)
    assert output.shape[0] == 0
    for state, began in zip(last, given.initial or (), strict=True):
        assert torch.equal(state, began)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@every_mode
def test_a_step_has_torchs_numbers(mode: str, bias: bool) -> None:
    weights = random_weights(mode, INPUTS, HIDDEN).listed()[: 4 if bias else 2]
    given = torch.randn(BATCH, INPUTS, **OPTIONS), random_state(mode, BATCH, HIDDEN), weights
    spec = of_kernel(mode, INPUTS, HIDDEN, bias=bias)
    found, expected = reference.run_cell(spec, *given), kernels.run_cell(spec, *given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@every_mode
def test_a_pass_is_repeated_with_the_noise_of_the_first(mode: str) -> None:
    spec = of_kernel(mode, INPUTS, HIDDEN, num_layers=3, bidirectional=True)
    given = random_pass(spec, None)
    like = torch.empty(STEPS, BATCH, 2 * HIDDEN).double()
    noises = [draws.draw_noise(like, 0.5) for _ in range(2)]
    found, _ = reference.run(spec, given, Drawn(noises=noises))
    below = given.sequences
    for layer in range(3):
        one = of_kernel(mode, below.data.shape[-1], HIDDEN, bidirectional=True)
        size, some = len(given.flat) // 3, slice(2 * layer, 2 * layer + 2)
        weights = given.flat[layer * size : (layer + 1) * size]
        initial = tuple(s[some] for s in given.initial or ())
        output, _ = kernels.run(one, Given(below, BATCH, initial, (), weights))
        below = below.with_data(output * noises[layer] if layer < 2 else output)
    torch.testing.assert_close(found, below.data, rtol=1e-12, atol=1e-12)


# --- of_layers.


def test_weights_are_cut_by_layer_and_direction() -> None:
    spec = of_kernel("LSTM", 2, 3, proj_size=1, num_layers=2, bidirectional=True)
    cut = of_layers(spec, list(range(20)))
    assert cut == [[*range(5)], [*range(5, 10)], [*range(10, 15)], [*range(15, 20)]]


def test_a_wrong_number_of_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 weights were expected, got 5"):
        of_layers(of_kernel("GRU", 2, 3), [torch.zeros(1)] * 5)

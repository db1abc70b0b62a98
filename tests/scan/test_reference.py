"""The recurrent pass: the textbook's equations by hand, derivatives, and every engine the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import exp, tanh
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled import scan
from unrolled.scan import CELLS, Cell, Sequences, Spec, State, Weights, kernels, reference

STEPS, BATCH, INPUTS, HIDDEN = 4, 3, 2, 4
GIVEN: dict[str, Any] = {"dtype": torch.float64, "requires_grad": True}

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))


def random_weights(cell: Cell, inputs: int, hidden: int, projected: int = 0) -> Weights:
    rows, width = len(cell.gates) * hidden, projected or hidden
    return Weights(
        ih=torch.randn(rows, inputs, **GIVEN),
        hh=torch.randn(rows, width, **GIVEN),
        bias_ih=torch.randn(rows, **GIVEN),
        bias_hh=torch.randn(rows, **GIVEN),
        hr=torch.randn(projected, hidden, **GIVEN) if projected else None,
    )


def random_state(cell: Cell, *shape: int) -> State:
    return tuple(torch.randn(shape, **GIVEN) for _ in cell.states)


# --- One step in plain Python: loops over numbers, written from the equations of the papers in
# torch's notation, and sharing nothing with the reference but the order of the gates' rows.


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


@every_cell
def test_one_step_is_the_textbooks(cell: Cell) -> None:
    w, x, state = random_weights(cell, 2, 3), torch.randn(1, 2, **GIVEN), random_state(cell, 1, 3)
    found = reference.run_cell(cell, x, state, w)
    by_hand = BY_HAND[cell.name](w, x[0].tolist(), *(s[0].tolist() for s in state))
    for tensor, numbers in zip(found, by_hand, strict=True):
        assert tensor[0].tolist() == pytest.approx(numbers, rel=1e-13, abs=1e-13)


def test_one_projected_step_is_the_textbooks() -> None:
    cell = CELLS["LSTM"]
    w, x = random_weights(cell, 2, 3, projected=2), torch.randn(1, 2, **GIVEN)
    h, c = torch.randn(1, 2, **GIVEN), torch.randn(1, 3, **GIVEN)
    found = reference.run_cell(cell, x, (h, c), w)
    by_hand = hand_lstm(w, x[0].tolist(), h[0].tolist(), c[0].tolist())
    for tensor, numbers in zip(found, by_hand, strict=True):
        assert tensor[0].tolist() == pytest.approx(numbers, rel=1e-13, abs=1e-13)


def test_every_cell_has_an_equation_by_hand() -> None:
    assert CELLS.keys() == BY_HAND.keys() == reference.STEPS.keys()


# --- Derivatives.


@pytest.mark.parametrize(
    "check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"]
)
@every_cell
def test_derivatives_of_one_step(cell: Cell, check) -> None:
    size, w = len(cell.states), random_weights(cell, INPUTS, HIDDEN)

    def step(x: Tensor, *rest: Tensor) -> State:
        return reference.run_cell(cell, x, rest[:size], Weights(*rest[size:]))

    assert check(step, (torch.randn(2, INPUTS, **GIVEN), *random_state(cell, 2, HIDDEN), *w[:4]))


# --- Every engine gives what the reference gives. A new one is a new row here.

ENGINES = {"kernels": kernels, "chosen": scan}

# How many of the 3 rows are active at each step.
LAYOUTS = {
    "dense": None,
    "ragged": [3, 3, 2, 1],
    "one_row_of_length_0": [2, 2, 1],
    "all_rows_of_length_0": [0],
}
SPECS = [
    Spec(cell, num_layers=layers, bias=bias, bidirectional=bidirectional, projected=projected)
    for cell, layers, bias, bidirectional in itertools.product(
        CELLS.values(), (1, 2), (True, False), (False, True)
    )
    for projected in ([False, True] if cell.name == "LSTM" else [False])
]


def spec_name(spec: Spec) -> str:
    options = ("bias", "bidirectional", "projected")
    chosen = [name for name in options if getattr(spec, name)]
    return "-".join([spec.cell.name, str(spec.num_layers), *chosen])


def random_pass(spec: Spec, batch_sizes: list[int] | None) -> tuple[Sequences, State, list[Tensor]]:
    """Everything that ``run`` takes but the spec."""
    if batch_sizes is None:
        sequences = Sequences(torch.randn(STEPS, BATCH, INPUTS, **GIVEN))
    else:
        sizes = torch.tensor(batch_sizes, dtype=torch.int64)
        sequences = Sequences(torch.randn(sum(batch_sizes), INPUTS, **GIVEN), sizes)
    projected = HIDDEN - 1 if spec.projected else 0
    depth = spec.num_layers * spec.directions
    flat: list[Tensor] = []
    for index in range(depth):
        below = spec.directions * (projected or HIDDEN)
        inputs = INPUTS if index < spec.directions else below
        w = random_weights(spec.cell, inputs, HIDDEN, projected)
        biases = [w.bias_ih, w.bias_hh] if spec.bias else []
        flat += [weight for weight in (w.ih, w.hh, *biases, w.hr) if weight is not None]
    widths = {"hidden": projected or HIDDEN, "cell": HIDDEN}
    initial = tuple(torch.randn(depth, BATCH, widths[name], **GIVEN) for name in spec.cell.states)
    return sequences, initial, flat


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spec", SPECS, ids=spec_name)
@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
def test_every_engine_gives_the_references_numbers(
    engine: ModuleType, spec: Spec, layout: str
) -> None:
    sequences, initial, flat = random_pass(spec, LAYOUTS[layout])
    leaves, results = [sequences.data, *initial, *flat], []
    noise: list[Tensor] = []
    for run in (reference.run, engine.run):
        output, last = run(spec, sequences, initial, flat)
        noise = noise or [torch.randn_like(tensor) for tensor in (output, *last)]
        loss = sum((t * n).sum() for t, n in zip((output, *last), noise, strict=True))
        gradients = torch.autograd.grad(loss, leaves)
        results.append((output, *last, *gradients))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@every_cell
def test_every_engine_gives_the_references_step(engine: ModuleType, cell: Cell) -> None:
    w = random_weights(cell, INPUTS, HIDDEN)
    x, state = torch.randn(BATCH, INPUTS, **GIVEN), random_state(cell, BATCH, HIDDEN)
    found, expected = engine.run_cell(cell, x, state, w), reference.run_cell(cell, x, state, w)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


# --- Spec.weights.


def test_weights_are_cut_by_layer_and_direction() -> None:
    spec = Spec(CELLS["LSTM"], num_layers=2, bidirectional=True, projected=True)
    flat = [torch.tensor(float(number)) for number in range(20)]
    cut = [list(weights) for weights in spec.weights(flat)]
    assert cut == [flat[0:5], flat[5:10], flat[10:15], flat[15:20]]


def test_weights_that_a_layer_lacks_are_none() -> None:
    flat = [torch.tensor(0.0), torch.tensor(1.0), torch.tensor(2.0)]
    (weights,) = Spec(CELLS["LSTM"], bias=False, projected=True).weights(flat)
    assert weights == Weights(flat[0], flat[1], None, None, flat[2])


def test_a_wrong_number_of_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 weights were expected, got 5"):
        Spec(CELLS["GRU"]).weights([torch.zeros(1)] * 5)

"""The network: a read-out of every step, and of each row's last state."""

import pytest
import torch
from torch.testing import assert_close

from unrolled.model import Network, NetworkConfig
from unrolled.model.network import ReadOut

CELLS = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
LAYERS = pytest.mark.parametrize("num_layers", [1, 2])
LENGTHS = [5, 2, 7, 1]


def make(cell, *, num_layers=1, bidirectional=False) -> Network:
    config = NetworkConfig(
        cell=cell,
        input_size=3,
        hidden_size=4,
        output_size=2,
        num_layers=num_layers,
        bidirectional=bidirectional,
    )
    return Network(config).eval()


@CELLS
@LAYERS
def test_final_is_the_last_step_of_forward_in_one_direction(cell, num_layers):
    network = make(cell, num_layers=num_layers)
    x = torch.randn(4, 7, 3)
    assert_close(network.final(x), network(x)[0][:, -1])


@CELLS
@LAYERS
def test_final_with_lengths_is_each_rows_own_last_step(cell, num_layers):
    network = make(cell, num_layers=num_layers)
    x = torch.randn(4, 7, 3)
    every, _ = network(x, None, LENGTHS)
    last = every[torch.arange(4), torch.tensor(LENGTHS) - 1]
    assert_close(network.final(x, LENGTHS), last)


@CELLS
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_row_reads_as_the_same_row_alone(cell, bidirectional):
    network = make(cell, num_layers=2, bidirectional=bidirectional)
    x = torch.randn(4, 7, 3)
    together = network.final(x, LENGTHS)
    every, _ = network(x, None, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = x[row : row + 1, :length]
        assert_close(together[row : row + 1], network.final(alone))
        assert_close(every[row : row + 1, :length], network(alone)[0])


@CELLS
def test_what_stands_past_a_rows_length_is_not_read(cell):
    network = make(cell, bidirectional=True)
    x = torch.randn(4, 7, 3)
    padded = x.clone()
    for row, length in enumerate(LENGTHS):
        padded[row, length:] = torch.nan
    assert_close(network.final(padded, LENGTHS), network.final(x, LENGTHS))


@CELLS
@pytest.mark.parametrize("step", [0, 3, 6])
def test_both_directions_have_seen_the_whole_row(cell, step):
    """Each half of what is read out moves with every step, the first and the last included."""
    network = make(cell, bidirectional=True)
    x = torch.randn(1, 7, 3, requires_grad=True)
    for half in (slice(0, 4), slice(4, 8)):
        with torch.no_grad():
            network.readout.weight.zero_()
            network.readout.weight[:, half] = 1.0
        (grad,) = torch.autograd.grad(network.final(x).sum(), x)
        assert grad[0, step].abs().max() > 0


@CELLS
def test_bidirectional_final_reads_the_reverse_direction_at_the_first_step(cell):
    network = make(cell, bidirectional=True)
    x = torch.randn(2, 7, 3)
    states, _ = network.recurrent(x)
    expected = network.readout(torch.cat([states[:, -1, :4], states[:, 0, 4:]], dim=1))
    assert_close(network.final(x), expected)


@CELLS
def test_forward_goes_on_from_a_given_state(cell):
    network = make(cell, num_layers=2)
    x = torch.randn(2, 8, 3)
    whole, _ = network(x)
    _, state = network(x[:, :5])
    rest, _ = network(x[:, 5:], state)
    assert_close(rest, whole[:, 5:])


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_the_number_of_weights_is_that_of_the_equations(cell, gates):
    # Each gate: input and recurrent weights and torch's two biases; then V and b.
    assert make(cell).count_weights() == gates * (4 * 3 + 4 * 4 + 4 + 4) + 2 * 4 + 2


@pytest.mark.parametrize(
    "wrong", [{"hidden_size": 0}, {"num_layers": 0}, {"cell": "x"}, {"dropout": 1.5}, {"extra": 1}]
)
def test_a_config_that_no_network_can_have_is_refused(wrong):
    right = {"cell": "rnn", "input_size": 1, "hidden_size": 2, "output_size": 1}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NetworkConfig(**{**right, **wrong})


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("hidden_size", [3, 32, 100, 512])
def test_what_is_read_out_of_a_row_does_not_depend_on_the_rows_beside_it(
    hidden_size: int, outputs: int
) -> None:
    read_out = ReadOut(hidden_size, outputs).eval()
    states = torch.randn(40, hidden_size)
    together = read_out(states)
    for rows in (1, 2, 3, 5, 8, 17, 33):
        apart = torch.cat([read_out(some) for some in states.split(rows)])
        torch.testing.assert_close(apart, together, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_read_out_is_a_linear_layer_in_both_modes(dtype: torch.dtype) -> None:
    read_out = ReadOut(8, 3).to(dtype)
    states = torch.randn(5, 8, dtype=dtype)
    expected = torch.nn.functional.linear(states, read_out.weight, read_out.bias)
    for mode in (True, False):
        result = read_out.train(mode)(states)
        assert result.dtype == dtype
        torch.testing.assert_close(result, expected)


@CELLS
@pytest.mark.parametrize("bidirectional", [False, True])
def test_in_bfloat16_it_trains_on_rounded_products_and_answers_in_float32(cell, bidirectional):
    network, x = make(cell, bidirectional=bidirectional), torch.randn(4, 7, 3)
    answered, learned = network.final(x), network.train().final(x)
    network.precision = "bf16"
    assert torch.equal(network.eval().final(x), answered)
    rounded = network.train().final(x)
    assert rounded.dtype == learned.dtype
    assert 0 < (rounded - learned).abs().max() < 0.02
    every, last = network(x, None, LENGTHS)
    states = last if isinstance(last, tuple) else (last,)
    assert {tensor.dtype for tensor in (every, *states)} == {torch.float32}

"""The recurrent pass as a reader would write it, in plain torch.

This is the oracle of the tests and the fallback for whatever no faster engine takes: any device,
any dtype, differentiable any number of times. It is written to be read, not to be fast.

In each step ``x`` is the input's share of every gate, W_ih·x_t + b_ih [B, G·H], computed for all
steps in one product; ``h`` [B, P] and ``c`` [B, H] are the states after the step before. A step
returns the states after it, and its gates [B, H] in the order of the weights, activated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.scan.sequences import Sequences
from unrolled.scan.spec import Cell, Spec, State, Weights

Step = tuple[State, tuple[Tensor, ...]]
Watch = Callable[[State, tuple[Tensor, ...]], tuple[State, Tensor]]
"""Told of the states and gates of a step; returns the states to go on with, and the output."""


def rnn_tanh_step(x: Tensor, state: State, w: Weights) -> Step:
    """h_t = tanh(W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh): Elman 1990, Finding structure in time."""
    (h,) = state
    h = torch.tanh(x + linear(h, w.hh, w.bias_hh))
    return (h,), (h,)


def rnn_relu_step(x: Tensor, state: State, w: Weights) -> Step:
    """The same with max(0, ·) for tanh: Le, Jaitly & Hinton 2015, arXiv 1504.00941."""
    (h,) = state
    h = torch.relu(x + linear(h, w.hh, w.bias_hh))
    return (h,), (h,)


def lstm_step(x: Tensor, state: State, w: Weights) -> Step:
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    The projection of the hidden state is Sak et al. 2014, arXiv 1402.1128.
    """
    h, c = state
    i, f, g, o = (x + linear(h, w.hh, w.bias_hh)).chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    if w.hr is not None:
        h = linear(h, w.hr)
    return (h, c), (i, f, g, o)


def gru_step(x: Tensor, state: State, w: Weights) -> Step:
    """Cho et al. 2014, arXiv 1406.1078, with the reset gate after the product, as in cuDNN."""
    (h,) = state
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    h_r, h_z, h_n = linear(h, w.hh, w.bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,), (r, z, n)


STEPS: dict[str, Callable[[Tensor, State, Weights], Step]] = {
    "RNN_TANH": rnn_tanh_step,
    "RNN_RELU": rnn_relu_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}


def run_cell(cell: Cell, input: Tensor, state: State, w: Weights) -> State:
    """One step: ``input`` [B, I] and the states [B, H] to the next states [B, H]."""
    return STEPS[cell.name](linear(input, w.ih, w.bias_ih), state, w)[0]


def run_layer(
    cell: Cell,
    sequences: Sequences,
    initial: State,
    w: Weights,
    watch: Watch | None = None,
    *,
    reverse: bool,
) -> tuple[Tensor, State]:
    """One layer in one direction: the outputs, laid out as the input is, and the last states.

    Each state is [B, ·]; see :func:`walk`.
    """
    x = linear(sequences.data.flatten(0, -2), w.ih, w.bias_ih)
    sizes = sequences.sizes()
    steps = torch.split(x, sizes)

    def step(t: int, state: State) -> tuple[State, Tensor]:
        after, gates = STEPS[cell.name](steps[t], state, w)
        return (after, after[0]) if watch is None else watch(after, gates)

    outputs, last = walk(step, sizes, initial, reverse=reverse)
    joined = torch.stack if sequences.batch_sizes is None else torch.cat
    return joined(outputs), last


def walk(
    step: Callable[[int, State], tuple[State, Tensor]],
    sizes: Sequence[int],
    initial: State,
    *,
    reverse: bool,
) -> tuple[list[Tensor], State]:
    """Takes the rows through their steps: the output of each step, and each row's last states.

    ``step(t, state)`` gives the states after step t, and the output, of the ``sizes[t]`` rows that
    have it. A row's last state is that of its own last step (in reverse: its first), or its initial
    one if it has no step. Rows are sorted by falling length, so the active ones are always the
    first: a forward pass drops rows at the end of the batch as they finish, and a reverse pass
    takes them up there as they begin.
    """
    outputs: list[Tensor] = []
    finished: list[State] = []
    order = range(len(sizes))
    begin = sizes[-1 if reverse else 0]
    state = tuple(s[:begin] for s in initial)
    waiting = tuple(s[begin:] for s in initial)
    for t in reversed(order) if reverse else order:
        active, now = state[0].shape[0], sizes[t]
        if now < active:
            finished.append(tuple(s[now:] for s in state))
            state = tuple(s[:now] for s in state)
        elif now > active:
            more = now - active
            begun = tuple(s[:more] for s in waiting)
            state = tuple(torch.cat(pair) for pair in zip(state, begun, strict=True))
            waiting = tuple(s[more:] for s in waiting)
        state, output = step(t, state)
        outputs.append(output)
    parts = [state, *reversed(finished), waiting]
    last = tuple(torch.cat(column) for column in zip(*parts, strict=True))
    if reverse:
        outputs.reverse()
    return outputs, last


def draw_noise(like: Tensor, probability: float) -> Tensor:
    """What dropout multiplies by: 0 with the probability, else what keeps the mean.

    Drawn as torch's dropout draws it, so that the same seed gives the same mask; where nothing is
    kept nothing is drawn.
    """
    if probability == 1:
        return torch.zeros_like(like)
    keep = 1.0 - probability
    return torch.empty_like(like).bernoulli_(keep).div_(keep)


def run(
    spec: Spec,
    sequences: Sequences,
    initial: State | None,
    flat: list[Tensor],
    noises: Sequence[Tensor] | None = None,
    watches: Sequence[Watch] | None = None,
) -> tuple[Tensor, State]:
    """The whole pass; see :func:`unrolled.scan.engine.run`.

    ``noises`` are dropout's after each layer but the last, to repeat a pass; they are drawn if it
    is None. ``watches`` are those of each layer and direction.
    """
    weights = spec.weights(flat)
    initial = spec.zeros(sequences, flat) if initial is None else initial
    last: list[State] = []
    for layer in range(spec.num_layers):
        outputs = []
        for direction in range(spec.directions):
            index = layer * spec.directions + direction
            output, state = run_layer(
                spec.cell,
                sequences,
                tuple(s[index] for s in initial),
                weights[index],
                watches[index] if watches else None,
                reverse=direction == 1,
            )
            outputs.append(output)
            last.append(state)
        data = torch.cat(outputs, dim=-1) if spec.bidirectional else outputs[0]
        if spec.dropout > 0 and layer < spec.num_layers - 1:
            data = data * (noises[layer] if noises else draw_noise(data, spec.dropout))
        sequences = sequences.with_data(data)
    return sequences.data, tuple(torch.stack(column) for column in zip(*last, strict=True))

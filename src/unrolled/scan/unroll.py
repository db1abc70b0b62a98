"""The loop over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unrolled.scan.spec import State


def unroll(
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

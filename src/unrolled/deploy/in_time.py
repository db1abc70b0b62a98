"""A long sequence in pieces that run side by side: inference that is parallel over time.

A network that forgets comes to the same state wherever it began. So a sequence can be cut into
pieces, each of which is warmed up over some steps before its beginning, and all of them run as rows
of one batch. Whether a network forgets is what its largest Lyapunov exponent says (Gonzalez et al.
2025, arXiv 2508.16817); here it is tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unrolled.deploy.in_time_plan import NOT_TRIED, Plan, plan
from unrolled.deploy.in_time_rows import State, System, system
from unrolled.errors import InputError


@dataclass(frozen=True)
class InPieces:
    """How a sequence was run; see :func:`parallel_in_time`.

    Attributes:
        pieces: how many ran side by side; 1 for one step after the other.
        warm_up: the steps before each.
        repeated: how many pieces had not come to the state that the one before arrived at, and were
            run again.
        difference: how far apart two states still are where pieces meet, at most.
        predicted: by how much this was expected to be faster than one step after the other; None
            where nothing was measured.
    """

    pieces: int
    warm_up: int
    repeated: int
    difference: float
    predicted: float | None


def parallel_in_time(
    module: torch.nn.Module,
    input: Tensor,
    hx: Any = None,
    *,
    tolerance: float = 1e-6,
    pieces: int | None = None,
    warm_up: int | None = None,
    **constants: Tensor,
) -> tuple[Tensor, Any, InPieces]:
    """Runs a recurrent module over a long sequence, in pieces side by side. For inference.

    The pieces begin from a state of zero, some steps early. Then each is run again for a while from
    where the one before has arrived, all of them at once. If what it had come to is within
    ``tolerance`` of that, at its beginning and after the while, it is left as it is; else it is run
    on until that is so, to its end if need be. If the state at its end has changed by more than
    ``tolerance``, the next piece is run again, and so on; and what is not settled soon is run one
    step after the other. So a module that does not forget takes longer, and its result is right,
    too: where two pieces meet, states agree within ``tolerance``, and from there such a difference
    fares as the module's own rounding does. With ``tolerance=0`` every bit is that of the call on
    the compiled core.

    Without ``pieces`` and ``warm_up`` a short trial chooses them: how long a step takes with few
    rows and with several, and after how many steps two states come within ``tolerance``. Where it
    would not pay, the module is called as it is; the trial takes a few per cent of that.

    Args:
        module: an RNN, LSTM, GRU or :class:`~unrolled.nn.Recurrent`, torch's own too, that reads
            in one direction, in eval mode if it draws random numbers.
        input: [T, B, I], [B, T, I] with ``batch_first``, or [T, I].
        hx: the first state, as the module takes it.
        tolerance: how far the numbers of two states may be apart that count as the same.
        pieces: how many.
        warm_up: the steps that each begins early.
        constants: the cell's, as the module takes them.

    Returns:
        The output and the last state, as the module gives them, without a graph; and how they came
        about.

    Raises:
        InputError: ``module`` is of another kind, reads in both directions, or draws random
            numbers in training mode; ``input`` has another shape, or is to be differentiated; or
            one of ``pieces`` and ``warm_up`` is missing or too much for T.
    """
    if not tolerance >= 0:
        raise InputError(
            f"tolerance: a number of at least 0 was expected, got {tolerance!r}. It says how far "
            "apart two states may be"
        )
    found = system(module, input, hx, constants)
    with torch.no_grad():
        chosen = _given(found, pieces, warm_up)
        if chosen is None:
            chosen = plan(found, tolerance) if found.batch else NOT_TRIED
        if chosen.pieces == 1:
            output, last = found.run(found.input, found.initial)
            return *found.given(output, last), InPieces(1, 0, 0, 0.0, chosen.speedup)
        run = _Pieces(found, chosen, tolerance)
        last = run.run()
        return *found.given(run.output, last), run.how()


def _given(system: System, pieces: int | None, warm_up: int | None) -> Plan | None:
    """What the caller has chosen, if anything."""
    if pieces is None and warm_up is None:
        return None
    if pieces is None or warm_up is None:
        given = "pieces" if warm_up is None else "warm_up"
        raise InputError(
            f"pieces and warm_up: both were expected, or neither, got {given} alone. Say the other "
            "one, too"
        )
    if pieces < 1 or warm_up < 0 or system.steps < warm_up + pieces:
        raise InputError(
            f"pieces and warm_up: at least 1 and 0 were expected, and together no more than the "
            f"{system.steps} steps, got {pieces} and {warm_up}. Take fewer"
        )
    return Plan(pieces, warm_up, None)


class _Pieces:
    """P pieces of L steps behind a warm-up of W. What is left over is run at the end.

    The first piece begins at step W: its warm-up is the beginning of the sequence. The rows of
    piece p among those of all are p·B to p·B + B − 1.

    Attributes:
        output: [T, B, ·].
    """

    def __init__(self, system: System, plan: Plan, tolerance: float) -> None:
        self.system, self.plan, self.tolerance = system, plan, tolerance
        self.length = (system.steps - plan.warm_up) // plan.pieces
        self.bounds = _bounds(self.length, max(16, plan.warm_up // 2))
        self.output = torch.empty(0)
        self.states: list[State] = []
        """Those of all pieces at the bounds, each [L, P·B, ·]."""
        self._repeated = set[int]()
        self._difference = 0.0

    def how(self) -> InPieces:
        """How it came about."""
        plan, repeated = self.plan, len(self._repeated)
        return InPieces(plan.pieces, plan.warm_up, repeated, self._difference, plan.speedup)

    def run(self) -> State:
        """Fills the output; returns the last state."""
        self._first()
        self._mend()
        last = self._rows(self.states[-1], [self.plan.pieces - 1])
        done = self._place(self.plan.pieces)
        if done < self.system.steps:
            self.output[done:], last = self.system.run(self.system.input[done:], last)
        return last

    def _place(self, piece: int) -> int:
        """The step at which a piece begins."""
        return self.plan.warm_up + piece * self.length

    # --- a first time ---------------------------------------------------------------------------

    def _first(self) -> None:
        """All pieces, the first from its own state, the others from zero."""
        system, warm_up, every = self.system, self.plan.warm_up, range(self.plan.pieces)
        state = system.beginning(len(every))
        before = None
        if warm_up:
            before, state = self._steps(every, -warm_up, 0, state)
        self.states.append(state)
        for begin, end in pairwise(self.bounds):
            output, state = self._steps(every, begin, end, state)
            if not self.output.numel():
                self.output = output.new_empty(system.steps, system.batch, output.shape[-1])
            self._write(every, begin, output)
            self.states.append(state)
        if before is not None:
            self.output[:warm_up] = before[:, : system.batch]

    def _steps(
        self, which: Sequence[int], begin: int, end: int, state: State
    ) -> tuple[Tensor, State]:
        """Some pieces from one of their steps to another."""
        begins = [self._place(piece) + begin for piece in which]
        return self.system.run(self.system.stretches(begins, end - begin), state)

    def _write(self, which: Sequence[int], begin: int, output: Tensor) -> None:
        steps, pieces, batch = len(output), self.plan.pieces, self.system.batch
        whole = self.output[self.plan.warm_up : self._place(pieces)]
        room = whole.view(pieces, self.length, batch, -1)[:, begin : begin + steps]
        of_pieces = output.reshape(steps, len(which), batch, -1).transpose(0, 1)
        if len(which) == pieces:
            room.copy_(of_pieces)
        else:
            room[list(which)] = of_pieces

    # --- until it is right ----------------------------------------------------------------------

    def _mend(self) -> None:
        """Runs pieces again until each goes on from where the one before has arrived."""
        apart = self._seams()
        wrong = [piece for piece, change in enumerate(apart, 1) if change]
        while wrong:
            before = len(wrong)
            self._again(wrong)
            apart = self._seams()
            wrong = [piece for piece, change in enumerate(apart, 1) if change > self.tolerance]
            if len(wrong) > before // 2:
                self._one_by_one(wrong[0])
                apart = apart[: wrong[0] - 1]
                break
        self._difference = max([self._difference, *apart])

    def _seams(self) -> list[float]:
        """How far each piece but the first has begun from where the one before has arrived."""
        every = range(self.plan.pieces)
        last = self._rows(self.states[-1], every[:-1])
        return self._apart(self._rows(self.states[0], every[1:]), last).tolist()

    def _again(self, wrong: list[int]) -> None:
        """Runs pieces from where those before have arrived, until they go on as they had."""
        state = self._rows(self.states[-1], [piece - 1 for piece in wrong])
        is_near = self._replaced(0, wrong, state) <= self.tolerance
        for bound, (begin, end) in enumerate(pairwise(self.bounds), 1):
            output, state = self._steps(wrong, begin, end, state)
            self._write(wrong, begin, output)
            apart = self._apart(state, self._rows(self.states[bound], wrong))
            was_near, is_near = is_near, apart <= self.tolerance
            settled = was_near & is_near
            self._difference = max([self._difference, *apart[settled].tolist()])
            left = (~settled).nonzero().flatten().tolist()
            wrong, is_near, state = [wrong[i] for i in left], is_near[left], self._rows(state, left)
            if not wrong:
                return
            self._replaced(bound, wrong, state)
            self._repeated.update(wrong)

    def _one_by_one(self, first: int) -> None:
        """All that is left from a piece on, one step after the other."""
        begin, end = self._place(first), self._place(self.plan.pieces)
        state = self._rows(self.states[-1], [first - 1])
        self.output[begin:end], state = self.system.run(self.system.input[begin:end], state)
        self._replaced(-1, [self.plan.pieces - 1], state)
        self._repeated.update(range(first, self.plan.pieces))

    # --- states ---------------------------------------------------------------------------------

    def _rows(self, state: State, which: Sequence[int]) -> State:
        """The rows of some pieces."""
        rows = [p * self.system.batch + b for p in which for b in range(self.system.batch)]
        return tuple(each[:, rows] for each in state)

    def _replaced(self, bound: int, which: Sequence[int], state: State) -> Tensor:
        """Puts in the states of some pieces at a bound; returns how far those before were off."""
        apart = self._apart(state, self._rows(self.states[bound], which))
        rows = [p * self.system.batch + b for p in which for b in range(self.system.batch)]
        for each, new in zip(self.states[bound], state, strict=True):
            each[:, rows] = new
        return apart

    def _apart(self, one: State, other: State) -> Tensor:
        """The largest difference of each piece; NaN is the same as NaN, and far from the rest."""
        found = []
        for a, b in zip(one, other, strict=True):
            is_same = (a == b) | (a.isnan() & b.isnan())
            change = (a - b).abs().nan_to_num(math.inf).masked_fill(is_same, 0.0)
            of_pieces = change.view(len(change), -1, self.system.batch * change.shape[-1])
            found.append(of_pieces.amax((0, 2)))
        return torch.stack(found).amax(0)


def _bounds(length: int, first: int) -> list[int]:
    """From 0 to ``length``, each further from the last one by about as much as that is from 0."""
    found = [0]
    while first < length:
        found.append(first)
        first *= 2
    return [*found, length]

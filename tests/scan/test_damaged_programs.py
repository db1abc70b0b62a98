"""Programs of which something was changed: nothing is read or written past its end."""

from pathlib import Path

import pytest

from support_native import run_apart

pytest.importorskip("unrolled._core", reason="built without a compiler")

TESTS = Path(__file__).parents[1]
HOSTILE = """
import random, sys, torch
sys.path.insert(0, {tests!r})
from support_mutated import mutated
from unrolled import _core, cells
from unrolled.cells.options import described
from unrolled.cells.program import link
from unrolled.scan import native

chance = random.Random({seed})

units = dict(input=3, hidden=5, proj=2, static=4, one=1)
runs = refused = 0
for number in range({count}):
    cell = chance.choice([cells.LSTM, cells.GRUResetBefore, cells.LayerNormLSTM, cells.EALSTM])
    program = link(described(cell), units, draws=False)
    handed = mutated(program.handed, chance, chance.choice([0.002, 0.01, 0.05]))
    try:
        core = _core.ProgramF64(0, "whole", _core.Program(*handed))
    except (ValueError, TypeError, RuntimeError, OverflowError):
        refused += 1
        continue
    new = lambda *shape: torch.zeros(*shape, dtype=torch.float64)
    T, B = 3, 4
    inputs, constants, states = handed[:3]
    weights = [new(r, max(c, 1)) for r, c in handed[3]]
    steps = native.Steps(T, B)
    x = [new(T, B, i) for i in inputs]
    layout = steps.stretch(0, T, reverse=False)[0]
    m = native.memory
    h = [new(B, s) for s in states]
    output, kept = new(T, B, states[0]), new(T * B, handed[8])
    last = [new(B, s) for s in states]
    of_rows = [new(B, c) for c in constants]
    try:
        read = (list(map(m, weights)), list(map(steps.place, x)), list(map(m, of_rows)),
                list(map(m, h)))
        left = steps.place(output), [m(kept)]
        core.forward(layout, read, left, list(map(m, last)), 1)
        core.backward(layout, read, left, (steps.place(output), list(map(m, last))),
                      (list(map(m, h)), steps.place(x[0]), True, list(map(m, of_rows))),
                      ([(0, 0)] * len(states), (0, 0)),
                      (2**len(weights) - 1, (0, 0), list(map(m, weights))), 1)
        runs += 1
    except (ValueError, MemoryError):
        refused += 1
print(runs, refused)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_program_runs_or_is_refused(seed):
    runs, refused = run_apart(HOSTILE.format(seed=seed, count=700, tests=str(TESTS))).split()
    assert int(runs) > 50
    assert int(refused) > 50

"""The core's entry points: what would reach beyond the memory they are told of is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.scan import native

core = pytest.importorskip("unrolled._core", reason="built without a compiler")
STEPS, ROWS, INPUTS, HIDDEN = 3, 2, 4, 5
LSTM, GRU = "LSTM", "GRU"


class Call:
    """A call of the core that is in order; a test changes one of its arguments."""

    def __init__(self, cell: str = LSTM) -> None:
        gates = 4 if cell == LSTM else 3
        self.kind = core.KernelF32(0, "whole", cell, INPUTS, HIDDEN, 0, False)
        self.tensors = {
            "ih": torch.randn(gates * HIDDEN, INPUTS),
            "hh": torch.randn(gates * HIDDEN, HIDDEN),
            "input": torch.randn(STEPS, ROWS, INPUTS),
            "output": torch.zeros(STEPS, ROWS, HIDDEN),
            "h_n": torch.zeros(ROWS, HIDDEN),
            "c_n": torch.zeros(ROWS, HIDDEN),
            "gates": torch.zeros(STEPS * ROWS, 4 * HIDDEN),
            "cells": torch.zeros(STEPS * ROWS, HIDDEN),
        }
        self.layout = core.Layout(STEPS, ROWS, False, 0, STEPS)
        memory = {name: (t.data_ptr(), t.numel()) for name, t in self.tensors.items()}
        none = native.NO_MEMORY
        states, kept = ["h_n", "c_n"], ["gates", "cells"]
        if cell != LSTM:
            states, kept = states[:1], kept[:1]
        self.arguments: dict[str, Any] = {
            "weights": [memory["ih"], memory["hh"]],
            "input": [(*memory["input"], 0, ROWS * INPUTS, INPUTS)],
            "constants": [],
            "before": [none] * len(states),
            "output": (*memory["output"], 0, ROWS * HIDDEN, HIDDEN),
            "after": [memory[name] for name in states],
            "kept": [memory[name] for name in kept],
        }

    def run(self, threads: int = 1, **changes: Any) -> None:
        arguments = {**self.arguments, **changes}
        weights, inputs, constants, before, output, after, kept = arguments.values()
        read = weights, inputs, constants, before
        self.kind.forward(self.layout, read, (output, kept), after, threads)

    def change(self, name: str, number: int | None, change: Any) -> None:
        """Changes an argument, or one of its list."""
        if number is None:
            self.arguments[name] = change(self.arguments[name])
        else:
            self.arguments[name][number] = change(self.arguments[name][number])


def shortened(memory: tuple[int, ...]) -> tuple[int, ...]:
    return (memory[0], memory[1] - 1, *memory[2:])


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_a_call_that_is_in_order_runs(cell: str) -> None:
    call = Call(cell)
    call.run()
    assert call.tensors["output"].abs().min() > 0


PLACES = [
    ("weights", 0, "a weight"),
    ("weights", 1, "a weight"),
    ("input", 0, "input"),
    ("output", None, "output"),
    ("after", 0, "a last state"),
    ("after", 1, "a last state"),
    ("kept", 0, "what is kept"),
    ("kept", 1, "what is kept"),
]
every_place = pytest.mark.parametrize(("name", "number", "called"), PLACES)


@every_place
def test_memory_that_is_one_number_short(name: str, number: int | None, called: str) -> None:
    call = Call()
    call.change(name, number, shortened)
    with pytest.raises(ValueError, match=f"^{called}: memory for"):
        call.run()


@every_place
def test_no_memory_where_some_is_needed(name: str, number: int | None, called: str) -> None:
    """``Scan.forward(last=None)`` ended the process."""
    call = Call()
    call.change(name, number, lambda memory: tuple(0 for _ in memory))
    with pytest.raises(ValueError, match=f"^{called}: no address"):
        call.run()


@pytest.mark.parametrize("name", ["weights", "input", "constants", "before", "after", "kept"])
def test_a_list_that_is_one_longer(name: str) -> None:
    call = Call()
    call.arguments[name] += call.arguments["input"] if name == "input" else [native.NO_MEMORY]
    with pytest.raises(ValueError, match=r"more or fewer than expected|other inputs"):
        call.run()


@pytest.mark.parametrize("origin", [-1, 1, -(2**62), 2**62])
def test_a_matrix_that_begins_elsewhere(origin: int) -> None:
    call = Call()
    address, count, _, step, row = call.arguments["input"][0]
    with pytest.raises(ValueError, match=r"^input: "):
        call.run(input=[(address, count, origin, step, row)])


@pytest.mark.parametrize("apart", [(-1, INPUTS), (ROWS * INPUTS + 1, INPUTS), (2**62, 2**62)])
def test_rows_that_lie_too_far_apart(apart: tuple[int, int]) -> None:
    call = Call()
    address, count, origin, *_ = call.arguments["input"][0]
    with pytest.raises(ValueError, match=r"size|input"):
        call.run(input=[(address, count, origin, *apart)])


def test_arguments_in_another_order() -> None:
    call = Call()
    with pytest.raises(ValueError, match="memory for"):
        call.run(kept=call.arguments["kept"][::-1])


def test_no_thread() -> None:
    with pytest.raises(ValueError, match="thread"):
        Call().run(threads=0)


@pytest.mark.parametrize(
    "sizes", [(0, 2, 0, 0), (3, -1, 0, 3), (3, 2, 0, 4), (3, 2, 2, 2), (2**62, 2**62, 0, 1)]
)
def test_steps_that_are_none(sizes: tuple[int, int, int, int]) -> None:
    steps, rows, begin, end = sizes
    with pytest.raises(ValueError, match=r"steps|size"):
        core.Layout(steps, rows, False, begin, end)


@pytest.mark.parametrize("sizes", [[], [1, 2], [3], [2, -1], [2**62] * 4])
def test_sizes_that_do_not_fall(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"sizes|steps|size"):
        core.Sizes(2, sizes)


@pytest.mark.parametrize(
    ("cell", "sizes"),
    [("GRU", (-1, 1, 0)), ("GRU", (1, 0, 0)), ("GRU", (1, 1, -1)), (LSTM, (2**62, 2**62, 0))],
)
def test_shapes_that_are_none(cell: str, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="size"):
        core.KernelF64(0, "whole", cell, *sizes, False)


def test_a_cell_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no cell lstm"):
        core.KernelF64(0, "whole", "lstm", 1, 1, 0, False)


def test_a_core_with_other_cells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "cells", lambda: [("LSTM", 3)])
    with pytest.raises(ImportError, match="one of them is older"):
        native.check_cells()

"""torch.export on our modules: one operator, for any number of steps and rows."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from support_compile import calls, our_calls
from support_nn import (
    INPUTS,
    PROJECTED,
    Kind,
    assert_close,
    every_kind,
    random_hx,
    random_input,
    tensors,
)
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
}
SIZES = [(4, 3), (1, 1), (1, 3), (5, 1), (7, 5)]

every_option = pytest.mark.parametrize("option", OPTIONS)


def exported(module: nn.RNNBase, *, hx: bool = False, strict: bool = False) -> ExportedProgram:
    """For any number of steps and rows."""
    arguments = (random_input(module), random_hx(module) if hx else None)
    rows = [{1: Dim.DYNAMIC} for _ in tensors(arguments[1])]
    states: Any = None
    if hx:
        states = tuple(rows) if len(rows) > 1 else rows[0]
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, states)
    return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=strict)


def assert_runs_like(module: nn.RNNBase, program: ExportedProgram, *, hx: bool = False) -> None:
    run = program.module()
    for steps, batch in SIZES:
        shape = (batch, steps) if module.batch_first else (steps, batch)
        x = torch.randn(*shape, INPUTS)
        state = random_hx(module, batch=batch) if hx else None
        assert_close(run(x, state), module(x, state), 0)


@pytest.mark.parametrize("hx", [False, True], ids=["zeros", "hx"])
@every_option
@every_kind
def test_any_steps_and_rows(kind: Kind, option: str, hx: bool) -> None:
    module, _ = kind.pair(**OPTIONS[option])
    assert_runs_like(module, exported(module, hx=hx), hx=hx)


@every_option
def test_by_dynamo(option: str) -> None:
    module, _ = Kind("LSTM", {"proj_size": PROJECTED}).pair(**OPTIONS[option])
    assert_runs_like(module, exported(module, hx=True, strict=True), hx=True)


@every_option
@every_kind
def test_there_and_back_through_a_file(kind: Kind, option: str) -> None:
    module, _ = kind.pair(**OPTIONS[option])
    file = io.BytesIO()
    torch.export.save(exported(module), file)
    file.seek(0)
    assert_runs_like(module, torch.export.load(file))


def test_a_new_process_needs_only_our_modules_to_load_it(tmp_path: Path) -> None:
    module, _ = Kind("GRU").pair()
    x = random_input(module)
    torch.save(x, tmp_path / "x.pt")
    torch.export.save(exported(module), tmp_path / "program.pt2")
    code = (
        "import torch, unrolled.nn\n"
        "output, _ = torch.export.load('program.pt2').module()(torch.load('x.pt'), None)\n"
        "torch.save(output, 'output.pt')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert_close(torch.load(tmp_path / "output.pt"), module(x)[0])


def test_a_second_derivative_is_torchs_own_error() -> None:
    module, _ = Kind("LSTM").pair()
    x = random_input(module, requires_grad=True)
    loss = exported(module).module()(x, None)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        gradient.sum().backward()


@every_option
@every_kind
def test_the_graph_is_one_operator(kind: Kind, option: str) -> None:
    """Its results are the output and the states, each copied, in the order of the caller's axes."""
    module, _ = kind.pair(**OPTIONS[option])
    graph = exported(module).graph
    (scan,) = our_calls(graph)
    around = Counter(node.target for node in calls(graph) if node is not scan)
    results = len(tensors(module(random_input(module))))
    views = {torch.ops.aten.transpose.int: 2} if module.batch_first else {}
    assert around == {torch.ops.aten.clone.default: results, **views}
    assert len(scan.users) == results


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@every_kind
def test_it_can_be_trained(kind: Kind, mode: Any) -> None:
    """Whatever was thought of when it was exported; dropout draws what it draws in eager."""
    module, _ = kind.pair(num_layers=3, dropout=0.5)
    with mode():
        program = exported(module)
    run = program.module()
    x = random_input(module, requires_grad=True)
    results = []
    for function in (run, module):
        torch.manual_seed(0)
        output, last = function(x, None)
        loss = output.square().sum() + sum(state.sum() for state in tensors(last))
        results.append([output, torch.autograd.grad(loss, [x, *function.parameters()])])
    assert_close(results[0], results[1], 0)


def test_only_the_output_may_be_used() -> None:
    module, _ = Kind("LSTM").pair()
    x = random_input(module, requires_grad=True)
    results = [
        torch.autograd.grad(function(x, None)[0].sum(), x)
        for function in (exported(module).module(), module)
    ]
    assert_close(results[0], results[1], 0)


def test_numbers_of_another_kind_are_refused() -> None:
    """The core would read them as what they are not."""
    module, _ = Kind("LSTM").pair()
    run = exported(module).module()
    with pytest.raises(RuntimeError, match="differ in dtype"):
        run(random_input(module, dtype=torch.float64), None)


def test_numbers_that_are_negated_when_they_are_read() -> None:
    module, _ = Kind("LSTM").pair()
    x = random_input(module, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    assert_close(exported(module).module()(x, None), module(x))
